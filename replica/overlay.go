package replica

import (
	"fmt"
	"math"
	"slices"
	"sync"
	"sync/atomic"
)

const (
	overlayShards = 32  // locks of an overlay; neighbouring regions have different ones, so that one large write does not hold one lock
	overlaySpare  = 128 // emptied extent slices that a shard keeps for the next regions: at most 128 KiB a shard
	overlayFirst  = 4   // extents that a region has room for at first
	overlayReuse  = 32  // a slice that grew beyond this many extents is left to the garbage collector
	overlayPeak   = 4096
)

// extent is a range of one region whose newest bytes are in the journal (in its staging ring) and not yet in the store.
// It holds no pointer, so the garbage collector does not look into it.
type extent struct {
	off  uint32 // first byte, in the region
	len  uint32 // bytes, 1 … regionSize-off
	pos  uint64 // journal position of the byte at off; means nothing when zero
	rec  uint64 // journal position of the record's header: the version
	zero bool   // a discard: the bytes are zeroes and the journal holds none
}

// end returns the offset behind the extent, in the region.
func (e extent) end() uint32 { return e.off + e.len }

// part returns the bytes [lo, hi) of the extent, which must lie inside it.
func (e extent) part(lo, hi uint32) extent {
	if !e.zero {
		e.pos += uint64(lo - e.off)
	}
	e.off, e.len = lo, hi-lo
	return e
}

// overlay holds, for one volume, where the newest bytes between the restored and the appended mark are. It maps a region to its extents,
// sorted and without overlap; what it does not cover is in the store.
//
// A read takes the overlay first and reads the holes from the store afterwards. The other order would lose a write: restore may write the
// store and drop the extent in between.
//
// Versions decide, not the order of calls: two writers may insert in either order, the larger version wins on every byte. This holds only
// against what is still there, so an insert must not come later than the drop of a newer extent: collect may be given only a mark below
// which every record has been inserted.
//
// All methods may be called at once from any goroutine. An insert or a read over several regions is not one step: a reader at the same
// time may see the new bytes of one region and the old ones of the next. Paired volumes do not change size, so there is no truncate.
type overlay struct {
	extents  atomic.Int64
	count    atomic.Int64  // regions
	hosts    atomic.Uint64 // host writes, see hostWrite; here, with what is owed, because an insert changes this line of memory anyway
	owed     atomic.Int64  // journal bytes of records that the peer is to have and does not hold, see owe
	since    atomic.Int64  // time of the first record since nothing was owed, ns since 1970
	sinceSeq atomic.Uint64 // its number
	shards   [overlayShards]overlayShard
}

type overlayShard struct {
	mu      sync.RWMutex
	regions map[uint64]overlayRegion // guarded by mu
	spare   [][]extent               // guarded by mu; emptied slices
	scratch []extent                 // guarded by mu; used by one insert
	peak    int                      // guarded by mu; most regions since the map was made
	_       [40]byte                 // a shard is 128 bytes, so that two locks do not share a cache line
}

type overlayRegion struct {
	ext []extent // sorted by off, without overlap, never empty while in the map
	max uint64   // no version here is larger; may be stale after a drop, never too small
}

// newOverlay returns an overlay that covers nothing.
func newOverlay() *overlay {
	o := new(overlay)
	for i := range o.shards {
		o.shards[i].regions = make(map[uint64]overlayRegion)
	}
	return o
}

func (o *overlay) shard(region uint64) *overlayShard { return &o.shards[region%overlayShards] }

// len returns the number of extents, each of which takes 32 bytes.
func (o *overlay) len() int { return int(o.extents.Load()) }

// regions returns the number of regions with extents. Together with len it bounds the memory of the overlay.
func (o *overlay) regions() int { return int(o.count.Load()) }

// insert says that the n bytes at off are those at journal position data, or zeroes, by the record at position version. Bytes that are
// covered by the same or a larger version stay as they are. A full region that replaces older ones takes constant time.
func (o *overlay) insert(off, n int64, data, version uint64, zero bool) {
	if off < 0 || n < 0 || off > math.MaxInt64-n {
		panic(fmt.Sprintf("replica: overlay insert of %d bytes at %d", n, off))
	}
	for n > 0 {
		lo := uint32(off % regionSize)
		m := min(n, regionSize-int64(lo))
		o.insertRegion(uint64(off/regionSize), extent{off: lo, len: uint32(m), pos: data, rec: version, zero: zero})
		off, n = off+m, n-m
		if !zero {
			data += uint64(m)
		}
	}
}

func (o *overlay) insertRegion(region uint64, e extent) {
	s := o.shard(region)
	s.mu.Lock()
	defer s.mu.Unlock()
	r, ok := s.regions[region]
	if !ok {
		r.ext = s.take()
		o.count.Add(1)
	}
	before := len(r.ext)
	if e.len == regionSize && e.rec > r.max {
		r.ext = append(r.ext[:0], e)
	} else {
		r.ext = s.place(r.ext, e)
	}
	r.max = max(r.max, e.rec)
	s.regions[region] = r
	s.peak = max(s.peak, len(s.regions))
	// Under the lock and after the change: the count of extents is then never 0 while the bytes of a finished insert are here.
	o.extents.Add(int64(len(r.ext) - before))
}

// place puts e into the sorted extents where they are older, and returns them.
func (s *overlayShard) place(ext []extent, e extent) []extent {
	lo, hi := e.off, e.end()
	i := firstEndingAfter(ext, lo)
	j := i
	cur := lo // [lo, cur) is done
	out := s.scratch[:0]
	var right extent
	for ; j < len(ext) && ext[j].off < hi; j++ {
		old := ext[j]
		if old.rec >= e.rec {
			if cur < old.off {
				out = append(out, e.part(cur, old.off))
			}
			out = append(out, old)
			cur = old.end()
			continue
		}
		if old.off < lo {
			out = append(out, old.part(old.off, lo))
		}
		if old.end() > hi { // only the last one can
			right = old.part(hi, old.end())
		}
	}
	if cur < hi {
		out = append(out, e.part(cur, hi))
	}
	if right.len > 0 {
		out = append(out, right)
	}
	s.scratch = out[:0]
	if cap(out) > overlayReuse {
		s.scratch = nil
	}
	return slices.Replace(ext, i, j, out...)
}

// firstEndingAfter returns the index of the first extent that ends behind off, or len(ext).
func firstEndingAfter(ext []extent, off uint32) int {
	lo, hi := 0, len(ext)
	for lo < hi {
		mid := int(uint(lo+hi) >> 1)
		if ext[mid].end() > off {
			hi = mid
		} else {
			lo = mid + 1
		}
	}
	return lo
}

// dirtyRegions appends the numbers of all regions with extents to dst, in ascending order. Regions that come or go meanwhile may be
// missing or empty.
func (o *overlay) dirtyRegions(dst []uint64) []uint64 {
	from := len(dst)
	for i := range o.shards {
		s := &o.shards[i]
		s.mu.RLock()
		for region := range s.regions {
			dst = append(dst, region)
		}
		s.mu.RUnlock()
	}
	slices.Sort(dst[from:])
	return dst
}

// collect appends the extents of a region with a version below upTo to dst, in ascending order. upTo is the position up to which records
// are durable, and every record below it must have been inserted; see [overlay].
func (o *overlay) collect(region, upTo uint64, dst []extent) []extent {
	s := o.shard(region)
	s.mu.RLock()
	defer s.mu.RUnlock()
	for _, e := range s.regions[region].ext {
		if e.rec < upTo {
			dst = append(dst, e)
		}
	}
	return dst
}

// drop removes the bytes that the store now holds: what is left of the written extents, which collect gave in this order. What a newer
// version took from them meanwhile stays.
func (o *overlay) drop(region uint64, written []extent) {
	s := o.shard(region)
	s.mu.Lock()
	defer s.mu.Unlock()
	r, ok := s.regions[region]
	if !ok {
		return
	}
	before := len(r.ext)
	keep, w := r.ext[:0], 0
	for _, e := range r.ext {
		for w < len(written) && written[w].end() <= e.off {
			w++
		}
		if w < len(written) && written[w].rec == e.rec && written[w].off <= e.off && e.end() <= written[w].end() {
			continue
		}
		keep = append(keep, e)
	}
	r.ext = keep
	if len(keep) == 0 {
		s.remove(region, r.ext)
		o.count.Add(-1)
	} else {
		s.regions[region] = r
	}
	o.extents.Add(int64(len(keep) - before))
}

// take returns an empty slice for a new region.
func (s *overlayShard) take() []extent {
	if n := len(s.spare); n > 0 {
		ext := s.spare[n-1]
		s.spare = s.spare[:n-1]
		return ext
	}
	return make([]extent, 0, overlayFirst)
}

// remove forgets a region and keeps its slice for another. A map never shrinks by itself: after a peak it is made anew once it is empty.
func (s *overlayShard) remove(region uint64, ext []extent) {
	delete(s.regions, region)
	if len(s.spare) < overlaySpare && cap(ext) <= overlayReuse {
		s.spare = append(s.spare, ext[:0])
	}
	if len(s.regions) == 0 && s.peak > overlayPeak {
		s.regions, s.peak = make(map[uint64]overlayRegion), 0
	}
}

// minVersion returns the smallest version in the overlay, or the largest number if there is none. It looks at every extent: for tests and
// assertions.
func (o *overlay) minVersion() uint64 {
	least := uint64(math.MaxUint64)
	for i := range o.shards {
		s := &o.shards[i]
		s.mu.RLock()
		for _, r := range s.regions {
			for _, e := range r.ext {
				least = min(least, e.rec)
			}
		}
		s.mu.RUnlock()
	}
	return least
}
