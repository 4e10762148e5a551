package replica

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"pairfs/quicwire"
)

// alike is a run as [nextAlike] gives it.
type alike struct {
	First, N int64
	A, B     bool
}

// drawSet draws runs of regions, many at the borders of words and pages.
func drawSet(t *rapid.T, name string, size int64) (*regionSet, []bool) {
	s := newRegionSet(size)
	marked := make([]bool, s.regions)
	for range rapid.IntRange(0, 6).Draw(t, name+" runs") {
		near := rapid.SampledFrom([]int64{0, 60, 63, 64, 65, bitmapPageRegions - 1, bitmapPageRegions, s.regions - 2}).Draw(t, name+" near")
		from := min(max(near+rapid.Int64Range(-2, 3).Draw(t, name+" from"), 0), s.regions-1)
		to := min(from+rapid.SampledFrom([]int64{1, 1, 2, 63, 64, 65, 130, bitmapPageRegions}).Draw(t, name+" len"), s.regions)
		s.add(from, to)
		for r := from; r < to; r++ {
			marked[r] = true
		}
	}
	return s, marked
}

// TestRegionSetModel holds what two sets say together against two slices, region by region, and what travels against what arrives.
func TestRegionSetModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		regions := rapid.SampledFrom([]int64{1, 63, 64, 65, 200, bitmapPageRegions, bitmapPageRegions + 70, 3*bitmapPageRegions + 1}).Draw(t, "regions")
		size := regions*regionSize - rapid.SampledFrom([]int64{0, 1, regionSize - 1}).Draw(t, "short")
		a, inA := drawSet(t, "a", size)
		b, inB := drawSet(t, "b", size)
		var want, got []alike
		for r := range regions {
			if !inA[r] && !inB[r] {
				continue
			}
			if k := len(want) - 1; k >= 0 && want[k].First+want[k].N == r && want[k].A == inA[r] && want[k].B == inB[r] {
				want[k].N++
				continue
			}
			want = append(want, alike{r, 1, inA[r], inB[r]})
		}
		for at := int64(0); ; {
			first, n, x, y := nextAlike(a, b, at)
			if n == 0 {
				break
			}
			got = append(got, alike{first, n, x, y})
			at = first + n
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Fatal(d)
		}
		back := newRegionSet(size)
		for f := range quicwire.Bitmaps("p", regionSize, uint64(regions), a.spans) {
			for first, n := range f.Spans() {
				back.add(int64(first), int64(first+n))
			}
		}
		if d := cmp.Diff(a.pages, back.pages); d != "" {
			t.Fatal(d)
		}
	})
}

// TestRegionSetTakesMemoryForWhatIsMarked: two marks in a bitmap of 1 TiB cost two pages.
func TestRegionSetTakesMemoryForWhatIsMarked(t *testing.T) {
	b := newBitmap(1 << 40)
	b.set(3)
	b.set(b.regions - 1)
	s := b.snapshot()
	b.set(4) // later: not in the snapshot
	pages := 0
	for _, p := range s.pages {
		if p != nil {
			pages++
		}
	}
	if pages != 2 {
		t.Errorf("two marks take %d pages", pages)
	}
	if first, n, inA, inB := nextAlike(s, nil, 0); first != 3 || n != 1 || !inA || inB {
		t.Errorf("first run: %d regions at %d, %v %v", n, first, inA, inB)
	}
	if first, n, _, _ := nextAlike(s, nil, 4); first != b.regions-1 || n != 1 {
		t.Errorf("last run: %d regions at %d", n, first)
	}
}
