package prefix

import "slices"

// Prefix is a part of a history that explains all images of a group.
type Prefix struct {
	Cut    Stamp // every write acknowledged before this moment is in it
	Writes int   // how many writes are in it
	Last   int   // how many acknowledged writes of the history are not

	in []bool // which writes are in it, by their counter less one
}

// Check decides whether the pictures are together the image of one prefix of the history, one that holds what must demands. It returns
// the smallest such prefix, or a *[Defect].
//
// The argument: a write that can be seen is in the prefix, and with it everything acknowledged before it began. With cut the latest
// Start of all that is seen or demanded, the smallest candidate is therefore that and all with End < cut, and that set is closed: what came
// before any of its members has an End below cut as well. A larger set only demands more. So it is enough to prove that no sector shows
// less than the candidate has there: no write of the candidate that covers it began when what it shows was over. One thing is not seen: a
// discard. Where a picture shows zeroes and the candidate has something, the first discard that can have been after that, and of which no sector
// shows that it never was, has to be in, which may raise cut; that is repeated until nothing changes. Atomicity needs no rule of its own, for a write that is in has to be in
// everywhere. What a fork of the history gave up is in no prefix, and no picture may show it.
//
// Writes that were under way together may have either order where they overlap: that it is one order is proved last (see oneOrder).
func (h *History) Check(pictures []*Picture, must Demand) (Prefix, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	c := &h.checker
	c.begin(h, len(pictures))
	for i, p := range pictures {
		if err := c.look(&c.views[i], p); err != nil {
			return Prefix{}, err
		}
	}
	for i := range h.writes {
		if w := &h.writes[i]; !w.GivenUp && must(h, w) {
			c.in[i] = true
			c.cut = max(c.cut, w.Start)
		}
	}
	for again := true; again; {
		c.include()
		var err error
		if again, err = c.compare(); err != nil {
			return Prefix{}, err
		}
	}
	if err := c.oneOrder(); err != nil {
		return Prefix{}, err
	}
	return c.prefix(), nil
}

// checker decides. All that it needs is kept from one check to the next.
type checker struct {
	h        *History
	cut      Stamp
	newest   uint64 // of the writes seen, the one with the latest Start; 0 if none was
	in       []bool // by counter-1
	discards []int  // all that were not given up, by counter-1
	tried    []byte // by counter-1, of a discard: 1 it can have happened, 2 it cannot, 0 nobody has asked
	views    []view
}

// view is what a check makes of a picture, by sector.
type view struct {
	*Picture
	shows  []uint64 // the counter of a write, or one of those below
	latest []uint64 // of the writes in the prefix, the one with the latest Start; 0 if there is none
	next   []int32  // while latest is found: a sector at or behind it that has none yet
}

// What a sector may show that is no write of the history.
const (
	untouched = 0              // zeroes, as when the history began; a discard leaves them too
	blank     = ^uint64(0)     // zeroes that only a discard leaves
	original  = ^uint64(0) - 1 // what was there when the history began, where that is not zeroes
)

// begin makes it ready for the views of so many pictures.
func (c *checker) begin(h *History, pictures int) {
	c.h, c.cut, c.newest = h, 0, 0
	c.in = sized(c.in, len(h.writes))
	c.tried = sized(c.tried, len(h.writes))
	clear(c.in)
	clear(c.tried)
	c.discards = c.discards[:0]
	for i := range h.writes {
		if w := &h.writes[i]; w.Zero && !w.GivenUp {
			c.discards = append(c.discards, i)
		}
	}
	for len(c.views) < pictures {
		c.views = append(c.views, view{})
	}
	c.views = c.views[:pictures]
}

// sized gives a slice of n elements, the same one if it can.
func sized[T any](s []T, n int) []T { return slices.Grow(s[:0], n)[:n] }

// look takes a picture into a view, and marks what it shows as in the prefix.
func (c *checker) look(v *view, p *Picture) error {
	v.Picture = p
	v.shows, v.latest, v.next = sized(v.shows, p.sectors), sized(v.latest, p.sectors), sized(v.next, p.sectors+1)
	base := c.h.base[p.volume]
	for i := range p.extents {
		e := &p.extents[i]
		shows := v.shows[e.at : e.at+e.n]
		if e.zero {
			clear(shows)
			for s := e.at; s < min(e.at+e.n, len(base)); s++ {
				if base[s] != (origin{}) {
					v.shows[s] = blank
				}
			}
			continue
		}
		counter, err := c.h.identify(p.volume, e)
		if err != nil {
			return err
		}
		if counter == 0 {
			counter = original
		} else {
			c.mark(counter)
		}
		for s := range shows {
			shows[s] = counter
		}
	}
	return nil
}

// mark takes a write into the prefix and moves cut to its Start.
func (c *checker) mark(counter uint64) {
	c.in[counter-1] = true
	start := c.h.writes[counter-1].Start
	c.cut = max(c.cut, start)
	if c.newest == 0 || start > c.h.writes[c.newest-1].Start {
		c.newest = counter
	}
}

// include takes in everything acknowledged before cut and finds the latest write of the prefix for each sector.
func (c *checker) include() {
	for i := range c.h.writes {
		if w := &c.h.writes[i]; w.End != 0 && w.End < c.cut && !w.GivenUp {
			c.in[i] = true
		}
	}
	for k := range c.views {
		v := &c.views[k]
		clear(v.latest)
		for s := range v.next {
			v.next[s] = int32(s)
		}
		left := v.sectors
		for i := len(c.h.writes) - 1; i >= 0 && left > 0; i-- { // the latest first: a sector is written once
			if w := &c.h.writes[i]; c.in[i] && w.Volume == v.volume {
				left -= v.put(w)
			}
		}
	}
}

// put makes the write the latest of the sectors that have none, and returns how many those are.
func (v *view) put(w *Write) (n int) {
	end := int(min((w.Off+w.Len)/Sector, int64(v.sectors)))
	for s := v.free(int(min(w.Off/Sector, int64(v.sectors)))); s < end; s = v.free(s) {
		v.latest[s], v.next[s] = w.Counter, int32(s+1)
		n++
	}
	return n
}

// free returns the first sector at or behind s that has no latest write.
func (v *view) free(s int) int {
	for int(v.next[s]) != s {
		v.next[s] = v.next[v.next[s]]
		s = int(v.next[s])
	}
	return s
}

// compare looks for sectors that show less than they have to. again reports that discards had to be taken in.
func (c *checker) compare() (again bool, err error) {
	for k := range c.views {
		v := &c.views[k]
		for s, shows := range v.shows {
			latest := v.latest[s]
			if shows == latest || c.fits(shows, latest) {
				continue
			}
			d := uint64(0)
			if shows == untouched || shows == blank {
				d = c.discard(v.volume, s, latest)
			}
			if d == 0 {
				return false, c.explain(v, s, shows, latest)
			}
			if !c.in[d-1] {
				c.mark(d)
				again = true
			}
		}
	}
	return again, nil
}

// fits reports whether what a sector shows can be there with the write latest in the prefix, without one more discard.
func (c *checker) fits(shows, latest uint64) bool {
	switch {
	case latest == 0:
		return shows == original
	case shows == untouched || shows == blank:
		return c.h.writes[latest-1].Zero
	case shows == original:
		return false
	}
	return !c.h.writes[shows-1].before(&c.h.writes[latest-1])
}

// discard returns the first discard of the sector that can have happened, and after the write latest; 0 if there is none.
func (c *checker) discard(volume, sector int, latest uint64) uint64 {
	for _, i := range c.discards {
		w := &c.h.writes[i]
		if w.Volume == volume && w.covers(sector) && (latest == 0 || !w.before(&c.h.writes[latest-1])) && c.possible(w) {
			return w.Counter
		}
	}
	return 0
}

// possible reports whether no sector shows that the discard never happened: something older than it.
func (c *checker) possible(d *Write) bool {
	if c.tried[d.Counter-1] == 0 {
		c.tried[d.Counter-1] = 1
		if c.refuted(d) {
			c.tried[d.Counter-1] = 2
		}
	}
	return c.tried[d.Counter-1] == 1
}

func (c *checker) refuted(d *Write) bool {
	for k := range c.views {
		v := &c.views[k]
		if v.volume != d.Volume {
			continue
		}
		end := min(int((d.Off+d.Len)/Sector), v.sectors)
		for s := int(d.Off / Sector); s < end; s++ {
			switch shows := v.shows[s]; {
			case shows == untouched || shows == blank:
			case shows == original || c.h.writes[shows-1].before(d):
				return true
			}
		}
	}
	return false
}

func (c *checker) prefix() Prefix {
	p := Prefix{Cut: c.cut, in: slices.Clone(c.in)}
	for i := range c.h.writes {
		if w := &c.h.writes[i]; c.in[i] {
			p.Writes++
		} else if w.End != 0 && !w.GivenUp {
			p.Last++
		}
	}
	return p
}
