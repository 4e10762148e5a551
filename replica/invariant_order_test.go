package replica

import (
	"bytes"
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"pairfs/e2e/prefix"
	"pairfs/journal"
	"pairfs/quicwire"
	"pairfs/quicwire/wiretest"
)

// journaled is a record as a test found it in a journal.
type journaled struct {
	rec     journal.Record
	numbers []uint64 // of the writes in its payload
}

// records reads every record that a group's journal still has.
func (n *node) records(group string) (list []journaled) {
	n.t.Helper()
	g := n.site.groupByName(group)
	must(n.t, g.journal.Sync(context.Background(), g.journal.Marks().Reserved))
	c := g.journal.NewCursor(g.journal.Marks().Freed)
	buf := make([]byte, batchMax)
	for {
		k, _, err := c.Read(buf, len(buf))
		must(n.t, err)
		if k == 0 {
			return list
		}
		for b := buf[:k]; len(b) > 0; {
			rec, size, err := journal.Parse(b)
			must(n.t, err)
			list = append(list, journaled{rec, numbersIn(rec.Payload)})
			list[len(list)-1].rec.Payload = nil
			b = b[size:]
		}
	}
}

// checkOrder proves that numbers are dense and that no record stands before one whose write was acknowledged before its own was issued.
func checkOrder(h *history, list []journaled) error {
	var last journal.Seq
	var issued prefix.Stamp // the latest issue among the records so far
	for i, r := range list {
		if r.rec.Kind == journal.KindBase || !r.rec.Advances() {
			continue
		}
		if last != 0 && r.rec.Seq != last+1 {
			return fmt.Errorf("record %d of the journal has sequence number %d behind %d", i, r.rec.Seq, last)
		}
		last = r.rec.Seq
		for _, n := range r.numbers {
			o, ok := h.Write(n)
			if !ok {
				return fmt.Errorf("sequence number %d holds write %d, which nobody made", r.rec.Seq, n)
			}
			if o.End != 0 && o.End < issued {
				return fmt.Errorf("write %d at sequence number %d was acknowledged before a write that stands before it was issued", n, r.rec.Seq)
			}
			issued = max(issued, o.Start)
		}
	}
	if last == 0 {
		return fmt.Errorf("no record was found")
	}
	return nil
}

// TestI1Order lets eight hosts write three volumes of a group at once, overlapping, while one pair is split and taken up again. Both
// journals must number their records without a gap and in an order that agrees with what hosts knew.
func TestI1Order(t *testing.T) {
	t.Parallel()
	d := newDuo(t)
	seed := testSeed(t)
	names := []string{"x", "y", "z"}
	w := newWriter(d.a, names...)
	d.a.group("g")
	for _, v := range names {
		d.a.volume(v)
	}
	d.a.pair("g", names...)
	d.darken() // so that nothing of it is freed
	var wg sync.WaitGroup
	for k := range 8 {
		wg.Go(func() {
			rng := newRand(seed + uint64(k))
			for range 60 {
				if err := w.write(context.Background(), rng.IntN(3), rng.Int64N(16), 1+rng.Int64N(4), rng.IntN(30) == 0); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	must(t, checkOrder(w.h, d.a.records("g")))
	hold := d.b.site.groupByName("g@tokyo")
	goOn := hold.stopRestore() // the secondary keeps what arrives from here on
	defer goOn()
	d.lighten()
	last := d.a.groupStatus("g").AppendedSeq
	d.wait("everything arrives", func() bool { return d.b.groupStatus("g@tokyo").AppendedSeq >= last })
	err := checkOrder(w.h, d.b.records("g@tokyo"))
	goOn()
	must(t, err)
	w.checkStill(d.b, "g@tokyo", everyAck)
	must(t, d.a.site.SuspendPair(context.Background(), "y", SuspendOptions{}))
	w.some(newRand(seed), 50) // updates of a split pair are skips for the peer, with numbers of their own
	d.a.suspend("g", SuspendOptions{}, names...)
	d.wantEqual("x", "z")
	d.a.resync("g", names...)
	d.a.suspend("g", SuspendOptions{}, names...)
	d.wantEqual(names...)
}

// TestI1BadLink has the link lose, double, delay and reorder packets: the secondary's image is a prefix at every moment all the same.
func TestI1BadLink(t *testing.T) {
	t.Parallel()
	d := newDuo(t)
	rng := newRand(testSeed(t))
	w := newWriter(d.a, "x", "y")
	d.a.group("g")
	d.a.volume("x")
	d.a.volume("y")
	d.a.pair("g", "x", "y")
	for _, p := range []*wiretest.Proxy{d.a.proxy, d.b.proxy} {
		p.Drop(wiretest.Both, 0.02)
		p.Duplicate(wiretest.Both, 0.05)
		p.Reorder(wiretest.Both, 0.1, 3*time.Millisecond)
	}
	for range 6 {
		w.some(rng, 60)
		w.checkStill(d.b, "g@tokyo", whatever)
	}
	d.lighten()
	d.a.suspend("g", SuspendOptions{}, "x", "y")
	w.check(d.b, everyAck)
	d.wantEqual("x", "y")
}

// TestI1GapRefused gives a restore group records that do not follow its last one: it takes none of them.
func TestI1GapRefused(t *testing.T) {
	t.Parallel()
	d := newDuo(t)
	w := newWriter(d.a, "x")
	d.a.group("g")
	d.a.volume("x")
	d.a.pair("g", "x")
	must(t, w.write(context.Background(), 0, 0, 1, true))
	last := d.a.groupStatus("g").AppendedSeq
	d.wait("it arrives", func() bool { return d.b.groupStatus("g@tokyo").AppendedSeq >= last })
	d.cut()
	g := d.b.site.groupByName("g@tokyo")
	number := d.b.site.pairByName("x").att.number
	before := readAll(t, d.b.vol("x"))
	payload := bytes.Repeat([]byte{7}, blockSize)
	for _, seq := range []journal.Seq{journal.Seq(last), journal.Seq(last) - 1, journal.Seq(last) + 2, journal.Seq(last) + 1000} {
		rec := journal.Record{Kind: journal.KindUpdate, Volume: number, Seq: seq, Length: blockSize, Payload: payload, Time: 1}
		p := &pullSession{g: g, ctx: context.Background(), wake: make(chan struct{}, 1)}
		if err := p.record(&rec, &touched{}); err == nil {
			t.Errorf("a record of sequence number %d was taken behind %d", seq, last)
		}
	}
	if at := diffAt(before, readAll(t, d.b.vol("x"))); at >= 0 {
		t.Errorf("the S-VOL changed at offset %d", at)
	}
	if n, err := readBlock(before[:blockSize], 0, 0); n == 0 || err != nil {
		t.Error("the S-VOL does not hold the write")
	}
	d.heal()
}

// TestI1SplitBehindPeer: a pair that was split while the peer was away, with records of it on their way, does not hold up the others of its
// group: the peer, which splits it as soon as it is told, gets their numbers without data.
func TestI1SplitBehindPeer(t *testing.T) {
	t.Parallel()
	d, w, rng := differ(t)
	d.cut()
	w.some(rng, 20)
	must(t, d.a.site.SuspendPair(t.Context(), "x", SuspendOptions{}))
	d.a.await(PSUS, "x")
	w.some(rng, 20)
	d.heal()
	d.b.await(PSUS, "x")
	last := d.a.groupStatus("g").AppendedSeq
	d.wait("the other pair goes on", func() bool { return d.b.groupStatus("g@tokyo").AppendedSeq >= last })
	d.wantCovered("x")
	d.a.resync("g", "x", "y")
	d.a.suspend("g", SuspendOptions{}, "x", "y")
	w.check(d.b, everyAck)
	d.wantEqual("x", "y")
}

// TestI1GateOrder: batches that overtake each other are taken in the order in which they were sent, each once, as they came; what is in no batch is not
// waited for without end, and what waits takes no more memory than is counted.
func TestI1GateOrder(t *testing.T) {
	t.Parallel()
	d, w, _ := differ(t)
	must(t, w.write(t.Context(), 0, 0, 1, true))
	last := d.a.groupStatus("g").AppendedSeq
	d.wait("it arrives", func() bool { return d.b.groupStatus("g@tokyo").AppendedSeq >= last })
	d.cut()
	number := d.b.site.pairByName("x").att.number
	batch := func(ordinal uint64) *quicwire.Batch {
		rec := journal.Record{Kind: journal.KindUpdate, Volume: number, Seq: journal.Seq(last + ordinal), Length: blockSize, Payload: bytes.Repeat([]byte{byte(ordinal)}, blockSize), Time: 1}
		data, err := journal.EncodeRecord(nil, &rec)
		must(t, err)
		return &quicwire.Batch{Ordinal: ordinal, First: last + ordinal, Last: last + ordinal, Count: 1, RawLen: uint32(len(data)), Data: data}
	}
	p := newPullSession(d.b.site.groupByName("g@tokyo"))
	p.ctx = t.Context()
	for _, step := range []struct {
		ordinal uint64
		at      uint64 // the last number that is there then
	}{{3, 0}, {2, 0}, {1, 3}, {5, 3}, {4, 5}, {6, 6}} {
		b := batch(step.ordinal)
		buf := append(make([]byte, 0, quicwire.MaxBatchData), b.Data...)
		b.Data = buf
		must(t, p.gate(b))
		clear(buf) // the next batch is received into it
		if e := p.early[step.ordinal]; e != nil && cap(e.Data) > 2*len(e.Data) {
			t.Errorf("batch %d of %d bytes is kept in %d", step.ordinal, len(e.Data), cap(e.Data))
		}
		if at := d.b.groupStatus("g@tokyo").AppendedSeq; at != last+step.at {
			t.Fatalf("behind batch %d the secondary is at %d, want %d", step.ordinal, at-last, step.at)
		}
	}
	for _, ordinal := range []uint64{6, 1, 0} {
		if p.gate(batch(ordinal)) == nil {
			t.Errorf("batch %d was taken twice", ordinal)
		}
	}
	if got := readAll(t, d.b.vol("x"))[:blockSize]; !bytes.Equal(got, bytes.Repeat([]byte{6}, blockSize)) {
		t.Errorf("the S-VOL has batch %d", got[0])
	}
	var err error
	for n := uint64(8); err == nil; n++ { // batch 7 never comes
		if err = p.gate(batch(n)); n > 2*pathAhead {
			t.Fatal("batches are remembered without end")
		}
	}
}
