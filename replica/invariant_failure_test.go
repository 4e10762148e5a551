package replica

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// giveUp lets the journal's disk of a site fail in one kind of operation.
func giveUp(disk *watchedFS, what string) {
	disk.failWith(func(op string) error {
		if op == what {
			return unix.EIO
		}
		return nil
	})
}

// TestI8JournalFails lets a flush or a write of the primary's journal fail: a host that syncs waits until its store has everything, the pairs
// are PSUE with a reason on both sides, hosts go on, nothing acknowledged is lost, and after a restart with a good disk a resync makes all equal.
func TestI8JournalFails(t *testing.T) {
	t.Parallel()
	for _, what := range []string{"sync", "write"} {
		t.Run(what, func(t *testing.T) {
			disk := newWatchedFS()
			d, w, rng := differ(t, withJournal("tokyo", disk))
			ctx := context.Background()
			must(t, w.write(ctx, 0, 1, 1, false))
			giveUp(disk, what)
			must(t, w.write(ctx, 0, 2, 1, false))
			must(t, w.sync(ctx, 0))
			if !d.a.vol("x").att.direct.Load() {
				t.Error("a flush ended before the store has what the failed journal held")
			}
			d.a.awaitBoth(PSUE, "x", "y")
			if p := d.a.status("x"); p.LastError == "" || d.a.groupStatus("g").Failed == "" {
				t.Errorf("nothing says why: %+v", p)
			}
			w.some(rng, 30) // hosts go on
			must(t, w.sync(ctx, 0))
			w.check(d.a, everyAck)
			w.check(d.b, whatever)
			d.wantCovered("x", "y")
			refused(t, d.a.site.ResyncGroup(ctx, "g"), KindBusy)
			disk.failWith(nil)
			d.a.discard()
			d.a.open()
			w.check(d.a, everyAck)
			d.wantCovered("x", "y")
			d.wait("the link is up", d.a.linked)
			d.mend()
			w.check(d.b, everyAck)
		})
	}
}

// TestI8KilledAfterFailure: the daemon dies after its journal failed and hosts went on; it opens again, and knows the difference.
func TestI8KilledAfterFailure(t *testing.T) {
	t.Parallel()
	disk := newWatchedFS()
	d, w, rng := differ(t, withJournal("tokyo", disk))
	giveUp(disk, "sync")
	must(t, w.write(context.Background(), 0, 2, 1, false))
	d.a.await(PSUE, "x", "y")
	w.some(rng, 30)
	disk.failWith(nil)
	d.a.crash(nil)
	d.a.open()
	w.check(d.a, everyAck)
	d.wait("the link is up", d.a.linked)
	d.b.await(PSUE, "x", "y")
	d.mend()
	w.check(d.b, everyAck)
}

// TestI8RestoreJournalFails is a failure of the secondary's journal: the primary follows to PSUE and its hosts notice nothing.
func TestI8RestoreJournalFails(t *testing.T) {
	t.Parallel()
	disk := newWatchedFS()
	d, w, rng := differ(t, withJournal("osaka", disk))
	giveUp(disk, "sync")
	w.some(rng, 30)
	d.a.awaitBoth(PSUE, "x", "y")
	w.some(rng, 30)
	must(t, w.sync(context.Background(), 1))
	w.check(d.b, whatever)
	disk.failWith(nil)
	d.b.discard()
	d.b.open()
	d.wait("the link is up", d.a.linked)
	d.mend()
	w.check(d.b, everyAck)
}

// TestI8StoreFull lets the primary's stores refuse writes for want of space: hosts get an error in the end and do not hang, nothing
// acknowledged is lost, and all goes on when there is room.
func TestI8StoreFull(t *testing.T) {
	t.Parallel()
	for _, errno := range []error{unix.ENOSPC, unix.EIO} {
		t.Run(errno.Error(), func(t *testing.T) {
			var full atomic.Bool
			d, w, rng := differ(t, withStores("tokyo", probe(func(_, what string, _ []byte, _ int64) error {
				if full.Load() && what != "sync" {
					return errno
				}
				return nil
			})))
			full.Store(true)
			ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
			defer cancel()
			var err error
			for err == nil {
				err = w.write(ctx, rng.IntN(2), int64(rng.IntN(700)), 256, false)
			}
			if ctx.Err() != nil {
				t.Fatal("a host hangs behind a full store")
			}
			want := KindInternal
			if errors.Is(errno, unix.ENOSPC) {
				want = KindNoSpace
			}
			if KindOf(err) != want {
				t.Errorf("the host was told %v (%s), want %s", err, KindOf(err), want)
			}
			w.check(d.a, everyAck)
			full.Store(false)
			d.a.site.groupByName("g").kickRestore()
			d.wait("the stores take writes again", func() bool { return d.a.site.groupByName("g").storeErr.Load() == nil })
			must(t, w.write(context.Background(), 0, 0, 1, false))
			w.some(rng, 20)
			d.a.awaitAny([]Status{PAIR, PFUL, PSUE, PFUS}, "x", "y")
			w.check(d.a, everyAck)
			if !d.a.status("x").Status.suspended() {
				d.a.suspend("g", SuspendOptions{}, "x", "y")
			}
			d.mend()
			w.check(d.b, everyAck)
		})
	}
}

// TestI8SecondaryStoreFails: a secondary that cannot restore suspends its pairs, and the primary follows.
func TestI8SecondaryStoreFails(t *testing.T) {
	t.Parallel()
	var bad atomic.Bool
	d, w, rng := differ(t, withStores("osaka", probe(func(_, what string, _ []byte, _ int64) error {
		if bad.Load() && what == "write" {
			return unix.EIO
		}
		return nil
	})))
	bad.Store(true)
	w.some(rng, 30)
	d.a.awaitBoth(PSUE, "x", "y")
	w.some(rng, 30)
	bad.Store(false)
	d.wantCovered("x", "y")
	d.b.site.groupByName("g@tokyo").kickRestore()
	d.wait("the stores take writes again", func() bool { return d.b.site.groupByName("g@tokyo").storeErr.Load() == nil })
	d.mend()
	w.check(d.b, everyAck)
}

// TestI8RescueFirst: hosts write to the stores of a group whose journal failed when these have what the journal held, and not before: what was
// rescued later would come over what they write.
func TestI8RescueFirst(t *testing.T) {
	t.Parallel()
	disk := newWatchedFS()
	var bad atomic.Uint64 // the write that the store does not take
	d, w, _ := differ(t, withJournal("tokyo", disk), withStores("tokyo", probe(func(_, what string, p []byte, _ int64) error {
		for _, n := range numbersIn(p) {
			if n == bad.Load() {
				return unix.EIO
			}
		}
		return nil
	})))
	g := d.a.site.groupByName("g")
	goOn := g.stopRestore()
	defer goOn()
	must(t, w.write(t.Context(), 0, 7, 1, false))
	bad.Store(uint64(w.h.Len()))
	giveUp(disk, "sync")
	goOn()
	g.kickRestore()
	d.wait("the rescue was tried", func() bool { return g.storeErr.Load() != nil && !g.cmdTaken() })
	if err := w.write(t.Context(), 0, 7, 1, false); err == nil {
		t.Error("a host wrote over what is not rescued yet")
	}
	bad.Store(0)
	d.wait("hosts write to the stores", d.a.site.pairByName("x").att.direct.Load)
	must(t, w.write(t.Context(), 0, 7, 1, false))
	w.check(d.a, everyAck)
	disk.failWith(nil)
	d.a.discard()
	d.a.open()
	w.check(d.a, everyAck)
}

// cmdTaken reports whether a change of states is under way.
func (g *group) cmdTaken() bool {
	if !g.cmd.TryLock() {
		return true
	}
	g.cmd.Unlock()
	return false
}
