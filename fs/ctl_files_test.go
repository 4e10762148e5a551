package fs

import (
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"pairfs/replica"
)

func TestControlTree(t *testing.T) {
	c := serve(t)
	c.volume("db", 0)
	if got := c.names(".ctl"); !cmp.Equal(got, []string{"events", "groups", "history", "kept", "kept.d", "metrics", "pairs", "peers", "site", "volumes"}) {
		t.Errorf(".ctl: %q", got)
	}
	if got := c.names(".ctl/volumes"); !cmp.Equal(got, []string{"db"}) {
		t.Errorf("volumes: %q", got)
	}
	for name, want := range map[string]os.FileMode{".ctl": os.ModeDir | 0o700, ".ctl/groups": os.ModeDir | 0o700, ".ctl/site": 0o600, ".ctl/volumes/db": 0o600} {
		if st, err := os.Stat(c.path(name)); err != nil || st.Mode() != want {
			t.Errorf("%s: %v, %v", name, st, err)
		}
	}
	if out, err := c.shell("cat .ctl/site"); err != nil || !strings.HasPrefix(out, "name: tokyo\nfingerprint: SHA256:abc\n") {
		t.Errorf("%q, %v", out, err)
	}
	if out, err := c.shell("cat .ctl/volumes/db .ctl/metrics"); err != nil || !strings.HasPrefix(out, "name: db\n") || !strings.Contains(out, "pairfs_volumes 1\n") {
		t.Errorf("%q, %v", out, err)
	}
	_, err := os.ReadFile(c.path(".ctl/nosuch"))
	wantErrno(t, "read of no pair", err, unix.ENOENT)
	_, err = os.OpenFile(c.path(".ctl/volumes/nosuch"), os.O_RDWR|os.O_CREATE, 0o600)
	wantErrno(t, "create in volumes", err, unix.ENOENT)
	_, err = os.OpenFile(c.path(".ctl/.x"), os.O_RDWR|os.O_CREATE, 0o600)
	wantErrno(t, "create of a bad name", err, unix.EINVAL)
	wantErrno(t, "rm", os.Remove(c.path(".ctl/site")), unix.EPERM)
	wantErrno(t, "rmdir", unix.Rmdir(c.path(".ctl/groups")), unix.EPERM)
	wantErrno(t, "mkdir", os.Mkdir(c.path(".ctl/groups/g"), 0o700), unix.EPERM)
	wantErrno(t, "mv", os.Rename(c.path(".ctl/site"), c.path(".ctl/x")), unix.EPERM)
	wantErrno(t, "chmod", os.Chmod(c.path(".ctl/site"), 0o644), unix.EPERM)
}

// One look at a control file takes one picture of the site, which costs one with hundreds of pairs milliseconds: neither finding nor opening it does.
func TestOneLookIsOnePicture(t *testing.T) {
	site := newFakeSite()
	site.status.Pairs = []replica.PairStatus{{Name: "pair0"}}
	tree := &tree{site: site}
	for _, o := range []object{{pairObject, "pair0"}, {pairsObject, ""}, {siteObject, ""}} {
		site.pictures = 0
		if !o.exists(site) {
			t.Errorf("%+v does not exist", o)
		}
		h, _, errno := (&ctlNode{tree: tree, object: o}).Open(t.Context(), unix.O_RDONLY)
		if errno != 0 || site.pictures != 0 {
			t.Errorf("%+v: opening it: %v, %d pictures", o, errno, site.pictures)
			continue
		}
		r, errno := h.(*ctlHandle).Read(t.Context(), make([]byte, 4096), 0)
		if errno != 0 || r.Size() == 0 || site.pictures != 1 {
			t.Errorf("%+v: reading it: %v, %d pictures", o, errno, site.pictures)
		}
	}
	site.pictures = 0
	for _, o := range []object{{pairObject, "nosuch"}, {groupObject, "pair0"}, {volumeObject, "db"}} {
		if _, _, errno := (&ctlNode{tree: tree, object: o}).Open(t.Context(), unix.O_RDONLY); errno != unix.ENOENT {
			t.Errorf("%+v: %v", o, errno)
		}
		if _, errno := (&ctlDir{tree: tree, kind: o.kind}).Lookup(t.Context(), o.name, nil); errno != unix.ENOENT {
			t.Errorf("%+v: %v", o, errno)
		}
	}
	if site.pictures != 0 {
		t.Errorf("looking for what is not there took %d pictures", site.pictures)
	}
}

func TestPairIsMadeByItsFile(t *testing.T) {
	c := serve(t)
	out, err := c.shell("echo 'create volume=db' > .ctl/pair0")
	if err == nil || !strings.Contains(out, "Invalid argument") && !strings.Contains(out, "I/O error") {
		t.Errorf("%q, %v", out, err)
	}
	if got := c.names(".ctl"); len(got) != 10 {
		t.Errorf("a refused command left its name: %q", got)
	}
	_, err = os.Stat(c.path(".ctl/pair0"))
	wantErrno(t, "stat after a refused command", err, unix.ENOENT)
	if out, err := c.shell("echo 'create volume=db peer=osaka' > .ctl/pair0 && cat .ctl/pair0 .ctl/pairs"); err != nil ||
		!strings.HasPrefix(out, "create volume=db peer=osaka remote=db group=default copy=full\nname: pair0\n") ||
		!strings.Contains(out, "\npair0 role=P-VOL status=COPY volume=db peer=osaka group=default ") {
		t.Errorf("%q, %v", out, err)
	}
	if got := c.names(".ctl"); len(got) != 11 || got[6] != "pair0" {
		t.Errorf("names: %q", got)
	}
	if out, err := c.shell("printf suspend >> .ctl/pair0 && echo 'suspend mode=purge svol-write=enable' > .ctl/pair0 && echo delete > .ctl/pair0"); err != nil {
		t.Errorf("%q, %v", out, err)
	}
	_, err = os.ReadFile(c.path(".ctl/pair0"))
	wantErrno(t, "read of a deleted pair", err, unix.ENOENT)
	want := []string{
		"CreatePair {Name:pair0 Volume:db Peer:osaka RemoteVolume:db Group:default Options:map[] CopyNone:false}",
		"SuspendPair pair0 {Purge:false SVOLWrite:false SVOLRead:false Mark:false At:/0000000000000000-0}",
		"SuspendPair pair0 {Purge:true SVOLWrite:true SVOLRead:false Mark:false At:/0000000000000000-0}",
		"DeletePair pair0 {Force:false}",
	}
	if diff := cmp.Diff(want, c.do(order{Op: "calls"}).Calls); diff != "" {
		t.Error(diff)
	}
}

func TestAnswerOnTheSameFile(t *testing.T) {
	c := serve(t)
	f := c.open(c.path(".ctl/groups/g"), os.O_RDWR|os.O_CREATE)
	read := func() string {
		t.Helper()
		text, err := io.ReadAll(f)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	if _, err := f.WriteString("create size=2G\n"); err != nil {
		t.Fatal(err)
	}
	if got := read(); got != "ok\n" {
		t.Errorf("answer %q", got)
	}
	c.do(order{Op: "refuse", On: true, Kind: replica.KindUnreachable, Text: "peer osaka cannot be reached; check its address"})
	_, err := f.WriteString("resync\n")
	wantErrno(t, "refused command", err, unix.EHOSTUNREACH)
	if got := read(); got != "error: peer osaka cannot be reached; check its address\n" {
		t.Errorf("answer %q", got)
	}
	if got := read(); got != "" {
		t.Errorf("after the answer: %q", got)
	}
	_, err = f.WriteString("suspend\nresync\n")
	wantErrno(t, "two lines", err, unix.EINVAL)
	part := make([]byte, 10)
	if n, err := f.ReadAt(part, 1000); n != 10 || string(part) != "error: the" {
		t.Errorf("a piece of the answer: %q, %v", part[:n], err)
	}
	if _, err := f.WriteString(strings.Repeat("x", maxLine+1)); err == nil {
		t.Error("a line that is too long was taken")
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		t.Fatal(err)
	}
	if got := read(); !strings.HasPrefix(got, "error: the command is 4097 bytes long") {
		t.Errorf("answer %q", got)
	}
	c.do(order{Op: "refuse"})
	// A state is of one moment, however it is read, and anew when it is read from the beginning.
	s := c.open(c.path(".ctl/site"), os.O_RDWR)
	first := make([]byte, 1000)
	n, _ := s.ReadAt(first, 0)
	c.volume("new", 0)
	if again := make([]byte, 1000); true {
		m, _ := s.ReadAt(again, 0)
		if string(again[:m]) != string(first[:n]) {
			t.Error("the state changed under an open file")
		}
	}
	if _, err := s.WriteAt([]byte("nonsense"), 0); err == nil {
		t.Error("nonsense was taken")
	}
	s.ReadAt(first, 0)
	s.ReadAt(first, 0)
	if n, _ = s.ReadAt(first, 0); !strings.Contains(string(first[:n]), "\nvolumes: 1\n") {
		t.Errorf("the state after a command: %q", first[:n])
	}
}

// A command that was carried out may have something to say: behind its "ok", on the handle that carried it.
func TestRemarksFollowTheOK(t *testing.T) {
	c := serve(t)
	f := c.open(c.path(".ctl/pair0"), os.O_RDWR|os.O_CREATE)
	for _, row := range []struct{ line, want string }{
		{"suspend mode=purge", "ok: this much is lost; and that\n"}, {"suspend", "ok\n"},
		{"takeover timeout=30m", "ok: SVOL-SSUS-takeover: hosts may write now\n"},
	} {
		if _, err := f.WriteString(row.line); err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(f); err != nil || string(got) != row.want {
			t.Errorf("%s: answer %q, %v", row.line, got, err)
		}
	}
}

func TestEveryKindHasItsErrnoAtTheFile(t *testing.T) {
	c := serve(t)
	f := c.open(c.path(".ctl/peers/osaka"), os.O_RDWR|os.O_CREATE)
	for _, kind := range replica.Kinds {
		c.do(order{Op: "refuse", On: true, Kind: kind, Text: "no"})
		_, err := f.WriteString("remove")
		wantErrno(t, kind.String(), err, kindErrno[kind])
	}
	// Each refusal is an event.
	events := c.open(c.path(".ctl/events"), os.O_RDONLY|unix.O_NONBLOCK)
	for i := range replica.Kinds {
		line := make([]byte, 200)
		n, err := unix.Read(int(events.Fd()), line)
		if err != nil || !strings.HasSuffix(string(line[:max(n, 0)]), " WARN peer/osaka: no\n") {
			t.Fatalf("event %d: %q, %v", i, line[:max(n, 0)], err)
		}
	}
	_, err := unix.Read(int(events.Fd()), make([]byte, 10))
	wantErrno(t, "no more events", err, unix.EAGAIN)
}

func TestEventsWait(t *testing.T) {
	c := serve(t)
	c.do(order{Op: "event", Text: "first"})
	cat := exec.Command("cat", c.path(".ctl/events"))
	out, err := cat.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cat.Start(); err != nil {
		t.Fatal(err)
	}
	line := func() string {
		buf := make([]byte, 200)
		n, _ := out.Read(buf)
		return string(buf[:n])
	}
	if got := line(); got != "1 2001-09-09T01:46:40.000Z INFO pair/pair0: first\n" {
		t.Errorf("%q", got)
	}
	c.do(order{Op: "event", Text: "second"})
	if got := line(); got != "2 2001-09-09T01:46:40.000Z INFO pair/pair0: second\n" {
		t.Errorf("%q", got)
	}
	// A signal ends the wait: without that, Wait would hang here.
	cat.Process.Signal(unix.SIGTERM)
	cat.Wait()
	// A line longer than the buffer comes in pieces.
	f := c.open(c.path(".ctl/events"), os.O_RDONLY)
	text, piece := "", make([]byte, 7)
	for !strings.HasSuffix(text, "\n") {
		n, err := unix.Read(int(f.Fd()), piece)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		text += string(piece[:n])
	}
	if text != "1 2001-09-09T01:46:40.000Z INFO pair/pair0: first\n" {
		t.Errorf("%q", text)
	}
}

func TestEventReadersAreBounded(t *testing.T) {
	c := serve(t)
	for range maxEventReaders {
		c.open(c.path(".ctl/events"), os.O_RDONLY)
	}
	_, err := os.Open(c.path(".ctl/events"))
	wantErrno(t, "one reader too many", err, unix.EBUSY)
}

func TestStopIsCalledOnce(t *testing.T) {
	c := serve(t)
	if c.do(order{}).Stopped {
		t.Error("stopped before it was told to")
	}
	if out, err := c.shell("echo stop > .ctl/site && echo stop > .ctl/site"); err != nil {
		t.Errorf("%q, %v", out, err)
	}
	if !c.do(order{}).Stopped {
		t.Error("not stopped")
	}
}

// Real tools that copy a volume to a control file fail before anything is lost: a volume of nothing but a hole is copied without one write.
func TestCopiesToControlFilesFail(t *testing.T) {
	c := serve(t)
	c.volume("hole", 1<<20)
	c.volume("data", 8192)
	for _, line := range []string{
		"mv hole .ctl/x", "mv -f hole .ctl/site", "mv hole .ctl/peers/x", "mv data .ctl/x", "cp hole .ctl/x", "cp --sparse=always hole .ctl/x",
		"cp data .ctl/x", "truncate -s 1M .ctl/site", "cat hole > /dev/null && cp hole .ctl/site", "set -o noclobber; echo suspend > .ctl/x",
	} {
		if out, err := c.shell(line); err == nil {
			t.Errorf("%q was done: %q", line, out)
		}
	}
	if got := c.names("."); !cmp.Equal(got, []string{".ctl", "data", "hole"}) {
		t.Errorf("left are %q", got)
	}
	if calls := c.do(order{Op: "calls"}).Calls; len(calls) != 0 {
		t.Errorf("a copy became a command: %q", calls)
	}
	if out, err := c.shell("> .ctl/site && echo stop > .ctl/site"); err != nil {
		t.Errorf("what shells do: %q, %v", out, err)
	}
}
