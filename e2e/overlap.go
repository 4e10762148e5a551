package e2e

import (
	"cmp"
	"container/heap"
	"fmt"
	"math"
	"slices"
)

// CheckOverlapping is [Check] for a history without discards whose writes may have overlapped while they were in flight: of two such either may be
// the later one, but they have one order, the same in every sector that both wrote, and over all volumes.
//
// The argument: the smallest prefix is that of Check, for more writes only demand more. An order explains the images if in each sector the
// write that is there is the last of those of the prefix that wrote it, and if what was acknowledged before another was issued comes before it. Both are
// demands that one write be before another, so there is such an order if and only if they have no cycle. Where a write is torn
// there is one: of two writes each was the last in a sector that both wrote.
func CheckOverlapping(run uint64, writes []Write, images []Image, floor Stamp) (Prefix, error) {
	c := checker{run: run, writes: writes, floor: floor, in: make([]bool, len(writes)), cut: floor}
	for _, img := range images {
		if err := c.look(img); err != nil {
			return Prefix{}, err
		}
	}
	for i, w := range writes {
		c.in[i] = c.in[i] || w.End != 0 && w.End < c.cut
	}
	o := &ordering{c: &c, after: make([][]int, len(writes)), before: make([]int, len(writes))}
	if err := o.demands(); err != nil {
		return Prefix{}, err
	}
	if err := o.solve(); err != nil {
		return Prefix{}, err
	}
	return c.prefix(), nil
}

// ordering looks for an order of the writes of a prefix. Writes are named by their place in the history, which is that of their Start.
type ordering struct {
	c      *checker
	after  [][]int // which come after each, because a sector says so
	before []int   // how many come before each, because a sector says so
}

// demands takes from each sector what it says about the order.
func (o *ordering) demands() error {
	for _, p := range o.c.pictures {
		for i, w := range o.c.writes {
			if !o.c.in[i] || w.Volume != p.volume {
				continue
			}
			told := -1
			for s := w.Off / Sector; s < min((w.Off+w.Len)/Sector, int64(len(p.have))); s++ {
				there := int(p.have[s]) - 1
				if there < 0 || o.c.writes[there].End != 0 && o.c.writes[there].End < w.Start {
					return o.missing(p, s, w)
				}
				if there != i && there != told {
					o.after[i], told = append(o.after[i], there), there
					o.before[there]++
				}
			}
		}
	}
	return nil
}

// missing says that a sector lacks a write that had to be there.
func (o *ordering) missing(p *picture, sector int64, w Write) error {
	d := &Defect{Kind: Disorder, Volume: p.volume, Offset: sector * Sector}
	holds := "zeroes"
	if p.have[sector] != 0 {
		holds = fmt.Sprintf("write %d", p.have[sector])
	}
	d.Detail = fmt.Sprintf("holds %s without the later write %d (%d bytes at %d, acknowledged at %d)", holds, w.Counter, w.Len, w.Off, w.End)
	switch {
	case o.c.seen(w):
		d.Kind = Torn
		d.Detail += ", of which other sectors are there"
	case o.c.newest == 0 || w.End > o.c.writes[o.c.newest-1].Start:
		d.Kind = Lost
		d.Detail += fmt.Sprintf(", which is before the floor %d, and nothing later is there", o.c.floor)
	}
	return d
}

// solve puts the writes into an order that meets all demands, or says which it cannot. The earliest one that no sector holds back comes next. If
// an open one was acknowledged before it was issued, then that one is held back by a sector, and so is every one that might free it.
func (o *ordering) solve() error {
	var ready intHeap
	var byEnd []int
	for i := range o.c.writes {
		if !o.c.in[i] {
			continue
		}
		byEnd = append(byEnd, i)
		if o.before[i] == 0 {
			ready = append(ready, i)
		}
	}
	heap.Init(&ready)
	slices.SortFunc(byEnd, func(a, b int) int { return cmp.Compare(o.end(a), o.end(b)) })
	done := make([]bool, len(o.c.writes))
	for left := len(byEnd); left > 0; left-- {
		for done[byEnd[0]] {
			byEnd = byEnd[1:]
		}
		if len(ready) == 0 || o.end(byEnd[0]) < o.c.writes[ready[0]].Start {
			return o.tangle(byEnd[0])
		}
		i := heap.Pop(&ready).(int)
		done[i] = true
		for _, j := range o.after[i] {
			if o.before[j]--; o.before[j] == 0 {
				heap.Push(&ready, j)
			}
		}
	}
	return nil
}

// end is when a write was acknowledged; one that never was may have happened at any time since.
func (o *ordering) end(i int) Stamp {
	if e := o.c.writes[i].End; e != 0 {
		return e
	}
	return math.MaxUint64
}

// tangle says that a write stands in a circle of demands.
func (o *ordering) tangle(i int) error {
	w := o.c.writes[i]
	return &Defect{Kind: Torn, Volume: w.Volume, Offset: w.Off, Detail: fmt.Sprintf(
		"no order of the writes explains what is there: write %d (%d bytes, from %d to %d) would have to be before and after another that it overlaps", w.Counter, w.Len, w.Start, w.End)}
}

// intHeap gives the smallest number first.
type intHeap []int

func (h intHeap) Len() int           { return len(h) }
func (h intHeap) Less(i, j int) bool { return h[i] < h[j] }
func (h intHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *intHeap) Push(x any)        { *h = append(*h, x.(int)) }
func (h *intHeap) Pop() any {
	old := *h
	x := old[len(old)-1]
	*h = old[:len(old)-1]
	return x
}

// CheckOverlappingFiles opens the targets as images and checks them together.
func CheckOverlappingFiles(h *History, targets []Target, floor Stamp) (Prefix, error) {
	return checkFiles(CheckOverlapping, h, targets, floor)
}
