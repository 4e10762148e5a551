package replica

import (
	"context"
	"testing"
)

func TestScenarioRoundTrip(t *testing.T) {
	t.Parallel()
	d := newDuo(t)
	rng := newRand(testSeed(t))
	w := newWriter(d.a, "x", "y")
	d.a.volume("x")
	d.a.volume("y")
	d.a.group("g")
	w.some(rng, 200)
	d.a.pair("g", "x", "y")
	w.some(rng, 200)
	w.checkStill(d.b, "g@tokyo", whatever)
	d.a.suspend("g", SuspendOptions{}, "x", "y")
	w.check(d.b, everyAck)
	d.wantEqual("x", "y")
	w.some(rng, 100)
	d.wantCovered("x", "y")
	d.a.resync("g", "x", "y")
	w.some(rng, 100)
	d.a.suspend("g", SuspendOptions{}, "x", "y")
	d.wantEqual("x", "y")
	must(t, d.a.site.DeletePair(context.Background(), "x", DeleteOptions{}))
}
