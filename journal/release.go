package journal

import "fmt"

// Head is where a journal begins: what Open needs to know to find the first record. The caller keeps it in its own database, in the
// transaction that says that everything before it is no longer needed. The zero value is the head of a new journal.
type Head struct {
	Position    Position // start of a record (or of where the next will be)
	Volume      int      // number of the journal volume that holds Position, from 1
	VolumeStart Position // first position of that volume's span
	Seq         Seq      // number of the last record before Position
}

// Release says that the caller no longer needs the ring memory of records before upTo: it was restored. The memory is reused once it
// is durable as well. Marks never go back; a position beyond what is published is cut to that.
func (j *Journal) Release(upTo Position) {
	if upTo > Position(j.released.Load()) {
		if end, _ := j.advance(); upTo > end {
			upTo = end
		}
	}
	if raise(&j.released, uint64(upTo)) {
		j.ringRoom.ring()
	}
}

// Bytes is the ring memory of n bytes at p, both inside one record, n at most MaxRecord. It is valid while p is at or beyond the
// released mark, and before Close; with other positions the bytes may be anything.
func (j *Journal) Bytes(p Position, n int) []byte { return j.ring.at(p, uint64(n)) }

// FreeHead computes the head for a journal that begins at upTo, the start of a record or the End of one, at most the durable mark. It
// changes nothing: the caller persists the head and then calls Free with it. It may read one page from disk. Errors: ErrInvalid, ErrFreed, ErrClosed, ErrCorrupt.
func (j *Journal) FreeHead(upTo Position) (Head, error) {
	if err := j.usable(); err != nil {
		return Head{}, err
	}
	defer j.life.RUnlock()
	durable, seq := j.front.durableMark()
	if upTo > durable || upTo%HeaderSize != 0 {
		return Head{}, fmt.Errorf("%w: free up to %d, durable up to %d", ErrInvalid, upTo, durable)
	}
	if freed := Position(j.freed.Load()); upTo < freed {
		return Head{}, fmt.Errorf("%w: free up to %d, freed up to %d", ErrFreed, upTo, freed)
	}
	if upTo < durable {
		h, _, err := j.headerAt(newWindow(j.vols, PageSize), upTo)
		if err != nil {
			return Head{}, fmt.Errorf("free up to %d: %w", upTo, err)
		}
		// The number before it may have been lower than this if it is an epoch record, but any lower one serves.
		if seq = h.Seq; h.Advances() {
			seq--
		}
	}
	s := j.vols.plan.Load().at(upTo)
	if s.vol == nil {
		return Head{}, fmt.Errorf("%w: free up to %d", ErrFreed, upTo)
	}
	return Head{Position: upTo, Volume: s.vol.number, VolumeStart: s.start, Seq: seq}, nil
}

// Free lets the space before h.Position be used again. h comes from FreeHead and must be durable in the caller's database by now,
// because the next Open with an older head would find newer records there. Errors: ErrInvalid; going back is no error and does nothing.
func (j *Journal) Free(h Head) error {
	j.mu.Lock()
	if h.Position < Position(j.freed.Load()) {
		j.mu.Unlock()
		return nil
	}
	if h.Position > Position(j.durable.Load()) || !j.vols.plan.Load().holds(h) {
		j.mu.Unlock()
		return fmt.Errorf("%w: head %+v is not one of journal %s", ErrInvalid, h, j.opts.Dir)
	}
	// The number first: who sees the new position must see its number too.
	raise(&j.freedSeq, uint64(h.Seq))
	moved := raise(&j.freed, uint64(h.Position))
	j.relimit()
	j.mu.Unlock()
	if moved {
		j.diskRoom.ring()
	}
	return nil
}

// relimit sets the end of the room in the journal volumes after the freed mark or the layout changed, and has journal volumes that
// nothing needs any more let go. mu is held.
func (j *Journal) relimit() {
	m, freed := j.vols.plan.Load(), Position(j.freed.Load())
	j.limit = m.limit(freed)
	j.alarm(Position(j.tail.Load()))
	if pageFloor(freed) >= m.tidyAt {
		j.wantTidy()
	}
}
