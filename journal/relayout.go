package journal

import (
	"errors"
	"fmt"
	"io/fs"
)

// ensureLayout makes the layout file if the journal has none, and gives the first journal volume the version that tells older programs
// of it. layoutMu is held.
func (j *Journal) ensureLayout() error {
	v := j.vols
	if v.layout != nil {
		return nil
	}
	if err := v.makeLayout(); err != nil {
		return fmt.Errorf("make the layout file: %w", err)
	}
	first := v.plan.Load().find(1)
	h := v.header(1, first.data)
	if err := v.writeHeader(first.file, &h); err != nil {
		return j.fail(err)
	}
	return nil
}

// change makes the plan that build gives from the present one durable and goes over to it; no plan means no change. layoutMu is held.
//
// A new plan differs from the one before at and behind its base, and nothing may be written there before it is durable: otherwise a
// crash would leave records where the plan that is found does not look. So Reserve waits at the base meanwhile, as for room in the ring; that
// is short, and rare, because the base mostly lies far ahead. An error of the disk fails the journal: nobody knows which plan would be found.
func (j *Journal) change(build func(m *plan, freed, tail Position) (*plan, error)) error {
	if err := j.Err(); err != nil {
		return err
	}
	old := j.vols.plan.Load()
	if j.vols.layout == nil {
		// Nothing is made for a change that is refused.
		m := j.Marks()
		if next, err := build(old, m.Freed, m.Reserved); next == nil {
			return err
		}
		if err := j.ensureLayout(); err != nil {
			return err
		}
	}
	j.mu.Lock()
	tail := Position(j.tail.Load())
	next, err := build(old, Position(j.freed.Load()), tail)
	if next != nil && next.base >= tail {
		j.barrier = next.base
	}
	if next != nil {
		next.reach()
	}
	j.mu.Unlock()
	if next == nil {
		return err
	}
	if err := j.vols.record(next); err != nil {
		return j.fail(err)
	}
	j.mu.Lock()
	j.vols.plan.Store(next)
	for _, v := range old.table {
		if next.find(v.number) == nil {
			j.gone = append(j.gone, v)
		}
	}
	_, j.volEnd = j.vols.span(Position(j.tail.Load()))
	j.barrier = MaxPosition
	j.relimit()
	j.index.grow(next.total())
	if len(j.gone) > 0 {
		j.wantTidy()
	}
	j.mu.Unlock()
	j.ringRoom.ring()
	j.diskRoom.ring()
	return nil
}

// wantTidy asks the keeper to look. It never waits.
func (j *Journal) wantTidy() {
	select {
	case j.tidy <- struct{}{}:
	default:
	}
}

// keep is the keeper goroutine: it lets journal volumes go that nothing needs any more.
func (j *Journal) keep() {
	defer close(j.kept)
	for {
		select {
		case <-j.tidy:
			j.letGo()
		case <-j.stop:
			// One that was asked for is done; what is not goes at the next opening.
			if len(j.tidy) > 0 {
				j.letGo()
			}
			return
		}
	}
}

// letGo takes leaving journal volumes that nothing needs out of the layout, and then removes their files.
func (j *Journal) letGo() {
	j.layoutMu.Lock()
	defer j.layoutMu.Unlock()
	err := j.change(func(m *plan, freed, _ Position) (*plan, error) {
		if pageFloor(freed) < m.tidyAt {
			return nil, nil
		}
		return m.tidy(freed), nil
	})
	if err != nil {
		return // the journal has failed, and has said so
	}
	j.mu.Lock()
	gone := j.gone
	j.mu.Unlock()
	if len(gone) == 0 {
		return
	}
	// Readers that began with the plan before have ended when the lock is had.
	j.life.Lock()
	j.life.Unlock() //nolint:staticcheck // nothing is to be done inside
	for _, v := range gone {
		if err := j.vols.discard(v.number, v.file); err != nil {
			j.log.Warn("the file of a removed journal volume could not be removed; the next opening tries again", "journal", j.opts.Dir, "number", v.number, "cause", err)
			continue
		}
		j.log.Info("journal volume has left", "journal", j.opts.Dir, "number", v.number)
	}
	j.mu.Lock()
	j.gone = nil
	j.mu.Unlock()
	j.left.ring()
}

// ignoreMissing is nil for an error that says that a file is not there.
func ignoreMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
