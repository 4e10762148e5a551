package prefix

import (
	"errors"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"
)

// model is a group of volumes in memory to which a history is applied by hand, with defects where a test wants them.
type model struct {
	h    *History
	vols [][]byte
}

func newModel(volumes int, sectors int) *model {
	m := &model{h: NewHistory(7)}
	for range volumes {
		m.vols = append(m.vols, make([]byte, sectors*Sector))
	}
	return m
}

// begin records a write of n sectors at sector s.
func (m *model) begin(vol, s, n int) uint64 {
	return m.h.Begin(Write{Volume: vol, Off: int64(s) * Sector, Len: int64(n) * Sector})
}

// beginSync records a synchronous write.
func (m *model) beginSync(vol, s, n int) uint64 {
	return m.h.Begin(Write{Volume: vol, Off: int64(s) * Sector, Len: int64(n) * Sector, Sync: true})
}

// mib is 1 MiB in sectors: the largest write that is never torn.
const mib = 1 << 20 / Sector

// grow makes a volume larger.
func (m *model) grow(vol, sectors int) { m.vols[vol] = make([]byte, sectors*Sector) }

// write is begin, apply and acknowledge.
func (m *model) write(vol, s, n int) uint64 {
	c := m.begin(vol, s, n)
	m.apply(c)
	m.h.Ack(c)
	return c
}

// drop is begin and acknowledge: the write never reaches the image.
func (m *model) drop(vol, s, n int) uint64 {
	c := m.begin(vol, s, n)
	m.h.Ack(c)
	return c
}

// discard zeroes a range, and reaches the image if apply says so.
func (m *model) discard(vol, s, n int, apply bool) uint64 {
	c := m.h.Begin(Write{Volume: vol, Off: int64(s) * Sector, Len: int64(n) * Sector, Zero: true})
	if apply {
		m.apply(c)
	}
	m.h.Ack(c)
	return c
}

func (m *model) apply(counter uint64) {
	w := m.h.Writes()[counter-1]
	m.put(w, m.vols[w.Volume][w.Off:w.Off+w.Len])
}

// applyPart applies the sectors of the volume from one to another.
func (m *model) applyPart(counter uint64, from, to int) {
	w := m.h.Writes()[counter-1]
	kept := m.snapshot()[w.Volume]
	m.apply(counter)
	copy(m.vols[w.Volume][:from*Sector], kept)
	copy(m.vols[w.Volume][to*Sector:], kept[to*Sector:])
}

// putOf applies a write of another history.
func (m *model) putOf(h *History, counter uint64) {
	now := m.h
	m.h = h
	m.apply(counter)
	m.h = now
}

// put fills p with the payload of w, wherever p is.
func (m *model) put(w Write, p []byte) {
	if w.Zero {
		clear(p)
		return
	}
	Fill(p, Mark{Run: w.Run, Counter: w.Counter, Volume: uint32(w.Volume), Offset: w.Off})
}

// pictures are those of all volumes now.
func (m *model) pictures() ([]*Picture, error) {
	var images []Image
	for i, v := range m.vols {
		images = append(images, ImageOf(i, v))
	}
	return Read(images...)
}

func (m *model) check(must Demand) (Prefix, error) {
	pictures, err := m.pictures()
	if err != nil {
		return Prefix{}, err
	}
	return m.h.Check(pictures, must)
}

func (m *model) snapshot() [][]byte {
	var out [][]byte
	for _, v := range m.vols {
		out = append(out, slices.Clone(v))
	}
	return out
}

// rejected is a history with one defect.
type rejected struct {
	name  string
	kind  DefectKind
	build func(m *model) Demand
}

// accepted is a history that is right.
type accepted struct {
	name  string
	build func(m *model) Demand
}

// accepts proves that the checker finds no defect in a row.
func accepts(t *testing.T, row accepted) {
	m := newModel(2, 16)
	must := row.build(m)
	if p, err := m.check(must); err != nil {
		t.Fatalf("refused with prefix %+v: %v", p, err)
	}
}

// rejects proves that the checker finds the defect of a row.
func rejects(t *testing.T, row rejected) {
	m := newModel(2, 16)
	must := row.build(m)
	_, err := m.check(must)
	if kind := kindOf(err); kind != row.kind {
		t.Fatalf("kind %q, want %q: %v", kind, row.kind, err)
	}
}

// kindOf is the kind of a defect, none if there is none.
func kindOf(err error) DefectKind {
	var d *Defect
	if errors.As(err, &d) {
		return d.Kind
	}
	return ""
}

// testSeed is the seed of a test's random choices, which PAIRFS_SEED repeats.
func testSeed(t *testing.T) uint64 {
	seed := uint64(time.Now().UnixNano())
	if s := os.Getenv("PAIRFS_SEED"); s != "" {
		n, err := strconv.ParseUint(s, 10, 64)
		if err != nil {
			t.Fatalf("PAIRFS_SEED=%q is no number: %v", s, err)
		}
		seed = n
	}
	t.Logf("seed: PAIRFS_SEED=%d", seed)
	return seed
}
