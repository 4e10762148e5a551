package replica

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"pairfs/journal/journaltest"
)

// TestI2Kill kills the primary's process with SIGKILL while hosts write, some rounds: every acknowledged write is there afterwards, no
// request is torn, and the pair goes on without a resync.
func TestI2Kill(t *testing.T) {
	t.Parallel()
	d := newDuo(t)
	seed := testSeed(t)
	rng := newRand(seed)
	w := newWriter(d.a, "x", "y")
	d.a.group("g")
	d.a.volume("x")
	d.a.volume("y")
	d.a.pair("g", "x", "y")
	for round := range 3 {
		d.a.close()
		k := d.a.spawn(w, 3, seed+uint64(round)*100)
		k.awaitAcks(200 + rng.Int64N(600))
		k.kill()
		d.a.open()
		w.check(d.a, everyAck)
		d.a.await(PAIR, "x", "y")
		w.checkStill(d.b, "g@tokyo", whatever)
		if sent := d.a.groupStatus("g").BaseSent; sent != 0 {
			t.Errorf("round %d: %d bytes of base records were sent after the restart: no resync may be needed", round, sent)
		}
	}
	d.a.suspend("g", SuspendOptions{}, "x", "y")
	w.check(d.b, everyAck)
	d.wantEqual("x", "y")
}

// TestI2KillInCopy kills the primary in the middle of an initial copy with hosts writing: the copy goes on and ends.
func TestI2KillInCopy(t *testing.T) {
	t.Parallel()
	d := newDuo(t)
	seed := testSeed(t)
	w := newWriter(d.a, "x", "y")
	d.a.group("g")
	d.a.volume("x")
	d.a.volume("y")
	w.some(newRand(seed), 300)
	d.darken()
	d.lighten()
	for _, v := range w.names {
		must(t, d.a.site.CreatePair(context.Background(), PairSpec{Name: v, Volume: v, Peer: "osaka", Group: "g"}))
	}
	d.darken()
	d.a.site.endpoint.RemovePeer("osaka")
	d.a.close()
	d.lighten()
	for round := range 2 {
		k := d.a.spawn(w, 2, seed+uint64(round)*100)
		k.awaitAcks(50)
		k.kill()
	}
	d.a.open()
	w.check(d.a, everyAck)
	d.a.awaitBoth(PAIR, "x", "y")
	d.a.suspend("g", SuspendOptions{}, "x", "y")
	w.check(d.b, everyAck)
	d.wantEqual("x", "y")
}

// TestI2PowerCut cuts the power of the primary: what was flushed is there, and what is there is a prefix; the pair goes on, and the
// secondary had nothing that the primary lost.
func TestI2PowerCut(t *testing.T) {
	t.Parallel()
	disk, stores := journaltest.NewFS(), newMortalStores()
	d := newDuo(t, withJournal("tokyo", disk), withStores("tokyo", stores.wrap))
	rng := newRand(testSeed(t))
	w := newWriter(d.a, "x", "y")
	d.a.group("g")
	must(t, os.MkdirAll(filepath.Join(d.a.cfg.StateDir, "journals", "g"), 0o700))
	d.a.volume("x")
	d.a.volume("y")
	d.a.pair("g", "x", "y")
	for range 4 {
		w.some(rng, rng.IntN(150))
		if rng.IntN(2) == 0 {
			must(t, d.a.site.groupByName("g").restorePass()) // stores with bytes that no checkpoint covers
		}
		must(t, w.sync(context.Background(), rng.IntN(2)))
		w.some(rng, rng.IntN(60))
		d.powerCut(d.a, disk, stores, rng.Uint64())
		d.a.open()
		w.check(d.a, everySynced)
		d.a.await(PAIR, "x", "y")
		w.checkStill(d.b, "g@tokyo", whatever)
		w.forgetLost(d.a)
		if sent := d.a.groupStatus("g").BaseSent; sent != 0 {
			t.Errorf("%d bytes of base records were sent after the power cut: no resync may be needed", sent)
		}
	}
	d.wait("the link is up", d.a.linked) // or the flush is given up, and the rest marked
	d.a.suspend("g", SuspendOptions{}, "x", "y")
	w.check(d.b, everySynced)
	d.wantEqual("x", "y")
}

// powerCut ends a site as a power cut does: the ring is gone, and of what was not flushed any part may be. then is called when nothing comes to the
// disks any more.
func (d *duo) powerCut(n *node, disk *journaltest.FS, stores *mortalStores, seed uint64, then ...func()) {
	d.t.Helper()
	ring := n.site.ringDir
	n.crash(func() {
		disk.Crash(seed, []int{512, 4096}[seed%2])
		must(d.t, stores.cut(newRand(seed)))
		for _, f := range then {
			f()
		}
	})
	must(d.t, os.RemoveAll(ring))
	n.cfg.WithoutRing = true // in a power cut the run of the machine ends
}

// forgetLost takes ops that a power cut undid out of the history: what is not in the prefix that the site has, and was not flushed, may be there or
// not, as if it had never been acknowledged.
func (w *writer) forgetLost(n *node) {
	w.t.Helper()
	all, err := pictures(w.images(n))
	must(w.t, err)
	p, err := w.h.Check(all, everySynced)
	must(w.t, err)
	w.h.Lose(p)
}
