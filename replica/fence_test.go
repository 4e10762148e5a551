package replica

import (
	"testing"

	"pairfs/quicwire"
)

// TestFenceWaitsForWrites: the number at which a primary says that its hosts stopped is behind every write that was under way.
func TestFenceWaitsForWrites(t *testing.T) {
	t.Parallel()
	d, w := twoPaired(t)
	g, a := d.a.site.groupByName("g"), d.a.site.pairByName("x").att
	g.cmd.Lock()
	defer g.cmd.Unlock()
	a.vol.mode.RLock() // a host's write has found the volume writable
	var f *fence
	hold := begin(func() (err error) {
		f, err = g.holdWrites(t.Context(), 7, fenceMax)
		return err
	})
	d.wait("the writes are held", func() bool { return hold.ended() || hold.in("(*Volume).barrier(") })
	o := w.h.begin(0, 3, 1, false, false)
	err := a.obtain(t.Context(), o.payload(), o.block*o.unit, false)
	last := g.journal.Marks().LastSeq
	a.vol.mode.RUnlock()
	must(t, err)
	must(t, <-hold.end)
	if f.seq <= last-1 || g.journal.Marks().LastSeq != f.seq {
		t.Errorf("hosts stopped at number %d, and number %d was given", f.seq, last)
	}
	g.letWritesGo(7)
}

// TestFenceUntilGivenUp: hosts stay held until the primary has given its role up, though the time of the fence is over meanwhile or another
// command comes.
func TestFenceUntilGivenUp(t *testing.T) {
	t.Parallel()
	d, w := twoPaired(t)
	g, a := d.a.site.groupByName("g"), d.a.site.pairByName("x").att
	g.cmd.Lock()
	f, err := g.holdWrites(t.Context(), 7, fenceMax)
	g.cmd.Unlock()
	must(t, err)
	_, err = g.serveCommit(t.Context(), &quicwire.SwapPairs{Token: 8, Generation: randomID()})
	refused(t, err, KindBusy)
	goOn := g.stopRestore()
	defer goOn()
	write := begin(func() error { return w.write(t.Context(), 0, 3, 1, false) })
	d.wait("a host waits", func() bool { return write.in("(*fence).wait(") })
	commit := begin(func() error {
		_, err := g.serveCommit(t.Context(), &quicwire.SwapPairs{Token: 7, Generation: randomID()})
		return err
	})
	d.wait("the role is about to be given up", func() bool { return commit.in("(*group).changeRole(") })
	for _, token := range []uint64{7, 0} {
		g.letWritesGo(token)
		if g.fence.Load() != f || a.writable.Load() {
			t.Errorf("hosts were let go before the role was given up (%d)", token)
		}
	}
	goOn()
	must(t, <-commit.end)
	refused(t, <-write.end, KindSecondary)
	d.a.writesRefused("x", "y")
}

// TestFenceIsTheLast: a primary that went on behind the number at which its hosts stopped does not give its role up: the other side lacks that.
func TestFenceIsTheLast(t *testing.T) {
	t.Parallel()
	d, w := twoPaired(t)
	g := d.a.site.groupByName("g")
	g.cmd.Lock()
	_, err := g.holdWrites(t.Context(), 7, fenceMax)
	g.cmd.Unlock()
	must(t, err)
	_, err = g.appendControl(t.Context(), controlAlive, nil, 0, nil)
	must(t, err)
	_, err = g.serveCommit(t.Context(), &quicwire.SwapPairs{Token: 7})
	refused(t, err, KindInvalid) // it names no history
	_, err = g.serveCommit(t.Context(), &quicwire.SwapPairs{Token: 7, Generation: randomID()})
	refused(t, err, KindBusy)
	must(t, w.write(t.Context(), 0, 3, 1, true)) // hosts go on
	d.a.suspend("g", SuspendOptions{}, "x", "y")
	w.check(d.b, everyAck)
}
