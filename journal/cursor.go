package journal

import (
	"errors"
	"fmt"
)

// Cursor reads a journal forward in the byte form in which records travel. It is for one goroutine; it holds at most 2 MiB, from the
// first read of the disk on, and needs no closing.
type Cursor struct {
	j   *Journal
	pos Position
	win *window
}

// Info is what a Read gave.
type Info struct {
	First, Last Seq      // numbers of the first and the last record
	Count       int      // records
	Next        Position // where the next Read goes on
	FirstTime   int64    // of the first record, Unix nanoseconds
}

// NewCursor makes a cursor at from, the start of a record or the place of the next one: from Locate, a Reservation, Marks, Head or Info.
func (j *Journal) NewCursor(from Position) *Cursor {
	return &Cursor{j: j, pos: from, win: newWindow(j.vols, windowSize)}
}

// Position is where the next Read goes on.
func (c *Cursor) Position() Position { return c.pos }

// Read copies whole durable records into buf in order, without pads, until max bytes are used, but at least one record; buf must be
// able to hold MaxRecord. It takes them from the ring while they are there, else from disk, and checks each record's end-to-end
// checksum. n is 0 without an error when nothing new is durable; see WaitDurable. It works on a failed journal too. Errors: ErrFreed if
// the position was freed, ErrCorrupt, ErrInvalid, ErrClosed, or the disk's; records before the bad place are given first.
func (c *Cursor) Read(buf []byte, max int) (n int, info Info, err error) {
	if len(buf) < MaxRecord {
		return 0, info, fmt.Errorf("%w: cursor reads into %d bytes, at least %d are needed", ErrInvalid, len(buf), MaxRecord)
	}
	if err := c.j.usable(); err != nil {
		return 0, info, err
	}
	defer c.j.life.RUnlock()
	if freed := Position(c.j.freed.Load()); c.pos < freed {
		return 0, info, fmt.Errorf("%w: cursor at %d, freed up to %d", ErrFreed, c.pos, freed)
	}
	durable := Position(c.j.durable.Load())
	for c.pos < durable {
		room := min(max, len(buf)) - n
		if n == 0 {
			room = len(buf)
		}
		rec, size, err := c.next(buf[n:], room)
		if errors.Is(err, errNoRoom) || err != nil && n > 0 {
			break
		}
		if err != nil {
			return 0, info, err
		}
		c.pos += Position(size)
		if rec.Kind == KindPad {
			continue
		}
		if info.Count == 0 {
			info.First, info.FirstTime = rec.Seq, rec.Time
		}
		info.Last = rec.Seq
		info.Count++
		n += size
	}
	info.Next = c.pos
	return n, info, nil
}

// errNoRoom ends a Read whose next record does not fit any more.
var errNoRoom = errors.New("no room for the next record")

// next copies the record at pos into dst if it is no pad and takes at most room bytes.
func (c *Cursor) next(dst []byte, room int) (Record, int, error) {
	j := c.j
	if c.pos >= Position(j.floor.Load()) {
		rec, size, err := c.take(dst, room, j.ring.at(c.pos, MaxRecord))
		// Only what was copied before the memory was given to newer records counts.
		if c.pos >= Position(j.floor.Load()) {
			return rec, size, err
		}
	}
	rec, size, err := c.fromDisk(dst, room)
	if err != nil && !errors.Is(err, errNoRoom) && c.pos < Position(j.freed.Load()) {
		err = fmt.Errorf("%w: cursor at %d", ErrFreed, c.pos)
	}
	return rec, size, err
}

// fromDisk is next from the window.
func (c *Cursor) fromDisk(dst []byte, room int) (Record, int, error) {
	durable := Position(c.j.durable.Load())
	b, err := c.win.at(c.pos, HeaderSize, durable)
	if err != nil {
		return Record{}, 0, err
	}
	_, size, err := checkHeader(c.j.vols.seed, b, c.pos)
	if err != nil {
		return Record{}, 0, err
	}
	if b, err = c.win.at(c.pos, size, durable); err != nil {
		return Record{}, 0, err
	}
	return c.take(dst, room, b)
}

// take checks the record at the beginning of src while it copies it.
func (c *Cursor) take(dst []byte, room int, src []byte) (Record, int, error) {
	rec, size, err := parseHeader(src)
	if err == nil && rec.Position != c.pos {
		err = fmt.Errorf("%w: cursor at %d finds %s", ErrCorrupt, c.pos, rec)
	}
	if err != nil || rec.Kind == KindPad {
		return rec, size, err
	}
	if size > room {
		return rec, 0, errNoRoom
	}
	copy(dst, src[:size])
	return parseBody(dst[:size])
}
