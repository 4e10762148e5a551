package replica

import (
	"encoding/binary"
	"fmt"
	"math/bits"
	"sync"
	"sync/atomic"
)

// regionSize is the unit of a difference bitmap and of the overlay, in bytes. Part of the stored and the sent form of a bitmap; never
// change.
const regionSize = 64 << 10

const (
	bitmapPage        = 4096           // bytes of a page in the database
	bitmapPageWords   = bitmapPage / 8 // words of a page
	bitmapPageRegions = bitmapPage * 8 // regions of a page: 2 GiB of a volume
)

// bitmap is the set of regions in which the two volumes of a pair may differ: one bit a region, 2 MiB for 1 TiB. It is kept in memory
// and, page by page, in the database: a page is 4096 bytes, 32768 regions, the bit of region r in byte r/8 at 1<<(r%8).
//
// All methods may be called at once from any goroutine. A set of a bit that is set already takes one load; a change takes an atomic
// operation under a shared lock. takeDirty and count take that lock alone for a moment, which makes them wait for changes under way: a
// caller that found a bit set is then sure that the page is among the dirty ones or was taken.
//
// A bit set here is not yet durable. Persist with takeDirty, then page for each, then one transaction; if that fails, redirty.
type bitmap struct {
	size    int64 // bytes of the volume
	regions int64
	words   []uint64     // atomic; a whole number of pages; bits from regions on are 0
	dirty   []uint64     // atomic; one bit a page that differs from the database
	set1    atomic.Int64 // bits set, once no change is under way
	change  sync.RWMutex // shared: a change of words, dirty and set1; alone: a look at them together
}

// newBitmap returns an empty bitmap for a volume of size bytes.
func newBitmap(size int64) *bitmap {
	if size < 0 {
		panic(fmt.Sprintf("replica: bitmap of a volume of %d bytes", size))
	}
	regions := size / regionSize
	if size%regionSize != 0 {
		regions++
	}
	pages := (regions + bitmapPageRegions - 1) / bitmapPageRegions
	return &bitmap{
		size: size, regions: regions,
		words: make([]uint64, pages*bitmapPageWords),
		dirty: make([]uint64, (pages+63)/64),
	}
}

// or1 sets the bits of mask in word i and reports whether one was clear.
func (b *bitmap) or1(i int64, mask uint64) bool {
	if atomic.LoadUint64(&b.words[i])&mask == mask {
		return false
	}
	b.change.RLock()
	defer b.change.RUnlock()
	return b.account(i, mask&^atomic.OrUint64(&b.words[i], mask), 1)
}

// andNot1 clears the bits of mask in word i and reports whether one was set.
func (b *bitmap) andNot1(i int64, mask uint64) bool {
	if atomic.LoadUint64(&b.words[i])&mask == 0 {
		return false
	}
	b.change.RLock()
	defer b.change.RUnlock()
	return b.account(i, mask&atomic.AndUint64(&b.words[i], ^mask), -1)
}

// account notes that the changed bits of word i were set (sign 1) or cleared (sign -1), and reports whether there were any.
func (b *bitmap) account(i int64, changed uint64, sign int) bool {
	if changed == 0 {
		return false
	}
	b.set1.Add(int64(sign * bits.OnesCount64(changed)))
	page := i / bitmapPageWords
	atomic.OrUint64(&b.dirty[page/64], 1<<(page%64))
	return true
}

// check panics if the region does not exist: a bit beyond the end would never be copied, and so never be cleared.
func (b *bitmap) check(region int64) {
	if region < 0 || region >= b.regions {
		panic(fmt.Sprintf("replica: region %d of a bitmap of %d regions", region, b.regions))
	}
}

// set marks a region and reports whether it was not marked before.
func (b *bitmap) set(region int64) bool {
	b.check(region)
	return b.or1(region/64, 1<<(region%64))
}

// clear unmarks a region and reports whether it was marked before.
func (b *bitmap) clear(region int64) bool {
	b.check(region)
	return b.andNot1(region/64, 1<<(region%64))
}

// test reports whether a region is marked.
func (b *bitmap) test(region int64) bool {
	b.check(region)
	return atomic.LoadUint64(&b.words[region/64])>>(region%64)&1 != 0
}

// setRange marks every region that has one of the n bytes at off, and reports whether one was not marked before. The part beyond the end
// of the volume is left out.
func (b *bitmap) setRange(off, n int64) bool {
	if off < 0 || n < 0 {
		panic(fmt.Sprintf("replica: bitmap range of %d bytes at %d", n, off))
	}
	if n == 0 || off >= b.size {
		return false
	}
	last := off + min(n, b.size-off) - 1
	return b.setRegions(off/regionSize, last/regionSize+1)
}

// setRegions marks the regions [from, to), which must exist, and reports whether one was not marked before.
func (b *bitmap) setRegions(from, to int64) bool { return eachWord(from, to, b.or1) }

// clearRegions clears the regions from up to but not including to and reports whether any bit changed.
func (b *bitmap) clearRegions(from, to int64) bool { return eachWord(from, to, b.andNot1) }

// eachWord calls change with each word that has regions from up to to, and the mask of those; it reports whether any call was true.
func eachWord(from, to int64, change func(i int64, mask uint64) bool) bool {
	changed := false
	for from < to {
		end := min(to, from|63+1)
		mask := ^uint64(0) >> (64 - (end - from)) << (from % 64)
		if change(from/64, mask) {
			changed = true
		}
		from = end
	}
	return changed
}

// count returns the number of marked regions.
func (b *bitmap) count() int64 {
	b.change.Lock()
	defer b.change.Unlock()
	return b.set1.Load()
}

// any reports whether a region is marked.
func (b *bitmap) any() bool { return b.count() > 0 }

// bytes returns how much of the volume is marked: the last region may be a short one, so it is never more than the volume's size.
func (b *bitmap) bytes() int64 {
	n := b.count() * regionSize
	if short := b.size % regionSize; short != 0 && b.test(b.regions-1) {
		n -= regionSize - short
	}
	return min(max(n, 0), b.size) // the test may see a change that the count has not
}

// next returns the first marked region at or behind from, or -1.
func (b *bitmap) next(from int64) int64 { return b.find(max(from, 0), b.regions, 0) }

// find returns the first region at or behind from, and before to, whose bit is not skip's (0: the first set one, all ones: the first
// clear one), or -1.
func (b *bitmap) find(from, to int64, skip uint64) int64 {
	to = min(to, b.regions)
	if from >= to {
		return -1
	}
	i := from / 64
	w := (atomic.LoadUint64(&b.words[i]) ^ skip) >> (from % 64) << (from % 64)
	for w == 0 {
		if i++; i*64 >= to {
			return -1
		}
		w = atomic.LoadUint64(&b.words[i]) ^ skip
	}
	if r := i*64 + int64(bits.TrailingZeros64(w)); r < to {
		return r
	}
	return -1
}

// nextRun returns the first marked region at or behind from and how many from there on are marked without a gap, at most limit. n is 0
// if there is none.
func (b *bitmap) nextRun(from, limit int64) (first, n int64) {
	first = b.next(from)
	if first < 0 || limit <= 0 {
		return 0, 0
	}
	limit = min(limit, b.regions-first)
	end := b.find(first, first+limit, ^uint64(0))
	if end < 0 {
		end = first + limit
	}
	// A region that is cleared at this moment may make the run empty; it is reported as found, once more copied does no harm.
	return first, min(max(end-first, 1), limit)
}

// fill marks every region.
func (b *bitmap) fill() { b.setRegions(0, b.regions) }

// reset unmarks every region.
func (b *bitmap) reset() {
	for i := range b.words {
		b.andNot1(int64(i), ^uint64(0))
	}
}

// pages returns the number of pages.
func (b *bitmap) pages() int { return len(b.words) / bitmapPageWords }

// takeDirty returns the pages that changed since they were last taken, ascending, and counts them as clean from now on. A change after
// that makes its page dirty again, whether or not page saw it.
func (b *bitmap) takeDirty() []int {
	b.change.Lock()
	defer b.change.Unlock()
	var pages []int
	for i := range b.dirty {
		for w := atomic.SwapUint64(&b.dirty[i], 0); w != 0; w &= w - 1 {
			pages = append(pages, i*64+bits.TrailingZeros64(w))
		}
	}
	return pages
}

// redirty counts the pages as changed again, after the transaction that was to hold them failed.
func (b *bitmap) redirty(pages []int) {
	for _, p := range pages {
		atomic.OrUint64(&b.dirty[p/64], 1<<(p%64))
	}
}

// page returns a copy of page i in its stored form, or nil if no region of it is marked; a nil page is deleted in the database.
func (b *bitmap) page(i int) []byte {
	var out []byte
	words := b.words[i*bitmapPageWords : (i+1)*bitmapPageWords]
	for j := range words {
		w := atomic.LoadUint64(&words[j])
		if w == 0 {
			continue
		}
		if out == nil {
			out = make([]byte, bitmapPage)
		}
		binary.LittleEndian.PutUint64(out[j*8:], w)
	}
	return out
}

// loadPage replaces page i by its stored form, nil for an empty one, and does not make it dirty. For the start, before anything else uses
// the bitmap. An error means that the page is damaged or of another volume; nothing was changed then.
func (b *bitmap) loadPage(i int, p []byte) error {
	if i < 0 || i >= b.pages() {
		return fmt.Errorf("bitmap page %d of %d: the database holds a page beyond the volume's end; fill the bitmap and resync", i, b.pages())
	}
	if p == nil {
		p = make([]byte, bitmapPage)
	}
	if len(p) != bitmapPage {
		return fmt.Errorf("bitmap page %d has %d bytes instead of %d: the database is damaged; fill the bitmap and resync", i, len(p), bitmapPage)
	}
	if bit := lastBit(p); int64(i)*bitmapPageRegions+bit >= b.regions && bit >= 0 {
		return fmt.Errorf("bitmap page %d marks region %d of %d: the database is damaged; fill the bitmap and resync",
			i, int64(i)*bitmapPageRegions+bit, b.regions)
	}
	b.change.Lock()
	defer b.change.Unlock()
	for j := range bitmapPageWords {
		w := binary.LittleEndian.Uint64(p[j*8:])
		old := atomic.SwapUint64(&b.words[i*bitmapPageWords+j], w)
		b.set1.Add(int64(bits.OnesCount64(w) - bits.OnesCount64(old)))
	}
	return nil
}

// lastBit returns the number of the last set bit of a page, or -1.
func lastBit(p []byte) int64 {
	for j := len(p) - 1; j >= 0; j-- {
		if p[j] != 0 {
			return int64(j)*8 + int64(bits.Len8(p[j])) - 1
		}
	}
	return -1
}

// spans yields the runs of marked regions, ascending.
func (b *bitmap) spans(yield func(first, n uint64) bool) {
	for r := b.next(0); r >= 0; {
		first, n := b.nextRun(r, b.regions)
		if !yield(uint64(first), uint64(n)) {
			return
		}
		if first+n >= b.regions {
			return
		}
		r = b.next(first + n)
	}
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
