package replica

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"

	bolt "go.etcd.io/bbolt"
)

// The order of the steps of one change. A crash between two of them is rare, so what comes first is looked at here and not left to chance.

// TestI4FlushedBeforeMarked: the stores are flushed before the database says that everything up to a place is in them.
func TestI4FlushedBeforeMarked(t *testing.T) {
	t.Parallel()
	var own atomic.Pointer[group]
	var early atomic.Pointer[error]
	var flushes atomic.Int64
	d, w, rng := differ(t, withStores("tokyo", probe(func(volume, what string, _ []byte, _ int64) error {
		g := own.Load()
		if what != "sync" || g == nil {
			return nil
		}
		flushes.Add(1)
		m, err := g.storedMarks()
		if err == nil && m.Checkpoint > g.checkpoint { // who flushes holds checkMu
			err = fmt.Errorf("volume %s is flushed for the mark %d when the database has %d", volume, g.checkpoint, m.Checkpoint)
		}
		if err != nil {
			early.CompareAndSwap(nil, &err)
		}
		return nil
	})))
	g := d.a.site.groupByName("g")
	own.Store(g)
	for range 3 {
		w.some(rng, 10)
		d.a.restoreAll("g")
		if m, err := g.storedMarks(); err != nil || m.Checkpoint < g.checkpoint {
			t.Errorf("the database has the mark %d, the group %d: %v", m.Checkpoint, g.checkpoint, err)
		}
	}
	own.Store(nil)
	if e := early.Load(); e != nil {
		t.Error(*e)
	}
	if flushes.Load() == 0 {
		t.Error("no store was flushed")
	}
}

// TestI6StoredBeforeFreed: the journal is freed when the database says so, and not before: what is written there next would else stand where the
// next start looks for records.
func TestI6StoredBeforeFreed(t *testing.T) {
	t.Parallel()
	d, w, _ := differ(t)
	d.a.suspend("g", SuspendOptions{}, "x", "y")
	g := d.a.site.groupByName("g")
	goOn := g.stopRestore()
	defer goOn()
	must(t, w.write(t.Context(), 0, 3, 5, true))
	freed := g.journal.Marks().Freed
	d.a.crash(func() {
		goOn()
		if err := g.restorePass(); err != nil {
			t.Error(err)
		}
		if err := g.doCheckpoint(context.Background()); err == nil {
			t.Error("a checkpoint was stored in a database that was closed")
		}
		if now := g.journal.Marks().Freed; now != freed {
			t.Errorf("the journal was freed up to %d, which nothing stored says: it was %d", now, freed)
		}
	})
	d.a.open()
	w.check(d.a, everyAck)
	d.wantCovered("x", "y")
}

// storedBit reports whether a region of a pair is marked as a transaction sees it.
func storedBit(tx *bolt.Tx, pair string, region int64) bool {
	b := tx.Bucket(bucketBitmaps).Bucket([]byte(pair))
	if b == nil {
		return false
	}
	page := b.Get(binary.BigEndian.AppendUint32(nil, uint32(region/bitmapPageRegions)))
	region %= bitmapPageRegions
	return page != nil && page[region/8]>>(region%8)&1 != 0
}

// TestI5OneTransaction: what frees the journal and the bits of what it held are one transaction. When it fails neither is stored, and the bits
// count as not stored.
func TestI5OneTransaction(t *testing.T) {
	t.Parallel()
	d, _, _ := differ(t)
	d.a.suspend("g", SuspendOptions{}, "x", "y")
	g, a := d.a.site.groupByName("g"), d.a.site.pairByName("x").att
	defer g.stopRestore()() // no checkpoint of the group's own
	const region = 9
	a.bits.set(region)
	for _, fails := range []error{errors.New("the marks cannot be stored"), nil} {
		with := false
		err := g.commit([]*attachment{a}, func(tx *bolt.Tx) error {
			with = storedBit(tx, "x", region)
			return fails
		})
		if !errors.Is(err, fails) {
			t.Fatalf("it ended with %v, want %v", err, fails)
		}
		stored := false
		must(t, g.site.db.db.View(func(tx *bolt.Tx) error { stored = storedBit(tx, "x", region); return nil }))
		if !with || stored != (fails == nil) || a.bits.isDirty() != (fails != nil) {
			t.Errorf("%v: in the transaction of the marks: %v, stored: %v, to be stored: %v", fails, with, stored, a.bits.isDirty())
		}
	}
}

// TestI5MarkedBeforePublished: a write outside of the bounds marks its regions before it is published: from then on it may be restored and freed,
// with the bits of that moment.
func TestI5MarkedBeforePublished(t *testing.T) {
	t.Parallel()
	for _, discard := range []bool{false, true} {
		d, w, _ := differ(t)
		d.a.suspend("g", SuspendOptions{}, "x", "y")
		g, a := d.a.site.groupByName("g"), d.a.site.pairByName("x").att
		before := g.journal.Marks().AppendedSeq
		a.bits.change.Lock() // no bit can be set
		write := begin(func() error {
			if discard {
				return w.discard(t.Context(), 0, 320, 16)
			}
			return w.write(t.Context(), 0, 320, 16, false)
		})
		err := waitFor(func() bool { return write.in("(*bitmap).or1") })
		now := g.journal.Marks().AppendedSeq
		a.bits.change.Unlock()
		must(t, errors.Join(err, <-write.end))
		if now != before {
			t.Errorf("discard %v: number %d was published before its regions were marked", discard, now)
		}
		d.wantCovered("x", "y")
	}
}

// TestI5DirectMarkedFirst: when the journal of a side is lost its hosts write to the stores, and what they are about to change is marked in the
// database before.
func TestI5DirectMarkedFirst(t *testing.T) {
	t.Parallel()
	var own atomic.Pointer[Site]
	var early atomic.Pointer[error]
	var seen atomic.Int64
	disk := newWatchedFS()
	d, w, _ := differ(t, withJournal("osaka", disk), withStores("osaka", probe(func(volume, what string, _ []byte, off int64) error {
		s := own.Load()
		if what == "sync" || s == nil {
			return nil
		}
		seen.Add(1)
		marked := false
		err := s.db.db.View(func(tx *bolt.Tx) error { marked = storedBit(tx, volume, off/regionSize); return nil })
		if err == nil && !marked {
			err = fmt.Errorf("volume %s changed at offset %d before that was marked", volume, off)
		}
		if err != nil {
			early.CompareAndSwap(nil, &err)
		}
		return nil
	})))
	d.a.suspend("g", SuspendOptions{SVOLWrite: true}, "x", "y")
	must(t, d.b.site.groupByName("g@tokyo").restorePass())
	giveUp(disk, "sync")
	s := &writer{t: t, node: d.b, names: w.names, h: newHistory()}
	must(t, s.write(t.Context(), 1, 0, 1, true)) // ends when the stores have what the journal held
	a := d.b.site.pairByName("x").att
	d.wait("hosts write to the stores", a.direct.Load)
	own.Store(d.b.site)
	must(t, s.write(t.Context(), 0, 16*3, 2, true))
	must(t, s.write(t.Context(), 0, 16*4+3, 1, false))
	must(t, s.discard(t.Context(), 0, 16*7, 16))
	own.Store(nil)
	if e := early.Load(); e != nil {
		t.Error(*e)
	}
	if seen.Load() < 3 {
		t.Errorf("%d changes of the store were seen", seen.Load())
	}
	disk.failWith(nil)
	d.b.discard()
	d.b.open()
	for _, r := range []int64{3, 4, 7} {
		if !d.b.site.pairByName("x").att.bits.test(r) {
			t.Errorf("region %d is not marked behind a restart", r)
		}
	}
	d.wantCovered("x", "y")
}

// TestI8SyncWrite: a synchronous write that does not reach the journal is durable in the store when it ends, like an fsync.
func TestI8SyncWrite(t *testing.T) {
	t.Parallel()
	disk := newWatchedFS()
	d, w, _ := differ(t, withJournal("tokyo", disk))
	giveUp(disk, "sync")
	must(t, w.write(t.Context(), 0, 2, 1, true))
	if !d.a.vol("x").att.direct.Load() {
		t.Error("a synchronous write ended before the store has what the failed journal held")
	}
	d.a.awaitBoth(PSUE, "x", "y")
	w.check(d.a, everyAck)
	disk.failWith(nil)
	d.a.discard()
	d.a.open()
	w.check(d.a, everyAck)
	d.wantCovered("x", "y")
}
