package replica

import (
	"testing"

	"pairfs/journal"
)

// TestFillIfBehind: a secondary that says it has restored less than it had confirmed has lost that, from its database too: its map does not say
// what. Only what belongs to the pair counts: numbers behind its stop are of others.
func TestFillIfBehind(t *testing.T) {
	for _, c := range []struct {
		last, stop journal.Seq
		want       bool
	}{{10, 12, false}, {12, 12, false}, {9, 12, true}, {0, 12, true}, {8, 8, false}, {7, 8, true}, {9, noStop, false}} {
		g, p := &group{peerRestore: 10}, copying(3)
		p.att.bits.reset()
		p.rec.StopSeq = c.stop
		if err := g.fillIfBehind(c.last, []*pair{p}); err != nil {
			t.Fatal(err)
		}
		if got := p.att.bits.count() == 3; got != c.want {
			t.Errorf("confirmed up to 10, %+v: whole volume marked: %v", c, got)
		}
	}
}
