package replica

import (
	"errors"
	"fmt"
	"log/slog"

	"pairfs/crashpoint"
	"pairfs/journal"
)

// restoreWriter holds the buffers of a pass.
type restoreWriter struct {
	regions  []uint64
	extents  []extent
	bufs     [][]byte
	verified uint64 // position of the record that was verified last

	zeros     []extent // of a run of regions that are all zeroes, one each
	zeroFirst uint64   // the first of them
}

// volume writes the overlay's bytes of records before upTo to the store, and drops them. That there is something to flush is said behind the
// writes, also behind those of a pass that failed: a checkpoint that flushes beside the pass may come too early for them.
func (w *restoreWriter) volume(a *attachment, upTo uint64) error {
	wrote := false
	defer func() {
		if wrote {
			a.vol.dirtySync.Store(true)
		}
	}()
	w.regions = a.overlay.dirtyRegions(w.regions[:0])
	w.zeros = w.zeros[:0]
	w.verified = ^uint64(0)
	for _, region := range w.regions {
		w.extents = a.overlay.collect(region, upTo, w.extents[:0])
		if len(w.extents) == 0 {
			continue
		}
		wrote = true
		if w.joins(region) {
			continue
		}
		if err := w.punchZeros(a); err != nil {
			return err
		}
		if w.joins(region) {
			continue
		}
		if err := w.region(a, int64(region)*regionSize); err != nil {
			return fmt.Errorf("restore volume %s: %w", a.vol.name, err)
		}
		a.overlay.drop(region, w.extents)
	}
	return w.punchZeros(a)
}

// joins puts a region that is all zeroes behind the run of such regions that is being gathered, if it fits there: a discard of a gigabyte
// is one call to the store and not sixteen thousand.
func (w *restoreWriter) joins(region uint64) bool {
	e := w.extents[0]
	if len(w.extents) > 1 || !e.zero || e.off != 0 || e.len != regionSize {
		return false
	}
	if n := uint64(len(w.zeros)); n > 0 && (region != w.zeroFirst+n || n == discardMax/regionSize) {
		return false
	}
	if len(w.zeros) == 0 {
		w.zeroFirst = region
	}
	w.zeros = append(w.zeros, e)
	return true
}

// punchZeros writes the run that joins has gathered.
func (w *restoreWriter) punchZeros(a *attachment) error {
	if len(w.zeros) == 0 {
		return nil
	}
	if err := a.vol.store.punch(int64(w.zeroFirst)*regionSize, int64(len(w.zeros))*regionSize); err != nil {
		return fmt.Errorf("restore volume %s: %w", a.vol.name, err)
	}
	for i := range w.zeros {
		a.overlay.drop(w.zeroFirst+uint64(i), w.zeros[i:i+1])
	}
	w.zeros = w.zeros[:0]
	return nil
}

// region writes the collected extents of the region that begins at base, joining neighbours.
func (w *restoreWriter) region(a *attachment, base int64) error {
	for i := 0; i < len(w.extents); {
		e := w.extents[i]
		end := e.off + e.len
		if e.zero {
			i++
			for i < len(w.extents) && w.extents[i].zero && w.extents[i].off == end {
				end += w.extents[i].len
				i++
			}
			if err := a.vol.store.punch(base+int64(e.off), int64(end-e.off)); err != nil {
				return err
			}
			continue
		}
		w.bufs = w.bufs[:0]
		for end = e.off; i < len(w.extents) && !w.extents[i].zero && w.extents[i].off == end; i++ {
			x := w.extents[i]
			if err := w.verify(a.group, x.rec); err != nil {
				return err
			}
			w.bufs = append(w.bufs, a.group.bytes(x.pos, int(x.len)))
			end += x.len
		}
		if _, err := a.vol.store.writev(base+int64(e.off), w.bufs); err != nil {
			return err
		}
		crashpoint.Hit(crashpoint.StoreWriteAfter)
		a.group.usage.restored.Add(uint64(end - e.off))
	}
	return nil
}

// errChecksum is a record whose bytes are not those that entered.
var errChecksum = errors.New("checksum mismatch")

// verify checks the record's checksum before any byte of it reaches a store (I7).
func (w *restoreWriter) verify(g *group, rec uint64) error {
	if rec == w.verified {
		return nil
	}
	if _, _, err := journal.Parse(g.bytes(rec, journal.MaxRecord)); err != nil {
		return fmt.Errorf("%w in the staging ring of group %s at position %d: %w", errChecksum, g.name, rec, err)
	}
	w.verified = rec
	return nil
}

// rescue writes everything that the overlay has, whatever is durable, because the journal is given up. A record that is damaged is left
// out and reported; it must not stay in the overlay, where it would hide what hosts write to the store from now on.
func (w *restoreWriter) rescue(a *attachment) error {
	var errs []error
	w.regions = a.overlay.dirtyRegions(w.regions[:0])
	w.verified = ^uint64(0)
	for _, region := range w.regions {
		all := a.overlay.collect(region, ^uint64(0), nil)
		drop := all[:0:0]
		for i, e := range all {
			w.extents = all[i : i+1]
			err := w.region(a, int64(region)*regionSize)
			if errors.Is(err, errChecksum) {
				a.group.site.events.add(slog.LevelError, "volume/"+a.vol.name, "volume %s: %d bytes at offset %d of an acknowledged write are lost: %v", a.vol.name, e.len, int64(region)*regionSize+int64(e.off), err)
				err = nil
			}
			if err != nil {
				errs = append(errs, fmt.Errorf("volume %s: %d bytes at offset %d: %w", a.vol.name, e.len, int64(region)*regionSize+int64(e.off), err))
				break // one tells enough
			}
			drop = append(drop, e)
		}
		a.overlay.drop(region, drop)
	}
	return errors.Join(errs...)
}
