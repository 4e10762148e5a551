package journal

import "testing"

// TestIndexGrow: an index that was sized for a small journal keeps helping when journal volumes are added, from the oldest number on.
func TestIndexGrow(t *testing.T) {
	const small, large = 64 << 20, 8 << 30
	var x index
	x.init(small)
	seq := Seq(0)
	p := Position(0)
	put := func(n Position) {
		for end := p + n; p < end; p += 4096 {
			seq++
			x.add(&Record{Position: p, Seq: seq})
		}
	}
	put(small)
	x.grow(large)
	x.grow(small) // never back
	put(large - small)
	for q := Position(0); q < p; q += 1<<20 + 4096 {
		at := x.before(Seq(q/4096) + 1)
		if at > q || q-at > 2*x.step {
			t.Fatalf("for position %d the walk begins at %d, the step is %d", q, at, x.step)
		}
	}
}
