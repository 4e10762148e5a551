package journal

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"hash/crc32"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

const (
	volumeMagic = "PAIRFSJV"
	// fixedVersion is that of a journal whose journal volumes are those that Create made, formatVersion that of one with a layout file.
	fixedVersion  = 1
	formatVersion = 2
	// tempSuffix marks a file that is not finished.
	tempSuffix = ".new"
)

// volumeHeader is page 0 of a journal volume. The layout of its first 64 bytes is the same in all versions to come, so that a newer
// version is told from damage.
type volumeHeader struct {
	version uint32
	number  uint32 // from 1
	id      [16]byte
	data    uint64 // bytes after this page
	created int64  // Unix nanoseconds
	count   uint32 // version 1: journal volumes that Create made; 0 in version 2
}

// encode gives the page.
func (h *volumeHeader) encode() []byte {
	b := alignedBuf(PageSize)
	copy(b, volumeMagic)
	le.PutUint32(b[8:], h.version)
	le.PutUint32(b[12:], h.number)
	copy(b[16:], h.id[:])
	le.PutUint64(b[32:], h.data)
	le.PutUint64(b[40:], uint64(h.created))
	le.PutUint32(b[48:], h.count)
	le.PutUint32(b[60:], crc32.Checksum(b[:60], castagnoli))
	return b
}

// decodeVolumeHeader reads page 0 of the journal volume called name.
func decodeVolumeHeader(name string, b []byte) (volumeHeader, error) {
	h := volumeHeader{version: le.Uint32(b[8:]), number: le.Uint32(b[12:]), data: le.Uint64(b[32:]), created: int64(le.Uint64(b[40:])), count: le.Uint32(b[48:])}
	copy(h.id[:], b[16:])
	switch {
	case string(b[:8]) != volumeMagic:
		return h, fmt.Errorf("%w: %s does not begin like a journal volume", ErrCorrupt, name)
	case le.Uint32(b[60:]) != crc32.Checksum(b[:60], castagnoli):
		return h, fmt.Errorf("%w: first page of %s fails its checksum", ErrCorrupt, name)
	case h.version > formatVersion:
		return h, fmt.Errorf("%w: %s has version %d, this program knows %d; use a newer program", ErrVersion, name, h.version, formatVersion)
	case h.version == 0 || !bytes.Equal(b[52:60], make([]byte, 8)) || !bytes.Equal(b[64:PageSize], make([]byte, PageSize-64)):
		return h, fmt.Errorf("%w: first page of %s has version %d and bytes where zeroes belong", ErrCorrupt, name, h.version)
	case h.data%PageSize != 0 || h.data < PageSize || h.data > maxVolumeSize || h.number == 0,
		h.version == fixedVersion && (h.number > h.count || h.count > MaxVolumes), h.version != fixedVersion && h.count != 0:
		return h, fmt.Errorf("%w: %s claims to be journal volume %d of %d with %d bytes", ErrCorrupt, name, h.number, h.count, h.data)
	}
	return h, nil
}

// numberOf is the number of the journal volume whose file has that name, 0 if it is no such name.
func numberOf(name string) int {
	if i, err := strconv.Atoi(name); err == nil && i > 0 && volumeName(i) == name {
		return i
	}
	return 0
}

// volumeName is the file name of a journal volume.
func volumeName(index int) string { return fmt.Sprintf("%06d", index) }

// Create makes the journal volumes of a new journal with a new id in o.Dir, one per size. A size is that of the file in bytes, a multiple of PageSize and at least
// MinVolumeSize; the first page of it is the header. Everything is written once, because flushes to blocks never written cost twice.
// A journal exists once its first journal volume has its name, which is made last: what an interrupted Create left is removed by the
// next. ErrExist if there is a journal. Of the options only FS and Dir are used.
func Create(o Options, sizes ...int64) error {
	fsys := o.fsys()
	if len(sizes) == 0 || len(sizes) > MaxVolumes {
		return fmt.Errorf("%w: %d journal volumes, 1 to %d are allowed", ErrInvalid, len(sizes), MaxVolumes)
	}
	total := int64(0)
	for _, s := range sizes {
		if err := checkSize(s, total); err != nil {
			return err
		}
		total += s
	}
	if err := clearUnfinished(fsys, o.Dir); err != nil {
		return err
	}
	h := volumeHeader{version: fixedVersion, count: uint32(len(sizes)), created: time.Now().UnixNano()}
	if _, err := rand.Read(h.id[:]); err != nil {
		return fmt.Errorf("make an id for journal %s: %w", o.Dir, err)
	}
	for i := len(sizes); i >= 1; i-- {
		h.number, h.data = uint32(i), uint64(sizes[i-1]-PageSize)
		if err := createVolume(fsys, filepath.Join(o.Dir, volumeName(i)), &h, nil); err != nil {
			return fmt.Errorf("create journal volume %d of %s: %w", i, o.Dir, err)
		}
		if err := fsys.SyncDir(o.Dir); err != nil {
			return fmt.Errorf("create journal volume %d of %s: sync folder: %w", i, o.Dir, err)
		}
	}
	return nil
}

// checkSize checks the size of a journal volume that joins others of total bytes.
func checkSize(size, total int64) error {
	if size < MinVolumeSize || size%PageSize != 0 || size > maxVolumeSize {
		return fmt.Errorf("%w: journal volume of %d bytes; at least %d and a multiple of %d are needed", ErrInvalid, size, MinVolumeSize, PageSize)
	}
	if total > maxTotal-size {
		return fmt.Errorf("%w: journal volumes of more than %d bytes together", ErrInvalid, int64(maxTotal))
	}
	return nil
}

// clearUnfinished makes the folder if it is missing and removes what an interrupted Create left in it.
func clearUnfinished(fsys FS, dir string) error {
	if err := fsys.MkdirAll(dir); err != nil {
		return fmt.Errorf("make folder of journal %s: %w", dir, err)
	}
	names, err := fsys.List(dir)
	if err != nil {
		return fmt.Errorf("list journal %s: %w", dir, err)
	}
	for _, n := range names {
		if n == volumeName(1) || n == layoutName {
			return fmt.Errorf("create journal %s: %w", dir, ErrExist)
		}
	}
	for _, n := range names {
		if numberOf(strings.TrimSuffix(n, tempSuffix)) == 0 {
			continue
		}
		if err := fsys.Remove(filepath.Join(dir, n)); err != nil {
			return fmt.Errorf("remove what an interrupted create left: %w", err)
		}
	}
	return nil
}

// createVolume makes one journal volume under a temporary name and gives it its name when all of it is durable. A rest that is not nil is called
// before each piece, with the time that the disk was busy since it was called last, and ends it with its error.
func createVolume(fsys FS, name string, h *volumeHeader, rest func(busy time.Duration) error) (err error) {
	f, err := fsys.Create(name + tempSuffix)
	if err != nil {
		return err
	}
	defer func() {
		if cerr := f.Close(); err == nil {
			err = cerr
		}
		if err == nil {
			err = fsys.Rename(name+tempSuffix, name)
		}
	}()
	size := int64(h.data) + PageSize
	if err := f.Preallocate(size); err != nil {
		return fmt.Errorf("preallocate %d bytes: %w", size, err)
	}
	zero := alignedBuf(zeroPiece)
	busy := time.Duration(0)
	for off, n := int64(PageSize), 1; off < size; off, n = off+zeroPiece, n+1 {
		if rest != nil {
			if err := rest(busy); err != nil {
				return err
			}
		}
		began := time.Now()
		if _, err := f.WriteAt(zero[:min(zeroPiece, size-off)], off); err != nil {
			return fmt.Errorf("write zeroes at %d: %w", off, err)
		}
		if rest != nil && n%zeroFlush == 0 {
			if err := f.Sync(); err != nil {
				return fmt.Errorf("flush zeroes before %d: %w", off+zeroPiece, err)
			}
		}
		busy = time.Since(began)
	}
	if _, err := f.WriteAt(h.encode(), 0); err != nil {
		return fmt.Errorf("write header: %w", err)
	}
	return f.Sync()
}
