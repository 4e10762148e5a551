package journal

import (
	"errors"
	"fmt"
	"io/fs"
)

// RecoverFunc is called by Open for each record at or after the head, in order. rec and its payload are valid only during the call. An error
// ends Open with it.
type RecoverFunc func(rec *Record) error

// Recovery is what Open found.
type Recovery struct {
	Outcome  Outcome
	Reason   string   // the outcome in a sentence
	Tail     Position // end of the journal now; everything before it is durable
	LastSeq  Seq      // number of the last record, that of the head if there is none
	Records  int      // visited records
	FromRing int      // of these, the ones that only the staging ring held
	Skipped  int      // reservations in the ring that were never published, and so never acknowledged; now skips and pads
	Ring     bool     // a staging ring was left by a process of this run of the machine
	Erased   bool     // the rest of an interrupted flush was zeroed
}

// Open opens a journal, visits its records from head on, and completes it from the staging ring if that was left by a process of this
// run of the machine. head is what the caller persisted last before Free, or zero. known is any position that the caller knows to have
// been durable, or 0: a journal that ends before it is damaged, not torn. After Open everything is durable and the ring is empty. On
// errors nothing that could matter was changed: ErrCorrupt, ErrVersion, ErrInvalid (options or head), one that wraps fs.ErrNotExist, or the disk's. One process at a
// time may have a journal open.
func Open(o Options, head Head, known Position, visit RecoverFunc) (_ *Journal, rec Recovery, err error) {
	if err := o.complete(); err != nil {
		return nil, rec, err
	}
	boot, err := bootID()
	if err != nil {
		return nil, rec, err
	}
	v, err := openVolumes(o.FS, o.Dir, true)
	if err != nil {
		return nil, rec, err
	}
	var r *ring
	defer func() {
		if err != nil {
			err = fmt.Errorf("open journal %s: %w", o.Dir, err)
			if r != nil {
				r.close(false)
			}
			v.close()
		}
	}()
	if err := v.anchor(head); err != nil {
		return nil, rec, err
	}
	if r, err = leftRing(&o, v.id, boot); err != nil {
		return nil, rec, err
	}
	if r == nil && o.RingNeeded {
		return nil, rec, fmt.Errorf("%w: %s", ErrRing, o.RingPath)
	}
	found := r != nil
	j := &Journal{opts: o, log: o.Logger, vols: v, flushMu: newDiskLock(), layoutMu: newDiskLock()}
	m := v.plan.Load()
	j.index.init(m.total())
	s := &scan{v: v, win: newWindow(v, windowSize), pos: head.Position, last: head.Seq, index: &j.index, visit: visit, received: o.Received,
		limit: m.limit(head.Position)}
	s.win.forward = true
	if rec, err = s.recover(r, known); err != nil {
		return nil, rec, err
	}
	if o.Completed != nil {
		if err = o.Completed(); err != nil {
			return nil, rec, err
		}
	}
	if r, err = renewRing(r, &o); err != nil {
		return nil, rec, err
	}
	rec.Ring = found
	r.init(v.id, boot, rec.Tail)
	j.ring = r
	j.start(head, rec)
	o.Logger.Info("journal opened", "journal", o.Dir, "outcome", rec.Outcome.String(), "reason", rec.Reason, "tail", uint64(rec.Tail),
		"seq", uint64(rec.LastSeq), "records", rec.Records, "from_ring", rec.FromRing, "skipped", rec.Skipped)
	return j, rec, nil
}

// leftRing opens the staging ring that a process of this run of the machine left, or gives nil if there is none of this journal.
func leftRing(o *Options, id, boot [16]byte) (*ring, error) {
	if o.RingPath == "" {
		return nil, nil
	}
	r, err := openRing(o.RingPath)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if errors.Is(err, ErrCorrupt) {
		// Its size is given before anything is staged in it, so a ring of another size never held a record.
		o.Logger.Warn("staging ring is replaced", "ring", o.RingPath, "cause", err)
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("open staging ring: %w", err)
	}
	if !r.fits(id, boot) {
		o.Logger.Warn("staging ring is replaced: it is of another journal, or of an earlier run of the machine", "ring", o.RingPath)
		return nil, r.close(false)
	}
	return r, nil
}

// renewRing gives the ring to go on with: the one that is there if it has the right size.
func renewRing(r *ring, o *Options) (*ring, error) {
	if r != nil {
		if r.size == uint64(o.RingSize) {
			return r, nil
		}
		if err := r.close(false); err != nil {
			return nil, err
		}
	}
	return createRing(o.RingPath, o.RingSize)
}

// recover finds the tail, decides what it means, and completes the journal from the ring.
func (s *scan) recover(r *ring, known Position) (rec Recovery, err error) {
	defer func() { s.win.stop() }() // erase makes another window
	if r != nil {
		known = max(known, r.durable())
	}
	f := facts{}
	if f.next, err = s.run(); err != nil {
		return rec, err
	}
	f.beforeKnown = s.pos < known
	if f.later, f.proof, err = s.lookAhead(); err != nil {
		return rec, err
	}
	row := decide(f)
	rec = Recovery{Outcome: row.outcome, Reason: row.why, Tail: s.pos, LastSeq: s.last, Records: s.records}
	if row.outcome == Newer {
		return rec, fmt.Errorf("%w: at position %d; use the program that wrote it", ErrVersion, s.pos)
	}
	if row.outcome == Damaged {
		return rec, fmt.Errorf("%w: it ends at position %d after number %d with %s, but %s: %w", ErrCorrupt, s.pos, s.last, nextNames[f.next], row.why, orNone(s.bad))
	}
	if err := s.complete(r, f.next, &rec); err != nil {
		return rec, err
	}
	return rec, nil
}

// errNoDetail stands where no single record is to blame.
var errNoDetail = errors.New("no record stands there")

func orNone(err error) error {
	if err == nil {
		return errNoDetail
	}
	return err
}

// complete makes everything up to the tail durable and fills its page, so that the next record begins on a page that was never promised.
func (s *scan) complete(r *ring, n next, rec *Recovery) (err error) {
	var list []staged
	if r != nil {
		if list, err = s.replay(r); err != nil {
			return err
		}
	}
	if err := s.erase(n); err != nil {
		return err
	}
	rec.Erased = n == nextTorn || s.later != 0
	pages, base, tail, err := s.image(list, r)
	if err != nil {
		return err
	}
	if err := s.v.write(base, pages); err != nil {
		return fmt.Errorf("complete the journal: %w", err)
	}
	// What the scan found may have been in a cache only.
	if err := s.v.syncAll(); err != nil {
		return err
	}
	onDisk := s.records
	for _, x := range list {
		for off := x.pos - base; off < x.pos-base+Position(x.size); {
			b := pages[off:]
			r, size, err := parseBody(b)
			if err != nil {
				return err
			}
			if err := s.accept(&r, size); err != nil {
				return err
			}
			off += Position(size)
		}
		if x.as == asSkip {
			rec.Skipped++
		}
	}
	rec.Tail, rec.LastSeq, rec.Records, rec.FromRing = tail, s.last, s.records, s.records-onDisk
	return nil
}

// start sets the marks of a recovered journal and starts the committer.
func (j *Journal) start(head Head, rec Recovery) {
	t := uint64(rec.Tail)
	j.last, j.claimed = rec.LastSeq, rec.Tail
	j.tail.Store(t)
	j.floor.Store(t)
	j.durable.Store(t)
	j.released.Store(t)
	j.freed.Store(uint64(head.Position))
	j.freedSeq.Store(uint64(head.Seq))
	j.front = front{pos: rec.Tail, seq: rec.LastSeq, durable: rec.Tail, durableSeq: rec.LastSeq}
	_, j.volEnd = j.vols.span(rec.Tail)
	j.barrier = MaxPosition
	j.tidy, j.kept = make(chan struct{}, 1), make(chan struct{})
	j.vols.plan.Load().reach() // a layout of before this was noted
	j.relimit()
	j.published = make(chan struct{}, 1)
	j.arm, j.kick = make(chan struct{}, 1), make(chan struct{}, 1)
	j.stop, j.stopped = make(chan struct{}), make(chan struct{})
	j.roomQueue = make(chan struct{}, 1)
	go j.commit()
	go j.keep()
}
