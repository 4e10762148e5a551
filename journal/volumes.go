package journal

import (
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"path/filepath"
	"sync/atomic"

	"pairfs/crashpoint"
)

// volumes are the journal volumes of a journal and the plan that maps positions to them. Reads and writes of different ranges may run at
// once, and with a change of the plan.
type volumes struct {
	fsys    FS
	dir     string
	id      [16]byte
	seed    uint32 // CRC32C of id: start value of each hcrc
	created int64
	plan    atomic.Pointer[plan]

	// What follows is of the layout file and guarded by who changes the layout.
	layout     File   // nil: the journal is of version 1 and has none
	generation uint64 // of the page that holds now
	alone      bool   // when it was opened the other page stood for something else, or for nothing
	next       int    // number for the journal volume that is added next
}

// openVolumes opens all journal volumes of dir and checks that they belong together. With write it ends what a crash interrupted.
func openVolumes(fsys FS, dir string, write bool) (_ *volumes, err error) {
	v := &volumes{fsys: fsys, dir: dir}
	v.plan.Store(&plan{})
	defer func() {
		if err != nil {
			v.close()
		}
	}()
	has, err := v.openLayout(write)
	if err != nil {
		return nil, err
	}
	if has {
		err = v.openListed(write)
	} else {
		err = v.openCounted(write)
	}
	if err != nil {
		return nil, err
	}
	v.seed = crc32.Checksum(v.id[:], castagnoli)
	return v, nil
}

// openCounted opens the journal volumes of a journal without a layout file: as many as the first says.
func (v *volumes) openCounted(write bool) error {
	m := &plan{}
	for i, count := 1, 1; i <= count; i++ {
		h, f, err := openVolume(v.fsys, v.path(i), write)
		if err != nil {
			return err
		}
		m.table = append(m.table, &volume{number: i, file: f, data: h.data})
		v.plan.Store(m)
		if i == 1 {
			v.id, v.created, count = h.id, h.created, int(h.count)
		}
		if i == 1 && h.version != fixedVersion {
			return fmt.Errorf("%w: %s is missing, and %s says that the journal has it; bring the file back: %w",
				ErrCorrupt, filepath.Join(v.dir, layoutName), v.path(1), fs.ErrNotExist)
		}
		if err := v.belongs(&h, i); err != nil {
			return err
		}
		if h.version != fixedVersion || int(h.count) != count || m.total() > maxTotal {
			return fmt.Errorf("%w: %s is journal volume %d of %d, wanted %d of %d; bring the right file back", ErrCorrupt, v.path(i), h.number, h.count, i, count)
		}
	}
	v.next = len(m.table) + 1
	v.plan.Store(newPlan(nil, 0, m.table))
	if !write {
		return nil
	}
	if err := ignoreMissing(v.fsys.Remove(filepath.Join(v.dir, layoutName+tempSuffix))); err != nil {
		return fmt.Errorf("remove what an interrupted change of the journal volumes left: %w", err)
	}
	return nil
}

// belongs checks that a header is that of journal volume number of this journal.
func (v *volumes) belongs(h *volumeHeader, number int) error {
	if h.id != v.id {
		return fmt.Errorf("%w: %s belongs to another journal, %x, and not to %x; bring the right file back", ErrCorrupt, v.path(number), h.id, v.id)
	}
	if int(h.number) != number {
		return fmt.Errorf("%w: %s is journal volume %d of this journal, wanted %d; bring the right file back", ErrCorrupt, v.path(number), h.number, number)
	}
	return nil
}

// openVolume opens one file and reads its header.
func openVolume(fsys FS, name string, write bool) (h volumeHeader, f File, err error) {
	f, size, page, err := openPage(fsys, name, write)
	if err != nil {
		return h, nil, err
	}
	h, err = decodeVolumeHeader(name, page)
	if err == nil && uint64(size) < h.data+PageSize {
		err = fmt.Errorf("%w: %s has %d bytes, its header claims %d; bring the whole file back", ErrCorrupt, name, size, h.data+PageSize)
	}
	if err != nil {
		f.Close()
		return h, nil, err
	}
	return h, f, nil
}

// openPage opens a file and reads its first page.
func openPage(fsys FS, name string, write bool) (f File, size int64, page []byte, err error) {
	f, err = fsys.Open(name, write)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, 0, nil, fmt.Errorf("journal volume %s is missing; bring the file back: %w", name, err)
	}
	if err != nil {
		return nil, 0, nil, fmt.Errorf("open journal volume %s: %w", name, err)
	}
	page = alignedBuf(PageSize)
	if size, err = f.Size(); err == nil && size < PageSize {
		err = fmt.Errorf("%w: it has %d bytes and so no header; bring the whole file back", ErrCorrupt, size)
	}
	if err == nil {
		_, err = f.ReadAt(page, 0)
	}
	if err != nil {
		f.Close()
		return nil, 0, nil, fmt.Errorf("open journal volume %s: %w", name, err)
	}
	return f, size, page, nil
}

// path is the file name of a journal volume.
func (v *volumes) path(number int) string { return filepath.Join(v.dir, volumeName(number)) }

// anchor checks a head against the plan. Without a layout file the head fixes the plan first: it says where a round begins.
func (v *volumes) anchor(h Head) error {
	m := v.plan.Load()
	if v.layout == nil && h != (Head{}) {
		vol := m.find(h.Volume)
		if vol == nil || h.VolumeStart < m.starts[h.Volume-1] || h.VolumeStart%PageSize != 0 {
			return v.badHead(h)
		}
		m = newPlan(nil, h.VolumeStart-m.starts[h.Volume-1], m.cycle)
		v.plan.Store(m)
	}
	if h.Position%HeaderSize != 0 || h.Position > MaxPosition || !m.holds(h) {
		return v.badHead(h)
	}
	return nil
}

func (v *volumes) badHead(h Head) error {
	return fmt.Errorf("%w: head %+v does not fit the journal volumes of %s; the head and the journal are not of the same time", ErrInvalid, h, v.dir)
}

// holds reports whether h is a head under this plan. At the beginning of a span the rest is not compared: a change of the layout may
// have begun it there, in another journal volume, after the head was made and before anything stood there.
func (m *plan) holds(h Head) bool {
	s := m.at(h.Position)
	if s.vol == nil || h == (Head{}) {
		return s.vol != nil
	}
	return s.start == h.Position || s.start == h.VolumeStart && s.vol.number == h.Volume
}

// span gives the first position and the end of the volume span that holds p.
func (v *volumes) span(p Position) (start, end Position) {
	s := v.plan.Load().at(p)
	return s.start, s.end
}

// read fills b with the bytes at p, all in one span, p and len(b) multiples of PageSize.
func (v *volumes) read(p Position, b []byte) error {
	s := v.plan.Load().at(p)
	if s.vol == nil {
		return fmt.Errorf("%w: position %d stands in no journal volume of %s any more", ErrCorrupt, p, v.dir)
	}
	if n, err := s.vol.file.ReadAt(b, int64(p-s.start+PageSize)); n < len(b) {
		return fmt.Errorf("read %d bytes at position %d from journal volume %d of %s: %w", len(b), p, s.vol.number, v.dir, err)
	}
	return nil
}

// write writes b at p, split at the ends of spans, and makes it durable. p, len(b) and the memory are aligned to pages.
func (v *volumes) write(p Position, b []byte) error {
	m, end := v.plan.Load(), p+Position(len(b))
	for q := p; q < end; {
		s := m.at(q)
		if s.vol == nil {
			return fmt.Errorf("%w: position %d stands in no journal volume of %s any more", ErrCorrupt, q, v.dir)
		}
		n := min(s.end, end) - q
		if _, err := s.vol.file.WriteAt(b[q-p:][:n], int64(q-s.start+PageSize)); err != nil {
			return fmt.Errorf("write %d bytes at position %d to journal volume %d of %s: %w", n, q, s.vol.number, v.dir, err)
		}
		q += n
	}
	crashpoint.Hit(crashpoint.JournalSyncBefore)
	for q := p; q < end; {
		s := m.at(q)
		if err := v.sync(s.vol); err != nil {
			return err
		}
		q = s.end
	}
	crashpoint.Hit(crashpoint.JournalSyncAfter)
	return nil
}

// sync makes a journal volume durable.
func (v *volumes) sync(vol *volume) error {
	if err := vol.file.Sync(); err != nil {
		return fmt.Errorf("sync journal volume %d of %s: %w", vol.number, v.dir, err)
	}
	return nil
}

// syncAll makes all journal volumes durable.
func (v *volumes) syncAll() error {
	for _, vol := range v.plan.Load().table {
		if err := v.sync(vol); err != nil {
			return err
		}
	}
	return nil
}

// close closes the files; everything durable was made so before.
func (v *volumes) close() error {
	var errs []error
	for _, vol := range v.plan.Load().table {
		if vol.file != nil {
			errs = append(errs, vol.file.Close())
		}
	}
	if v.layout != nil {
		errs = append(errs, v.layout.Close())
	}
	return errors.Join(errs...)
}

// sameButVersion reports whether a header page is want, or the page of version 1 that it replaces, or torn between both: they
// differ in version, count and checksum alone.
func sameButVersion(page, want []byte) bool {
	b := bytes.Clone(page)
	for _, at := range []int{8, 48, 60} {
		copy(b[at:at+4], want[at:])
	}
	return bytes.Equal(b, want)
}
