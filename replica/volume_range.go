package replica

import (
	"context"
	"errors"

	"golang.org/x/sys/unix"
)

// Discard makes a range read as zeroes and gives its space back.
func (v *Volume) Discard(ctx context.Context, off, n int64) error {
	return v.zeroRange(ctx, off, n, true)
}

// Zero makes a range read as zeroes; space stays allocated where the store can do that. keepSize false lets an unpaired volume grow.
func (v *Volume) Zero(ctx context.Context, off, n int64, keepSize bool) error {
	if !keepSize {
		if err := v.growTo(off + n); err != nil {
			return err
		}
	}
	return v.zeroRange(ctx, off, n, false)
}

func (v *Volume) zeroRange(ctx context.Context, off, n int64, punch bool) error {
	if off < 0 || n <= 0 {
		return refuse(KindInvalid, "volume %s: a range of %d bytes at %d makes no sense", v.name, n, off)
	}
	end := min(off+n, v.Size())
	for off < end {
		step := min(end-off, discardMax)
		err := v.retry(ctx, func() error {
			a := v.att
			if a == nil && v.handed.Load() {
				if err := v.site.handedOver(v); err != nil {
					return err
				}
			}
			switch {
			case a == nil && punch:
				return v.store.punch(off, step)
			case a == nil:
				return v.store.zero(off, step)
			}
			if err := v.mayWrite(); err != nil {
				return err
			}
			return a.obtainDiscard(off, step)
		})
		if err != nil {
			return err
		}
		off += step
	}
	v.changed()
	return nil
}

// Allocate reserves space in the store for a range. A paired volume only checks that the range lies inside: its space is reserved as
// restore writes it.
func (v *Volume) Allocate(ctx context.Context, off, n int64, keepSize bool) error {
	v.mode.RLock()
	defer v.mode.RUnlock()
	if off < 0 || n <= 0 {
		return refuse(KindInvalid, "volume %s: a range of %d bytes at %d makes no sense", v.name, n, off)
	}
	if a := v.att; a != nil {
		if err := v.mayWrite(); err != nil && !errors.Is(err, errAgain) {
			return err
		}
		if off+n > v.size.Load() && !keepSize {
			return refuse(KindBusy, "volume %s is in pair %s and has a fixed size of %d bytes: delete the pair to let it grow", v.name, a.pair.name, v.size.Load())
		}
		return nil
	}
	if off+n > volumeMax {
		return refuse(KindNoSpace, "volume %s cannot grow past %d bytes", v.name, int64(volumeMax))
	}
	v.growMu.Lock()
	defer v.growMu.Unlock()
	if err := v.store.allocate(off, n, keepSize); err != nil {
		return v.storeError(err, "allocated", off)
	}
	if !keepSize && off+n > v.size.Load() {
		v.size.Store(off + n)
	}
	return nil
}

func (v *Volume) growTo(size int64) error {
	if size <= v.Size() {
		return nil
	}
	return v.Resize(context.Background(), size)
}

// Resize changes the size of an unpaired volume; what is cut off is gone, what is added reads as zeroes.
func (v *Volume) Resize(_ context.Context, size int64) error {
	v.mode.Lock()
	defer v.mode.Unlock()
	if size == v.size.Load() {
		return nil
	}
	if v.att != nil {
		return v.tellBusy(refuse(KindBusy, "volume %s is in pair %s and has a fixed size: delete the pair first", v.name, v.att.pair.name))
	}
	if size < 0 || size > volumeMax {
		return refuse(KindInvalid, "volume %s cannot have %d bytes: 0 to %d", v.name, size, int64(volumeMax))
	}
	if err := v.store.truncate(size); err != nil {
		return v.storeError(err, "resized", size)
	}
	v.size.Store(size)
	v.changed()
	return nil
}

// SeekData returns the first offset at or behind off that may hold data. Past the last data it fails with ENXIO.
func (v *Volume) SeekData(off int64) (int64, error) { return v.seek(off, true) }

// SeekHole returns the first offset at or behind off that is a hole; the end of the volume is one.
func (v *Volume) SeekHole(off int64) (int64, error) { return v.seek(off, false) }

func (v *Volume) seek(off int64, data bool) (int64, error) {
	v.mode.RLock()
	defer v.mode.RUnlock()
	size := v.size.Load()
	if off < 0 || off >= size {
		return 0, unix.ENXIO
	}
	if a := v.att; a != nil && (a.overlay.regions() > 0 || a.group.held.Load() != nil) {
		// The store lags behind the overlay, so its holes may be data by now: say that all is data, which is always allowed.
		if data {
			return off, nil
		}
		return size, nil
	}
	if data {
		n, err := v.store.seekData(off)
		if err == nil && n >= size {
			return 0, unix.ENXIO
		}
		return n, err
	}
	n, err := v.store.seekHole(off)
	if errors.Is(err, unix.ENXIO) {
		return off, nil
	}
	return min(n, size), err
}
