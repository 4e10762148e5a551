package replica

import (
	"bytes"
	"context"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"
	"golang.org/x/sys/unix"

	"pairfs/journal"
)

// What passes and checkpoints, or the delete of a pair, do to each other while they run side by side.

// TestI4FlushBesideAPass: what a pass writes behind the flush of a checkpoint that began before it is flushed by the next one.
func TestI4FlushBesideAPass(t *testing.T) {
	t.Parallel()
	var entered, flushed atomic.Bool
	var hold atomic.Pointer[chan struct{}]
	disk := newWatchedFS()
	d, w, _ := differ(t, withJournal("tokyo", disk), withStores("tokyo", probe(func(volume, what string, _ []byte, _ int64) error {
		c := hold.Load()
		switch {
		case volume != "x":
		case what == "sync":
			flushed.Store(true)
		case what == "write" && c != nil:
			entered.Store(true)
			<-*c
		}
		return nil
	})))
	d.a.suspend("g", SuspendOptions{}, "x", "y")
	g, ctx := d.a.site.groupByName("g"), context.Background()
	var check, pass *call
	var goOn chan struct{}
	var known journal.Position // to the checkpoint that waits, and to none before
	for try := 0; ; try++ {
		d.a.restoreAll("g")
		entered.Store(false)
		goOn = make(chan struct{})
		hold.Store(&goOn)
		must(t, w.write(ctx, 0, 7, 1, true)) // is written by the pass
		release := disk.holdUp()
		must(t, w.write(ctx, 1, 7, 1, false)) // lets the checkpoint wait
		known = g.journal.Marks().Reserved
		check = begin(func() error { return g.doCheckpoint(ctx) })
		waits := func() bool { return someCallIn("(*group).doCheckpoint(", "(*Journal).Sync(") }
		d.wait("a checkpoint waits for the journal", func() bool { return waits() || entered.Load() })
		behind := waits() // else a pass of the group's own began before it
		pass = begin(g.restorePass)
		d.wait("the pass is about to write", func() bool { return entered.Load() || pass.ended() })
		release()
		if behind && !pass.ended() {
			break
		}
		if try == 20 {
			t.Fatal("no pass began behind the checkpoint")
		}
		hold.Store(nil)
		close(goOn)
		must(t, <-check.end)
		must(t, <-pass.end)
	}
	d.wait("the checkpoint has come past the stores", func() bool {
		m, err := g.storedMarks()
		return err == nil && m.Known >= known
	})
	flushed.Store(false)
	hold.Store(nil)
	close(goOn)
	must(t, <-check.end)
	must(t, <-pass.end)
	d.a.restoreAll("g")
	if !flushed.Load() {
		t.Error("a checkpoint passed over what a pass had written behind the flush of the one before")
	}
}

// TestStoreFailsBesideACheckpoint: while the checkpoint flushes that is to show that the stores are well again, one takes nothing any more: they are not
// said to be well.
func TestStoreFailsBesideACheckpoint(t *testing.T) {
	t.Parallel()
	var full atomic.Bool
	held := &heldStores{wrapped: probe(func(_, what string, _ []byte, _ int64) error {
		if what == "write" && full.Load() {
			return unix.ENOSPC
		}
		return nil
	})}
	d, w, _ := differ(t, withStores("tokyo", held.wrap))
	g := d.a.site.groupByName("g")
	works := func() bool { g.kickRestore(); return g.storeErr.Load() == nil }
	full.Store(true)
	must(t, w.write(t.Context(), 0, 1, 1, true))
	d.wait("the store takes nothing", func() bool { return !works() })
	open := held.close()
	full.Store(false)
	showing := func() bool { return someCallIn("(*group).tryRestore(", "(*group).doCheckpoint(") }
	d.wait("a checkpoint is to show that it is well", func() bool { works(); return held.waiting.Load() > 0 && showing() })
	full.Store(true)
	must(t, w.write(t.Context(), 0, 1, 1, true))
	g.tryRestore()
	open()
	d.wait("that checkpoint has come to its end", func() bool { return !showing() })
	if d.a.tells("group/g", "take writes again") > 0 {
		t.Error("a store that takes nothing is said to take writes again")
	}
	full.Store(false)
	d.wait("the store takes writes again", works)
	w.check(d.a, everyAck)
}

// stackOfCaller is that of the goroutine that asks.
func stackOfCaller() []byte {
	b := make([]byte, 16<<10)
	return b[:runtime.Stack(b, false)]
}

// TestForcedDeleteBesideAPass: no pass is under way with a volume that is given back by force: it would write what was given up over what hosts
// write to the volume from then on.
func TestForcedDeleteBesideAPass(t *testing.T) {
	t.Parallel()
	const well, full, deleting = 0, 1, 2
	var phase atomic.Int32
	var entered atomic.Bool
	var other atomic.Pointer[bolt.Tx] // keeps the delete waiting between the attempt to restore and the end of the pair
	var site atomic.Pointer[Site]
	d := newDuo(t, withStores("osaka", probe(func(volume, what string, _ []byte, _ int64) error {
		if volume != "x" || what != "write" || phase.Load() == well {
			return nil
		}
		stack := stackOfCaller()
		switch {
		case phase.Load() == full && bytes.Contains(stack, []byte("(*group).drainVolume(")):
			tx, err := site.Load().db.db.Begin(true)
			if err != nil {
				return err
			}
			other.Store(tx)
			phase.Store(deleting)
			return unix.ENOSPC
		case phase.Load() == full:
			return unix.ENOSPC
		case bytes.Contains(stack, []byte("(*group).restorePass(")):
			entered.Store(true)
			for phase.Load() == deleting && !someCallIn("(*group).unpair(", "(*group).stopRestore(") { // else until the pair is gone
				time.Sleep(time.Millisecond)
			}
		}
		return nil
	})))
	site.Store(d.b.site)
	d.a.group("g")
	d.a.volume("x")
	d.a.volume("y")
	d.a.pair("g", "x", "y")
	w, g, v := newWriter(d.a, "x", "y"), d.b.site.groupByName("g@tokyo"), d.b.vol("x")
	phase.Store(full)
	must(t, w.write(t.Context(), 0, 1, 1, true))
	d.b.await(PSUE, "x", "y")
	del := begin(func() error { return d.b.site.DeletePair(context.Background(), "x", DeleteOptions{Force: true}) })
	d.wait("the pair is about to go, and a pass to begin", func() bool {
		g.kickRestore()
		return del.in("(*group).unpair(") && (entered.Load() || del.in("(*group).stopRestore(") || someCallIn("(*group).restoreLoop(", "(*waitLock).Lock("))
	})
	must(t, other.Load().Rollback())
	must(t, <-del.end)
	want := bytes.Repeat([]byte{0xa5}, blockSize)
	_, err := v.WriteAt(t.Context(), want, blockSize, false)
	must(t, err)
	phase.Store(well)
	must(t, g.restorePass()) // behind the one that was about to begin
	got := make([]byte, blockSize)
	_, err = v.ReadAt(got, blockSize)
	must(t, err)
	if !bytes.Equal(got, want) {
		t.Error("what hosts wrote to a volume that was given back is gone")
	}
	d.wait("the other pair's store is well", func() bool { g.kickRestore(); return g.storeErr.Load() == nil })
}

// TestSlowFlushSuspendsNothing: hosts that write faster than the stores are flushed wait for them, and do not fill the journal: a pair whose peer
// keeps up goes on.
func TestSlowFlushSuspendsNothing(t *testing.T) {
	t.Parallel()
	held := &heldStores{wrapped: func(_ string, f storeFile) storeFile { return f }}
	small := func(_ string, c *Config) { c.Memory = memoryMin }
	d, ctx := newDuo(t, small, withStores("tokyo", held.wrap)), context.Background()
	must(t, d.a.site.CreateGroup(ctx, GroupSpec{Name: "g", Size: 64 << 20}))
	v := d.a.volume("x")
	d.a.pair("g", "x")
	g := d.a.site.groupByName("g")
	open := held.close()
	write := func() error {
		_, err := v.WriteAt(ctx, make([]byte, 1<<20), 0, false)
		return err
	}
	must(t, write())
	g.kickCheckpoint()
	d.wait("the store is being flushed", func() bool { return held.waiting.Load() > 0 })
	first := g.journal.Marks().Reserved
	hosts := begin(func() error {
		for range 64 {
			if err := write(); err != nil {
				return err
			}
		}
		return nil
	})
	suspended := func() bool { s := d.a.status("x").Status; return s != PAIR && s != PFUL }
	d.wait("hosts wait for the flush", func() bool {
		return suspended() || hosts.in("(*Journal).reserveSlowly(") && g.ahead(g.journal.Usage())
	})
	if suspended() {
		t.Errorf("behind %d bytes the pair is %s: %s", g.journal.Marks().Reserved-first, d.a.status("x").Status, d.a.status("x").LastError)
	}
	open()
	must(t, <-hosts.end)
	must(t, v.Sync(ctx))
	d.wait("the secondary has all of it", func() bool {
		return suspended() || d.a.groupStatus("g").PeerRestored >= d.a.groupStatus("g").AppendedSeq
	})
	if suspended() {
		t.Errorf("the pair is %s: %s", d.a.status("x").Status, d.a.status("x").LastError)
	}
}

// TestCheckpointOfAPairInTheMaking: a checkpoint stores no bitmap of a pair that is not stored itself, and the pages count as changed until the pair is.
func TestCheckpointOfAPairInTheMaking(t *testing.T) {
	t.Parallel()
	d, _, _ := differ(t)
	g, v := d.a.site.groupByName("g"), d.a.volume("z")
	rec := pairRecord{State: PairState{Role: Primary}, Volume: "z", Peer: "osaka", Group: "g", Number: 99, Size: duoSize, StopSeq: noStop}
	v.mode.Lock()
	defer v.mode.Unlock()
	p := g.attach(v, "z", rec)
	defer g.detach(p)
	p.att.bits.fill()
	must(t, g.doCheckpoint(t.Context()))
	stored := func() (is bool) {
		must(t, g.site.db.db.View(func(tx *bolt.Tx) error { is = storedBit(tx, "z", 3); return nil }))
		return is
	}
	if stored() || !p.att.bits.isDirty() {
		t.Errorf("the bitmap is stored: %v, it is to be stored: %v", stored(), p.att.bits.isDirty())
	}
	must(t, g.commit([]*attachment{p.att}, func(tx *bolt.Tx) error { return put(tx, bucketPairs, "z", rec) }))
	if !stored() || p.att.bits.isDirty() {
		t.Errorf("with the pair the bitmap is stored: %v, it is to be stored: %v", stored(), p.att.bits.isDirty())
	}
	must(t, g.site.db.update(func(tx *bolt.Tx) error { return dropPair(tx, "z") }))
}
