package replica

import (
	"math/bits"
	"sync/atomic"
)

// regionSet is a set of regions of a volume that does not change any more: what a bitmap was at one moment, or what the peer sent. It takes
// memory only where regions are marked, in pages as large as a bitmap's. For one goroutine while it is made.
type regionSet struct {
	size    int64 // bytes of the volume
	regions int64
	pages   [][]uint64 // nil where nothing is marked
}

// newRegionSet returns the empty set for a volume of size bytes.
func newRegionSet(size int64) *regionSet {
	regions := (size + regionSize - 1) / regionSize
	return &regionSet{size: size, regions: regions, pages: make([][]uint64, (regions+bitmapPageRegions-1)/bitmapPageRegions)}
}

// snapshot copies what is marked now. A mark that is set meanwhile may be in it or not.
func (b *bitmap) snapshot() *regionSet {
	s := newRegionSet(b.size)
	for i := range b.words {
		if w := atomic.LoadUint64(&b.words[i]); w != 0 {
			s.or(int64(i), w)
		}
	}
	return s
}

// or adds the regions of mask to those of word i.
func (s *regionSet) or(i int64, mask uint64) {
	page := &s.pages[i/bitmapPageWords]
	if *page == nil {
		*page = make([]uint64, bitmapPageWords)
	}
	(*page)[i%bitmapPageWords] |= mask
}

// add adds the regions [from, to), which must exist.
func (s *regionSet) add(from, to int64) {
	eachWord(from, to, func(i int64, mask uint64) bool {
		s.or(i, mask)
		return true
	})
}

// word returns word i of the set; the set of nobody is empty.
func (s *regionSet) word(i int64) uint64 {
	if s == nil || s.pages[i/bitmapPageWords] == nil {
		return 0
	}
	return s.pages[i/bitmapPageWords][i%bitmapPageWords]
}

// spans yields the runs of marked regions, ascending and apart.
func (s *regionSet) spans(yield func(first, n uint64) bool) {
	for at := int64(0); ; {
		first, n, _, _ := nextAlike(s, nil, at)
		if n == 0 || !yield(uint64(first), uint64(n)) {
			return
		}
		at = first + n
	}
}

// nextAlike returns the next run, at or behind from, of regions that are all in the same of the two sets, and in which; n is 0 if no region
// is left that is in any. The sets are of one volume; b may be nil.
func nextAlike(a, b *regionSet, from int64) (first, n int64, inA, inB bool) {
	first = scanWords(a, b, from, func(x, y uint64) uint64 { return x | y })
	if first >= a.regions {
		return 0, 0, false, false
	}
	inA, inB = a.word(first/64)>>(first%64)&1 != 0, b.word(first/64)>>(first%64)&1 != 0
	other := func(w uint64, in bool) uint64 {
		if in {
			return ^w
		}
		return w
	}
	end := scanWords(a, b, first, func(x, y uint64) uint64 { return other(x, inA) | other(y, inB) })
	return first, end - first, inA, inB
}

// scanWords returns the first region at or behind from whose bit is set in what hit makes of the words of both sets, the number of regions
// if there is none. Pages that neither set has are passed in one step where hit makes nothing of them.
func scanWords(a, b *regionSet, from int64, hit func(x, y uint64) uint64) int64 {
	empty := hit(0, 0) == 0
	for r := from; r < a.regions; {
		if page := r / bitmapPageRegions; empty && a.pages[page] == nil && (b == nil || b.pages[page] == nil) {
			r = (page + 1) * bitmapPageRegions
			continue
		}
		i := r / 64
		if w := hit(a.word(i), b.word(i)) >> (r % 64); w != 0 {
			return min(r+int64(bits.TrailingZeros64(w)), a.regions)
		}
		r = (i + 1) * 64
	}
	return a.regions
}

// bytesOf returns how many bytes of the volume n regions from first have.
func (s *regionSet) bytesOf(first, n int64) int64 {
	return min((first+n)*regionSize, s.size) - first*regionSize
}

// any reports whether the set has a region; that of nobody has none.
func (s *regionSet) any() bool {
	if s == nil {
		return false
	}
	_, n, _, _ := nextAlike(s, nil, 0)
	return n > 0
}

// bytes returns how many bytes of the volume the set has.
func (s *regionSet) bytes() (n int64) {
	for first, count := range s.spans {
		n += s.bytesOf(int64(first), int64(count))
	}
	return n
}
