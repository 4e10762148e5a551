package replica

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"pairfs/journal"
)

// TestI3WriteAhead watches every byte that reaches the stores of both sites: its record was flushed into that site's journal before. The
// disk under the primary's journal is stopped for a while, with more written than starts a restore.
func TestI3WriteAhead(t *testing.T) {
	t.Parallel()
	disks := map[string]*watchedFS{"tokyo": newWatchedFS(), "osaka": newWatchedFS()}
	var armed atomic.Bool
	var broken atomic.Pointer[error]
	var seen atomic.Int64
	guard := func(site string) duoOption {
		return withStores(site, probe(func(volume, what string, p []byte, off int64) error {
			for _, m := range marksIn(p) {
				seen.Add(1)
				if armed.Load() && !disks[site].has(m) {
					err := fmt.Errorf("site %s: sector %d of write %d reached the store of volume %s at offset %d before it was durable in the journal", site, m.Index, m.Counter, volume, off)
					broken.CompareAndSwap(nil, &err)
				}
			}
			return nil
		}))
	}
	d := newDuo(t, withJournal("tokyo", disks["tokyo"]), withJournal("osaka", disks["osaka"]), guard("tokyo"), guard("osaka"))
	rng := newRand(testSeed(t))
	w := newWriter(d.a, "x", "y")
	must(t, d.a.site.CreateGroup(context.Background(), GroupSpec{Name: "g", Size: 64 << 20}))
	d.a.volume("x")
	d.a.volume("y")
	w.some(rng, 50)
	armed.Store(true) // before it hosts wrote the stores themselves
	d.a.pair("g", "x", "y")
	w.some(rng, 200)

	g := d.a.site.groupByName("g")
	for range 5 {
		g.settle(context.Background()) // the ring is empty: what follows fits while the disk stands still
		release := disks["tokyo"].holdUp()
		var passes sync.WaitGroup // a checkpoint may hold them up until the disk goes on
		for range 2 {
			must(t, w.write(context.Background(), rng.IntN(2), rng.Int64N(duoSize/blockSize-256), 256, false))
			passes.Go(func() {
				if err := g.restorePass(); err != nil {
					t.Error(err)
				}
			})
		}
		release()
		passes.Wait()
		if e := broken.Load(); e != nil {
			t.Fatal(*e)
		}
	}
	w.some(rng, 200)
	d.a.suspend("g", SuspendOptions{}, "x", "y")
	w.check(d.b, everyAck)
	if e := broken.Load(); e != nil {
		t.Fatal(*e)
	}
	if seen.Load() == 0 {
		t.Fatal("no block was seen on its way to a store")
	}
}

// TestI3PeerNotAhead watches the secondary's journal: it never holds what is not durable on the primary, so a power cut there cannot
// leave the secondary with a history that the primary does not know.
func TestI3PeerNotAhead(t *testing.T) {
	t.Parallel()
	disk := newWatchedFS()
	var broken atomic.Pointer[error]
	var seen atomic.Int64
	guard := withStores("osaka", probe(func(volume, what string, p []byte, off int64) error {
		for _, m := range marksIn(p) {
			seen.Add(1)
			if !disk.has(m) {
				err := fmt.Errorf("sector %d of write %d is at the secondary and not durable on the primary", m.Index, m.Counter)
				broken.CompareAndSwap(nil, &err)
			}
		}
		return nil
	}))
	d := newDuo(t, withJournal("tokyo", disk), guard)
	rng := newRand(testSeed(t))
	w := newWriter(d.a, "x")
	d.a.group("g")
	d.a.volume("x")
	d.a.pair("g", "x")
	for range 5 {
		d.a.site.groupByName("g").settle(context.Background()) // as above
		release := disk.holdUp()
		w.some(rng, 20)
		have := d.b.groupStatus("g@tokyo").AppendedSeq // before the mark that bounds it
		if at := d.a.site.groupByName("g").journal.Marks().DurableSeq; have > uint64(at) {
			t.Errorf("the secondary has sequence number %d, the primary is durable up to %d", have, at)
		}
		release()
		w.some(rng, 20)
	}
	// The initial copy reads what hosts wrote a moment ago; that has to be durable before it goes out too.
	d.a.suspend("g", SuspendOptions{}, "x")
	w.some(rng, 50)
	must(t, d.a.site.ResyncGroup(context.Background(), "g"))
	w.some(rng, 200)
	d.a.awaitBoth(PAIR, "x")
	d.a.suspend("g", SuspendOptions{}, "x")
	d.wantEqual("x")
	if e := broken.Load(); e != nil {
		t.Fatal(*e)
	}
	if seen.Load() == 0 {
		t.Fatal("no block was seen at the secondary")
	}
}

// TestI3BaseIsDurable: what a base record has read may be in the ring alone, so the journal is flushed before it is sent.
func TestI3BaseIsDurable(t *testing.T) {
	t.Parallel()
	disk := &gateFS{FS: journal.OS}
	d, w, _ := differ(t, withJournal("tokyo", disk))
	d.a.suspend("g", SuspendOptions{}, "x", "y")
	d.cut() // no session copies
	g, p := d.a.site.groupByName("g"), d.a.site.pairByName("x")
	open := disk.shut()
	must(t, w.write(t.Context(), 0, 5, 1, false))
	g.mu.Lock()
	was := p.rec.State
	p.rec.State.Status, p.rec.PairSeq, p.copier = COPY, 0, &copier{pair: p, held: newBitmap(p.rec.Size)}
	f := &feedSession{g: g, ctx: t.Context(), buf: make([]byte, batchMax), lastSeq: p.rec.StartSeq}
	g.mu.Unlock()
	send := begin(func() error { _, err := f.sendBase(); return err })
	d.wait("it waits for a flush", func() bool { return send.ended() || send.in("(*Journal).Sync(") })
	early := send.ended()
	open()
	must(t, <-send.end)
	if early || len(f.out) == 0 {
		t.Errorf("a base record (%d bytes) goes out while the flush of what it holds is under way", len(f.out))
	}
	g.mu.Lock()
	p.rec.State, p.copier = was, nil
	g.mu.Unlock()
}

// TestI3CursorIsDurable: what is sent comes from a cursor, which gives nothing before it is durable.
func TestI3CursorIsDurable(t *testing.T) {
	t.Parallel()
	disk := &gateFS{FS: journal.OS}
	d, w, _ := differ(t, withJournal("tokyo", disk))
	d.a.suspend("g", SuspendOptions{}, "x", "y")
	g := d.a.site.groupByName("g")
	open := disk.shut()
	defer open()
	cursor := g.journal.NewCursor(g.journal.Marks().Durable)
	must(t, w.write(t.Context(), 0, 5, 1, false))
	if n, _, err := cursor.Read(make([]byte, batchMax), batchMax); n != 0 || err != nil {
		t.Errorf("%d bytes that are not durable were read: %v", n, err)
	}
}
