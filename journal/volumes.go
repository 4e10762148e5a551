package journal

import (
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"path/filepath"
	"sort"
)

// volume is one open journal volume.
type volume struct {
	index int // from 1
	file  File
	data  uint64 // bytes of the data area
	start uint64 // bytes of the data areas of all volumes before it
}

// volumes are the journal volumes of a journal in index order, and the map from positions to them: position p stands in the cycle of
// data areas at (p - origin) modulo capacity. The fields do not change after open; reads and writes of different ranges may run at once.
type volumes struct {
	dir      string
	id       [16]byte
	seed     uint32 // CRC32C of id: start value of each hcrc
	capacity uint64
	origin   Position // of a lap; arithmetic modulo 2^64
	created  int64
	list     []volume
}

// openVolumes opens all journal volumes of dir and checks that they belong together.
func openVolumes(fsys FS, dir string, write bool) (_ *volumes, err error) {
	v := &volumes{dir: dir}
	defer func() {
		if err != nil {
			v.close()
		}
	}()
	count := 1
	for i := 1; i <= count; i++ {
		h, f, err := openVolume(fsys, filepath.Join(dir, volumeName(i)), write)
		if err != nil {
			return nil, fmt.Errorf("open journal volume %d of %s: %w", i, dir, err)
		}
		v.list = append(v.list, volume{index: i, file: f, data: h.data, start: v.capacity})
		if i == 1 {
			v.id, v.created, count = h.id, h.created, int(h.count)
		}
		if h.id != v.id || int(h.index) != i || int(h.count) != count {
			return nil, fmt.Errorf("%w: %s/%s is journal volume %d of %d of journal %x, wanted %d of %d of %x",
				ErrCorrupt, dir, volumeName(i), h.index, h.count, h.id, i, count, v.id)
		}
		v.capacity += h.data
	}
	v.seed = crc32.Checksum(v.id[:], castagnoli)
	return v, nil
}

// openVolume opens one file and reads its header.
func openVolume(fsys FS, name string, write bool) (h volumeHeader, f File, err error) {
	f, err = fsys.Open(name, write)
	if errors.Is(err, fs.ErrNotExist) {
		return h, nil, fmt.Errorf("it is missing; bring the file back, or delete the group and resync: %w", err)
	}
	if err != nil {
		return h, nil, err
	}
	page := alignedBuf(PageSize)
	size, err := f.Size()
	if err == nil {
		_, err = f.ReadAt(page, 0)
	}
	if err == nil {
		h, err = decodeVolumeHeader(name, page)
	}
	if err == nil && uint64(size) < h.data+PageSize {
		err = fmt.Errorf("%w: %s has %d bytes, its header claims %d", ErrCorrupt, name, size, h.data+PageSize)
	}
	if err != nil {
		f.Close()
		return h, nil, err
	}
	return h, f, nil
}

// anchor fixes the map of positions from a head.
func (v *volumes) anchor(h Head) error {
	if h == (Head{}) {
		return nil
	}
	if h.Volume < 1 || h.Volume > len(v.list) || h.VolumeStart%PageSize != 0 || h.Position%HeaderSize != 0 || h.Position > MaxPosition ||
		h.Position < h.VolumeStart || h.Position-h.VolumeStart >= Position(v.list[h.Volume-1].data) {
		return fmt.Errorf("%w: head %+v does not fit the %d journal volumes of %s", ErrInvalid, h, len(v.list), v.dir)
	}
	v.origin = h.VolumeStart - Position(v.list[h.Volume-1].start)
	return nil
}

// at finds the volume in whose span p lies, and the offset of p in its data area.
func (v *volumes) at(p Position) (*volume, uint64) {
	x := uint64(p-v.origin) % v.capacity
	i := sort.Search(len(v.list), func(i int) bool { return v.list[i].start > x }) - 1
	return &v.list[i], x - v.list[i].start
}

// span gives the first position and the end of the volume span that holds p.
func (v *volumes) span(p Position) (start, end Position, index int) {
	vol, off := v.at(p)
	start = p - Position(off)
	return start, start + Position(vol.data), vol.index
}

// read fills b with the bytes at p, all in one volume, p and len(b) multiples of PageSize.
func (v *volumes) read(p Position, b []byte) error {
	vol, off := v.at(p)
	if n, err := vol.file.ReadAt(b, int64(off+PageSize)); n < len(b) {
		return fmt.Errorf("read %d bytes at position %d from journal volume %d of %s: %w", len(b), p, vol.index, v.dir, err)
	}
	return nil
}

// write writes b at p, split at the ends of volumes, and makes it durable. p, len(b) and the memory are aligned to pages.
func (v *volumes) write(p Position, b []byte) error {
	touched := uint64(0)
	for len(b) > 0 {
		vol, off := v.at(p)
		n := min(uint64(len(b)), vol.data-off)
		if _, err := vol.file.WriteAt(b[:n], int64(off+PageSize)); err != nil {
			return fmt.Errorf("write %d bytes at position %d to journal volume %d of %s: %w", n, p, vol.index, v.dir, err)
		}
		touched |= 1 << (vol.index - 1)
		p, b = p+Position(n), b[n:]
	}
	return v.sync(touched)
}

// sync makes the journal volumes of a bit set durable.
func (v *volumes) sync(set uint64) error {
	for i := range v.list {
		if set>>i&1 == 0 {
			continue
		}
		if err := v.list[i].file.Sync(); err != nil {
			return fmt.Errorf("sync journal volume %d of %s: %w", i+1, v.dir, err)
		}
	}
	return nil
}

// close closes the files; everything durable was made so before.
func (v *volumes) close() error {
	var errs []error
	for i := range v.list {
		errs = append(errs, v.list[i].file.Close())
	}
	v.list = nil
	return errors.Join(errs...)
}
