package journal

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"strings"
)

// openLayout opens the layout file and takes the newest page of it; false if there is none.
func (v *volumes) openLayout(write bool) (bool, error) {
	name := filepath.Join(v.dir, layoutName)
	f, err := v.fsys.Open(name, write)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("open the layout of a journal: %w", err)
	}
	v.layout = f
	var best, other *layout
	var bad []error
	for slot := range int64(2) {
		page := alignedBuf(PageSize)
		n, err := f.ReadAt(page, slot*PageSize)
		if errors.Is(err, io.EOF) && n < PageSize {
			return false, fmt.Errorf("%w: %s is shorter than two pages; bring the whole file back", ErrCorrupt, name)
		}
		if err != nil && n < PageSize {
			return false, fmt.Errorf("read the layout of a journal %s: %w", name, err)
		}
		l, err := decodeLayout(name, page)
		switch {
		case errors.Is(err, ErrVersion):
			return false, err
		case err != nil:
			bad = append(bad, err)
		case best == nil || l.generation > best.generation:
			best, other = l, best
		default:
			other = l
		}
	}
	if best == nil {
		return false, fmt.Errorf("neither page of %s is valid; bring the file back: %w", name, errors.Join(bad...))
	}
	v.id, v.created, v.next, v.generation = best.id, best.created, int(best.next), best.generation
	v.plan.Store(best.plan)
	v.alone = other == nil || !best.same(other)
	return true, nil
}

// openListed opens the journal volumes that the layout lists. With write it makes durable what was read, and removes what no layout
// lists: what an interrupted change has left.
func (v *volumes) openListed(write bool) error {
	if write {
		// Both may have been in a cache only, and what is written next relies on them.
		if err := v.layout.Sync(); err != nil {
			return fmt.Errorf("sync the layout of journal %s: %w", v.dir, err)
		}
		if err := v.fsys.SyncDir(v.dir); err != nil {
			return fmt.Errorf("sync the folder of journal %s: %w", v.dir, err)
		}
	}
	for _, vol := range v.plan.Load().table {
		if vol.number == 1 && v.generation == 1 {
			if err := v.mendFirst(vol.data, write); err != nil {
				return err
			}
			if !write {
				f, _, _, err := openPage(v.fsys, v.path(1), false)
				if err != nil {
					return err
				}
				vol.file = f
				continue
			}
		}
		h, f, err := openVolume(v.fsys, v.path(vol.number), write)
		if err != nil {
			return err
		}
		vol.file = f
		if err := v.belongs(&h, vol.number); err != nil {
			return err
		}
		if h.data != vol.data || vol.number == 1 && h.version == fixedVersion {
			return fmt.Errorf("%w: %s has version %d and %d bytes of data, wanted %d and %d; bring the right file back",
				ErrCorrupt, v.path(vol.number), h.version, h.data, formatVersion, vol.data)
		}
	}
	if !write {
		return nil
	}
	if v.alone && v.generation > 1 {
		if err := v.recordOnce(v.plan.Load()); err != nil { // an interrupted change, or a page that is damaged
			return err
		}
	}
	return v.clearLeft()
}

// mendFirst gives the first journal volume the header of version 2 if that was interrupted, and refuses any other header.
func (v *volumes) mendFirst(data uint64, write bool) error {
	f, size, page, err := openPage(v.fsys, v.path(1), write)
	if err != nil {
		return err
	}
	defer f.Close()
	h := v.header(1, data)
	if !sameButVersion(page, h.encode()) {
		_, err := decodeVolumeHeader(v.path(1), page)
		return errors.Join(err, fmt.Errorf("%w: %s is not the first journal volume of %x; bring the right file back", ErrCorrupt, v.path(1), v.id))
	}
	if uint64(size) < data+PageSize {
		return fmt.Errorf("%w: %s has %d bytes, wanted %d; bring the whole file back", ErrCorrupt, v.path(1), size, data+PageSize)
	}
	if !write {
		return nil
	}
	return v.writeHeader(f, &h)
}

// header is the header of a journal volume of version 2.
func (v *volumes) header(number int, data uint64) volumeHeader {
	return volumeHeader{version: formatVersion, number: uint32(number), id: v.id, data: data, created: v.created}
}

// writeHeader writes a header in place and makes it durable.
func (v *volumes) writeHeader(f File, h *volumeHeader) error {
	_, err := f.WriteAt(h.encode(), 0)
	if err == nil {
		err = f.Sync()
	}
	if err != nil {
		return fmt.Errorf("write the header of %s: %w", v.path(int(h.number)), err)
	}
	return nil
}

// clearLeft removes the files of journal volumes of this journal that the layout does not list. Files of another journal stay.
func (v *volumes) clearLeft() error {
	names, err := v.fsys.List(v.dir)
	if err != nil {
		return fmt.Errorf("list journal %s: %w", v.dir, err)
	}
	for _, n := range names {
		base, unfinished := strings.CutSuffix(n, tempSuffix)
		number := numberOf(base)
		if number == 0 && n != layoutName+tempSuffix || !unfinished && v.plan.Load().find(number) != nil {
			continue
		}
		if !unfinished {
			err = v.removeLeft(number)
		} else {
			err = v.fsys.Remove(filepath.Join(v.dir, n))
		}
		if err != nil {
			return fmt.Errorf("remove what an interrupted change of the journal volumes left: %w", err)
		}
	}
	return nil
}

// removeLeft lets a file go that carries the id of this journal.
func (v *volumes) removeLeft(number int) error {
	f, size, page, err := openPage(v.fsys, v.path(number), true)
	if errors.Is(err, ErrCorrupt) {
		return nil
	}
	if err != nil {
		return err
	}
	h, err := decodeVolumeHeader(v.path(number), page)
	if err != nil || h.id != v.id || number == 1 && size == PageSize {
		return f.Close()
	}
	return v.discard(number, f)
}

// discard closes and removes the file of a journal volume that the layout no longer lists. The first one keeps its header, without
// which an older program would not see the version.
func (v *volumes) discard(number int, f File) error {
	if number == 1 {
		err := f.Truncate(PageSize)
		if err == nil {
			err = f.Sync()
		}
		return errors.Join(err, f.Close())
	}
	if err := f.Close(); err != nil {
		return err
	}
	if err := v.fsys.Remove(v.path(number)); err != nil {
		return err
	}
	return v.fsys.SyncDir(v.dir)
}

// makeLayout makes the layout file of a journal that has none, with the plan that holds. It changes nothing for a program that knows no
// layout files. After an error there may be such a file; the next call, or the next Open, copes with it.
func (v *volumes) makeLayout() error {
	name := filepath.Join(v.dir, layoutName)
	for _, n := range []string{name + tempSuffix, name} {
		if err := ignoreMissing(v.fsys.Remove(n)); err != nil {
			return err
		}
	}
	f, err := v.fsys.Create(name + tempSuffix)
	if err != nil {
		return err
	}
	err = f.Preallocate(2 * PageSize)
	pages := alignedBuf(2 * PageSize)
	l := v.page(1, v.plan.Load())
	copy(pages[PageSize:], l.encode())
	if err == nil {
		_, err = f.WriteAt(pages, 0)
	}
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := v.fsys.Rename(name+tempSuffix, name); err != nil {
		return err
	}
	if err := v.fsys.SyncDir(v.dir); err != nil {
		return err
	}
	if f, err = v.fsys.Open(name, true); err != nil {
		return err
	}
	v.layout, v.generation = f, 1
	return nil
}

// page is the page of the layout file for a plan.
func (v *volumes) page(generation uint64, m *plan) layout {
	return layout{next: uint32(v.next), id: v.id, generation: generation, created: v.created, plan: m}
}

// record makes a plan durable, in both pages one after the other. The page that holds so far stays as it is until the other one has the new plan:
// whichever is there after a crash holds.
func (v *volumes) record(m *plan) error {
	for range 2 {
		if err := v.recordOnce(m); err != nil {
			return err
		}
	}
	return nil
}

// recordOnce makes a plan durable in the page that does not hold.
func (v *volumes) recordOnce(m *plan) error {
	l := v.page(v.generation+1, m)
	_, err := v.layout.WriteAt(l.encode(), int64(l.generation%2)*PageSize)
	if err == nil {
		err = v.layout.Sync()
	}
	if err != nil {
		return fmt.Errorf("write the layout of journal %s: %w", v.dir, err)
	}
	v.generation = l.generation
	return nil
}
