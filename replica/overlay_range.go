package replica

import "sync/atomic"

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

// isDirty reports whether a page differs from the database.
func (b *bitmap) isDirty() bool {
	b.change.RLock()
	defer b.change.RUnlock()
	for i := range b.dirty {
		if atomic.LoadUint64(&b.dirty[i]) != 0 {
			return true
		}
	}
	return false
}
