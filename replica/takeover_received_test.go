package replica

import (
	"context"
	"testing"
)

// TestTakeoverHasAllReceived: a record that is being taken when the S-VOL is taken over is in the image, and the number that the takeover names is
// not below it: what comes behind that number is the primary's alone.
func TestTakeoverHasAllReceived(t *testing.T) {
	t.Parallel()
	d, w := twoPaired(t)
	g, a := d.b.site.groupByName("g@tokyo"), d.b.site.pairByName("x").att
	shard := a.overlay.shard(3)
	shard.mu.Lock() // the record has its number, and is not published
	o := w.h.begin(0, 3*regionSize/blockSize, 1, false, true)
	_, err := d.a.vol("x").WriteAt(context.Background(), o.payload(), 3*regionSize, true)
	last := d.a.site.groupByName("g").journal.Marks().LastSeq
	if err == nil {
		err = waitFor(func() bool { return g.journal.Marks().LastSeq >= last })
	}
	w.h.Ack(o.n)
	take := begin(func() error { return g.svolTakeover(context.Background(), takeoverSSUS, g.allPairs(), nil) })
	if err == nil {
		err = waitFor(func() bool { return take.in("(*group).holdPull(") || take.in("(*Journal).Sync(") || take.ended() })
	}
	shard.mu.Unlock()
	must(t, err)
	must(t, <-take.end)
	if st := d.b.status("x"); st.Status != SSWS || st.TakenSeq != uint64(d.b.lastSeq("g@tokyo")) || st.TakenSeq < uint64(last) {
		t.Errorf("the S-VOL is %s and was taken over at %d; %d was received", st.Status, st.TakenSeq, d.b.lastSeq("g@tokyo"))
	}
	w.check(d.b, everyAck)
}
