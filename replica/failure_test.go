package replica

import (
	"context"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"
)

// A store whose flush failed once is never flushed again as far as anybody knows, so no checkpoint may pass over it, whether or not more
// was written to it.
func TestCheckpointBehindLostFlush(t *testing.T) {
	var fail atomic.Bool
	d := newDuo(t, withStores("tokyo", probe(func(_, what string, _ []byte, _ int64) error {
		if what == "sync" && fail.Load() {
			return unix.EIO
		}
		return nil
	})))
	d.a.group("g")
	d.a.volume("v")
	d.a.pair("g", "v")
	w := newWriter(d.a, "v")
	must(t, w.write(context.Background(), 0, 1, 1, true))
	g := d.a.site.groupByName("g")
	must(t, g.restorePass())
	fail.Store(true)
	d.a.vol("v").dirtySync.Store(true) // the group's own checkpoint may have come first
	if g.doCheckpoint(context.Background()) == nil {
		t.Fatal("a checkpoint passed over a flush that failed")
	}
	fail.Store(false)
	for range 2 {
		if g.doCheckpoint(context.Background()) == nil {
			t.Fatal("a later checkpoint passed over a flush that failed")
		}
		g.settle(context.Background())
	}
	if g.storeErr.Load() == nil {
		t.Fatal("the group forgot that its store failed")
	}
	d.a.discard()
}

// A gate that closes and opens while a host waits for ring room is no error for the host.
func TestGateChangesUnderWrite(t *testing.T) {
	d := newDuo(t)
	d.a.group("g")
	d.a.volume("v")
	d.a.pair("g", "v")
	a := d.a.vol("v").att
	if err := a.reserveError(context.Canceled); err != errAgain {
		t.Fatalf("got %v", err)
	}
}

// When journal and store fail together, what hosts were told is written is in the ring alone. Hosts get errors, and neither the store that
// takes writes again nor a restart loses anything.
func TestJournalAndStoreFail(t *testing.T) {
	for _, restart := range []bool{false, true} {
		var full atomic.Bool
		disk := newWatchedFS()
		d, w, _ := differ(t, withJournal("tokyo", disk), withStores("tokyo", probe(func(_, what string, _ []byte, _ int64) error {
			if what == "write" && full.Load() {
				return unix.ENOSPC
			}
			return nil
		})))
		full.Store(true)
		must(t, w.write(t.Context(), 0, 1, 1, false))
		giveUp(disk, "sync")
		if w.sync(t.Context(), 0) == nil {
			t.Fatal("a flush of a failed journal ended well")
		}
		d.a.await(PSUE, "x", "y")
		d.wait("hosts get an error", func() bool { return d.a.site.groupByName("g").storeErr.Load() != nil })
		if err := w.write(t.Context(), 0, 1, 1, false); err == nil {
			t.Fatal("a write was taken by nobody")
		}
		full.Store(false)
		if restart {
			disk.failWith(nil)
			d.a.crash(nil)
			d.a.open()
		} else {
			d.wait("the stores have it", func() bool { return d.a.vol("x").att.direct.Load() && d.a.vol("y").att.direct.Load() })
		}
		must(t, w.write(t.Context(), 0, 2, 1, false))
		w.check(d.a, everyAck)
		d.wantCovered("x", "y")
		if !restart {
			disk.failWith(nil)
			d.a.discard()
			d.a.open()
			w.check(d.a, everyAck)
		}
	}
}

// A host that flushes, or writes synchronously, while the journal fails sees no error as long as the store takes what it wrote: a file system on the
// volume would go read only for it.
func TestFlushAcrossAFailedJournal(t *testing.T) {
	for _, what := range []string{"sync", "write"} {
		for _, osync := range []bool{false, true} {
			disk := newWatchedFS()
			d, w, _ := differ(t, withJournal("tokyo", disk))
			must(t, w.write(t.Context(), 0, 1, 1, false))
			giveUp(disk, what)
			must(t, w.write(t.Context(), 0, 2, 1, osync))
			must(t, w.sync(t.Context(), 0))
			d.a.await(PSUE, "x", "y")
			must(t, w.write(t.Context(), 1, 3, 1, osync))
			must(t, w.sync(t.Context(), 1))
			w.check(d.a, everyAck)
			d.wantCovered("x", "y")
			disk.failWith(nil)
			d.a.crash(nil)
			d.a.open()
			w.check(d.a, everyAck)
		}
	}
}

// The records that are to be marked may begin before what the journal still has, when a secondary was split before the start record of its
// resync came: what is still there is marked then.
func TestMarkWhatTheJournalHas(t *testing.T) {
	d, w, _ := differ(t)
	d.a.suspend("g", SuspendOptions{}, "x", "y")
	g, p := d.a.site.groupByName("g"), d.a.site.pairByName("x")
	d.wait("the journal is freed", func() bool { _, ok := g.journal.Locate(1); return !ok })
	g.keep(g.journal.Marks().Freed) // no checkpoint takes the record away
	must(t, w.write(t.Context(), 0, 100, 1, false))
	p.att.bits.reset()
	must(t, g.markRecords(t.Context(), 0, map[uint32]*attachment{p.att.number: p.att}))
	if !p.att.bits.test(100 * blockSize / regionSize) {
		t.Fatal("a record that is in the journal was not marked")
	}
}

// A pair of a group whose restore journal failed cannot be taken up again: the mirror would never come.
func TestResyncToFailedJournal(t *testing.T) {
	d, _, _ := differ(t)
	d.a.suspend("g", SuspendOptions{}, "x", "y")
	g := d.b.site.groupByName("g@tokyo")
	g.mu.Lock()
	g.failed = "test"
	g.mu.Unlock()
	refused(t, d.a.site.ResyncGroup(t.Context(), "g"), KindBusy)
	g.mu.Lock()
	g.failed = ""
	g.mu.Unlock()
	d.a.resync("g", "x", "y")
}
