package replica

import (
	"context"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"pairfs/journal"
	"pairfs/journal/journaltest"
)

// A checkpoint flushes the stores while passes go on: hosts do not wait for it behind a full ring, and what it calls restored is what was when it
// began to flush.

// heldStores lets the flush of any store wait, if one is to be held.
type heldStores struct {
	wrapped func(string, storeFile) storeFile
	hold    atomic.Pointer[chan struct{}]
	waiting atomic.Int64
}

func (h *heldStores) wrap(volume string, f storeFile) storeFile {
	return &probedStore{h.wrapped(volume, f), volume, func(_, what string, _ []byte, _ int64) error {
		if c := h.hold.Load(); what == "sync" && c != nil {
			h.waiting.Add(1)
			<-*c
		}
		return nil
	}}
}

// close lets flushes wait until open is called.
func (h *heldStores) close() (open func()) {
	c := make(chan struct{})
	h.hold.Store(&c)
	return func() { h.hold.Store(nil); close(c) }
}

// TestI4PassBesideCheckpoint: hosts write more than the ring holds while a checkpoint flushes, and when the power fails behind it, with that on the
// stores which it flushed and of the rest what the disk wrote by itself, the volumes are images of one moment.
func TestI4PassBesideCheckpoint(t *testing.T) {
	t.Parallel()
	disk, mortal := journaltest.NewFS(), newMortalStores()
	held := &heldStores{wrapped: mortal.wrap}
	small := func(_ string, c *Config) { c.Memory = memoryMin }
	d := newDuo(t, small, withJournal("tokyo", disk), withStores("tokyo", held.wrap))
	rng, ctx := newRand(testSeed(t)), context.Background()
	w := newWriter(d.a, "x", "y")
	must(t, d.a.site.CreateGroup(ctx, GroupSpec{Name: "g", Size: 256 << 20}))
	must(t, os.MkdirAll(filepath.Join(d.a.cfg.StateDir, "journals", "g"), 0o700))
	d.a.volume("x")
	d.a.volume("y")
	d.a.pair("g", "x", "y")
	g := d.a.site.groupByName("g")
	w.some(rng, 20)
	must(t, w.sync(ctx, 0))
	d.a.restoreAll("g")
	w.some(rng, 20)
	must(t, w.sync(ctx, 0))
	before, open := g.journal.Marks().Durable, held.close()
	g.kickCheckpoint()
	d.wait("a store is being flushed", func() bool { return held.waiting.Load() > 0 })
	for g.journal.Marks().Reserved < before+2*journal.Position(g.rec.RingSize) {
		w.some(rng, 20)
	}
	must(t, w.sync(ctx, 0))
	must(t, g.restorePass())
	open()
	d.wait("the checkpoint has come to its end", func() bool {
		m, err := g.storedMarks()
		return err == nil && m.Checkpoint >= before
	})
	open = held.close() // another one does not
	m, err := g.storedMarks()
	if passed, _ := g.passed(); err != nil || m.Checkpoint >= passed {
		t.Errorf("the checkpoint says %d, and what was restored beside it goes to %d: %v", m.Checkpoint, passed, err)
	}
	d.powerCut(d.a, disk, mortal, rng.Uint64(), open)
	d.a.open()
	w.check(d.a, everySynced)
}

// TestPassesFollowTheFlush: hosts that write faster than the clock looks at the ring do not wait for it: the flush asks for a pass.
func TestPassesFollowTheFlush(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1)
		tokyo, ctx := w.sites[0], context.Background()
		must(t, tokyo.site.CreateGroup(ctx, GroupSpec{Name: "large", Size: 64 << 20})) // than its ring
		v := tokyo.volume("v")
		must(t, tokyo.site.CreatePair(ctx, PairSpec{Name: "v", Volume: "v", Peer: "osaka", Group: "large"}))
		w.until("it is a pair", func() bool { return tokyo.status("v").Status == PAIR })
		must(t, tokyo.site.SuspendPair(ctx, "v", SuspendOptions{}))
		w.until("it is split", func() bool { return tokyo.status("v").Status == PSUS })
		j, ring := tokyo.site.groupByName("large").journal, journal.Position(tokyo.site.groupByName("large").rec.RingSize)
		began, first := time.Now(), j.Marks().Reserved
		for j.Marks().Reserved < first+3*ring {
			_, err := v.WriteAt(ctx, make([]byte, 64<<10), 0, false)
			must(t, err)
		}
		if took := time.Since(began); took >= restoreTick {
			t.Errorf("hosts that wrote three rings of %d bytes waited for the clock: %v went by", ring, took)
		}
		// Stores that take nothing are tried by the clock, whatever the ring holds.
		time.Sleep(time.Second) // what is there is restored
		tokyo.disks.change(func(d *simDisks) { d.stores = unix.EIO })
		for first = j.Marks().Reserved; j.Marks().Reserved < first+ring/2; {
			_, err := v.WriteAt(ctx, make([]byte, 64<<10), 0, false)
			must(t, err)
		}
		time.Sleep(time.Second)
		tokyo.disks.change((*simDisks).well)
	})
}
