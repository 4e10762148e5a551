package journal

import (
	"errors"
	"fmt"
	"sort"
	"sync"
	"sync/atomic"
	"time"
)

// raise moves a mark up to v and reports whether it moved; marks never go back.
func raise(mark *atomic.Uint64, v uint64) bool {
	for {
		old := mark.Load()
		if v <= old {
			return false
		}
		if mark.CompareAndSwap(old, v) {
			return true
		}
	}
}

// index knows the number of a record every step bytes, in memory that is allocated once. The oldest entry goes when there is no room;
// by then its record was freed.
type index struct {
	step Position
	next Position // no entry before it; guarded by who adds
	all  uint64   // records that were added; guarded by who adds

	mu      sync.Mutex
	entries []indexEntry // circular
	start   int
	n       int
}

type indexEntry struct {
	pos    Position
	seq    Seq
	before uint64 // records that were added before it
}

// init sizes the index for a journal.
func (x *index) init(capacity uint64) {
	x.step = Position(max(indexStep, capacity/indexMax))
	x.entries = make([]indexEntry, capacity/uint64(x.step)+2)
}

// grow sizes the index anew when journal volumes were added. Entries that are closer than the new step go. Who adds is held off.
func (x *index) grow(capacity uint64) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if capacity/uint64(x.step)+2 <= uint64(len(x.entries)) {
		return
	}
	entries, start, n := x.entries, x.start, x.n
	x.init(capacity)
	x.start, x.n = 0, 0
	for i := range n {
		if e := entries[(start+i)%len(entries)]; x.n == 0 || e.pos >= x.entries[x.n-1].pos+x.step {
			x.entries[x.n] = e
			x.n++
		}
	}
}

// add takes note of a record if it is time for an entry. Positions only grow; one goroutine at a time adds.
func (x *index) add(r *Record) {
	before := x.all
	x.all++
	if r.Position < x.next {
		return
	}
	x.next = r.Position + x.step
	x.mu.Lock()
	defer x.mu.Unlock()
	x.entries[(x.start+x.n)%len(x.entries)] = indexEntry{r.Position, r.Seq, before}
	if x.n < len(x.entries) {
		x.n++
	} else {
		x.start = (x.start + 1) % len(x.entries)
	}
}

// before gives a position from which a walk forward meets the first record with a number of at least seq; 0 if no entry helps.
func (x *index) before(seq Seq) Position {
	x.mu.Lock()
	defer x.mu.Unlock()
	at := func(i int) indexEntry { return x.entries[(x.start+i)%len(x.entries)] }
	if i := sort.Search(x.n, func(i int) bool { return at(i).seq >= seq }); i > 0 {
		return at(i - 1).pos
	}
	return 0
}

// addedBefore gives how many records were added before the one at the last entry that is not behind pos; 0 if no entry helps.
func (x *index) addedBefore(pos Position) uint64 {
	x.mu.Lock()
	defer x.mu.Unlock()
	at := func(i int) indexEntry { return x.entries[(x.start+i)%len(x.entries)] }
	if i := sort.Search(x.n, func(i int) bool { return at(i).pos > pos }); i > 0 {
		return at(i - 1).before
	}
	return 0
}

// Records gives how many records, pads included, the journal holds from its freed mark to its tail: exactly, or up to the records of 64 KiB
// (or capacity/16384) more. It reads nothing from disk.
func (j *Journal) Records() uint64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	if Position(j.tail.Load()) == Position(j.freed.Load()) {
		return 0
	}
	return j.index.all - j.index.addedBefore(Position(j.freed.Load()))
}

// Locate gives the position of the first record whose number is at least seq. For the number after the last one it is the place of the next record,
// where a cursor may start. It is false for numbers beyond that, for numbers whose records were freed, and when the journal cannot be
// read, which is logged. It reads at most about 128 KiB (or capacity/8192) from disk.
func (j *Journal) Locate(seq Seq) (Position, bool) {
	p, _, err := j.locate(seq)
	j.tellUnreadable(err)
	return p, err == nil
}

// Find is Locate with the reason where that is false: ErrFreed, ErrSequence for a number that was not given yet, ErrClosed, ErrCorrupt, or the disk's.
func (j *Journal) Find(seq Seq) (Position, error) {
	p, _, err := j.locate(seq)
	return p, err
}

// TimeAt gives the wall clock time in the record that has exactly that number; false where Locate is, or where no record has it.
func (j *Journal) TimeAt(seq Seq) (time.Time, bool) {
	_, r, err := j.locate(seq)
	j.tellUnreadable(err)
	if err != nil || r.Seq != seq || seq == 0 {
		return time.Time{}, false
	}
	return r.When(), true
}

// tellUnreadable logs that the journal cannot be read, and not again while it is for the same reason.
func (j *Journal) tellUnreadable(err error) {
	if err == nil || errors.Is(err, ErrFreed) || errors.Is(err, ErrSequence) || errors.Is(err, ErrClosed) {
		return
	}
	text := err.Error()
	if was := j.unreadable.Swap(&text); was == nil || *was != text {
		j.log.Error("journal cannot be read; run a check of it", "journal", j.opts.Dir, "cause", err)
	}
}

// locate is Find with the header that it found; the record is empty at the end of the journal.
func (j *Journal) locate(seq Seq) (Position, Record, error) {
	if err := j.usable(); err != nil {
		return 0, Record{}, err
	}
	defer j.life.RUnlock()
	j.mu.Lock()
	tail, last := Position(j.tail.Load()), j.last
	j.mu.Unlock()
	if seq == last+1 {
		return tail, Record{}, nil
	}
	p := max(j.index.before(seq), Position(j.freed.Load()))
	for w := newWindow(j.vols, probeSize); seq <= last && p < tail; {
		h, size, err := j.headerAt(w, p)
		if err != nil && p < Position(j.freed.Load()) {
			err = fmt.Errorf("%w: number %d", ErrFreed, seq)
		}
		if err != nil {
			return 0, Record{}, err
		}
		if h.Kind != KindPad && h.Seq >= seq {
			if seq <= Seq(j.freedSeq.Load()) {
				return p, h, fmt.Errorf("%w: number %d", ErrFreed, seq)
			}
			return p, h, nil
		}
		p += Position(size)
	}
	return tail, Record{}, fmt.Errorf("%w: number %d is not given yet, the last one is %d", ErrSequence, seq, last)
}
