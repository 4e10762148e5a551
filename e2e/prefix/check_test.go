package prefix

import (
	"errors"
	"math/rand/v2"
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

// rejected is a history with one defect.
type rejected struct {
	name  string
	kind  DefectKind
	build func(m *model) Demand
}

// TestCheckRejects gives the checker histories with one defect each.
func TestCheckRejects(t *testing.T) {
	rows := []rejected{
		{"dropped write of one volume, later write of another is there", Disorder, func(m *model) Demand {
			m.drop(0, 0, 8)
			m.write(1, 0, 8)
			return Nothing
		}},
		{"two ordered writes swapped on one volume", Disorder, func(m *model) Demand {
			a := m.drop(0, 0, 8)
			m.write(0, 0, 8)
			m.apply(a)
			m.write(1, 0, 1)
			return Nothing
		}},
		{"swapped on one sector only", Torn, func(m *model) Demand {
			a := m.write(0, 0, 8)
			m.write(0, 0, 8)
			w := m.h.Writes()[a-1]
			full := make([]byte, w.Len)
			m.put(w, full)
			copy(m.vols[0][3*Sector:4*Sector], full[3*Sector:])
			return Nothing
		}},
		{"torn write: its end is missing", Torn, func(m *model) Demand {
			m.write(0, 0, 8)
			clear(m.vols[0][7*Sector : 8*Sector])
			return Nothing
		}},
		{"torn inside a sector", Damaged, func(m *model) Demand {
			m.write(0, 0, 8)
			clear(m.vols[0][Sector+256 : 2*Sector])
			return Nothing
		}},
		{"stale: the older write though a younger one of the other volume is there", Disorder, func(m *model) Demand {
			m.write(0, 4, 4)
			m.drop(0, 4, 4)
			m.write(1, 4, 4)
			return Nothing
		}},
		{"stale under a concurrent writer", Disorder, func(m *model) Demand {
			long := m.begin(1, 0, 1)
			m.drop(0, 0, 1)
			m.apply(long)
			m.write(1, 8, 1)
			m.h.Ack(long)
			return Nothing
		}},
		{"other volume's write", Misplaced, func(m *model) Demand {
			c := m.write(0, 0, 1)
			m.put(m.h.Writes()[c-1], m.vols[1][:Sector])
			return Nothing
		}},
		{"other offset's write", Misplaced, func(m *model) Demand {
			c := m.write(0, 0, 1)
			m.put(m.h.Writes()[c-1], m.vols[0][Sector:2*Sector])
			return Nothing
		}},
		{"other run's write", Misplaced, func(m *model) Demand {
			Fill(m.vols[0][:Sector], Mark{Run: 8, Counter: 1})
			return Nothing
		}},
		{"future: a write that nobody issued", Future, func(m *model) Demand {
			m.write(0, 0, 1)
			Fill(m.vols[1][:Sector], Mark{Run: 7, Counter: 2, Volume: 1})
			return Nothing
		}},
		{"future: a write with another length than was issued", Future, func(m *model) Demand {
			m.drop(0, 0, 2)
			Fill(m.vols[0][:Sector], Mark{Run: 7, Counter: 1})
			return Nothing
		}},
		{"acknowledged write lost at the end", Lost, func(m *model) Demand {
			m.write(0, 0, 8)
			m.drop(0, 8, 8)
			return Acknowledged
		}},
		{"synced write lost, the one after it not promised", Lost, func(m *model) Demand {
			m.drop(0, 0, 8)
			begun := m.h.Now()
			m.h.Synced(begun)
			m.drop(0, 8, 8)
			return Synced
		}},
		{"discard lost, later write is there", Disorder, func(m *model) Demand {
			m.write(0, 0, 8)
			m.discard(0, 0, 8, false)
			m.write(1, 0, 1)
			return Nothing
		}},
		{"discard half done", Torn, func(m *model) Demand {
			// The zeroes of the first half say that the discard is in, so the second half has to be zeroes too.
			m.write(0, 0, 8)
			m.discard(0, 0, 8, true)
			w := m.h.Writes()[0]
			full := make([]byte, w.Len)
			m.put(w, full)
			copy(m.vols[0][4*Sector:8*Sector], full[4*Sector:])
			return Nothing
		}},
		{"discard from nowhere", Torn, func(m *model) Demand {
			m.write(0, 0, 8)
			clear(m.vols[0][:4*Sector])
			return Nothing
		}},
		{"discard seen demands what was acknowledged before it", Disorder, func(m *model) Demand {
			m.write(0, 0, 2)
			m.drop(1, 0, 1)
			m.discard(0, 0, 1, true)
			return Nothing
		}},
		{"bit flipped", Damaged, func(m *model) Demand {
			m.write(0, 0, 1)
			m.vols[0][300] ^= 0x10
			return Nothing
		}},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) { rejects(t, row) })
	}
}

// rejects proves that the checker finds the defect of a row.
func rejects(t *testing.T, row rejected) {
	m := newModel(2, 16)
	must := row.build(m)
	_, err := m.check(must)
	var d *Defect
	if !errors.As(err, &d) {
		t.Fatalf("the checker let it pass: %v", err)
	}
	if d.Kind != row.kind {
		t.Fatalf("kind %q, want %q: %v", d.Kind, row.kind, d)
	}
}

// TestCheckAccepts gives the checker histories that are right, however unlikely they look.
func TestCheckAccepts(t *testing.T) {
	rows := []struct {
		name  string
		build func(m *model) Demand
	}{
		{"nothing written", func(*model) Demand { return Acknowledged }},
		{"everything there", func(m *model) Demand {
			m.write(0, 0, 8)
			m.write(1, 0, 8)
			m.write(0, 4, 8)
			return Acknowledged
		}},
		{"the newest write of each volume is missing", func(m *model) Demand {
			m.write(0, 0, 8)
			m.drop(1, 0, 8)
			m.drop(0, 2, 2)
			return Nothing
		}},
		{"of two concurrent writes only the one that began later is there", func(m *model) Demand {
			a := m.begin(0, 0, 8)
			m.write(1, 0, 8)
			m.h.Ack(a)
			return Nothing
		}},
		{"an unacknowledged write is there", func(m *model) Demand {
			m.write(0, 0, 8)
			m.apply(m.begin(0, 4, 8))
			return Acknowledged
		}},
		{"an unacknowledged write is not there, though later ones are", func(m *model) Demand {
			m.begin(0, 0, 8)
			m.write(0, 4, 8)
			m.write(1, 4, 8)
			return Acknowledged
		}},
		{"a discard as the last", func(m *model) Demand {
			m.write(0, 0, 8)
			m.write(1, 0, 8)
			m.discard(0, 2, 3, true)
			return Acknowledged
		}},
		{"an unacknowledged discard that happened", func(m *model) Demand {
			m.write(0, 0, 8)
			c := m.h.Begin(Write{Volume: 0, Off: 0, Len: 8 * Sector, Zero: true})
			m.apply(c)
			return Acknowledged
		}},
		{"a discard that is missing with all after it", func(m *model) Demand {
			m.write(0, 0, 8)
			m.discard(0, 0, 8, false)
			m.drop(0, 0, 8)
			return Nothing
		}},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			m := newModel(2, 16)
			must := row.build(m)
			if p, err := m.check(must); err != nil {
				t.Fatalf("refused with prefix %+v: %v", p, err)
			}
		})
	}
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

// TestCheckPrefixes cuts random serial histories at every place: each cut is a prefix, and its size is found.
func TestCheckPrefixes(t *testing.T) {
	seed := testSeed(t)
	rng := rand.New(rand.NewPCG(seed, 1))
	for range 4 {
		m := newModel(3, 64)
		for cut := range 40 {
			for range cut {
				s := rng.IntN(60)
				m.write(rng.IntN(3), s, 1+rng.IntN(4))
			}
			kept := m.snapshot()
			m.drop(0, 0, 1)
			dropped := m.drop(1, 1, 1)
			p, err := m.check(Nothing)
			if err != nil {
				t.Fatalf("cut after %d: %v", cut, err)
			}
			if p.Writes > m.h.Len()-2 || p.Last < 2 {
				t.Fatalf("prefix %+v holds one of the last two of %d writes", p, m.h.Len())
			}
			m.apply(dropped)
			if _, err := m.check(Nothing); err == nil {
				t.Fatalf("a gap before write %d was not found", dropped)
			}
			m.vols = kept
			m = newModel(3, 64)
		}
	}
}

func (m *model) snapshot() [][]byte {
	var out [][]byte
	for _, v := range m.vols {
		out = append(out, slices.Clone(v))
	}
	return out
}

// TestMarkRoundTrip proves that a payload says what it was filled with, and that no sector of it is like another.
func TestMarkRoundTrip(t *testing.T) {
	p := make([]byte, 5*Sector)
	want := Mark{Run: 1, Counter: 2, Writer: 3, Volume: 4, Offset: 5 * Sector, Length: int64(len(p))}
	Fill(p, want)
	for i := range 5 {
		want.Index = uint32(i)
		got, zero, ok := ParseMark(p[i*Sector : (i+1)*Sector])
		if zero || !ok || got != want {
			t.Fatalf("sector %d: got %+v %v %v, want %+v", i, got, zero, ok, want)
		}
	}
	if _, zero, _ := ParseMark(make([]byte, Sector)); !zero {
		t.Fatal("zeroes were not seen as such")
	}
	if _, _, ok := ParseMark(p[1 : Sector+1]); ok {
		t.Fatal("a shifted sector was taken")
	}
}
