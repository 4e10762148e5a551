package replica

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// ringByte is the byte that the tests' endless ring holds at a journal position; never 0, so that a discard is told apart.
func ringByte(pos uint64) byte { return byte(1 + pos*2654435761>>13%255) }

// ringBytes is the bytesAt of the endless ring. It gives less than asked for at every multiple of 1000, as a ring does where it wraps.
func ringBytes(pos uint64, n int) []byte {
	b := make([]byte, min(n, 1000-int(pos%1000)))
	for i := range b {
		b[i] = ringByte(pos + uint64(i))
	}
	return b
}

// checkOverlay reports a broken invariant of the overlay's structure.
func checkOverlay(o *overlay) error {
	extents, regions := 0, 0
	least := uint64(math.MaxUint64)
	for i := range o.shards {
		for region, r := range o.shards[i].regions {
			regions++
			extents += len(r.ext)
			if len(r.ext) == 0 || region%overlayShards != uint64(i) {
				return fmt.Errorf("region %d in shard %d has %d extents", region, i, len(r.ext))
			}
			end := uint32(0)
			for _, e := range r.ext {
				if e.off < end || e.len == 0 || e.end() > regionSize || e.rec > r.max {
					return fmt.Errorf("region %d: extent %+v behind %d, max %d", region, e, end, r.max)
				}
				end, least = e.end(), min(least, e.rec)
			}
		}
	}
	if extents != o.len() || regions != o.regions() || least != o.minVersion() {
		return fmt.Errorf("%d extents, %d regions, least %d; counted %d, %d, %d", o.len(), o.regions(), o.minVersion(), extents, regions, least)
	}
	return nil
}

const overlayTestSize = 2*regionSize + 1000

// overlayModel is the volume byte by byte: what its newest bytes are, which are in the overlay, and the store that restore writes.
type overlayModel struct {
	o       *overlay
	version [overlayTestSize]uint64 // largest ever inserted here
	newest  [overlayTestSize]byte
	inside  [overlayTestSize]bool // the overlay has it
	store   [overlayTestSize]byte
	next    uint64 // version and journal position of the next record
	pending []overlayWrite
	region  uint64
	written []extent // collected and in the store, not dropped
}

type overlayWrite struct {
	off, n  int64
	version uint64
	zero    bool
}

func (m *overlayModel) obtain(t *rapid.T) {
	off := rapid.Int64Range(0, overlayTestSize-1).Draw(t, "off")
	if rapid.Bool().Draw(t, "at a border") {
		off = rapid.SampledFrom([]int64{0, 1, 4096, regionSize - 1, regionSize, regionSize + 512, 2 * regionSize}).Draw(t, "border")
	}
	n := rapid.SampledFrom([]int64{1, 7, 512, 4096, 5000, regionSize - 1, regionSize, overlayTestSize}).Draw(t, "n")
	n = min(n, overlayTestSize-off)
	m.pending = append(m.pending, overlayWrite{off, n, m.next, rapid.IntRange(0, 3).Draw(t, "zero") == 0})
	m.next += 64 + uint64(n)
}

func (m *overlayModel) insert(t *rapid.T) {
	if len(m.pending) == 0 {
		m.obtain(t)
	}
	i := rapid.IntRange(0, len(m.pending)-1).Draw(t, "which")
	w := m.pending[i]
	m.pending = slices.Delete(m.pending, i, i+1)
	data := w.version + 64
	m.o.insert(w.off, w.n, data, w.version, w.zero)
	for k := range w.n {
		if at := w.off + k; m.version[at] < w.version {
			m.version[at], m.inside[at], m.newest[at] = w.version, true, 0
			if !w.zero {
				m.newest[at] = ringByte(data + uint64(k))
			}
		}
	}
}

func (m *overlayModel) read(t *rapid.T) {
	off := rapid.IntRange(0, overlayTestSize-1).Draw(t, "off")
	n := rapid.IntRange(0, overlayTestSize-off).Draw(t, "n")
	p := bytes.Repeat([]byte{0xEE}, n)
	holes := m.o.read(p, int64(off), ringBytes, []span{{-n, n}})[1:] // the caller's own span touches the first hole and must stay alone
	var want []span
	for i := range n {
		if m.inside[off+i] {
			continue
		}
		if p[i] != 0xEE {
			t.Fatalf("byte %d is a hole and was written", off+i)
		}
		if k := len(want) - 1; k >= 0 && want[k].off+want[k].n == i {
			want[k].n++
		} else {
			want = append(want, span{i, 1})
		}
	}
	if !slices.Equal(holes, want) {
		t.Fatalf("read %d at %d: holes %v, want %v", n, off, holes, want)
	}
	for _, h := range holes {
		copy(p[h.off:h.off+h.n], m.store[off+h.off:])
	}
	if !bytes.Equal(p, m.newest[off:off+n]) {
		i := firstDifference(p, m.newest[off:off+n])
		t.Fatalf("byte %d is %d, want %d of version %d", off+i, p[i], m.newest[off+i], m.version[off+i])
	}
}

func firstDifference(a, b []byte) int {
	for i := range a {
		if a[i] != b[i] {
			return i
		}
	}
	return -1
}

func (m *overlayModel) collect(t *rapid.T) {
	if m.written != nil {
		m.drop(t)
	}
	m.region = rapid.Uint64Range(0, 2).Draw(t, "region")
	upTo := m.next
	for _, w := range m.pending {
		upTo = min(upTo, w.version)
	}
	if rapid.Bool().Draw(t, "less durable") {
		upTo = rapid.Uint64Range(0, upTo).Draw(t, "upTo")
	}
	if all := m.o.collect(m.region, upTo, nil); len(all) > 0 && rapid.Bool().Draw(t, "at a record") {
		upTo = all[len(all)-1].rec // durable up to its header, so not it
	}
	m.written = m.o.collect(m.region, upTo, nil)
	base := int(m.region) * regionSize
	for i := base; i < min(base+regionSize, overlayTestSize); i++ {
		in := slices.ContainsFunc(m.written, func(e extent) bool { return e.off <= uint32(i-base) && uint32(i-base) < e.end() })
		if want := m.inside[i] && m.version[i] < upTo; in != want {
			t.Fatalf("byte %d collected: %v, want %v", i, in, want)
		}
	}
	for _, e := range m.written {
		fetch(m.store[base+int(e.off):base+int(e.end())], e, ringBytes)
	}
}

func (m *overlayModel) drop(t *rapid.T) {
	m.o.drop(m.region, m.written)
	for _, e := range m.written {
		for i := int(m.region)*regionSize + int(e.off); i < int(m.region)*regionSize+int(e.end()); i++ {
			if m.version[i] == e.rec {
				m.inside[i] = false
			}
		}
	}
	m.written = nil
}

func (m *overlayModel) check(t *rapid.T) {
	if err := checkOverlay(m.o); err != nil {
		t.Fatal(err)
	}
	var want []uint64
	for r := range uint64(3) {
		if slices.Contains(m.inside[r*regionSize:min((r+1)*regionSize, overlayTestSize)], true) {
			want = append(want, r)
		}
	}
	if got := m.o.dirtyRegions([]uint64{9}); !slices.Equal(got, append([]uint64{9}, want...)) {
		t.Fatalf("dirty regions %v, want 9 and %v", got, want)
	}
}

// TestOverlayModel holds the overlay against a model that knows every byte: inserts in any order of versions, reads, and a restore that
// collects, writes and drops with inserts in between. Whatever happens, overlay and store together show the newest bytes.
func TestOverlayModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := &overlayModel{o: newOverlay(), next: 100}
		t.Repeat(map[string]func(*rapid.T){
			"obtain": m.obtain, "insert": m.insert, "insert more": m.insert, "read": m.read, "collect": m.collect, "drop": m.drop, "": m.check,
		})
	})
}

func TestOverlayLateInsertFillsOnlyTheGaps(t *testing.T) {
	o := newOverlay()
	o.insert(100, 50, 1000, 20, false)
	o.insert(200, 50, 2000, 30, true)
	o.insert(0, 300, 500, 10, false)   // older, inserted last
	o.insert(120, 10, 9000, 20, false) // the same version again changes nothing
	want := []extent{
		{0, 100, 500, 10, false}, {100, 50, 1000, 20, false}, {150, 50, 650, 10, false}, {200, 50, 2000, 30, true}, {250, 50, 750, 10, false},
	}
	got := o.collect(0, math.MaxUint64, nil)
	if d := cmp.Diff(want, got, cmp.AllowUnexported(extent{})); d != "" {
		t.Fatal(d)
	}
	if o.minVersion() != 10 {
		t.Errorf("oldest version is %d", o.minVersion())
	}
}

// TestOverlayLateRegionFillsOnlyTheGaps: the short way of a full region is for one that is newer than all that is there.
func TestOverlayLateRegionFillsOnlyTheGaps(t *testing.T) {
	o := newOverlay()
	o.insert(4096, 4096, 1000, 20, false)
	o.insert(0, regionSize, 50000, 10, false)
	want := []extent{{0, 4096, 50000, 10, false}, {4096, 4096, 1000, 20, false}, {8192, regionSize - 8192, 50000 + 8192, 10, false}}
	if d := cmp.Diff(want, o.collect(0, math.MaxUint64, nil), cmp.AllowUnexported(extent{})); d != "" {
		t.Fatal(d)
	}
}

// TestOverlayDropKeepsNewer: what a newer record took from an extent between collect and drop stays, and so does the rest of the newer one.
func TestOverlayDropKeepsNewer(t *testing.T) {
	o := newOverlay()
	o.insert(0, regionSize, 1000, 10, false)
	written := o.collect(0, 11, nil)
	o.insert(4096, 4096, 99000, 20, false)
	o.drop(0, written)
	want := []extent{{4096, 4096, 99000, 20, false}}
	if d := cmp.Diff(want, o.collect(0, math.MaxUint64, nil), cmp.AllowUnexported(extent{})); d != "" {
		t.Fatal(d)
	}
	o.drop(0, want)
	o.drop(0, want) // nothing there: nothing happens
	if o.len() != 0 || o.regions() != 0 || o.minVersion() != math.MaxUint64 {
		t.Errorf("%d extents in %d regions are left", o.len(), o.regions())
	}
}

func TestOverlayRefusesBadRange(t *testing.T) {
	for _, r := range [][2]int64{{-1, 1}, {0, -1}, {math.MaxInt64, 1}} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("insert of %d bytes at %d passed", r[1], r[0])
				}
			}()
			newOverlay().insert(r[0], r[1], 0, 1, false)
		}()
	}
}

// TestOverlayGivesMemoryBack: after a peak is drained, the maps are small again and the spare slices are bounded.
func TestOverlayGivesMemoryBack(t *testing.T) {
	o := newOverlay()
	const regions = overlayShards * (overlayPeak + 1)
	for r := range uint64(regions) {
		o.insertRegion(r, extent{off: 0, len: 1, pos: 1, rec: 1})
	}
	for r := range uint64(regions) {
		o.drop(r, []extent{{0, 1, 1, 1, false}})
	}
	if err := checkOverlay(o); err != nil {
		t.Fatal(err)
	}
	for i := range o.shards {
		if s := &o.shards[i]; s.peak != 0 || len(s.spare) > overlaySpare {
			t.Fatalf("shard %d remembers a peak of %d and keeps %d slices", i, s.peak, len(s.spare))
		}
	}
}

const (
	stressBlock  = 4096
	stressBlocks = 24 // in three regions
	stressSlots  = 16
)

// overlayStress is a small group around one overlay: a ring with slots that are used again, writers that insert out of order, and a store.
type overlayStress struct {
	o    *overlay
	ring [stressSlots * stressBlock]byte
	free chan int

	mu      sync.Mutex
	next    uint64
	pending map[uint64]bool // versions given out, not inserted
	slots   map[uint64]int  // version → slot in use

	acked [stressBlocks]atomic.Uint64 // newest version that a writer has finished
	disk  [stressBlocks]struct {
		sync.Mutex
		b [stressBlock]byte
	}
}

func (s *overlayStress) bytesAt(pos uint64, n int) []byte { return s.ring[pos : pos+uint64(n)] }

// blockOff returns the place of block b: eight to a region.
func blockOff(b int) int64 { return int64(b/8)*regionSize + int64(b%8)*stressBlock }

func (s *overlayStress) write(rng *rand.Rand) {
	slot := <-s.free
	s.mu.Lock()
	s.next++
	v := s.next
	s.pending[v] = true
	s.slots[v] = slot
	s.mu.Unlock()

	p := s.ring[slot*stressBlock : (slot+1)*stressBlock]
	for i := 0; i < len(p); i += 8 {
		binary.LittleEndian.PutUint64(p[i:], v)
	}
	b := rng.IntN(stressBlocks)
	s.o.insert(blockOff(b), stressBlock, uint64(slot*stressBlock), v, false)

	s.mu.Lock()
	delete(s.pending, v)
	s.mu.Unlock()
	for old := s.acked[b].Load(); old < v && !s.acked[b].CompareAndSwap(old, v); old = s.acked[b].Load() {
	}
}

func (s *overlayStress) readBlock(rng *rand.Rand, p []byte, holes []span) error {
	b := rng.IntN(stressBlocks)
	least := s.acked[b].Load()
	for _, h := range s.o.read(p, blockOff(b), s.bytesAt, holes[:0]) {
		d := &s.disk[b]
		d.Lock()
		copy(p[h.off:h.off+h.n], d.b[h.off:])
		d.Unlock()
	}
	v := binary.LittleEndian.Uint64(p)
	if v < least {
		return fmt.Errorf("block %d shows version %d, but %d was acknowledged before the read", b, v, least)
	}
	for i := 0; i < len(p); i += 8 {
		if w := binary.LittleEndian.Uint64(p[i:]); w != v {
			return fmt.Errorf("block %d is torn: version %d at 0, %d at %d", b, v, w, i)
		}
	}
	return nil
}

// restore moves everything below the oldest pending version to the disk and frees its slots, as the engine does.
func (s *overlayStress) restore() {
	s.mu.Lock()
	upTo := s.next + 1
	for v := range s.pending {
		upTo = min(upTo, v)
	}
	s.mu.Unlock()
	for _, region := range s.o.dirtyRegions(nil) {
		written := s.o.collect(region, upTo, nil)
		for _, e := range written {
			d := &s.disk[int(region)*8+int(e.off)/stressBlock]
			d.Lock()
			copy(d.b[e.off%stressBlock:], s.bytesAt(e.pos, int(e.len)))
			d.Unlock()
		}
		s.o.drop(region, written)
	}
	s.mu.Lock()
	for v, slot := range s.slots {
		if v < upTo {
			delete(s.slots, v)
			s.free <- slot
		}
	}
	s.mu.Unlock()
}

// TestOverlayStress runs writers, readers and restore at once over a ring whose slots are used again. Under -race it also proves that
// no read touches a slot after its extent was dropped.
func TestOverlayStress(t *testing.T) {
	const seed, writes = 20, 1600
	t.Logf("seed %d", seed)
	s := &overlayStress{o: newOverlay(), free: make(chan int, stressSlots), pending: map[uint64]bool{}, slots: map[uint64]int{}}
	for i := range stressSlots {
		s.free <- i
	}
	var writers, others sync.WaitGroup
	stop := make(chan struct{})
	for w := range 4 {
		writers.Go(func() {
			rng := rand.New(rand.NewPCG(seed, uint64(w)))
			for range writes / 4 {
				s.write(rng)
			}
		})
	}
	until := func(f func() error) {
		others.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if err := f(); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	for r := range 2 {
		rng := rand.New(rand.NewPCG(seed, uint64(100+r)))
		p, holes := make([]byte, stressBlock), make([]span, 0, 8)
		until(func() error { return s.readBlock(rng, p, holes) })
	}
	until(func() error { s.restore(); return nil })
	writers.Wait()
	close(stop)
	others.Wait()
	s.restore()
	if s.o.len() != 0 || len(s.free) != stressSlots {
		t.Errorf("%d extents are left, %d of %d slots are free", s.o.len(), len(s.free), stressSlots)
	}
	for b := range stressBlocks {
		if v := binary.LittleEndian.Uint64(s.disk[b].b[:]); v != s.acked[b].Load() {
			t.Errorf("block %d ends with version %d, want %d", b, v, s.acked[b].Load())
		}
	}
}

var benchRing = make([]byte, regionSize)

func benchBytes(_ uint64, n int) []byte { return benchRing[:n] }

// TestOverlayAllocatesNothing on the paths of every host read and write.
func TestOverlayAllocatesNothing(t *testing.T) {
	o, empty := newOverlay(), newOverlay()
	version := uint64(1)
	for i := range int64(16) {
		o.insert(i*4096, 4096, 1, version, false)
	}
	p, holes := make([]byte, 4096), make([]span, 0, 4)
	i := int64(0)
	for _, c := range []struct {
		name string
		f    func()
	}{
		{"insert into a region", func() { version++; i++; o.insert(i%16*4096, 4096, 1, version, false) }},
		{"insert across extents", func() { version++; i++; o.insert(i%15*4096+512, 4096, 1, version, false) }},
		{"insert of a full region", func() { version++; o.insert(0, regionSize, 1, version, false) }},
		{"read, all in the overlay", func() { holes = o.read(p, 8192, benchBytes, holes[:0]) }},
		{"read, nothing in the overlay", func() { holes = empty.read(p, 8192, benchBytes, holes[:0]) }},
		{"read of another region", func() { holes = o.read(p, 5*regionSize, benchBytes, holes[:0]) }},
		{"insert and drop of a region", func() {
			version++
			o.insert(40*regionSize, 4096, 1, version, false)
			o.drop(40, []extent{{0, 4096, 1, version, false}})
		}},
	} {
		if n := testing.AllocsPerRun(1000, c.f); n != 0 {
			t.Errorf("%s: %v allocations", c.name, n)
		}
	}
}

func BenchmarkOverlayInsert4KRandom(b *testing.B) {
	o := newOverlay()
	rng := rand.New(rand.NewPCG(1, 2))
	version := uint64(0)
	for b.Loop() {
		version++
		o.insert(rng.Int64N(1<<14)*4096, 4096, version, version, false) // 64 MiB of a volume
	}
}

func BenchmarkOverlayInsert1M(b *testing.B) {
	o := newOverlay()
	version := uint64(0)
	for b.Loop() {
		version++
		o.insert(int64(version%64)<<20, 1<<20, version, version, false)
	}
}

func BenchmarkOverlayRead4K(b *testing.B) {
	for _, c := range []struct {
		name string
		have int64 // bytes of every 4 KiB block in the overlay
	}{{"empty", 0}, {"partly", 2048}, {"full", 4096}} {
		b.Run(c.name, func(b *testing.B) {
			o := newOverlay()
			for i := int64(0); i < 1<<14 && c.have > 0; i++ {
				o.insert(i*4096, c.have, 1, uint64(i+1), false)
			}
			rng := rand.New(rand.NewPCG(1, 2))
			p, holes := make([]byte, 4096), make([]span, 0, 4)
			b.ReportAllocs()
			for b.Loop() {
				holes = o.read(p, rng.Int64N(1<<14)*4096, benchBytes, holes[:0])
			}
		})
	}
}

func BenchmarkOverlayParallel(b *testing.B) {
	o := newOverlay()
	var version atomic.Uint64
	b.RunParallel(func(pb *testing.PB) {
		rng := rand.New(rand.NewPCG(1, version.Add(1)))
		p, holes := make([]byte, 4096), make([]span, 0, 4)
		for pb.Next() {
			off := rng.Int64N(1<<14) * 4096
			o.insert(off, 4096, 1, version.Add(1), false)
			holes = o.read(p, off, benchBytes, holes[:0])
		}
	})
}
