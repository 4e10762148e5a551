package e2e

import (
	"errors"
	"fmt"
	"io"
	"slices"
)

// Image is what one volume holds at one site at one moment: nothing may change it while it is checked.
type Image struct {
	Volume int   // number in the history
	Size   int64 // bytes, a multiple of [Sector]
	Data   io.ReaderAt
}

// Prefix is a part of a history that explains all images of a group.
type Prefix struct {
	Cut    Stamp // every write acknowledged before this moment is in it
	Writes int   // how many writes are in it
	Last   int   // how many acknowledged writes of the history are not

	in []bool // which writes are in it, by their counter less one
}

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
	Disorder  DefectKind = "disorder"  // a write is missing though a later one is there
	Lost      DefectKind = "lost"      // a write is missing that had to be there
)

// Error returns one line with all of it.
func (d *Defect) Error() string {
	return fmt.Sprintf("volume %d offset %d: %s: %s", d.Volume, d.Offset, d.Kind, d.Detail)
}

// Check decides whether the images are together the image of one prefix of the history, and one that holds every write acknowledged
// before floor. It returns the smallest such prefix, or a *[Defect].
//
// The argument: a write that can be seen is in the prefix, and with it everything acknowledged before it was issued. With cut the
// latest Start of all that is seen (or floor), the smallest candidate is therefore all that is seen and all with End < cut, and that set
// is closed: what came before any of its members has an End below cut as well. A larger set only demands more. So it is enough to
// apply the candidate in order and to compare, sector by sector. One thing is not seen: a discard. Where an image holds zeroes and the
// candidate does not, the next discard of that sector has to be in, which may raise cut; that is repeated until nothing changes.
// Atomicity needs no rule of its own, for a write that is in has to be in everywhere. What a fork of the history gave up is in no prefix, and no
// image may show it.
func Check(run uint64, writes []Write, images []Image, floor Stamp) (Prefix, error) {
	c := checker{run: run, writes: writes, floor: floor, in: make([]bool, len(writes)), cut: floor}
	for _, img := range images {
		if err := c.look(img); err != nil {
			return Prefix{}, err
		}
	}
	for {
		c.include()
		again, err := c.compare()
		if err != nil {
			return Prefix{}, err
		}
		if !again {
			return c.prefix(), nil
		}
	}
}

// picture is one image as the writes that its sectors name: 0 for zeroes, else a counter.
type picture struct {
	volume int
	have   []uint64
	want   []uint64
}

type checker struct {
	run      uint64
	writes   []Write
	floor    Stamp
	cut      Stamp
	newest   uint64 // of the writes seen, the one with the latest Start; 0 if none was
	in       []bool // by counter-1
	pictures []*picture
}

// lookPiece is how much of an image is read at once, in bytes.
const lookPiece = 1 << 20

// look reads an image into a picture, and marks what it sees as in the prefix.
func (c *checker) look(img Image) error {
	if img.Size%Sector != 0 {
		return fmt.Errorf("volume %d: its size of %d bytes is no multiple of %d", img.Volume, img.Size, Sector)
	}
	p := &picture{volume: img.Volume, have: make([]uint64, img.Size/Sector), want: make([]uint64, img.Size/Sector)}
	buf := AlignedBuffer(lookPiece)
	for off := int64(0); off < img.Size; off += lookPiece {
		b := buf[:min(lookPiece, img.Size-off)]
		if n, err := img.Data.ReadAt(b, off); n < len(b) {
			if err == nil || errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return fmt.Errorf("volume %d: read %d bytes at %d: %w", img.Volume, len(b), off, err)
		}
		for i := 0; i < len(b); i += Sector {
			at := off + int64(i)
			counter, err := c.identify(img.Volume, at, b[i:i+Sector])
			if err != nil {
				return err
			}
			p.have[at/Sector] = counter
		}
	}
	c.pictures = append(c.pictures, p)
	return nil
}

// identify returns the counter of the write that the sector at off holds, 0 for zeroes.
func (c *checker) identify(volume int, off int64, s []byte) (uint64, error) {
	m, zero, ok := ParseMark(s)
	bad := func(kind DefectKind, format string, args ...any) error {
		return &Defect{Kind: kind, Volume: volume, Offset: off, Detail: fmt.Sprintf(format, args...)}
	}
	switch {
	case zero:
		return 0, nil
	case !ok:
		return 0, bad(Damaged, "begins with %x", s[:16])
	case m.Run != c.runOf(m.Counter):
		return 0, bad(Misplaced, "is of run %x, not %x (write %d)", m.Run, c.runOf(m.Counter), m.Counter)
	case m.Volume != uint32(volume) || m.Offset+int64(m.Index)*Sector != off:
		return 0, bad(Misplaced, "belongs to volume %d offset %d (write %d)", m.Volume, m.Offset+int64(m.Index)*Sector, m.Counter)
	case m.Counter == 0 || m.Counter > uint64(len(c.writes)):
		return 0, bad(Future, "is of write %d, and the history has %d", m.Counter, len(c.writes))
	}
	w := c.writes[m.Counter-1]
	if w.Zero || w.Volume != volume || w.Off != m.Offset || w.Len != m.Length {
		return 0, bad(Future, "says write %d of %d bytes at %d, which the history has otherwise", m.Counter, m.Length, m.Offset)
	}
	if w.GivenUp {
		return 0, bad(Returned, "is of write %d (%d bytes at %d), which was given up", m.Counter, w.Len, w.Off)
	}
	c.mark(m.Counter)
	return m.Counter, nil
}

// runOf returns the run of the history's write of that number. A history that was forked has those of the other up to there.
func (c *checker) runOf(counter uint64) uint64 {
	if counter == 0 || counter > uint64(len(c.writes)) {
		return c.run
	}
	return c.writes[counter-1].Run
}

// mark takes a write into the prefix and moves cut to its Start.
func (c *checker) mark(counter uint64) {
	c.in[counter-1] = true
	start := c.writes[counter-1].Start
	c.cut = max(c.cut, start)
	if c.newest == 0 || start > c.writes[c.newest-1].Start {
		c.newest = counter
	}
}

// include takes in everything acknowledged before cut and computes what each sector has to hold.
func (c *checker) include() {
	for _, p := range c.pictures {
		clear(p.want)
	}
	for i, w := range c.writes {
		if w.End != 0 && w.End < c.cut && !w.GivenUp {
			c.in[i] = true
		}
		if !c.in[i] {
			continue
		}
		for _, p := range c.pictures {
			if p.volume != w.Volume {
				continue
			}
			put := w.Counter
			if w.Zero {
				put = 0
			}
			last := min((w.Off+w.Len)/Sector, int64(len(p.want)))
			for s := w.Off / Sector; s < last; s++ {
				p.want[s] = put
			}
		}
	}
}

// compare looks for sectors that are not what they have to be. again reports that discards had to be taken in.
func (c *checker) compare() (again bool, err error) {
	for _, p := range c.pictures {
		for s, have := range p.have {
			want := p.want[s]
			if have == want {
				continue
			}
			off := int64(s) * Sector
			if have == 0 {
				if z := c.discardAfter(p.volume, off, want); z != 0 {
					c.mark(z)
					again = true
					continue
				}
			}
			return false, c.explain(p.volume, off, have, want)
		}
	}
	return again, nil
}

// discardAfter returns the first discard of the sector after the write want, 0 if there is none.
func (c *checker) discardAfter(volume int, off int64, want uint64) uint64 {
	for _, w := range c.writes[want:] {
		if w.Zero && !w.GivenUp && w.Volume == volume && w.Off <= off && off < w.Off+w.Len {
			return w.Counter
		}
	}
	return 0
}

// explain says why a sector that holds have had to hold want.
func (c *checker) explain(volume int, off int64, have, want uint64) error {
	w := c.missing(volume, off, have)
	d := &Defect{Volume: volume, Offset: off}
	holds := "zeroes"
	if have != 0 {
		holds = fmt.Sprintf("write %d", have)
	}
	switch {
	case c.seen(w):
		d.Kind = Torn
		d.Detail = fmt.Sprintf("holds %s, while other sectors of write %d (%d bytes at %d) are there", holds, w.Counter, w.Len, w.Off)
	case c.newest == 0 || w.End > c.writes[c.newest-1].Start:
		d.Kind = Lost
		d.Detail = fmt.Sprintf("holds %s; write %d (%d bytes at %d) was acknowledged at %d, before the floor %d, and nothing later is there",
			holds, w.Counter, w.Len, w.Off, w.End, c.floor)
	default:
		d.Kind = Disorder
		later := c.writes[c.newest-1]
		d.Detail = fmt.Sprintf("holds %s without write %d (acknowledged at %d), but write %d of volume %d, which began at %d, is there",
			holds, w.Counter, w.End, later.Counter, later.Volume, later.Start)
	}
	if want == 0 && d.Kind != Torn {
		d.Detail += " (a discard)"
	}
	return d
}

// missing returns the last write of the prefix that touched the sector.
func (c *checker) missing(volume int, off int64, have uint64) Write {
	for i, w := range slices.Backward(c.writes) {
		if c.in[i] && w.Volume == volume && w.Off <= off && off < w.Off+w.Len && w.Counter > have {
			return w
		}
	}
	panic("e2e: a sector differs that no write of the prefix touched")
}

// seen reports whether any sector of any image holds the write. A discard was seen if it is what moved cut.
func (c *checker) seen(w Write) bool {
	if w.Zero {
		return c.newest == w.Counter
	}
	for _, p := range c.pictures {
		if slices.Contains(p.have, w.Counter) {
			return true
		}
	}
	return false
}

func (c *checker) prefix() Prefix {
	p := Prefix{Cut: c.cut, in: c.in}
	for i, w := range c.writes {
		if c.in[i] {
			p.Writes++
		} else if w.End != 0 && !w.GivenUp {
			p.Last++
		}
	}
	return p
}

// CheckFiles opens the targets as images and checks them together.
func CheckFiles(h *History, targets []Target, floor Stamp) (Prefix, error) {
	return checkFiles(Check, h, targets, floor)
}

// checkFiles lets a checker look at the targets.
func checkFiles(check func(uint64, []Write, []Image, Stamp) (Prefix, error), h *History, targets []Target, floor Stamp) (Prefix, error) {
	var images []Image
	for _, t := range targets {
		img, f, err := t.image()
		if err != nil {
			return Prefix{}, err
		}
		defer f.Close()
		images = append(images, img)
	}
	return check(h.Run(), h.Writes(), images, floor)
}
