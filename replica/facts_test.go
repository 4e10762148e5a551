package replica

import (
	"testing"

	"pairfs/journal"
)

// TestStaleFact: what was seen of a pair that was deleted and created anew, or taken up again, while the group's worker waited for that
// command, means nothing for the pair that is there now.
func TestStaleFact(t *testing.T) {
	t.Parallel()
	d, _, _ := differ(t)
	for _, n := range []*node{d.a, d.b} {
		group := map[*node]string{d.a: "g", d.b: "g@tokyo"}[n]
		seen := func() (facts []fact) {
			p := n.site.pairByName("x")
			for _, in := range []Input{EvPeerDeleted, EvPeerSplit, EvPeerError, EvPathLost} {
				facts = append(facts, fact{pair: p, round: p.round.Load(), input: in, text: "seen before"})
			}
			return facts
		}
		still := func(facts []fact) {
			t.Helper()
			g := n.site.groupByName(group)
			for _, f := range facts {
				g.facts.add(f)
				g.obeyFacts()
				if st := n.status("x"); st.Status != PAIR {
					t.Fatalf("%s: %s of another time made the pair %s", n.cfg.Name, f.input, st.Status)
				}
			}
		}
		facts := seen()
		d.a.suspend("g", SuspendOptions{}, "x", "y")
		d.a.resync("g", "x", "y")
		still(facts)
		facts = seen()
		must(t, d.a.site.DeletePair(t.Context(), "x", DeleteOptions{}))
		must(t, d.b.site.ReserveVolume(t.Context(), "x", "tokyo"))
		d.a.pair("g", "x")
		still(facts)
	}
	d.wantEqual("x", "y")
}

// TestI4TwoSplits: two pairs that were split one after the other at the primary, of which the secondary hears at once, stop there each at its
// own number.
func TestI4TwoSplits(t *testing.T) {
	t.Parallel()
	d, _, _ := differ(t)
	g := d.b.site.groupByName("g@tokyo")
	last := journal.Seq(d.b.groupStatus("g@tokyo").AppendedSeq)
	at := map[string]journal.Seq{"x": last - 1, "y": last - 3}
	g.mu.Lock()
	for name, seq := range at {
		g.report(fact{pair: g.pairs[name], input: EvPeerSplit, seq: seq, text: "test"})
	}
	g.mu.Unlock()
	d.b.await(PSUS, "x", "y")
	for name, seq := range at {
		if st := d.b.status(name); st.SuspendSeq != uint64(seq) {
			t.Errorf("pair %s stopped at %d and not at %d", name, st.SuspendSeq, seq)
		}
	}
}
