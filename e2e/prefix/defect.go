package prefix

import "fmt"

// Defect says which sector no prefix explains, and why.
type Defect struct {
	Kind   DefectKind
	Volume int
	Offset int64 // of the sector in the volume
	Detail string
}

// DefectKind is the class of a [Defect].
type DefectKind string

// The kinds of defect, from the one that is looked for first.
const (
	Damaged   DefectKind = "damaged"   // neither zeroes nor the payload of any write
	Misplaced DefectKind = "misplaced" // a payload of another run, another volume or another offset
	Future    DefectKind = "future"    // a write that the history does not have
	Returned  DefectKind = "returned"  // a write that was given up
	Torn      DefectKind = "torn"      // a part of a write is there and a part is not
	Disorder  DefectKind = "disorder"  // a write is missing though a later one is there, or no one order explains what is there
	Lost      DefectKind = "lost"      // a write is missing that had to be there
)

// Error returns one line with all of it.
func (d *Defect) Error() string {
	return fmt.Sprintf("volume %d offset %d: %s: %s", d.Volume, d.Offset, d.Kind, d.Detail)
}

// identify returns the write of this history that an extent is of, or 0 if all of it was there when the history began. Requires mu.
func (h *History) identify(volume int, e *extent) (uint64, error) {
	m, at := e.mark, int64(e.at)*Sector
	bad := func(kind DefectKind, format string, args ...any) error {
		return &Defect{Kind: kind, Volume: volume, Offset: at, Detail: fmt.Sprintf(format, args...)}
	}
	known := m.Counter > 0 && m.Counter <= uint64(len(h.writes))
	run := h.run // a history that was forked has writes of the other one, up to there
	if known {
		run = h.writes[m.Counter-1].Run
	}
	if m.Run != run {
		for s := range e.n {
			if at = int64(e.at+s) * Sector; h.begunWith(volume, e.at+s) == (origin{m.Run, m.Counter}) {
				continue
			}
			if h.past[m.Run] {
				return 0, bad(Returned, "is of write %d of run %x, which was not there when run %x began", m.Counter, m.Run, h.run)
			}
			return 0, bad(Misplaced, "is of run %x, not %x (write %d)", m.Run, run, m.Counter)
		}
		return 0, nil
	}
	if !known {
		return 0, bad(Future, "is of write %d, and the history has %d", m.Counter, len(h.writes))
	}
	w := &h.writes[m.Counter-1]
	if w.Zero || w.Volume != volume || w.Off != m.Offset || w.Len != m.Length {
		return 0, bad(Future, "says write %d of %d bytes at %d, which the history has otherwise", m.Counter, m.Length, m.Offset)
	}
	if w.GivenUp {
		return 0, bad(Returned, "is of write %d (%d bytes at %d), which was given up", m.Counter, w.Len, w.Off)
	}
	return m.Counter, nil
}

// begunWith returns what a sector held when the history began.
func (h *History) begunWith(volume, sector int) origin {
	if base := h.base[volume]; sector < len(base) {
		return base[sector]
	}
	return origin{}
}

// explain says why a sector that shows one thing cannot, with the write latest in the prefix.
func (c *checker) explain(v *view, sector int, shows, latest uint64) error {
	d := &Defect{Volume: v.volume, Offset: int64(sector) * Sector}
	holds := fmt.Sprintf("write %d", shows)
	switch shows {
	case untouched, blank:
		holds = "zeroes"
	case original:
		holds = "what was there when the history began"
	}
	if latest == 0 {
		was := c.h.begunWith(v.volume, sector)
		d.Kind, d.Detail = Lost, fmt.Sprintf("holds %s; write %d of run %x was there when the history began", holds, was.counter, was.run)
		return d
	}
	w := &c.h.writes[latest-1]
	switch {
	case c.seen(w):
		d.Kind = Torn
		d.Detail = fmt.Sprintf("holds %s, while other sectors of write %d (%d bytes at %d) are there", holds, w.Counter, w.Len, w.Off)
	case c.newest == 0 || w.End == 0 || w.End > c.h.writes[c.newest-1].Start:
		d.Kind = Lost
		d.Detail = fmt.Sprintf("holds %s; write %d (%d bytes at %d), acknowledged at %d, is demanded, and nothing later is there", holds, w.Counter, w.Len, w.Off, w.End)
	default:
		d.Kind = Disorder
		later := &c.h.writes[c.newest-1]
		d.Detail = fmt.Sprintf("holds %s without write %d (acknowledged at %d), but write %d of volume %d, which began at %d, is there",
			holds, w.Counter, w.End, later.Counter, later.Volume, later.Start)
	}
	if w.Zero && d.Kind != Torn {
		d.Detail += " (a discard)"
	}
	return d
}

// seen reports whether any picture shows the write. A discard was seen if it is what moved cut.
func (c *checker) seen(w *Write) bool {
	if w.Zero {
		return c.newest == w.Counter
	}
	for _, v := range c.views {
		for _, shows := range v.shows {
			if shows == w.Counter {
				return true
			}
		}
	}
	return false
}
