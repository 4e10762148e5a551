package replica

import (
	"context"
	"errors"
	"testing"
	"time"
)

// differ makes a duo with two pairs in PAIR and some history.
func differ(t *testing.T, options ...duoOption) (*duo, *writer, interface{ IntN(int) int }) {
	t.Helper()
	d := newDuo(t, options...)
	rng := newRand(testSeed(t))
	w := newWriter(d.a, "x", "y")
	d.a.group("g")
	d.a.volume("x")
	d.a.volume("y")
	w.some(rng, 30)
	d.a.pair("g", "x", "y")
	w.some(rng, 30)
	d.settled("x", "y")
	return d, w, rng
}

// settled waits until the primary knows that the copy is in the secondary's stores: from then on nothing of it is marked.
func (d *duo) settled(pairs ...string) {
	d.t.Helper()
	d.wait("nothing is marked", func() bool {
		for _, name := range pairs {
			if d.a.site.pairByName(name).att.bits.any() {
				return false
			}
		}
		return true
	})
}

// mend resyncs and proves that the volumes are equal.
func (d *duo) mend() {
	d.t.Helper()
	d.wantCovered("x", "y")
	d.a.resync("g", "x", "y")
	d.a.suspend("g", SuspendOptions{}, "x", "y")
	d.wantEqual("x", "y")
}

// TestI5Split: writes on either side of a split are marked, also after both sites were restarted, and a resync copies them and no more
// than the union of both bitmaps.
func TestI5Split(t *testing.T) {
	t.Parallel()
	d, w, rng := differ(t)
	d.a.suspend("g", SuspendOptions{SVOLWrite: true}, "x", "y")
	d.wantEqual("x", "y")
	ctx := context.Background()
	must(t, w.write(ctx, 0, 3, 2, false))   // region 0
	must(t, w.write(ctx, 0, 500, 2, false)) // region 31
	must(t, w.discard(ctx, 1, 16, 16))      // region 1
	s := &writer{t: t, node: d.b, names: w.names, h: newHistory()}
	must(t, s.write(ctx, 0, 40, 1, false))  // region 2
	must(t, s.write(ctx, 0, 501, 1, false)) // region 31 too
	must(t, s.discard(ctx, 1, 160, 16))     // region 10
	d.wantCovered("x", "y")
	d.a.reopen()
	d.wantCovered("x", "y")
	d.b.reopen()
	d.wantCovered("x", "y")
	for pair, want := range map[string][2]int64{"x": {2, 2}, "y": {1, 1}} {
		if p, q := d.a.status(pair).Different, d.b.status(pair).Different; p != want[0]*regionSize || q != want[1]*regionSize {
			t.Errorf("pair %s: %d and %d bytes are marked, want %d and %d regions", pair, p, q, want[0], want[1])
		}
	}
	before := d.a.groupStatus("g").BaseSent
	d.a.resync("g", "x", "y")
	if sent := d.a.groupStatus("g").BaseSent - before; sent > 5*regionSize {
		t.Errorf("the resync sent %d bytes, the union of the differences has 5 regions", sent)
	}
	w.some(rng, 10)
	d.a.suspend("g", SuspendOptions{}, "x", "y")
	w.check(d.b, everyAck)
	d.wantEqual("x", "y")
}

// TestI5Purge: a split at once, with records on their way, leaves no difference unmarked.
func TestI5Purge(t *testing.T) {
	t.Parallel()
	d, w, rng := differ(t)
	for range 3 {
		w.some(rng, 60)
		must(t, d.a.site.SuspendGroup(context.Background(), "g", SuspendOptions{Purge: true}))
		d.a.await(PSUS, "x", "y")
		d.b.await(PSUS, "x", "y")
		d.wantCovered("x", "y")
		w.some(rng, 20)
		d.wantCovered("x", "y")
		d.a.resync("g", "x", "y")
	}
	d.a.suspend("g", SuspendOptions{}, "x", "y")
	d.wantEqual("x", "y")
}

// TestI5PathLost: after the path watch time the journal is given back and the bitmaps hold the difference.
func TestI5PathLost(t *testing.T) {
	t.Parallel()
	d, w, rng := differ(t, withPathWatch(700*time.Millisecond))
	d.cut()
	w.some(rng, 50)
	d.a.await(PSUE, "x", "y")
	d.b.await(PSUE, "x", "y")
	w.check(d.b, whatever)
	d.wantCovered("x", "y")
	w.some(rng, 50)
	d.wantCovered("x", "y")
	g := d.a.site.groupByName("g")
	must(t, g.journal.Sync(context.Background(), g.journal.Marks().Reserved))
	must(t, g.restorePass())
	must(t, g.doCheckpoint(context.Background()))
	if used := g.journal.Usage().Used; used > 1<<20 {
		t.Errorf("the journal still holds %d bytes", used)
	}
	d.wantCovered("x", "y")
	d.heal()
	d.wait("the link is up", d.a.linked)
	d.a.awaitBoth(PSUE, "x", "y")
	d.mend()
}

// TestI5Kill: the primary is killed while pairs are split and hosts write. Bits that were not in the database yet come back from the
// journal, and those of records that were freed are in the database.
func TestI5Kill(t *testing.T) {
	t.Parallel()
	d, w, rng := differ(t)
	d.a.suspend("g", SuspendOptions{}, "x", "y")
	d.a.close()
	for round := range 2 {
		k := d.a.spawn(w, 2, uint64(rng.IntN(1<<30)+round))
		k.awaitAcks(300)
		k.kill()
	}
	d.a.open()
	w.check(d.a, everyAck)
	d.wantCovered("x", "y")
	d.mend()
}

// TestI5CrashAfterFree: the marks that free the journal and the bits of what it held move in one transaction. The site is cut off right
// after a checkpoint freed everything.
func TestI5CrashAfterFree(t *testing.T) {
	t.Parallel()
	d, w, rng := differ(t)
	d.a.suspend("g", SuspendOptions{}, "x", "y")
	for range 3 {
		w.some(rng, 25)
		g := d.a.site.groupByName("g")
		must(t, g.journal.Sync(context.Background(), g.journal.Marks().Reserved))
		must(t, g.restorePass())
		must(t, g.doCheckpoint(context.Background()))
		d.a.crash(nil)
		d.a.open()
		w.check(d.a, everyAck)
		d.wantCovered("x", "y")
	}
	d.mend()
}

// TestI5KillAfterResync: the primary is killed after a resync began and before a checkpoint stored the peer's marks. What was freed while
// the pairs were split lies between the old marks and the start; records behind the start stay in the journal until the peer has them.
func TestI5KillAfterResync(t *testing.T) {
	t.Parallel()
	d, w, rng := differ(t)
	d.a.suspend("g", SuspendOptions{}, "x", "y")
	g := d.a.site.groupByName("g")
	checkpoint := func() {
		t.Helper()
		must(t, g.journal.Sync(context.Background(), g.journal.Marks().Reserved))
		must(t, g.restorePass())
		must(t, g.doCheckpoint(context.Background()))
	}
	w.some(rng, 50)
	checkpoint()
	w.some(rng, 5)
	goOn := g.stopRestore() // no checkpoint from here on
	err := d.a.site.ResyncGroup(context.Background(), "g")
	d.cut()
	w.some(rng, 50)
	must(t, errors.Join(err, g.journal.Sync(context.Background(), g.journal.Marks().Reserved)))
	d.a.crash(goOn)
	d.a.open()
	g = d.a.site.groupByName("g")
	w.some(rng, 20)
	checkpoint()
	if _, ok := g.journal.Locate(d.a.site.pairByName("x").rec.StartSeq); !ok {
		t.Error("the start record was freed before the peer had it")
	}
	d.heal()
	d.a.awaitBoth(PAIR, "x", "y")
	w.some(rng, 20)
	d.a.suspend("g", SuspendOptions{}, "x", "y")
	d.wantEqual("x", "y")
}

// TestI5StoredWithTheState: the primary is killed right after a purge, before any checkpoint. What the journal held for the peer is marked with the
// transaction that stores the new state: to a replay those records are the peer's.
func TestI5StoredWithTheState(t *testing.T) {
	t.Parallel()
	d, w, rng := differ(t)
	d.a.restoreAll("g") // that the copy is complete is stored
	d.cut()
	goOn := d.a.site.groupByName("g").stopRestore()
	defer goOn()
	w.some(rng, 20)
	must(t, w.sync(context.Background(), 0)) // all of it has numbers up to the stop
	must(t, d.a.site.SuspendGroup(context.Background(), "g", SuspendOptions{Purge: true}))
	d.a.crash(goOn)
	d.a.open()
	d.a.await(PSUS, "x", "y")
	w.check(d.a, everyAck)
	d.wantCovered("x", "y")
	d.heal()
	d.wait("the link is up", d.a.linked)
	d.b.await(PSUS, "x", "y")
	d.mend()
}
