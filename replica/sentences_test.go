package replica

import (
	"context"
	"log/slog"
	"strings"
	"testing"
)

// says ends the test unless err is a sentence with all of the words, each once.
func says(t *testing.T, err error, words ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("nothing was refused, want %q", words)
	}
	for _, w := range words {
		if strings.Count(err.Error(), w) != 1 {
			t.Errorf("%q should say %q once", err, w)
		}
	}
}

// What an operator reads names what it is about, and each thing once.
func TestSentencesOfRefusals(t *testing.T) {
	t.Parallel()
	d := newDuo(t)
	ctx := context.Background()
	s := d.a.site
	key := d.b.site.identity.Fingerprint().String()

	taken := newNode(t, "kyoto", nil)
	taken.cfg.Listen = d.a.cfg.Listen
	says(t, taken.tryOpen(), taken.cfg.Listen, "listen on ", "address already in use", "--listen")

	err := s.AddPeer(ctx, PeerSpec{Name: "nara", Address: "nowhere", Fingerprint: key})
	refused(t, err, KindInvalid)
	says(t, err, "peer nara cannot be added", `"nowhere" is not HOST:PORT`)

	for spec, want := range map[PeerSpec]string{
		{Name: "nara", Address: "h:99999", Fingerprint: key}:                              `port 99999 of address "h:99999" is out of range: 1 to 65535`,
		{Name: "nara", Address: "h:99999999999999999999", Fingerprint: key}:               "is out of range: 1 to 65535",
		{Name: "nara", Address: "h:x", Fingerprint: key}:                                  `"h:x" is not HOST:PORT`,
		{Name: "nara", Address: "h:1", Fingerprint: key}:                                  "this key belongs to peer osaka already",
		{Name: "nara", Address: "h:1", Fingerprint: s.identity.Fingerprint().String()}:    "this is the key of this site itself",
		{Name: "tokyo", Address: "h:1", Fingerprint: "SHA256:" + strings.Repeat("A", 43)}: "that is the name of this site",
	} {
		err := s.AddPeer(ctx, spec)
		refused(t, err, KindInvalid)
		says(t, err, "peer "+spec.Name+" cannot be added", want)
	}

	d.a.volume("x")
	err = s.ReserveVolume(ctx, "x", "")
	refused(t, err, KindBusy)
	says(t, err, "volume x is not set aside")
	must(t, s.ReserveVolume(ctx, "x", "osaka"))
	must(t, s.ReserveVolume(ctx, "x", ""))

	d.a.group("g")
	d.a.pair("g", "x")
	err = s.RemovePeer(ctx, "osaka")
	refused(t, err, KindBusy)
	says(t, err, "1 pair here")
	d.a.volume("y")
	d.a.pair("g", "y")
	says(t, s.RemovePeer(ctx, "osaka"), "2 pairs here")
}

// A peer that is added again keeps what it may create, unless that is said anew.
func TestPeerKeepsItsQuota(t *testing.T) {
	t.Parallel()
	d := newDuo(t)
	s := d.b.site
	spec := PeerSpec{Name: "tokyo", Address: d.a.proxy.Addr(), Fingerprint: d.a.site.identity.Fingerprint().String(), Quota: 5 << 20}
	kept := spec
	kept.Quota, kept.KeepQuota = 0, true
	for _, step := range []struct {
		spec PeerSpec
		want int64
	}{{spec, 5 << 20}, {kept, 5 << 20}, {PeerSpec{Name: spec.Name, Address: spec.Address, Fingerprint: spec.Fingerprint}, 0}, {kept, 0}} {
		must(t, s.AddPeer(t.Context(), step.spec))
		if got := s.quota("tokyo"); got != step.want {
			t.Errorf("%+v: the quota is %d, want %d", step.spec, got, step.want)
		}
	}
}

// Sizes that are compared in a sentence are not rounded until they look the same.
func TestSizesThatLookTheSame(t *testing.T) {
	for _, row := range []struct {
		all  []int64
		want string
	}{
		{[]int64{5 << 30, 1 << 30, 6 << 30}, "5.0 GiB 1.0 GiB 6.0 GiB"},
		{[]int64{1 << 30, 1 << 30, 1 << 20}, "1.0 GiB 1.0 GiB 1.0 MiB"},
		{[]int64{1<<30 + 1<<20, 1 << 30, 1 << 20}, "1025 MiB 1024 MiB 1 MiB"},
		{[]int64{16 << 20, 0, 16<<20 + 4096}, "16777216 bytes 0 bytes 16781312 bytes"},
	} {
		if got := strings.Join(sizes(row.all...), " "); got != row.want {
			t.Errorf("%v: %q, want %q", row.all, got, row.want)
		}
	}
}

// A refused command that is about something else than the pair does not become its last error.
func TestLastErrorIsOfThePair(t *testing.T) {
	t.Parallel()
	d := newDuo(t)
	d.a.group("g")
	d.a.volume("x")
	d.a.pair("g", "x")
	s := d.a.site
	err := s.CreatePair(t.Context(), PairSpec{Name: "x", Volume: "x", Peer: "osaka", Group: "g"})
	refused(t, err, KindExists)
	s.Note(slog.LevelWarn, "pair/x", err.Error()) // as for every command that is refused
	refused(t, s.SetPair(t.Context(), "x", map[string]string{"priority": "0"}), KindInvalid)
	if text := d.a.status("x").LastError; text != "" || d.a.tells("pair/x", err.Error()) != 1 {
		t.Errorf("the last error is %q", text)
	}
	refused(t, d.b.site.ResyncPair(t.Context(), "x"), KindSecondary)
	if text := d.b.status("x").LastError; !strings.Contains(text, "a resync copies from the primary") {
		t.Errorf("the last error at the secondary is %q", text)
	}
	d.a.suspend("g", SuspendOptions{}, "x")
	d.b.await(PSUS, "x")
	if st := d.b.status("x"); st.LastError != st.Why || strings.Contains(st.Why, "a resync copies from the primary") {
		t.Errorf("behind a new status the last error at the secondary is %q", st.LastError)
	}
}

// A site says what is wrong with the memory that it is given: none of it is there, or it is slow.
func TestSentencesAboutMemory(t *testing.T) {
	t.Parallel()
	n := newNode(t, "kyoto", nil)
	fits := n.cfg.Memory
	n.cfg.Memory = 1 << 47
	err := n.tryOpen()
	refused(t, err, KindInvalid)
	says(t, err, "128 TiB", iec(hostMemory()))
	n.cfg.Memory = fits
	n.open()
	if n.tells("site", "not on tmpfs") != 0 {
		t.Error("a ring on tmpfs is complained about")
	}
	n.close()
	n.cfg.RingDir = t.TempDir()
	n.open()
	defer n.close()
	if told := n.tells("site", "not on tmpfs") == 1; told == onTmpfs(n.cfg.RingDir) {
		t.Errorf("rings in %s, told: %v", n.cfg.RingDir, told)
	}
}

// A suspend that cannot flush because the mirror is down does not blame the peer.
func TestSuspendWithoutLinkSaysSo(t *testing.T) {
	t.Parallel()
	d := newDuo(t)
	d.a.group("g")
	d.a.volume("x")
	d.a.pair("g", "x")
	d.cut()
	must(t, newWriter(d.a, "x").write(t.Context(), 0, 1, 1, false))
	must(t, d.a.site.SuspendPair(t.Context(), "x", SuspendOptions{}))
	d.a.await(PSUS, "x")
	if text := d.a.status("x").LastError; !strings.Contains(text, "the mirror with osaka is down") {
		t.Errorf("it says %q", text)
	}
	d.wait("an event says so", func() bool { return d.a.tells("pair/x", "the mirror with osaka is down") == 1 })

	// A command that is refused behind it takes that away from nobody.
	err := d.a.site.ResyncPairWith(t.Context(), "x", ResyncOptions{Swap: true})
	if st := d.a.status("x"); err == nil || st.LastError != err.Error() || !strings.Contains(st.Why, "the mirror with osaka is down") {
		t.Errorf("behind the refusal %q it says %q, and was suspended because %q", err, st.LastError, st.Why)
	}
	must(t, d.a.site.SuspendPair(t.Context(), "x", SuspendOptions{}))
	if st := d.a.status("x"); st.LastError != st.Why {
		t.Errorf("behind a command that was obeyed it says %q", st.LastError)
	}
}
