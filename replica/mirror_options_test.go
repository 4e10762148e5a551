package replica

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"pairfs/journal"
	"pairfs/quicwire"
)

// TestUseOfCache: with use-of-cache=no a batch is durable in the restore journal before the next is taken; with it, it may wait.
func TestUseOfCache(t *testing.T) {
	t.Parallel()
	disk := newWatchedFS()
	d, _, _ := differ(t, withJournal("osaka", disk))
	ctx := context.Background()
	d.cut()
	g := d.b.site.groupByName("g@tokyo")
	take := func(ordinal uint64) (reserved, durable journal.Position) {
		release := disk.holdUp()
		defer release()
		g.mu.Lock()
		seq := g.lastSeq + 1
		g.mu.Unlock()
		data, err := journal.EncodeRecord(nil, &journal.Record{Kind: journal.KindSkip, Seq: seq})
		must(t, err)
		p := &pullSession{g: g, ctx: ctx, wake: make(chan struct{}, 1), early: map[uint64]*quicwire.Batch{}}
		var done sync.WaitGroup
		var taken atomic.Bool
		before := g.journal.Marks().Reserved
		done.Go(func() {
			err := p.store(&quicwire.Batch{Ordinal: ordinal, First: uint64(seq), Last: uint64(seq), Count: 1, Data: data})
			m := g.journal.Marks()
			if reserved, durable = m.Reserved, m.Durable; err != nil {
				t.Error(err)
			}
			taken.Store(true)
		})
		d.wait("the record is in the journal", func() bool { return g.journal.Marks().Reserved > before })
		if g.opts.Load().UseOfCache {
			d.wait("the batch is taken with the disk at a stand", taken.Load)
		}
		release()
		done.Wait()
		return reserved, durable
	}
	if reserved, durable := take(1); durable >= reserved {
		t.Errorf("with use of cache the batch waited for the disk")
	}
	must(t, d.b.site.SetGroup(ctx, "g@tokyo", map[string]string{"use-of-cache": "no"}))
	for n := range uint64(20) {
		if reserved, durable := take(n + 2); durable < reserved {
			t.Fatalf("batch %d was taken, up to %d, and is durable up to %d", n, reserved, durable)
		}
	}
}

// TestForwardPathWatch: the secondary takes path watch time over from a primary that hands it on, when it changes and when a mirror opens,
// keeps it over a restart, and keeps its own otherwise.
func TestForwardPathWatch(t *testing.T) {
	t.Parallel()
	d, w, _ := differ(t)
	ctx := context.Background()
	set := func(options map[string]string) { t.Helper(); must(t, d.a.site.SetGroup(ctx, "g", options)) }
	has := func(word string) bool {
		return slices.Contains(d.b.groupStatus("g@tokyo").Options, "path-watch="+word)
	}
	said := func() { // what the primary said before has come
		t.Helper()
		must(t, w.write(ctx, 0, 1, 1, true))
		last := d.a.groupStatus("g").AppendedSeq
		d.wait("the secondary is there", func() bool { return d.b.groupStatus("g@tokyo").AppendedSeq >= last })
	}
	set(map[string]string{"path-watch": "7m"})
	said()
	if !has("1h") {
		t.Fatalf("it was not handed on, and the secondary has %v", d.b.groupStatus("g@tokyo").Options)
	}
	set(map[string]string{"forward-path-watch": "yes"})
	d.wait("7 minutes are taken over", func() bool { return has("7m") })
	set(map[string]string{"path-watch": "2d"})
	d.wait("2 days are taken over", func() bool { return has("2d") })
	d.b.reopen()
	if !has("2d") {
		t.Error("a restart forgot it")
	}
	d.wait("the link is up", d.a.linked)
	d.cut()
	set(map[string]string{"path-watch": "90m"})
	d.heal()
	d.wait("90 minutes are taken over by a new mirror", func() bool { return has("90m") })
	set(map[string]string{"forward-path-watch": "no", "path-watch": "5m"})
	said()
	if !has("90m") {
		t.Errorf("it is not handed on any more, and the secondary has %v", d.b.groupStatus("g@tokyo").Options)
	}
	must(t, d.b.site.SetGroup(ctx, "g@tokyo", map[string]string{"path-watch": "6m"}))
	said()
	if !has("6m") {
		t.Error("the secondary's own was taken away")
	}
}

// TestKeepAlive: while hosts are quiet the sequence number moves on, and the secondary, which is not behind, has heard of it.
func TestKeepAlive(t *testing.T) {
	t.Parallel()
	d, _, _ := differ(t)
	g := d.a.site.groupByName("g")
	for range 3 {
		seq, heard := d.a.groupStatus("g").AppendedSeq, d.b.groupStatus("g@tokyo").Heard
		d.wait("the number moves on", func() bool {
			g.mu.Lock()
			if !g.aliveAt.IsZero() {
				g.aliveAt = g.aliveAt.Add(-keepAlive) // it has been quiet for long
			}
			g.mu.Unlock()
			return d.a.groupStatus("g").AppendedSeq > seq
		})
		d.wait("the secondary hears of it, and is not behind", func() bool {
			b := d.b.groupStatus("g@tokyo")
			p := d.b.status("x")
			return b.AppendedSeq > seq && b.Heard.After(heard) && p.LagSeq == 0 && p.LagTime == 0
		})
		d.wait("the primary knows", func() bool { p := d.a.status("x"); return p.LagSeq == 0 && p.LagTime == 0 })
	}
	d.a.suspend("g", SuspendOptions{}, "x", "y")
	seq := g.journal.Marks().LastSeq
	g.mu.Lock()
	g.aliveSeq, g.aliveAt = seq, g.aliveAt.Add(-keepAlive)
	g.mu.Unlock()
	g.keepAlive()
	if now := g.journal.Marks().LastSeq; now != seq {
		t.Errorf("nothing is replicated, and the number moves from %d to %d", seq, now)
	}
}
