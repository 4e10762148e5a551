package replica

import (
	"testing"

	"pairfs/quicwire"
)

// The generation of a pair names its history. What the other side says about another one is about other bytes.

// TestStateOfAnotherHistory: what is said of a pair of this name in another history neither splits it nor tells anything of its S-VOL.
func TestStateOfAnotherHistory(t *testing.T) {
	t.Parallel()
	d, _, _ := differ(t)
	g := d.a.site.groupByName("g")
	for _, status := range []Status{PSUS, PSUE, PFUS, SSWS, Deleting} {
		g.cmd.Lock() // the worker takes no facts
		g.mu.Lock()
		states := g.wireStates(0)
		for i := range states {
			states[i].Generation++
			states[i].Status, states[i].Consistent = uint8(status), false
		}
		g.facts.take()
		g.compare(states, false)
		facts, image, said := g.facts.take(), true, PAIR
		for _, p := range g.pairs {
			image = image && p.rec.State.Consistent
			said = max(said, p.peerStatus)
		}
		g.mu.Unlock()
		g.cmd.Unlock()
		if len(facts) > 0 || !image || said != PAIR {
			t.Errorf("%s of another history: %d facts, image %v, the peer is said to be %s", status, len(facts), image, said)
		}
	}
	d.a.awaitBoth(PAIR, "x", "y")
}

// TestGivenUpHistory: a primary that gave its role up when its answer was lost names the history that it began; that of the pairs is none, and one
// that not all pairs have is refused.
func TestGivenUpHistory(t *testing.T) {
	g := &group{rec: groupRecord{Peer: "tokyo"}}
	var pairs []*pair
	for _, name := range []string{"x", "y"} {
		pairs = append(pairs, &pair{name: name, rec: pairRecord{Generation: 7}})
	}
	for _, c := range []struct {
		x, y, want uint64
		ok         bool
	}{{7, 7, 0, true}, {9, 9, 9, true}, {7, 9, 0, false}, {9, 7, 0, false}, {8, 9, 0, false}, {0, 0, 0, false}} {
		ready := &quicwire.ResyncReady{Pairs: []quicwire.PairState{{Name: "x", Generation: c.x}, {Name: "y", Generation: c.y}}}
		if got, err := g.givenUp(ready, pairs); got != c.want || (err == nil) != c.ok {
			t.Errorf("%+v: %d, %v", c, got, err)
		}
	}
}

// TestStillMeant: a request that waited for a command is refused when that changed the role, or the history, or the pairs.
func TestStillMeant(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*group, *pair)
		ok     bool
	}{
		"nothing":                   {func(*group, *pair) {}, true},
		"the role":                  {func(g *group, _ *pair) { g.role = Secondary }, false},
		"the history":               {func(_ *group, p *pair) { p.rec.Generation, p.rec.Parent = 8, 7 }, false},
		"granted, and not begun":    {func(_ *group, p *pair) { p.rec.Generation, p.rec.Parent, p.rec.Starting = 8, 7, true }, true},
		"the pair of that name":     {func(g *group, p *pair) { g.pairs["x"] = &pair{name: "x", rec: p.rec} }, false},
		"the pair is there no more": {func(g *group, _ *pair) { delete(g.pairs, "x") }, false},
	} {
		p := &pair{name: "x", rec: pairRecord{Generation: 7}}
		g := &group{site: &Site{}, name: "g", role: Primary, pairs: map[string]*pair{"x": p}}
		c.change(g, p)
		if err := g.stillMeant([]*pair{p}, []quicwire.PairRef{{Name: "x", Generation: 7}}, false); (err == nil) != c.ok {
			t.Errorf("changed was %s: %v", name, err)
		}
	}
}
