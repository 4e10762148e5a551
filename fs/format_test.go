package fs

import (
	"fmt"
	"os"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"pairfs/replica"
)

// sampleStatus is a site with one of everything.
func sampleStatus() replica.SiteStatus {
	at := time.Date(2026, 1, 2, 3, 4, 5, 6e6, time.FixedZone("x", 3600))
	return replica.SiteStatus{
		Name: "tokyo", Fingerprint: "SHA256:abc", Listen: "[::]:7000", State: "/s", Version: "v1", Started: at, Options: []string{"copies=64"}, KeptSets: 3, KeptBytes: 4096, MemoryLimit: 256, MemoryUsed: 64,
		Volumes: []replica.VolumeStatus{{Name: "db", Size: 8192, Allocated: 4096, Role: replica.Primary, Pair: "pair0", Reserved: "osaka", Open: 2, Writable: true}},
		Pairs: []replica.PairStatus{
			{
				Name: "pair0", Volume: "db", RemoteVolume: "db2", Peer: "osaka", Group: "g", Role: replica.Primary, Status: replica.PSUS,
				Suspend: replica.PVOLByOperator, Size: 8192, Generation: 3, Consistent: true, Copied: 8191, CopyLeft: 1, CopyRate: 1.9,
				ETA: 1500 * time.Millisecond, LagSeq: 4, LagBytes: 5, LagTime: 1234567 * time.Microsecond, LagKnown: true, Different: 6, SuspendSeq: 7, Since: at,
				TakenOver: true, TakenSeq: 8, TakenTime: at,
				PeerStatus: "SSUS", SplitLeft: 2500 * time.Millisecond, Options: []string{"priority=32"}, KeptSets: 1, KeptBytes: 512, LastError: "first\nsecond",
				Usage: replica.PairUsage{LagTime: replica.LagTimes{P50: time.Millisecond, P99: time.Second, Max: time.Minute}, LagBytes: replica.LagBytes{P50: 31, P99: 32, Max: 33}},
			},
			{Name: "pair1", Role: replica.Secondary, Status: replica.PSUS, CopyMode: "none", Copied: -1, LagBytes: -1, LagTime: 4 * time.Second, PeerUnheard: true, Why: "third"},
		},
		Groups: []replica.GroupStatus{{
			Name: "g", Role: replica.Primary, Peer: "osaka", PeerGroup: "g@tokyo", Pairs: []string{"pair0", "pair1"}, Volumes: 2, VolumeSize: 1 << 30, Capacity: 1 << 30,
			Used: 1 << 29, RingSize: 10, RingUsed: 11, AppendedSeq: 12, DurableSeq: 13, RestoredSeq: 14, PeerDurable: 15, PeerRestored: 16,
			Mirror: "Active", Code: "PJNN", Unrestored: 22, Over: true, Options: []string{"inflow-control=yes", "path-watch=5m"},
			JournalVolumes: []replica.JournalVolume{{Number: 1, Size: 1 << 30, Used: 1 << 29, State: "active"}, {Number: 3, Size: 1 << 20, State: "joining"}}, Linked: true, Sent: 17, Received: 18, Saved: 7, BaseSent: 19, WaitedRoom: 20,
			LagSeq: 34, LagBytes: 35, LagTime: 36 * time.Millisecond, LagKnown: true, Adding: 37,
		}},
		Peers: []replica.PeerStatus{{Name: "osaka", Address: "h:7", Fingerprint: "SHA256:def", Connected: true, Since: at, Quota: 1 << 40, QuotaUsed: 21}},
	}
}

func TestStateTexts(t *testing.T) {
	st := sampleStatus()
	for o, want := range map[object]string{
		{siteObject, ""}: `set copies=64
name: tokyo
fingerprint: SHA256:abc
listen: [::]:7000
state: /s
version: v1
pid: ` + fmt.Sprint(os.Getpid()) + `
started: 2026-01-02T02:04:05.006Z
memory-limit: 256
memory-used: 64
volumes: 1
pairs: 2
groups: 1
peers: 1
options: copies=64
kept-sets: 3
kept-bytes: 4096
`,
		{pairObject, "pair0"}: `create volume=db peer=osaka remote=db2 group=g copy=full priority=32
name: pair0
volume: db
remote-volume: db2
peer: osaka
group: g
role: P-VOL
status: PSUS
suspend-type: P-VOL by operator
peer-status: SSUS
split-left-seconds: 2.500
size: 8192
generation: 3
consistent: yes
linked: no
copied-bytes: 8191
copied-percent: 99.9
copy-left-bytes: 1
copy-rate: 1
eta-seconds: 1.500
lag-records: 4
lag-bytes: 5
lag-seconds: 1.235
different-bytes: 6
svol-write: no
suspend-seq: 7
since: 2026-01-02T02:04:05.006Z
options: priority=32
last-error: first second
host-write-rate: 0.0
host-byte-rate: 0.0
copy-byte-rate: 0.0
lag-known: yes
kept-sets: 1
kept-bytes: 512
lag-p50-seconds: 0.001000
lag-p99-seconds: 1.000000
lag-max-seconds: 60.000000
lag-p50-bytes: 31
lag-p99-bytes: 32
lag-max-bytes: 33
taken-over: yes
taken-over-seq: 8
taken-over-time: 2026-01-02T02:04:05.006Z
peer-unheard: no
suspend-reason: -
`,
		{pairObject, "pair1"}: `name: pair1
volume: -
remote-volume: -
peer: -
group: -
role: S-VOL
status: SSUS
suspend-type: -
peer-status: -
split-left-seconds: 0.000
size: 0
generation: 0
consistent: no
linked: no
copied-bytes: -
copied-percent: -
copy-left-bytes: 0
copy-rate: 0
eta-seconds: 0.000
lag-records: 0
lag-bytes: -
lag-seconds: 4.000
different-bytes: 0
svol-write: no
suspend-seq: 0
since: -
options: -
last-error: -
host-write-rate: 0.0
host-byte-rate: 0.0
copy-byte-rate: 0.0
lag-known: no
kept-sets: 0
kept-bytes: 0
lag-p50-seconds: 0.000000
lag-p99-seconds: 0.000000
lag-max-seconds: 0.000000
lag-p50-bytes: 0
lag-p99-bytes: 0
lag-max-bytes: 0
taken-over: no
taken-over-seq: 0
taken-over-time: -
peer-unheard: yes
suspend-reason: third
`,
		{groupObject, "g"}: `create size=1GiB volumes=1 inflow-control=yes path-watch=5m
add-volume size=1MiB
name: g
role: P-VOL
peer: osaka
peer-group: g@tokyo
mirror: Active
journal-status: PJNN
linked: yes
pairs: pair0,pair1
journal-volumes: 2
journal-volume-1: active size-bytes=1073741824 used-bytes=536870912
journal-volume-3: joining size-bytes=1048576 used-bytes=0
capacity-bytes: 1073741824
used-bytes: 536870912
used-percent: 50.0
over-high-water-mark: yes
unrestored-records: 22
heard: -
ring-bytes: 10
ring-used-bytes: 11
appended: 12
durable: 13
restored: 14
peer-durable: 15
peer-restored: 16
sent-bytes: 17
received-bytes: 18
saved-bytes: 7
base-sent-bytes: 19
waited-room: 20
options: inflow-control=yes,path-watch=5m
failed: -
store-error: -
window-seconds: 0.000
host-write-rate: 0.0
host-byte-rate: 0.0
copy-byte-rate: 0.0
restore-byte-rate: 0.0
read-journal-rate: 0.0
mirror-byte-rate: 0.0
paths: 0
response-seconds: 0.000000
response-max-seconds: 0.000000
lag-p50-seconds: 0.000000
lag-p99-seconds: 0.000000
lag-max-seconds: 0.000000
lag-p50-bytes: 0
lag-p99-bytes: 0
lag-max-bytes: 0
header-bytes: 0
header-percent: 0.0
different-bytes: 0
reconnects: 0
checksum-errors: 0
lag-records: 34
lag-bytes: 35
lag-seconds: 0.036
lag-known: yes
adding-bytes: 37
`,
		{peerObject, "osaka"}: `add address=h:7 key=SHA256:def create=1TiB
name: osaka
address: h:7
key: SHA256:def
connected: yes
since: 2026-01-02T02:04:05.006Z
quota-bytes: 1099511627776
quota-used-bytes: 21
last-error: -
`,
		{volumeObject, "db"}: `reserve peer=osaka
name: db
size-bytes: 8192
allocated-bytes: 4096
role: P-VOL
pair: pair0
reserved: osaka
open: 2
writable: yes
`,
		{pairsObject, ""}: `pair0 role=P-VOL status=PSUS volume=db peer=osaka group=g copied-percent=99.9 lag-seconds=1.235 lag-bytes=5 suspend-type="P-VOL by operator" lag-known=yes
pair1 role=S-VOL status=SSUS volume=- peer=- group=- copied-percent=- lag-seconds=4.000 lag-bytes=- suspend-type=- lag-known=no
`,
	} {
		got, ok := o.text(&st)
		if diff := cmp.Diff(want, got); diff != "" || !ok {
			t.Errorf("%+v: %v\n%s", o, ok, diff)
		}
	}
	for _, kind := range []objectKind{pairObject, groupObject, peerObject, volumeObject} {
		o := object{kind, "nosuch"}
		if text, ok := o.text(&st); ok {
			t.Errorf("%+v: %q", o, text)
		}
	}
}

// TestJournalCommands: what makes a group makes it with the journal volumes that it has, not with those that it had at first.
func TestJournalCommands(t *testing.T) {
	volume := func(n int, mib int64, state string) replica.JournalVolume {
		return replica.JournalVolume{Number: n, Size: mib << 20, State: state}
	}
	for _, c := range []struct {
		volumes []replica.JournalVolume
		want    string
	}{
		{nil, "create size=1GiB volumes=2\n"}, // not served
		{[]replica.JournalVolume{volume(1, 1024, "active"), volume(2, 1024, "active")}, "create size=1GiB volumes=2\n"},
		{[]replica.JournalVolume{volume(1, 1024, "leaving"), volume(2, 1024, "active")}, "create size=1GiB volumes=1\n"},
		{[]replica.JournalVolume{volume(2, 16, "active"), volume(3, 16, "joining"), volume(4, 64, "active"), volume(5, 16, "active")},
			"create size=16MiB volumes=2\nadd-volume size=64MiB\nadd-volume size=16MiB\n"},
	} {
		got := formatGroup(&replica.GroupStatus{Role: replica.Primary, VolumeSize: 1 << 30, Volumes: 2, JournalVolumes: c.volumes})
		if got, _, _ = strings.Cut(got, "name: "); got != c.want {
			t.Errorf("%+v: %q, want %q", c.volumes, got, c.want)
		}
		for line := range strings.Lines(got) {
			s := newFakeSite()
			if err := (object{groupObject, "g"}).runAll(s, []byte(line)); err != nil || len(s.calls) != 1 {
				t.Errorf("%q: %v, %v", line, err, s.calls)
			}
		}
	}
}

// TestNothingForATerminal: what came from elsewhere is text on one line, and no order to a terminal.
func TestNothingForATerminal(t *testing.T) {
	if got := orDash("a\x1b[31mb\u009b2Jc\x7fd\re\u2028f\u202eg ä"); got != "a [31mb 2Jc d e f g ä" {
		t.Errorf("%q", got)
	}
}

func TestPercent(t *testing.T) {
	for _, c := range []struct {
		part, whole int64
		want        string
	}{
		{0, 0, "100.0"}, {0, 10, "0.0"}, {1, 3, "33.3"}, {2, 3, "66.6"}, {9999, 10000, "99.9"}, {10, 10, "100.0"}, {11, 10, "100.0"},
		{1<<62 - 1, 1 << 62, "99.9"}, {-1, 10, "0.0"},
	} {
		if got := percent(c.part, c.whole); got != c.want {
			t.Errorf("%d of %d: %s, want %s", c.part, c.whole, got, c.want)
		}
	}
}

func TestEventLine(t *testing.T) {
	e := replica.Event{ID: 7, Time: time.Unix(1e9, 0), Level: "warn", Object: "peer osaka", Text: "two\nlines"}
	if got := formatEvent(&e); got != "7 2001-09-09T01:46:40.000Z warn peer/osaka: two lines\n" {
		t.Errorf("%q", got)
	}
	e.Code = "DC0x"
	if got := formatEvent(&e); got != "7 2001-09-09T01:46:40.000Z warn peer/osaka DC0x: two lines\n" {
		t.Errorf("%q", got)
	}
}

func TestMetricsAreWellFormed(t *testing.T) {
	st := sampleStatus()
	st.Pairs[0].Name = "a\"b\\c\nd"
	text := formatMetrics(&st, processFigures{cpu: 1500 * time.Millisecond, files: 12, filesMax: -1, resident: 4096, goroutines: 30, threads: 9, heap: 7})
	sample := regexp.MustCompile(`^([a-z_0-9]+)(\{[a-z]+="([^"\\\n]|\\.)*"(,[a-z]+="([^"\\\n]|\\.)*")*\})? [0-9.e+-]+$`)
	families := map[string]bool{}
	for _, line := range strings.Split(strings.TrimSuffix(text, "\n"), "\n") {
		if name, ok := strings.CutPrefix(line, "# TYPE "); ok {
			name, _, _ = strings.Cut(name, " ")
			if families[name] {
				t.Errorf("family %s comes twice", name)
			}
			families[name] = true
		} else if m := sample.FindStringSubmatch(line); m != nil && !families[m[1]] || m == nil && line[0] != '#' {
			t.Errorf("bad line %q", line)
		}
	}
	for _, want := range []string{
		`pairfs_pair_status{pair="a\"b\\c\nd",status="PSUS"} 1`, `pairfs_pair_status{pair="pair1",status="SSUS"} 1`,
		`pairfs_pair_lag_seconds{pair="pair1"} 4`, `pairfs_pair_lag_quantile_seconds{pair="pair1",quantile="1"} 0`, `pairfs_group_lag_bytes{group="g"} 35`,
		`pairfs_pair_lag_bytes{pair="a\"b\\c\nd"} 5`, `pairfs_pair_lag_quantile_bytes{pair="a\"b\\c\nd",quantile="0.99"} 32`, `pairfs_pair_lag_known{pair="pair1"} 0`, `pairfs_pair_taken_over{pair="a\"b\\c\nd"} 1`, `pairfs_pair_taken_over{pair="pair1"} 0`, `pairfs_journal_used_bytes{group="g"} 5.36870912e+08`, `pairfs_peer_connected{peer="osaka"} 1`, `pairfs_kept_sets 3`, `pairfs_kept_bytes 4096`,
		`process_cpu_seconds_total 1.5`, `process_open_fds 12`, `process_resident_memory_bytes 4096`, `go_goroutines 30`, `go_threads 9`, `go_gc_heap_live_bytes 7`,
	} {
		if !strings.Contains(text, want+"\n") {
			t.Errorf("no line %s", want)
		}
	}
	if strings.Contains(text, "-1") || strings.Contains(text, "process_max_fds") || strings.Contains(text, `pairfs_pair_lag_bytes{pair="pair1"}`) {
		t.Error("what is not known is given as a number")
	}
}

// The figures of this process are what its host says, and follow what it opens and starts.
func TestProcessFigures(t *testing.T) {
	was := lookAtProcess()
	for name, v := range map[string]int64{
		"processor time": int64(was.cpu), "open files": was.files, "files that may be open": was.filesMax, "resident bytes": was.resident,
		"goroutines": was.goroutines, "threads": was.threads,
	} {
		if v <= 0 {
			t.Errorf("%s: %d", name, v)
		}
	}
	runtime.GC()
	if now := lookAtProcess(); now.heap <= 0 {
		t.Errorf("heap after a collection: %d", now.heap)
	}
	const n = 50
	stop := make(chan struct{})
	defer close(stop)
	for range n {
		f, err := os.Open(os.DevNull)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		go func() { <-stop }()
	}
	if now := lookAtProcess(); now.files < was.files+n-5 || now.goroutines < was.goroutines+n-5 { // other tests may end some
		t.Errorf("%d files and %d goroutines more than %+v: %+v", n, n, was, now)
	}
	if got := statusField([]byte("Name:\tx\nThreads:\t12\nVmRSS:\t  34 kB\nOdd:\n"), "VmRSS:"); got != 34 {
		t.Errorf("VmRSS is %d", got)
	}
	for _, key := range []string{"None:", "Odd:", "Name:"} {
		if got := statusField([]byte("Name:\tx\nOdd:\n"), key); got != -1 {
			t.Errorf("%s is %d", key, got)
		}
	}
}

// Every status that a pair can show is a value of the label.
func TestMetricsKnowEveryStatus(t *testing.T) {
	for s := replica.SMPL; s <= replica.Deleting; s++ {
		for _, r := range []replica.Role{replica.Primary, replica.Secondary} {
			st := replica.SiteStatus{Pairs: []replica.PairStatus{{Name: "p", Status: s, Role: r}}}
			if want := fmt.Sprintf("pairfs_pair_status{pair=\"p\",status=%q} 1\n", s.On(r)); !strings.Contains(formatMetrics(&st, processFigures{}), want) {
				t.Errorf("no line %q", want)
			}
		}
	}
}
