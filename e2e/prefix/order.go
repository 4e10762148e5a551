package prefix

import "fmt"

// edge says that a write stands before another in the order, for a sector that both cover shows the other.
type edge struct {
	from, to uint64 // counters
	view     *view
	sector   int
}

// oneOrder proves that writes of the prefix that were under way together and overlap have one order, whatever that is: the same in all of their
// sectors, and one that leaves each write a place between its Start and its end. A sector shows which of those that cover it was the last.
//
// The place of a write is no earlier than its Start and than the places of those that stand before it. Orders that agree with what hosts knew are
// just those in which every place is before the end of its write, so it is enough to compute the earliest places. There is no circle of more
// than two: of those in it, take the write whose range ends first; its neighbours in the circle reach over that end, so what is seen where the
// second neighbour is over it, or the first under it, leaves it out of a shorter circle, or is a circle of two.
func (c *checker) oneOrder() error {
	var edges []edge
	for i := range c.h.writes {
		if !c.in[i] {
			continue
		}
		a := &c.h.writes[i]
		for j := i + 1; j < len(c.h.writes); j++ {
			b := &c.h.writes[j]
			if a.before(b) {
				break // and before all that follow
			}
			if !c.in[j] || !a.touches(b) {
				continue
			}
			var err error
			if edges, err = c.between(edges, a, b); err != nil {
				return err
			}
		}
	}
	if len(edges) == 0 {
		return nil
	}
	return c.places(edges)
}

// between adds the edge between two writes that touch, if a sector shows one.
func (c *checker) between(edges []edge, a, b *Write) ([]edge, error) {
	if a.Direct && b.Direct {
		return edges, nil // their sectors have their orders one by one, as on any disk
	}
	lastA, lastB := a.Zero && c.alone(a), b.Zero && c.alone(b)
	var first, second *edge // a before b, b before a
	for k := range c.views {
		v := &c.views[k]
		if v.volume != a.Volume {
			continue
		}
		end := min(int(min(a.Off+a.Len, b.Off+b.Len)/Sector), v.sectors)
		for s := int(max(a.Off, b.Off) / Sector); s < end; s++ {
			shows := v.shows[s]
			zeroes := shows == untouched || shows == blank
			switch {
			case shows == b.Counter || zeroes && lastB:
				first = &edge{a.Counter, b.Counter, v, s}
			case shows == a.Counter || zeroes && lastA:
				second = &edge{b.Counter, a.Counter, v, s}
			}
			if first != nil && second != nil {
				return nil, &Defect{Kind: Torn, Volume: v.volume, Offset: int64(s) * Sector,
					Detail: fmt.Sprintf("writes %d and %d overlap, and each is over the other in some sectors", a.Counter, b.Counter)}
			}
		}
	}
	if first != nil {
		edges = append(edges, *first)
	}
	if second != nil {
		edges = append(edges, *second)
	}
	return edges, nil
}

// alone reports whether zeroes over a write of the same time can only be those of this discard.
func (c *checker) alone(w *Write) bool {
	for _, i := range c.discards {
		if o := &c.h.writes[i]; o != w && o.touches(w) && !o.before(w) {
			return false
		}
	}
	return true
}

// places finds the earliest place of each write that an edge names.
func (c *checker) places(edges []edge) error {
	place, waits, out := map[uint64]Stamp{}, map[uint64]int{}, map[uint64][]edge{}
	for _, e := range edges {
		out[e.from] = append(out[e.from], e)
		waits[e.to]++
		for _, n := range []uint64{e.from, e.to} {
			place[n] = c.h.writes[n-1].Start
		}
	}
	var ready []uint64
	for n := range place {
		if waits[n] == 0 {
			ready = append(ready, n)
		}
	}
	for ; len(ready) > 0; ready = ready[1:] {
		n := ready[0]
		for _, e := range out[n] {
			to := &c.h.writes[e.to-1]
			place[e.to] = max(place[e.to], place[n])
			if over := to.over(); over != 0 && place[e.to] >= over {
				return e.disorder("write %d is over write %d, which stands behind one that began at %d; the former was over at %d", e.to, e.from, place[n], over)
			}
			if waits[e.to]--; waits[e.to] == 0 {
				ready = append(ready, e.to)
			}
		}
	}
	return nil
}

func (e *edge) disorder(format string, args ...any) error {
	return &Defect{Kind: Disorder, Volume: e.view.volume, Offset: int64(e.sector) * Sector, Detail: fmt.Sprintf(format, args...)}
}
