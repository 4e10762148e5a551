package replica

import (
	"testing"

	"pairfs/quicwire"
)

// TestResyncOverHeardSplit: a split that the primary told of, and that waits here to be obeyed while a resync is granted, is of the past.
func TestResyncOverHeardSplit(t *testing.T) {
	t.Parallel()
	d, _, _ := differ(t)
	g := d.b.site.groupByName("g@tokyo")
	g.cmd.Lock()
	g.mu.Lock()
	p := g.pairs["x"]
	said := p.wire()
	said.Status, said.SuspendType = uint8(PSUS), uint8(PVOLByOperator)
	others := g.pairs["y"].wire()
	g.compare([]quicwire.PairState{said, others}, true)
	g.mu.Unlock()
	must(t, g.run(t.Context(), EvPeerResync, []*pair{p}, runOptions{}))
	g.cmd.Unlock()
	g.watchReq <- struct{}{} // the worker takes the second when it is behind the fact
	g.watchReq <- struct{}{}
	g.watchReq <- struct{}{}
	if st := d.b.status("x"); st.Status != COPY {
		t.Errorf("the resync was granted, and the pair is %s (%s)", st.Status, st.Suspend)
	}
}
