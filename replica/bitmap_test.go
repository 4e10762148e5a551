package replica

import (
	"maps"
	"math"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"pairfs/quicwire"
)

// bitmapModel is a bitmap as a set, with the pages that a database would hold.
type bitmapModel struct {
	b      *bitmap
	marked map[int64]bool
	stored map[int][]byte
}

func (m *bitmapModel) region(t *rapid.T, name string) int64 {
	if rapid.Bool().Draw(t, name+" near a border") {
		near := rapid.SampledFrom([]int64{0, 63, 64, bitmapPageRegions - 1, bitmapPageRegions, m.b.regions - 1}).Draw(t, name)
		return min(near, m.b.regions-1)
	}
	return rapid.Int64Range(0, m.b.regions-1).Draw(t, name)
}

func (m *bitmapModel) mark(from, to int64) (changed bool) {
	for r := from; r < to; r++ {
		changed = changed || !m.marked[r]
		m.marked[r] = true
	}
	return changed
}

func (m *bitmapModel) set(t *rapid.T) {
	r := m.region(t, "region")
	if got, want := m.b.set(r), m.mark(r, r+1); got != want {
		t.Fatalf("set %d changed: %v, want %v", r, got, want)
	}
}

func (m *bitmapModel) clear(t *rapid.T) {
	r := m.region(t, "region")
	if got := m.b.clear(r); got != m.marked[r] {
		t.Fatalf("clear %d changed: %v", r, got)
	}
	delete(m.marked, r)
}

func (m *bitmapModel) setRange(t *rapid.T) {
	off := m.region(t, "region")*regionSize + rapid.SampledFrom([]int64{0, 1, regionSize - 1}).Draw(t, "in region")
	n := rapid.SampledFrom([]int64{0, 1, 2, regionSize, regionSize + 1, 70 * regionSize, 200 * regionSize}).Draw(t, "n")
	end := int64(0)
	if n > 0 && off < m.b.size {
		end = (off+min(n, m.b.size-off)-1)/regionSize + 1
	}
	if got, want := m.b.setRange(off, n), m.mark(off/regionSize, end); got != want {
		t.Fatalf("setRange %d, %d changed: %v, want %v", off, n, got, want)
	}
}

func (m *bitmapModel) persist(t *rapid.T) {
	pages := m.b.takeDirty()
	if rapid.IntRange(0, 3).Draw(t, "transaction fails") == 0 {
		m.b.redirty(pages)
		return
	}
	for _, p := range pages {
		if m.stored[p] = m.b.page(p); m.stored[p] == nil {
			delete(m.stored, p)
		}
	}
	loaded := newBitmap(m.b.size)
	for i, p := range m.stored {
		if err := loaded.loadPage(i, p); err != nil {
			t.Fatal(err)
		}
	}
	m.same(t, loaded)
	if d := loaded.takeDirty(); d != nil {
		t.Fatalf("pages %v are dirty after they were loaded", d)
	}
}

// same compares b with the model, through count, next and nextRun.
func (m *bitmapModel) same(t *rapid.T, b *bitmap) {
	var got []int64
	for r := b.next(0); r >= 0; r = b.next(r + 1) {
		got = append(got, r)
	}
	want := slices.Sorted(maps.Keys(m.marked))
	if d := cmp.Diff(want, got); d != "" {
		t.Fatal(d)
	}
	if b.count() != int64(len(want)) || b.any() != (len(want) > 0) {
		t.Fatalf("count %d, any %v, want %d", b.count(), b.any(), len(want))
	}
	size := int64(len(want)) * regionSize
	if m.marked[b.regions-1] {
		size -= b.regions*regionSize - b.size
	}
	if b.bytes() != size {
		t.Fatalf("%d bytes marked, want %d", b.bytes(), size)
	}
	limit := int64(5)
	for from := int64(0); ; {
		first, n := b.nextRun(from, limit)
		if n == 0 {
			return
		}
		if n > limit || !m.marked[first] || (n < limit && m.marked[first+n]) {
			t.Fatalf("run of %d at %d", n, first)
		}
		from = first + n
	}
}

func (m *bitmapModel) travel(t *rapid.T) {
	there := newBitmap(m.b.size)
	for f := range quicwire.Bitmaps("p", regionSize, uint64(m.b.regions), m.b.spans) {
		for first, n := range f.Spans() {
			there.setRegions(int64(first), int64(first+n))
		}
	}
	m.same(t, there)
}

// TestBitmapModel holds the bitmap against a set, with its pages and its runs.
func TestBitmapModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		regions := rapid.SampledFrom([]int64{1, 2, 63, 64, 65, bitmapPageRegions, bitmapPageRegions + 70}).Draw(t, "regions")
		short := rapid.SampledFrom([]int64{0, 1, regionSize - 1}).Draw(t, "short")
		m := &bitmapModel{b: newBitmap(regions*regionSize - short), marked: map[int64]bool{}, stored: map[int][]byte{}}
		if m.b.regions != regions {
			t.Fatalf("%d regions, want %d", m.b.regions, regions)
		}
		t.Repeat(map[string]func(*rapid.T){
			"set": m.set, "clear": m.clear, "setRange": m.setRange, "persist": m.persist, "travel": m.travel,
			"": func(t *rapid.T) { m.same(t, m.b) },
		})
	})
}

func TestBitmapFillAndReset(t *testing.T) {
	b := newBitmap(100*regionSize + 1)
	b.fill()
	if b.count() != 101 || b.bytes() != b.size || b.words[1]>>37 != 0 {
		t.Errorf("%d regions, %d bytes, word %x", b.count(), b.bytes(), b.words[1])
	}
	b.reset()
	if b.any() || b.next(0) != -1 || b.page(0) != nil {
		t.Errorf("%d regions are left", b.count())
	}
	if b.setRange(b.size, math.MaxInt64) || !b.setRange(b.size-1, math.MaxInt64-b.size) || b.count() != 1 {
		t.Errorf("%d regions marked by a range up to the end and beyond", b.count())
	}
	empty := newBitmap(0)
	empty.fill()
	if empty.any() || empty.setRange(0, 5) || empty.next(0) != -1 || empty.bytes() != 0 {
		t.Error("a volume without a byte has a marked region")
	}
}

// TestBitmapPageForm pins the stored form.
func TestBitmapPageForm(t *testing.T) {
	b := newBitmap(1 << 40)
	if len(b.words)*8 != 2<<20 || b.pages() != 512 {
		t.Errorf("1 TiB takes %d bytes in %d pages", len(b.words)*8, b.pages())
	}
	b.set(bitmapPageRegions + 3)
	b.set(bitmapPageRegions + 64)
	want := make([]byte, 4096)
	want[0], want[8] = 8, 1
	if d := cmp.Diff(want, b.page(1)); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff([]int{1}, b.takeDirty()); d != "" {
		t.Error(d)
	}
}

func TestBitmapLoadPageRefusesDamage(t *testing.T) {
	b := newBitmap(100 * regionSize)
	b.set(7)
	beyond := make([]byte, bitmapPage)
	beyond[100/8] = 1 << (100 % 8)
	for name, c := range map[string]struct {
		page int
		p    []byte
	}{
		"page beyond the end": {1, nil}, "negative page": {-1, nil}, "short page": {0, make([]byte, 4095)}, "long page": {0, make([]byte, 4097)},
		"empty but not nil": {0, []byte{}}, "region beyond the end": {0, beyond},
	} {
		if err := b.loadPage(c.page, c.p); err == nil {
			t.Errorf("%s: loaded", name)
		}
		if b.count() != 1 || !b.test(7) {
			t.Errorf("%s: the bitmap changed", name)
		}
	}
	if err := b.loadPage(0, nil); err != nil || b.any() {
		t.Errorf("a nil page leaves %d regions, error %v", b.count(), err)
	}
}

func TestBitmapRefusesWhatIsNotThere(t *testing.T) {
	b := newBitmap(10 * regionSize)
	for name, f := range map[string]func(){
		"set": func() { b.set(10) }, "clear": func() { b.clear(-1) }, "test": func() { b.test(64) },
		"range": func() { b.setRange(-1, 1) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s passed", name)
				}
			}()
			f()
		}()
	}
}

// TestBitmapConcurrent: goroutines on different bits of the same words lose nothing, and the count stays exact.
func TestBitmapConcurrent(t *testing.T) {
	b := newBitmap(1024 * regionSize)
	var wg sync.WaitGroup
	for g := range int64(8) {
		wg.Go(func() {
			for round := range 21 {
				for r := g; r < 1024; r += 8 {
					if changed := round%2 == 0 && b.set(r) || round%2 == 1 && b.clear(r); !changed {
						t.Errorf("round %d: region %d of goroutine %d was changed by another", round, r, g)
						return
					}
				}
				b.count()
				b.takeDirty()
			}
		})
	}
	wg.Wait()
	if b.count() != 1024 {
		t.Errorf("%d regions marked", b.count())
	}
}

// TestBitmapTakeWaitsForAChange is why a change holds a lock: between the two steps of a set, another caller finds the bit set already and
// persists what is dirty. It must get the page, or a crash would forget a difference.
func TestBitmapTakeWaitsForAChange(t *testing.T) {
	b := newBitmap(64 * regionSize)
	b.change.RLock() // a set of region 5 begins
	old := atomic.OrUint64(&b.words[0], 1<<5)
	taken := make(chan []int, 1)
	go func() {
		if b.set(5) {
			t.Error("the bit was not set")
		}
		taken <- b.takeDirty()
	}()
	for b.change.TryRLock() { // until takeDirty stands at the lock, or is through
		b.change.RUnlock()
		if len(taken) > 0 {
			t.Fatalf("pages %v were taken in the middle of a change", <-taken)
		}
		runtime.Gosched()
	}
	b.account(0, 1<<5&^old, 1)
	b.change.RUnlock()
	if d := cmp.Diff([]int{0}, <-taken); d != "" {
		t.Error(d)
	}
}

func BenchmarkBitmapSet(b *testing.B) {
	for _, c := range []struct {
		name  string
		fresh bool
	}{{"already", false}, {"change", true}} {
		b.Run(c.name, func(b *testing.B) {
			m := newBitmap(1 << 40)
			r := int64(0)
			for b.Loop() {
				if m.set(r); c.fresh {
					r = (r + 1) % m.regions
				}
			}
		})
	}
}

func BenchmarkBitmapNextOver1TiB(b *testing.B) {
	m := newBitmap(1 << 40)
	m.set(m.regions - 1)
	for b.Loop() {
		m.next(0)
	}
}
