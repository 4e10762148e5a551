package replica

import (
	"context"
	"os"
	"path/filepath"
	"testing"
)

// restoreAll brings everything that is durable into the stores of a site and checkpoints it.
func (n *node) restoreAll(group string) {
	n.t.Helper()
	g := n.site.groupByName(group)
	must(n.t, g.journal.Sync(context.Background(), g.journal.Marks().Reserved))
	must(n.t, g.restorePass())
	must(n.t, g.doCheckpoint(context.Background()))
}

// TestI6Keep: what is restored here stays in the journal while the peer has not got it, also over a restart; what the peer confirmed is
// freed.
func TestI6Keep(t *testing.T) {
	t.Parallel()
	d := newDuo(t)
	ctx := context.Background()
	w := newWriter(d.a, "x")
	d.a.group("g")
	d.a.volume("x")
	d.a.pair("g", "x")
	d.cut()
	const count = 20
	for n := range int64(count) {
		must(t, w.write(ctx, 0, n*16, 16, false))
	}
	for range 2 {
		d.a.restoreAll("g")
		if used := d.a.groupStatus("g").Used; used < count*16*blockSize {
			t.Fatalf("the journal holds %d bytes, the peer has not got %d", used, count*16*blockSize)
		}
		d.a.reopen()
	}
	d.heal()
	last := d.a.groupStatus("g").AppendedSeq
	d.wait("everything is at the peer", func() bool {
		return d.b.site != nil && d.b.groupStatus("g@tokyo").AppendedSeq >= last
	})
	d.b.restoreAll("g@tokyo")
	d.wait("the peer's mark comes", func() bool { return d.a.groupStatus("g").PeerRestored >= last })
	d.a.restoreAll("g")
	if used := d.a.groupStatus("g").Used; used > 1<<20 {
		t.Errorf("the journal still holds %d bytes that the peer has", used)
	}
	if sent := d.a.groupStatus("g").BaseSent; sent != 0 {
		t.Errorf("%d bytes of base records were sent", sent)
	}
	w.check(d.b, everyAck)
}

// TestI6NotFreedBeforeStore: on the secondary a record is kept until it is in the store and checkpointed, whatever was received.
func TestI6NotFreedBeforeStore(t *testing.T) {
	t.Parallel()
	d := newDuo(t)
	ctx := context.Background()
	w := newWriter(d.a, "x")
	d.a.group("g")
	d.a.volume("x")
	d.a.pair("g", "x")
	d.settled("x")
	g := d.b.site.groupByName("g@tokyo")
	goOn := g.stopRestore()
	defer goOn()
	from := d.a.groupStatus("g").PeerRestored
	must(t, w.write(ctx, 0, 0, 100, true))
	last := d.a.groupStatus("g").AppendedSeq
	d.wait("it is durable at the peer", func() bool { return d.a.groupStatus("g").PeerDurable >= last })
	if at := d.a.groupStatus("g").PeerRestored; at != from {
		t.Errorf("the peer says that it restored %d, and its restore stands at %d", at, from)
	}
	d.a.restoreAll("g")
	if used := d.a.groupStatus("g").Used; used < 100*blockSize {
		t.Errorf("the primary's journal has only %d bytes of what the peer has not restored", used)
	}
	goOn()
	d.b.restoreAll("g@tokyo")
	d.wait("the mark comes", func() bool { return d.a.groupStatus("g").PeerRestored >= last })
}

// TestI6PeerLosesJournal: a secondary whose journal is gone costs a resync of what it had not restored, never a full copy.
func TestI6PeerLosesJournal(t *testing.T) {
	t.Parallel()
	d := newDuo(t)
	rng := newRand(testSeed(t))
	w := newWriter(d.a, "x")
	d.a.group("g")
	d.a.volume("x")
	ctx := context.Background()
	for n := int64(0); n < duoSize/blockSize; n += 256 {
		must(t, w.write(ctx, 0, n, 256, false))
	}
	d.a.pair("g", "x")
	d.settled("x")
	for range 5 {
		must(t, w.write(ctx, 0, rng.Int64N(64), 1, false)) // four regions
	}
	d.a.site.groupByName("g").journal.Sync(ctx, d.a.site.groupByName("g").journal.Marks().Reserved)
	ring := d.b.site.ringDir
	d.b.crash(nil)
	must(t, os.RemoveAll(filepath.Join(d.b.cfg.StateDir, "journals", "g@tokyo")))
	must(t, os.RemoveAll(ring))
	d.b.open()
	d.a.await(PSUE, "x")
	d.b.await(PSUE, "x")
	if st := d.b.status("x"); st.Consistent {
		t.Errorf("an S-VOL that lost what its store lacked counts as an image: %+v", st)
	}
	refused(t, d.b.site.TakeoverGroup(ctx, "g@tokyo", TakeoverOptions{}), KindBusy)
	before := d.a.groupStatus("g").BaseSent
	d.wantCovered("x")
	d.a.resync("g", "x")
	if sent := d.a.groupStatus("g").BaseSent - before; sent > duoSize/4 {
		t.Errorf("the resync sent %d bytes of a volume of %d, of which a few regions differed", sent, duoSize)
	}
	d.a.suspend("g", SuspendOptions{}, "x")
	w.check(d.b, everyAck)
	d.wantEqual("x")
}

// TestI6StartIsKept: a checkpoint between the start record of a resync and the transaction that stores the pairs as replicated does not free that
// record, for which the peer waits.
func TestI6StartIsKept(t *testing.T) {
	t.Parallel()
	d, w, rng := differ(t)
	d.a.suspend("g", SuspendOptions{}, "x", "y")
	w.some(rng, 5)
	g := d.a.site.groupByName("g")
	g.cmd.Lock()
	r, err := g.startPairs(t.Context(), g.allPairs())
	must(t, err)
	d.a.restoreAll("g")
	if _, ok := g.journal.Locate(r.Seq); !ok {
		t.Error("the start record was freed before the pairs were stored")
	}
	g.startedInVain(g.allPairs())
	g.letGo()
	g.cmd.Unlock()
	d.a.resync("g", "x", "y")
	d.a.suspend("g", SuspendOptions{}, "x", "y")
	w.check(d.b, everyAck)
	d.wantEqual("x", "y")
}
