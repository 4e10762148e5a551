package e2e

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"testing"
)

// drawn is an image of one volume whose sectors hold the writes of the numbers given, 0 for zeroes.
func drawn(writes []Write, volume int, counters ...uint64) Image {
	data := make([]byte, len(counters)*Sector)
	for s, counter := range counters {
		if counter == 0 {
			continue
		}
		w := writes[counter-1]
		p := make([]byte, w.Len)
		Fill(p, Mark{Run: w.Run, Counter: counter, Volume: uint32(volume), Offset: w.Off})
		copy(data[s*Sector:(s+1)*Sector], p[int64(s)*Sector-w.Off:])
	}
	return Image{Volume: volume, Size: int64(len(data)), Data: bytes.NewReader(data)}
}

// numbered gives writes their numbers, in the order of their Start.
func numbered(writes ...Write) []Write {
	for i := range writes {
		writes[i].Counter, writes[i].Run = uint64(i+1), 1
		writes[i].Off, writes[i].Len = writes[i].Off*Sector, writes[i].Len*Sector
	}
	return writes
}

// TestCheckOverlapping draws images of writes that were in flight together.
func TestCheckOverlapping(t *testing.T) {
	t.Parallel()
	// Two at a time over both sectors; two with one sector in common.
	two := numbered(Write{Len: 2, Start: 1, End: 4}, Write{Len: 2, Start: 2, End: 3})
	chain := numbered(Write{Len: 2, Start: 1, End: 6}, Write{Off: 1, Len: 2, Start: 2, End: 5}, Write{Off: 2, Len: 2, Start: 3, End: 4})
	ring := numbered(Write{Off: 0, Len: 2, Start: 1, End: 8}, Write{Off: 1, Len: 2, Start: 2, End: 7}, Write{Off: 0, Len: 3, Start: 3, End: 6})
	after := numbered(Write{Len: 1, Start: 1, End: 2}, Write{Len: 1, Start: 3, End: 4}, Write{Off: 1, Len: 1, Start: 5, End: 6})
	lost := numbered(Write{Len: 2, Start: 1}, Write{Len: 2, Start: 2})
	for _, row := range []struct {
		name   string
		writes []Write
		image  []uint64
		floor  Stamp
		want   DefectKind
	}{
		{"the first is the last", two, []uint64{1, 1}, Always, ""},
		{"the second is the last", two, []uint64{2, 2}, Always, ""},
		{"one alone, the other not yet", two, []uint64{1, 1}, 0, ""},
		{"none yet", two, []uint64{0, 0}, 0, ""},
		{"none, and both had to be there", two, []uint64{0, 0}, Always, Lost},
		{"each is the last somewhere", two, []uint64{1, 2}, Always, Torn},
		{"the same, without a floor", two, []uint64{2, 1}, 0, Torn},
		{"half of one", two, []uint64{1, 0}, 0, Torn},
		{"a chain in one order", chain, []uint64{1, 1, 2, 3}, Always, ""},
		{"a chain in the other", chain, []uint64{1, 2, 3, 3}, Always, ""},
		{"three that need a ring", ring, []uint64{1, 2, 3}, 0, Torn},
		{"an older one over a newer one", after, []uint64{1, 3}, 0, Disorder},
		{"a newer one is not there, and nothing is later", after, []uint64{1, 0}, 0, ""},
		{"a newer one is not there, and had to be", after[:2], []uint64{1, 0}, Always, Lost},
		{"what was never acknowledged may be there", lost, []uint64{2, 2}, Always, ""},
		{"or be torn", lost, []uint64{2, 1}, Always, Torn},
	} {
		t.Run(row.name, func(t *testing.T) {
			_, err := CheckOverlapping(1, row.writes, []Image{drawn(row.writes, 0, row.image...)}, row.floor)
			if d, ok := err.(*Defect); err == nil && row.want != "" || err != nil && (!ok || d.Kind != row.want) {
				t.Errorf("%v, want %q", err, row.want)
			}
		})
	}
}

// TestCheckOverlappingAgainstSearch compares the verdict on random images of few writes with a search through all prefixes and orders.
func TestCheckOverlappingAgainstSearch(t *testing.T) {
	t.Parallel()
	const sectors = 3
	rng := rand.New(rand.NewPCG(Seed(t), 0))
	explained := 0
	for range 1000 {
		writes := randomWrites(rng, 1+rng.IntN(4), sectors)
		image := make([]uint64, sectors)
		for s := range image {
			who := []uint64{0}
			for _, w := range writes {
				if w.Off <= int64(s)*Sector && int64(s)*Sector < w.Off+w.Len {
					who = append(who, w.Counter, w.Counter)
				}
			}
			image[s] = who[rng.IntN(len(who))]
		}
		floor := []Stamp{0, Stamp(rng.IntN(12)), Always}[rng.IntN(3)]
		want := searchOrder(writes, image, make([]uint64, sectors), 0, floor)
		_, err := CheckOverlapping(1, writes, []Image{drawn(writes, 0, image...)}, floor)
		if (err == nil) != want {
			t.Fatalf("writes %+v, image %v, floor %d: %v, and a search finds an order: %v", writes, image, floor, err, want)
		}
		if want {
			explained++
		}
	}
	if explained < 100 || explained > 900 {
		t.Errorf("%d of 1000 images had an explanation: the images do not try both verdicts", explained)
	}
}

// randomWrites makes n writes, with random moments between which they were in flight.
func randomWrites(rng *rand.Rand, n, sectors int) []Write {
	moments := rng.Perm(2 * n)
	var writes []Write
	for i := range n {
		a, b := Stamp(min(moments[2*i], moments[2*i+1])+1), Stamp(max(moments[2*i], moments[2*i+1])+1)
		if rng.IntN(6) == 0 {
			b = 0
		}
		off := rng.IntN(sectors)
		writes = append(writes, Write{Off: int64(off), Len: int64(1 + rng.IntN(sectors-off)), Start: a, End: b})
	}
	slices.SortFunc(writes, func(a, b Write) int { return int(a.Start) - int(b.Start) })
	return numbered(writes...)
}

// searchOrder reports whether the image is what some order of the writes leaves, of those that are not in done: the prefix may end here, or go on
// with any write before which nothing is missing.
func searchOrder(writes []Write, image, now []uint64, done uint, floor Stamp) bool {
	whole := slices.Equal(image, now)
	for i, w := range writes {
		whole = whole && (done&(1<<i) != 0 || w.End == 0 || w.End >= floor)
	}
	if whole {
		return true
	}
	for i, w := range writes {
		ready := done&(1<<i) == 0
		for j, before := range writes {
			ready = ready && (done&(1<<j) != 0 || before.End == 0 || before.End >= w.Start)
		}
		if !ready {
			continue
		}
		next := slices.Clone(now)
		for s := w.Off / Sector; s < (w.Off+w.Len)/Sector; s++ {
			next[s] = w.Counter
		}
		if searchOrder(writes, image, next, done|1<<i, floor) {
			return true
		}
	}
	return false
}
