package replica

import "fmt"

// span is a range of a caller's buffer.
type span struct {
	off, n int // bytes
}

// read copies what the overlay has of the len(p) bytes at off into p, and appends the spans of p that it does not have to holes, in
// ascending order and never two that touch. bytesAt returns the n bytes of the journal at pos, or the first of them where the ring wraps,
// at least one; it is called under the lock of the region, because the ring may reuse the bytes once their extent is dropped, and must
// neither block nor call the overlay.
func (o *overlay) read(p []byte, off int64, bytesAt func(pos uint64, n int) []byte, holes []span) []span {
	if len(p) == 0 {
		return holes
	}
	if o.extents.Load() == 0 {
		return append(holes, span{0, len(p)})
	}
	mine := len(holes) // holes before this index are the caller's
	for done := 0; done < len(p); {
		at := off + int64(done)
		lo := uint32(at % regionSize)
		n := min(len(p)-done, regionSize-int(lo))
		holes = o.readRegion(uint64(at/regionSize), p[done:done+n], lo, done, bytesAt, holes, mine)
		done += n
	}
	return holes
}

// readRegion is read for p at lo in one region; base is the place of p in the caller's buffer.
func (o *overlay) readRegion(region uint64, p []byte, lo uint32, base int, bytesAt func(uint64, int) []byte, holes []span, mine int) []span {
	s := o.shard(region)
	s.mu.RLock()
	defer s.mu.RUnlock()
	ext := s.regions[region].ext
	cur, hi := lo, lo+uint32(len(p))
	for i := firstEndingAfter(ext, lo); i < len(ext) && ext[i].off < hi; i++ {
		from, to := max(ext[i].off, lo), min(ext[i].end(), hi)
		holes = addHole(holes, mine, base+int(cur-lo), int(from)-int(cur))
		fetch(p[from-lo:to-lo], ext[i].part(from, to), bytesAt)
		cur = to
	}
	return addHole(holes, mine, base+int(cur-lo), int(hi-cur))
}

// addHole appends the span, or lengthens the last one if they touch and it is not before index mine.
func addHole(holes []span, mine, off, n int) []span {
	if n <= 0 {
		return holes
	}
	if k := len(holes) - 1; k >= mine && holes[k].off+holes[k].n == off {
		holes[k].n += n
		return holes
	}
	return append(holes, span{off, n})
}

// fetch copies the bytes of e to p, which is as long.
func fetch(p []byte, e extent, bytesAt func(uint64, int) []byte) {
	if e.zero {
		clear(p)
		return
	}
	for pos := e.pos; len(p) > 0; {
		b := bytesAt(pos, len(p))
		if len(b) == 0 {
			panic(fmt.Sprintf("replica: the ring has no bytes at journal position %d, which the overlay needs (record at %d)", pos, e.rec))
		}
		n := copy(p, b)
		p, pos = p[n:], pos+uint64(n)
	}
}

// emptyRange reports whether the overlay covers no byte of the range. It costs a look at each region of the range or at each region in
// use, whichever are fewer.
func (o *overlay) emptyRange(off, n int64) bool {
	first, last := uint64(off)/regionSize, uint64(off+n-1)/regionSize
	if o.regions() == 0 {
		return true
	}
	if last-first < uint64(o.regions()) {
		for r := first; r <= last; r++ {
			if o.hasRegion(r) {
				return false
			}
		}
		return true
	}
	for _, r := range o.dirtyRegions(nil) {
		if r >= first && r <= last {
			return false
		}
	}
	return true
}

func (o *overlay) hasRegion(r uint64) bool {
	s := o.shard(r)
	s.mu.RLock()
	defer s.mu.RUnlock()
	_, ok := s.regions[r]
	return ok
}
