package replica

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pairfs/quicwire"
)

// stopOver ends a site whose link does not carry what the other lacks in the time that the stop has.
func (n *node) stopOver(most time.Duration) {
	n.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), most)
	defer cancel()
	n.site.switchOff(ctx)
	n.close()
}

// same reports whether a volume shows the same bytes on both sides now.
func (d *duo) same(name string) bool {
	return bytes.Equal(readAll(d.t, d.a.vol(name)), readAll(d.t, d.b.vol(name)))
}

// TestPowerOffWithTooMuch: what the primary has does not get through before it is off. The S-VOLs show that it is off, and what is missing, also
// when their site is started again; when the primary is back it comes.
func TestPowerOffWithTooMuch(t *testing.T) {
	t.Parallel()
	d := newDuo(t)
	w := newWriter(d.a, "x", "y")
	d.a.volume("x")
	d.a.volume("y")
	d.a.group("g")
	d.a.pair("g", "x", "y")
	d.a.awaitBoth(PAIR, "x", "y")
	must(t, d.a.site.SetGroup(t.Context(), "g", map[string]string{"line-speed": "64K"}))
	for i := range int64(3) {
		must(t, w.write(t.Context(), 0, 256*i, 256, false))
	}
	had := d.a.groupStatus("g").AppendedSeq
	d.a.stopOver(10 * time.Second)
	d.b.await(PSUE, "x", "y")
	w.check(d.b, whatever)
	look := func(when string) {
		t.Helper()
		x, y := d.b.status("x"), d.b.status("y")
		if x.Suspend != MCUPowerOff || y.Suspend != MCUPowerOff || !x.Consistent || !x.LagKnown {
			t.Fatalf("%s: %+v, %+v", when, x, y)
		}
		if x.LagBytes < 1<<20 || x.LagBytes > 4<<20 || x.LagTime <= 0 || x.SuspendSeq+x.LagSeq < had || x.SuspendSeq >= had {
			t.Errorf("%s: missing of x are %d bytes, %v, %d records behind %d; the primary had %d", when, x.LagBytes, x.LagTime, x.LagSeq, x.SuspendSeq, had)
		}
		if y.LagBytes != 0 || y.LagSeq != 0 || y.LagTime != 0 {
			t.Errorf("%s: of y nothing is missing, it shows %d bytes, %v, %d records", when, y.LagBytes, y.LagTime, y.LagSeq)
		}
		if !strings.Contains(x.LastError, "tokyo was switched off: everything up to sequence number") || !strings.Contains(x.LastError, "MiB of what it had behind that is not") {
			t.Errorf("%s: x says %q", when, x.LastError)
		}
		if !strings.Contains(y.LastError, "everything that it had is here") {
			t.Errorf("%s: y says %q", when, y.LastError)
		}
	}
	look("then")
	d.b.reopen()
	look("after a restart")
	p := d.b.site.pairByName("x")
	p.group.mu.Lock()
	seq := p.lastThere()
	p.group.mu.Unlock()
	if uint64(seq) < had {
		t.Errorf("a takeover would go by number %d, the primary had %d", seq, had)
	}
	d.a.open()
	must(t, d.a.site.SetGroup(t.Context(), "g", map[string]string{"line-speed": "none"}))
	d.a.awaitBoth(PAIR, "x", "y")
	d.wait("the volumes are equal", func() bool { return d.same("x") && d.same("y") })
	d.wait("nothing is missing any more", func() bool { return d.b.status("x").LagBytes == 0 })
}

// TestPowerOffOlderPeer: a secondary that does not know of the message beside the mirror finds the link down, and goes on when the primary is back.
func TestPowerOffOlderPeer(t *testing.T) {
	t.Parallel()
	d := newDuo(t, func(name string, c *Config) { c.older = name == "osaka" })
	w := newWriter(d.a, "x")
	d.a.volume("x")
	d.a.group("g")
	d.a.pair("g", "x")
	d.a.awaitBoth(PAIR, "x")
	must(t, d.a.site.SetGroup(t.Context(), "g", map[string]string{"line-speed": "64K"}))
	for i := range int64(3) {
		must(t, w.write(t.Context(), 0, 256*i, 256, false))
	}
	d.a.stopOver(2 * time.Second)
	d.wait("the link is down", func() bool { return !d.b.linked() })
	if x := d.b.status("x"); x.Status != PAIR || x.LagKnown {
		t.Errorf("it shows %s, lag known %v", x.Status, x.LagKnown)
	}
	d.a.open()
	must(t, d.a.site.SetGroup(t.Context(), "g", map[string]string{"line-speed": "none"}))
	d.a.awaitBoth(PAIR, "x")
	d.wait("the volumes are equal", func() bool { return d.same("x") })
}

// A primary that is off may have ended a copy at that moment: the record of that is behind the one that says so.
func TestCopyEndsBehindPowerOff(t *testing.T) {
	off := Step(PairState{Role: Secondary, Status: COPY}, EvPeerOff).State
	if off.Status != PSUE || off.Suspend != MCUPowerOff || !off.Uncopied {
		t.Fatalf("switched off in COPY: %+v", off)
	}
	if back := Step(off, EvPeerBack).State; back != (PairState{Role: Secondary, Status: COPY}) {
		t.Errorf("back: %+v", back)
	}
	ended := Step(off, EvCopied).State
	if ended != (PairState{Role: Secondary, Status: PSUE, Suspend: MCUPowerOff, Consistent: true}) {
		t.Errorf("the copy has ended: %+v", ended)
	}
	if back := Step(ended, EvPeerBack).State; back != (PairState{Role: Secondary, Status: PAIR, Consistent: true}) {
		t.Errorf("back in PAIR: %+v", back)
	}
	if failed := Step(off, EvFailure).State; failed.Suspend != InitialCopyFailed {
		t.Errorf("an error of a copy that is held up: %+v", failed)
	}
	if out := Step(off, CmdTakeover); out.Verdict != Refuse {
		t.Errorf("a takeover of what is no image: %+v", out)
	}
}

// TestPathLostToOlderPeer: what an older site does not understand it is not told, and what it says is understood as before.
func TestPathLostToOlderPeer(t *testing.T) {
	t.Parallel()
	p := &pair{name: "x", rec: pairRecord{PathLost: true, State: PairState{Role: Secondary, Status: PSUE, Suspend: SVOLFailure}}}
	for peer, want := range map[quicwire.Features]uint8{0: uint8(SVOLFailure), quicwire.FeaturePathLost: uint8(SVOLFailure) | quicwire.SuspendPathLost} {
		if got := p.tells(peer).SuspendType; got != want {
			t.Errorf("a peer with features %x is told %#x, want %#x", uint64(peer), got, want)
		}
	}
	d := newDuo(t, func(name string, c *Config) { c.older = name == "osaka" })
	d.a.volume("x")
	d.a.group("g")
	d.a.pair("g", "x")
	d.a.awaitBoth(PAIR, "x")
	d.cut()
	g := d.b.site.groupByName("g@tokyo")
	g.mu.Lock()
	g.linkChange = g.linkChange.Add(-2 * time.Hour)
	g.mu.Unlock()
	d.b.await(PSUE, "x")
	d.heal()
	d.a.await(PSUE, "x")
	if x := d.a.status("x"); x.Suspend != ByRCU || !strings.Contains(x.LastError, "osaka says that the pair is PSUE (S-VOL failure)") {
		t.Errorf("%s: %s", x.Suspend, x.LastError)
	}
}

// TestSuspendedBeforeItIsBack: a primary that was switched off is started again and suspends its pairs, each for a reason of its own, before the
// secondary can hear it. When it hears that, it waits for the primary no more: its S-VOLs say what became of the pairs, and a marker that did
// not arrive has come to an end on both sides.
func TestSuspendedBeforeItIsBack(t *testing.T) {
	t.Parallel()
	d := newDuo(t)
	all := []string{"split", "lost", "deleted", "made-anew"}
	w := newWriter(d.a, all...)
	for _, name := range all {
		d.a.volume(name)
		d.a.group("g-" + name)
		d.a.pair("g-"+name, name)
	}
	d.a.awaitBoth(PAIR, all...)
	d.a.close()
	d.b.await(PSUE, all...)
	d.darken()
	must(t, os.RemoveAll(filepath.Join(d.a.cfg.StateDir, "journals", "g-made-anew")))
	d.a.open()
	must(t, w.write(t.Context(), 0, 0, 8, false))
	m, err := d.a.site.MarkPair(t.Context(), "split")
	must(t, err)
	must(t, d.a.site.SuspendPair(t.Context(), "split", SuspendOptions{Purge: true}))
	must(t, d.a.site.SetGroup(t.Context(), "g-lost", map[string]string{"path-watch": "1s"}))
	must(t, d.a.site.DeletePair(t.Context(), "deleted", DeleteOptions{Force: true}))
	d.a.await(PSUS, "split")
	d.a.await(PSUE, "lost", "made-anew")
	for _, name := range all {
		if st := d.b.status(name); st.Suspend != MCUPowerOff {
			t.Fatalf("the secondary, which has heard nothing, shows %s as %s (%s)", name, st.Status, st.Suspend)
		}
	}
	d.heal()
	is := func(name string, status Status, typ SuspendType) {
		t.Helper()
		d.wait(name+" is not held up any more", func() bool { return d.b.status(name).Suspend != MCUPowerOff })
		if st := d.b.status(name); st.Status != status || st.Suspend != typ || !st.Consistent || strings.Contains(st.LastError, "goes on when it is back") {
			t.Errorf("%s is %s (%s), image %v: %s", name, st.Status, st.Suspend, st.Consistent, st.LastError)
		}
	}
	is("split", PSUS, ByMCU)
	is("lost", PSUE, SVOLFailure)
	is("deleted", PSUE, SVOLFailure)
	is("made-anew", PSUE, MCUInitialized)
	for _, n := range []*node{d.a, d.b} {
		d.wait("the marker has come to an end at "+n.cfg.Name, func() bool {
			over, cancel := context.WithCancel(t.Context())
			cancel()
			st, err := n.site.WaitMarker(over, m)
			must(t, err)
			return st.State == MarkerBroken
		})
	}
	d.a.resync("g-split", "split")
	d.wantEqual("split")
}

// TestSwitchedOffAndBackLongAgo: the record of a switch-off that arrived when the primary was back is not obeyed by a start of the secondary either,
// though the mirror is down then and nothing of the primary is heard.
func TestSwitchedOffAndBackLongAgo(t *testing.T) {
	t.Parallel()
	d := newDuo(t)
	w := newWriter(d.a, "x")
	d.a.volume("x")
	d.a.group("g")
	d.a.pair("g", "x")
	g, there := d.a.site.groupByName("g"), d.b.site.groupByName("g@tokyo")
	there.keep(there.journal.Marks().Freed) // the start finds the record
	d.cut()
	if g.sayOff(t.Context()) == 0 {
		t.Fatal("the record could not be written")
	}
	must(t, g.sayOn())
	must(t, w.write(t.Context(), 0, 0, 8, true))
	last := g.journal.Marks().LastSeq
	d.heal()
	d.wait("all is at the secondary", func() bool { return d.b.lastSeq("g@tokyo") >= last })
	d.cut()
	d.b.crash(nil)
	d.b.open()
	if st := d.b.status("x"); st.Status != PAIR {
		t.Errorf("the S-VOL is %s (%s): %s", st.Status, st.Suspend, st.LastError)
	}
	d.heal()
	d.a.awaitBoth(PAIR, "x")
}
