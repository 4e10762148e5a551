package replica

import (
	"fmt"
	"testing"
)

// TestFactsOfAWholeGroup: what is reported of all pairs of the largest group is one step of all of them, however often it is reported before
// it is stepped and whatever is reported beside it; a group whose pairs stop one after the other is no prefix.
func TestFactsOfAWholeGroup(t *testing.T) {
	g := &group{name: "g", pairs: map[string]*pair{}, facts: factQueue{wake: make(chan struct{}, 1)}}
	for n := range pairsGroup {
		p := &pair{name: fmt.Sprint("p", n), group: g}
		p.rec.State = PairState{Role: Primary, Status: PAIR}
		g.pairs[p.name] = p
	}
	g.facts.add(fact{pair: g.pairs["p7"], input: EvPeerSplit, seq: 9})
	for range 50 {
		g.mu.Lock()
		g.reportFull(EvOverflow)
		g.mu.Unlock()
	}
	g.facts.add(fact{pair: g.pairs["p7"], input: EvPeerSplit})
	g.facts.add(fact{pair: g.pairs["p7"], input: EvPeerSplit, seq: 5})
	g.facts.add(fact{pair: g.pairs["p8"], input: EvPeerSplit, seq: 6})
	g.facts.add(fact{pair: g.pairs["p9"], input: EvPeerSplit, fill: true})
	g.facts.add(fact{pair: &pair{name: "gone", group: g}, input: EvPeerDeleted})
	if len(g.facts.wake) != 1 || len(g.facts.list) != pairsGroup+4 {
		t.Errorf("%d facts are queued", len(g.facts.list))
	}
	steps := g.gather()
	if len(steps) != 4 || len(steps[0].pairs) != 1 || steps[0].seq != 5 || len(steps[1].pairs) != pairsGroup || steps[1].input != EvOverflow ||
		len(steps[2].pairs) != 1 || steps[2].seq != 6 || len(steps[3].pairs) != 1 || !steps[3].fill {
		for _, s := range steps {
			t.Errorf("%s of %d pairs at %d", s.input, len(s.pairs), s.seq)
		}
	}
	if again := g.gather(); len(again) != 0 {
		t.Errorf("stepped twice: %d", len(again))
	}
	g.facts.add(fact{pair: g.pairs["p1"], input: EvOverflow})
	if steps := g.gather(); len(steps) != 1 || len(steps[0].pairs) != 1 {
		t.Error("what is reported anew is not stepped")
	}
}
