package replica

import (
	"context"
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
}
