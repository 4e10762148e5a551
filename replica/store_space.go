package replica

import (
	"bytes"
	"errors"

	"golang.org/x/sys/unix"
)

// storeAlign is what the middle of a punched or zeroed range on a block device is aligned to: its logical block is at most a page.
const storeAlign = 4096

// zeroPiece is what zeroes are written from and compared with. Never written to.
var zeroPiece [storePiece]byte

// punch makes the range read as zeroes and gives its blocks back. Where the file system cannot, zeroes are written. The size stays.
func (s *store) punch(off, n int64) error {
	return s.hollow(unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, "punch", off, n)
}

// zero makes the range read as zeroes and keeps its blocks. The size stays.
func (s *store) zero(off, n int64) error {
	return s.hollow(unix.FALLOC_FL_ZERO_RANGE|unix.FALLOC_FL_KEEP_SIZE, "zero", off, n)
}

// hollow is punch and zero. A block device takes whole blocks only, so the edges are written there.
func (s *store) hollow(mode uint32, verb string, off, n int64) error {
	if n <= 0 {
		return nil
	}
	from, to := off, off+n
	if s.block {
		from, to = (off+storeAlign-1)/storeAlign*storeAlign, (off+n)/storeAlign*storeAlign
		if from >= to {
			return s.writeZeroes(off, n)
		}
	}
	err := again(func() error { return s.file.Fallocate(mode, from, to-from) })
	switch {
	case errors.Is(err, unix.EOPNOTSUPP), errors.Is(err, unix.ENOSYS), s.block && errors.Is(err, unix.EINVAL):
		return s.writeZeroes(off, n)
	case err != nil:
		return s.fail(err, verb, off, n)
	}
	if err := s.writeZeroes(off, from-off); err != nil {
		return err
	}
	return s.writeZeroes(to, off+n-to)
}

// writeZeroes writes zeroes over the part of the range that the store has; the size stays.
func (s *store) writeZeroes(off, n int64) error {
	if n <= 0 {
		return nil
	}
	size, err := s.size()
	if err != nil {
		return err
	}
	for end := min(off+n, size); off < end; {
		m, err := s.writeAt(zeroPiece[:min(end-off, storePiece)], off)
		if err != nil {
			return err
		}
		off += int64(m)
	}
	return nil
}

// allocate takes blocks for the range, so that a later write there cannot find the file system full. Without keepSize the store becomes
// at least as long as the end of the range. On an error some blocks may have been taken. A block device has all its blocks.
func (s *store) allocate(off, n int64, keepSize bool) error {
	if s.block {
		size, err := s.size()
		if err == nil && off+n > size {
			err = s.fail(unix.ENOSPC, "allocate", off, n)
		}
		return err
	}
	mode := uint32(0)
	if keepSize {
		mode = unix.FALLOC_FL_KEEP_SIZE
	}
	if err := again(func() error { return s.file.Fallocate(mode, off, n) }); err != nil {
		return s.fail(err, "allocate", off, n)
	}
	return nil
}

// truncate sets the size. That of a block device cannot change.
func (s *store) truncate(size int64) error {
	if s.block {
		have, err := s.size()
		if err == nil && have != size {
			err = refuse(KindInvalid, "store %s is a block device of %d bytes and cannot become %d: make the volume as large as the device", s.path, have, size)
		}
		return err
	}
	if err := again(func() error { return s.file.Truncate(size) }); err != nil {
		return storeFault(err, "truncate store %s to %d bytes", s.path, size)
	}
	return nil
}

// seekData returns the first offset at or behind off that is not in a hole; without one, or where off is at the end, the store's size.
func (s *store) seekData(off int64) (int64, error) { return s.seek(off, unix.SEEK_DATA) }

// seekHole returns the first offset at or behind off that is in a hole; the end of the store counts as one.
func (s *store) seekHole(off int64) (int64, error) { return s.seek(off, unix.SEEK_HOLE) }

func (s *store) seek(off int64, whence int) (at int64, err error) {
	err = again(func() (err error) {
		at, err = s.file.Seek(off, whence)
		return err
	})
	switch {
	case err == nil:
		return at, nil
	case errors.Is(err, unix.ENXIO): // nothing behind off
		return s.size()
	}
	return 0, storeFault(err, "look for data of store %s at offset %d", s.path, off)
}

// isZero reports whether p holds nothing but zeroes.
func isZero(p []byte) bool {
	const step = 4096 // compared with zeroes that stay in the first cache; ends early at the first that differs
	for len(p) > step {
		if !bytes.Equal(p[:step], zeroPiece[:step]) {
			return false
		}
		p = p[step:]
	}
	return bytes.Equal(p, zeroPiece[:len(p)])
}
