package prefix

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// TestCheckTriesEveryOrder compares the decision with that of a search through all orders and prefixes, for small histories of writes that
// overlap, run together, fail or are never heard of again, and images that are right or nearly so. Zeroes can be the trace of any of several
// discards; the checker tries one then, so it may let pass what no order explains, and never rejects what one does.
func TestCheckTriesEveryOrder(t *testing.T) {
	rng := rand.New(rand.NewPCG(testSeed(t), 2))
	accepted, kinds := 0, map[DefectKind]int{}
	for range 4000 {
		m := newModel(2, 4)
		discards := rng.IntN(4)
		m.scribble(rng, 2+rng.IntN(5), discards)
		m.vols = m.applied(m.someOrder(rng))
		if rng.IntN(2) == 0 {
			m.spoil(rng)
		}
		must := []Demand{Nothing, Acknowledged, Synced, Before(m.h.clock / 2)}[rng.IntN(4)]
		_, err := m.check(must)
		right := m.explained(nil, must)
		if right != (err == nil) && (right || discards < 2) {
			t.Fatalf("the search found an order: %v; the checker: %v\n%s", right, err, m.dump())
		}
		if err == nil {
			accepted++
		} else {
			kinds[err.(*Defect).Kind]++
		}
	}
	t.Logf("%d accepted, rejected: %v", accepted, kinds)
	if accepted < 300 || kinds[Torn] < 50 || kinds[Disorder] < 20 || kinds[Lost] < 50 {
		t.Errorf("too little was tried: %d accepted, rejected: %v", accepted, kinds)
	}
}

// scribble makes n writes of up to four sectors, up to three of them under way at once, and so many of them discards.
func (m *model) scribble(rng *rand.Rand, n, discards int) {
	var open []uint64
	end := func() {
		i := rng.IntN(len(open))
		switch c := open[i]; rng.IntN(6) {
		case 0:
			m.h.Fail(c)
		case 1: // nobody heard of it again
		default:
			m.h.Ack(c)
		}
		open = slices.Delete(open, i, i+1)
	}
	for range n {
		for len(open) > 0 && (len(open) == 3 || rng.IntN(2) == 0) {
			end()
		}
		if rng.IntN(5) == 0 {
			m.h.Synced(m.h.Now())
		}
		s := rng.IntN(4)
		w := Write{Volume: rng.IntN(2), Off: int64(s) * Sector, Len: int64(1+rng.IntN(4-s)) * Sector, Sync: rng.IntN(5) == 0}
		if discards > 0 && rng.IntN(3) == 0 {
			w.Zero, discards = true, discards-1
		}
		open = append(open, m.h.Begin(w))
	}
	for len(open) > 0 && rng.IntN(4) > 0 {
		end()
	}
}

// may reports whether a write can be the next behind those that happened: hosts that knew another to be over issued it later.
func (m *model) may(happened []uint64, w *Write) bool {
	if slices.Contains(happened, w.Counter) {
		return false
	}
	for i := range m.h.writes {
		o := &m.h.writes[i]
		in := slices.Contains(happened, o.Counter)
		if o.End != 0 && o.before(w) && !in || in && w.before(o) {
			return false
		}
	}
	return true
}

// someOrder is a prefix of an order that is possible.
func (m *model) someOrder(rng *rand.Rand) (happened []uint64) {
	for rng.IntN(8) > 0 {
		var next []uint64
		for i := range m.h.writes {
			if w := &m.h.writes[i]; m.may(happened, w) {
				next = append(next, w.Counter)
			}
		}
		if len(next) == 0 {
			break
		}
		happened = append(happened, next[rng.IntN(len(next))])
	}
	return happened
}

// applied is what the volumes hold behind writes in that order.
func (m *model) applied(happened []uint64) [][]byte {
	var vols [][]byte
	for _, v := range m.vols {
		vols = append(vols, make([]byte, len(v)))
	}
	for _, c := range happened {
		w := &m.h.writes[c-1]
		m.put(*w, vols[w.Volume][w.Off:w.Off+w.Len])
	}
	return vols
}

// spoil makes a sector what another write, or none, would leave there.
func (m *model) spoil(rng *rand.Rand) {
	vol, s := rng.IntN(len(m.vols)), rng.IntN(4)
	var can []uint64
	for i := range m.h.writes {
		if w := &m.h.writes[i]; w.Volume == vol && w.covers(s) {
			can = append(can, w.Counter)
		}
	}
	clear(m.vols[vol][s*Sector : (s+1)*Sector])
	if len(can) > 0 && rng.IntN(3) > 0 {
		w := &m.h.writes[can[rng.IntN(len(can))]-1]
		full := make([]byte, w.Len)
		m.put(*w, full)
		copy(m.vols[vol][s*Sector:(s+1)*Sector], full[int64(s)*Sector-w.Off:])
	}
}

// explained reports whether the volumes are what some order leaves that begins with what happened and has all that must demands.
func (m *model) explained(happened []uint64, must Demand) bool {
	lacks := false
	for i := range m.h.writes {
		w := &m.h.writes[i]
		lacks = lacks || must(m.h, w) && !slices.Contains(happened, w.Counter)
	}
	if !lacks && slices.EqualFunc(m.applied(happened), m.vols, bytes.Equal) {
		return true
	}
	for i := range m.h.writes {
		if w := &m.h.writes[i]; m.may(happened, w) && m.explained(append(slices.Clone(happened), w.Counter), must) {
			return true
		}
	}
	return false
}

func (m *model) dump() string {
	var b strings.Builder
	for _, w := range m.h.writes {
		fmt.Fprintf(&b, "%+v\n", w)
	}
	for i, v := range m.vols {
		for s := 0; s < len(v); s += Sector {
			mark, _, _ := ParseMark(v[s : s+Sector])
			fmt.Fprintf(&b, "volume %d sector %d: %d\n", i, s/Sector, mark.Counter)
		}
	}
	return b.String()
}
