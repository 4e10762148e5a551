package journal

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// VolumeState says whether a journal volume is in use for good.
type VolumeState uint8

// The states of a journal volume.
const (
	// VolumeActive: it is filled in its turn.
	VolumeActive VolumeState = iota + 1
	// VolumeJoining: it was added, and comes next when the journal volume that is being filled is full.
	VolumeJoining
	// VolumeLeaving: it was removed, and goes when what stands in it is freed.
	VolumeLeaving
)

// String names the state.
func (s VolumeState) String() string {
	return [...]string{"none", "active", "joining", "leaving"}[s]
}

// VolumeInfo describes a journal volume.
type VolumeInfo struct {
	Number int   // from 1; of all that the journal ever had no two have the same
	Size   int64 // of the file in bytes, as given to Create or AddVolume
	Used   int64 // bytes of it that are not freed
	State  VolumeState
}

// Volumes lists the journal volumes by number. One that AddVolume has not finished is not among them; one that was removed is until its
// file is gone.
func (j *Journal) Volumes() []VolumeInfo {
	j.mu.Lock()
	defer j.mu.Unlock()
	m, freed, tail := j.vols.plan.Load(), Position(j.freed.Load()), Position(j.tail.Load())
	var list []VolumeInfo
	for _, v := range m.table {
		x := VolumeInfo{Number: v.number, Size: int64(v.data) + PageSize, Used: int64(m.used(v, freed, tail)), State: VolumeActive}
		if !slices.Contains(m.cycle, v) {
			x.State = VolumeLeaving
		} else if tail < v.since {
			x.State = VolumeJoining
		}
		list = append(list, x)
	}
	for _, v := range j.gone {
		list = append(list, VolumeInfo{Number: v.number, Size: int64(v.data) + PageSize, State: VolumeLeaving})
	}
	slices.SortFunc(list, func(a, b VolumeInfo) int { return a.Number - b.Number })
	return list
}

// AddVolume adds a journal volume, whose file has size bytes by the rules of Create, while the journal is in use. The file is written once
// first, which takes as long as the disk needs, or longer by Options.AddShare, and holds nobody up; ctx ends that. Then the journal volume joins: it comes next when
// the one that is being filled is full, and the room grows with it. When AddVolume returns nil that is durable. Errors: the cause of ctx, ErrInvalid for the
// size, ErrNeeded when there are MaxVolumes, ErrFailed, ErrClosed, or the disk's; after one that is not ErrFailed all is as before.
func (j *Journal) AddVolume(ctx context.Context, size int64) error {
	if err := j.beginChange(); err != nil {
		return err
	}
	defer j.changing.Done()
	number, err := j.newNumber(size)
	if err != nil {
		return fmt.Errorf("add a journal volume to %s: %w", j.opts.Dir, err)
	}
	vol, err := j.makeVolume(ctx, number, size)
	var from Position
	if err == nil {
		from, err = j.join(vol)
	}
	if err != nil {
		return fmt.Errorf("add journal volume %d to %s: %w", number, j.opts.Dir, err)
	}
	j.log.Info("journal volume added", "journal", j.opts.Dir, "number", number, "bytes", size, "from", uint64(from))
	return nil
}

// RemoveVolume takes a journal volume out of use. When it returns nil that is durable: no new round fills it. What stands in it stays
// until it is freed; then the file goes by itself, see Volumes and WaitRemoved. One that is leaving already is no error. Errors: ErrInvalid if there is no
// such journal volume, ErrNeeded if it is the only one or if what is in use would not fit without it, ErrFailed, ErrClosed.
func (j *Journal) RemoveVolume(_ context.Context, number int) error {
	if err := j.beginChange(); err != nil {
		return err
	}
	defer j.changing.Done()
	j.layoutMu.Lock()
	defer j.layoutMu.Unlock()
	leaving := false
	err := j.change(func(m *plan, freed, tail Position) (*plan, error) {
		v := m.find(number)
		if leaving = v != nil && !slices.Contains(m.cycle, v); leaving {
			return nil, nil
		}
		if v == nil {
			return nil, fmt.Errorf("%w: there is none of this number", ErrInvalid)
		}
		if len(m.cycle) == 1 {
			return nil, fmt.Errorf("%w: it is the only one; add another one first", ErrNeeded)
		}
		if used, rest := uint64(tail-pageFloor(freed)), m.capacity-v.data; used > rest {
			return nil, fmt.Errorf("%w: %d bytes are in use and the others have %d; wait until less is in use, or add another one first", ErrNeeded, used, rest)
		}
		return m.remove(freed, tail, v), nil
	})
	if err != nil {
		return fmt.Errorf("remove journal volume %d of %s: %w", number, j.opts.Dir, err)
	}
	if !leaving {
		j.log.Info("journal volume removed; its file goes when what stands in it is freed", "journal", j.opts.Dir, "number", number)
	}
	return nil
}

// WaitRemoved waits until the file of a journal volume that was removed is gone, or there is none of that number. Errors: the cause of ctx, ErrFailed, ErrClosed.
func (j *Journal) WaitRemoved(ctx context.Context, number int) error {
	return j.left.await(ctx, func() (bool, error) {
		gone := !slices.ContainsFunc(j.Volumes(), func(v VolumeInfo) bool { return v.Number == number })
		if gone {
			return true, nil
		}
		return false, j.open()
	})
}

// beginChange keeps the files open until the caller calls changing.Done.
func (j *Journal) beginChange() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.ending {
		return ErrClosed
	}
	if err := j.Err(); err != nil {
		return err
	}
	j.changing.Add(1)
	return nil
}

// open is nil while the journal is neither closed nor failed.
func (j *Journal) open() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.ending {
		return ErrClosed
	}
	return j.Err()
}

// newNumber checks a size, makes sure that there is a layout file, and gives a number.
func (j *Journal) newNumber(size int64) (int, error) {
	j.layoutMu.Lock()
	defer j.layoutMu.Unlock()
	m := j.vols.plan.Load()
	if err := checkSize(size, int64(m.total())); err != nil {
		return 0, err
	}
	if err := roomFor(m); err != nil {
		return 0, err
	}
	if err := j.ensureLayout(); err != nil {
		return 0, err
	}
	number := j.vols.next
	j.vols.next++
	return number, nil
}

// roomFor checks that a journal volume can be added.
func roomFor(m *plan) error {
	if len(m.table) >= MaxVolumes {
		return fmt.Errorf("%w: there are %d, more are not allowed; remove one first", ErrNeeded, len(m.table))
	}
	return nil
}

// makeVolume makes and opens the file.
func (j *Journal) makeVolume(ctx context.Context, number int, size int64) (*volume, error) {
	v := j.vols
	h := v.header(number, uint64(size-PageSize))
	err := createVolume(v.fsys, v.path(number), &h, func(busy time.Duration) error { return j.rest(ctx, busy) })
	if err != nil {
		// What cannot be removed now goes at the next opening.
		return nil, errors.Join(err, ignoreMissing(v.fsys.Remove(v.path(number)+tempSuffix)))
	}
	var f File
	if err = v.fsys.SyncDir(v.dir); err == nil {
		_, f, err = openVolume(v.fsys, v.path(number), true)
	}
	if err != nil {
		return nil, errors.Join(err, ignoreMissing(v.fsys.Remove(v.path(number))))
	}
	return &volume{number: number, file: f, data: h.data}, nil
}

// rest leaves the disk to others for as long as Options.AddShare says, after it was kept busy. It ends with an error when nothing more is to be
// written.
func (j *Journal) rest(ctx context.Context, busy time.Duration) error {
	if d := time.Duration(float64(busy) * (1/j.opts.AddShare - 1)); d > 0 {
		t := time.NewTimer(d)
		defer t.Stop()
		select {
		case <-t.C:
		case <-ctx.Done():
		case <-j.stop:
		}
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return j.open()
}

// join makes a journal volume part of the layout, from a position on.
func (j *Journal) join(vol *volume) (from Position, err error) {
	j.layoutMu.Lock()
	defer j.layoutMu.Unlock()
	recorded := false
	err = j.change(func(m *plan, freed, tail Position) (*plan, error) {
		if err := roomFor(m); err != nil {
			return nil, err
		}
		if err := checkSize(int64(vol.data)+PageSize, int64(m.total())); err != nil {
			return nil, err
		}
		recorded = true
		next := m.add(freed, tail, vol)
		from = next.base
		return next, nil
	})
	if err != nil && !recorded {
		return 0, errors.Join(err, j.vols.discard(vol.number, vol.file))
	}
	if err != nil {
		// The layout on disk may list it.
		return 0, errors.Join(err, vol.file.Close())
	}
	return from, nil
}
