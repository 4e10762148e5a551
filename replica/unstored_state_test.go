package replica

import (
	"os"
	"testing"
)

// TestUnstoredSuspensionGoesOn: a split that could not be stored holds for as long as the daemon runs, and is stored when the disk of the state
// directory is mended: until then nothing of the pair passes to the peer, from then on the other pairs of the group go on.
func TestUnstoredSuspensionGoesOn(t *testing.T) {
	t.Parallel()
	d, w, _ := differ(t)
	ctx := t.Context()
	mend, _ := d.a.failDatabase("/dev/null", os.O_RDONLY)
	says(t, d.a.site.SuspendPair(ctx, "x", SuspendOptions{Purge: true}), "could not be stored")
	must(t, w.write(ctx, 0, 3, 1, true)) // of the pair that is split
	mend()
	must(t, w.write(ctx, 1, 5, 1, true)) // behind it, of one that is not
	last := d.a.site.groupByName("g").journal.Marks().LastSeq
	d.wait("the other pair goes on", func() bool { return d.b.lastSeq("g@tokyo") >= last })
	d.a.crash(nil)
	d.a.open()
	d.a.await(PSUS, "x")
	d.a.awaitBoth(PAIR, "y")
	d.b.await(PSUS, "x")
	d.wantCovered("x")
	d.a.resync("g", "x", "y")
	d.a.suspend("g", SuspendOptions{}, "x", "y")
	w.check(d.b, everyAck)
}

// TestUnstoredSuspensionKeepsTheJournal: while a split is not stored the journal lets go of nothing that the peer lacks, for a start would find the
// pair in PAIR.
func TestUnstoredSuspensionKeepsTheJournal(t *testing.T) {
	t.Parallel()
	d, w, rng := differ(t)
	ctx := t.Context()
	d.cut()
	w.some(rng, 20)
	mend, _ := d.a.failDatabase("/dev/null", os.O_RDONLY)
	says(t, d.a.site.SuspendGroup(ctx, "g", SuspendOptions{Purge: true}), "could not be stored")
	mend()
	w.some(rng, 20)
	g := d.a.site.groupByName("g")
	must(t, g.journal.Sync(ctx, g.journal.Marks().Reserved))
	must(t, g.restorePass())
	must(t, g.doCheckpoint(ctx))
	d.a.crash(nil)
	d.a.open()
	d.heal()
	if d.a.status("x").Status == PSUS { // it was stored by then
		d.a.awaitBoth(PSUS, "x", "y")
		d.wantCovered("x", "y")
		d.a.resync("g", "x", "y")
	}
	must(t, w.write(ctx, 1, 5, 1, true))
	last := d.a.site.groupByName("g").journal.Marks().LastSeq
	d.wait("the pairs go on", func() bool { return d.b.lastSeq("g@tokyo") >= last })
	d.a.suspend("g", SuspendOptions{}, "x", "y")
	w.check(d.b, everyAck)
}

// TestUnstoredStartIsFoundAgain: a secondary that could not store that the start record of a resync came, and is killed behind a checkpoint, finds that
// record again: without it the S-VOL would wait for it for ever.
func TestUnstoredStartIsFoundAgain(t *testing.T) {
	t.Parallel()
	d, w, rng := differ(t)
	ctx := t.Context()
	d.a.suspend("g", SuspendOptions{}, "x", "y")
	w.some(rng, 40)
	must(t, d.a.site.SetGroup(ctx, "g", map[string]string{"line-speed": "256K"})) // the copy is to be under way for a while
	there, p := d.b.site.groupByName("g@tokyo"), d.b.site.pairByName("x")
	letGo := there.holdPull()
	must(t, d.a.site.ResyncGroup(ctx, "g"))
	mend, _ := d.b.failDatabase("/dev/null", os.O_RDONLY)
	letGo()
	d.wait("the start record is obeyed", func() bool {
		there.mu.Lock()
		defer there.mu.Unlock()
		return !p.rec.Starting
	})
	mend()
	must(t, there.restorePass())
	must(t, there.doCheckpoint(ctx))
	d.b.crash(nil)
	d.b.open()
	must(t, d.a.site.SetGroup(ctx, "g", map[string]string{"line-speed": "none"}))
	for _, n := range []*node{d.a, d.b} {
		n.awaitAny([]Status{PAIR, PSUE}, "x", "y") // the latter where a checkpoint met the database while it took nothing
	}
	d.wait("the link is up", d.a.linked)
	d.a.resync("g", "x", "y")
	d.a.suspend("g", SuspendOptions{}, "x", "y")
	w.check(d.b, everyAck)
}
