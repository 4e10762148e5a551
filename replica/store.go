package replica

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"sync"

	"golang.org/x/sys/unix"

	"pairfs/crashpoint"
)

const (
	// storePiece is the most bytes of one write to a store, and no write crosses a multiple of it. Larger writes make the kernel put large
	// folios into the page cache, and then every 4 KiB write into them costs several times as much.
	storePiece = 64 << 10
	// storeVector is the most buffers of one vectored write: the kernel's IOV_MAX.
	storeVector = 1024
	// storeInterrupts bounds how often one call is begun again after EINTR; a healthy file system needs one or two.
	storeInterrupts = 1000
)

// store is the backing file of a volume: a sparse regular file or a block device. It knows nothing of journals; that no byte is written
// before its record is durable is the caller's business, and so is what a write at the same place at the same time means.
//
// All methods may be called at once from any goroutine; close comes last. Errors carry the path and the offset; a full file system or
// quota is of [KindNoSpace].
//
// A failed sync is final: the kernel reports a lost write once and counts the page as clean afterwards, so a second sync would claim
// what is not true. Every later sync returns the first error, until the store is opened anew and the journal replayed.
type store struct {
	path  string
	file  storeFile
	block bool // a block device: of fixed size

	syncing sync.Mutex // one sync at a time; see sync
	lost    error      // guarded by syncing: why the first sync failed
}

// openStore opens the store at path; with create it makes a new, empty file of mode 0600 and makes its name durable. A path that exists
// already is then an error ([KindExists]), because it may hold data. A symbolic link and anything but a regular file or a block device
// are refused; a block device that is mounted or otherwise in use is [KindBusy].
func openStore(path string, create bool) (*store, error) {
	flags := unix.O_RDWR | unix.O_CLOEXEC | unix.O_NOFOLLOW
	if create {
		flags |= unix.O_CREAT | unix.O_EXCL
	} else {
		// Looked at before it is opened: opening a device can have effects (a watchdog, a tape).
		info, err := os.Lstat(path)
		if err != nil {
			return nil, storeFault(bare(err), "open store %s", path)
		}
		if err := storeType(path, info.Mode()); err != nil {
			return nil, err
		}
		if info.Mode()&os.ModeDevice != 0 {
			flags |= unix.O_EXCL // without O_CREAT: refuse a block device that is in use
		}
	}
	f, err := os.OpenFile(path, flags, 0o600)
	if err != nil {
		return nil, storeFault(bare(err), "open store %s", path)
	}
	s, err := adopt(path, f)
	if err == nil && create {
		err = syncDir(filepath.Dir(path))
	}
	if err != nil {
		_ = f.Close() // the first error is the one to tell
		if create {
			_ = os.Remove(path)
		}
		return nil, err
	}
	return s, nil
}

// adopt makes a store of the open file, after a second look at what it is: the name may have changed hands since the first.
func adopt(path string, f *os.File) (*store, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, storeFault(bare(err), "look at store %s", path)
	}
	if err := storeType(path, info.Mode()); err != nil {
		return nil, err
	}
	block := info.Mode()&os.ModeDevice != 0
	file := &osStoreFile{f: f, block: block}
	// Advice only: no read-ahead and no large folios for it. A file system without it works as well.
	_ = file.control(func(fd int) error { return unix.Fadvise(fd, 0, 0, unix.FADV_RANDOM) })
	return &store{path: path, file: file, block: block}, nil
}

// storeType refuses everything that cannot be a store.
func storeType(path string, m os.FileMode) error {
	switch {
	case m.IsRegular(), m&os.ModeDevice != 0 && m&os.ModeCharDevice == 0:
		return nil
	case m&os.ModeSymlink != 0:
		return refuse(KindInvalid, "store %s is a symbolic link: name the file or block device itself", path)
	}
	return refuse(KindInvalid, "store %s is neither a regular file nor a block device: name one that is", path)
}

// syncDir makes the names in a directory durable.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return storeFault(bare(err), "open directory %s of a store", dir)
	}
	defer d.Close()
	if err := d.Sync(); err != nil {
		return storeFault(bare(err), "sync directory %s of a store", dir)
	}
	return nil
}

// storeFault wraps what the operating system said, with the kind that it means.
func storeFault(err error, format string, args ...any) error {
	kind := KindInternal
	switch {
	case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EDQUOT), errors.Is(err, unix.EFBIG):
		kind = KindNoSpace
	case errors.Is(err, unix.ENOENT):
		kind = KindNotFound
	case errors.Is(err, unix.EEXIST):
		kind = KindExists
	case errors.Is(err, unix.EBUSY):
		kind = KindBusy
	}
	return fault(kind, err, format, args...)
}

// fail is storeFault for a call on a range of the store.
func (s *store) fail(err error, verb string, off, n int64) error {
	return storeFault(err, "%s store %s: %d bytes at offset %d", verb, s.path, n, off)
}

// again calls f until it is not interrupted.
func again(f func() error) error {
	err := f()
	for i := 0; i < storeInterrupts && errors.Is(err, unix.EINTR); i++ {
		err = f()
	}
	return err
}

// readAt reads len(p) bytes at off; holes read as zeroes. At the end of the store n is smaller, without an error; what is missing up to
// the volume's end is the caller's to fill.
func (s *store) readAt(p []byte, off int64) (n int, err error) {
	interrupts := 0
	for n < len(p) {
		m, err := s.file.ReadAt(p[n:], off+int64(n))
		n += m
		switch {
		case err == nil && m > 0:
		case err == nil, errors.Is(err, io.EOF):
			return n, nil
		case errors.Is(err, unix.EINTR) && interrupts < storeInterrupts:
			interrupts++
		default:
			return n, s.fail(err, "read", off+int64(n), int64(len(p)-n))
		}
	}
	return n, nil
}

// writeAt writes p at off, in pieces; see storePiece. n is less than len(p) only with an error.
func (s *store) writeAt(p []byte, off int64) (n int, err error) {
	interrupts := 0
	for n < len(p) {
		at := off + int64(n)
		m, err := s.file.WriteAt(p[n:n+pieceAt(at, len(p)-n)], at)
		if n, err = s.advance(n, m, err, &interrupts); err != nil {
			return n, s.fail(err, "write", off+int64(n), int64(len(p)-n))
		}
	}
	return n, nil
}

// pieceAt returns how many of n bytes at off go into one write.
func pieceAt(off int64, n int) int { return min(n, storePiece-int(off%storePiece)) }

// advance adds what one write wrote to n, and decides whether the rest is tried: an interrupted call is begun again, a bounded number of
// times, and a call that wrote nothing without an error is one.
func (s *store) advance(n, wrote int, err error, interrupts *int) (int, error) {
	n += wrote
	if errors.Is(err, unix.EINTR) && *interrupts < storeInterrupts {
		*interrupts++
		return n, nil
	}
	if err == nil && wrote <= 0 {
		err = io.ErrShortWrite
	}
	return n, err
}

// writev writes the buffers one after the other, the first at off, in pieces like writeAt. n is less than their sum only with an error.
func (s *store) writev(off int64, bufs [][]byte) (n int64, err error) {
	var batch [][]byte
	interrupts := 0
	for i, skip := 0, 0; ; {
		for i < len(bufs) && skip == len(bufs[i]) {
			i, skip = i+1, 0
		}
		if i == len(bufs) {
			return n, nil
		}
		at := off + n
		part := bufs // nearly always all of them at once, as they are
		if limit := pieceAt(at, storePiece); n > 0 || len(bufs) > storeVector || total(bufs) > limit {
			if batch == nil {
				batch = make([][]byte, 0, min(len(bufs), storeVector))
			}
			batch = gather(batch[:0], bufs[i:], skip, limit)
			part = batch
		}
		wrote, err := s.file.Writev(part, at)
		if _, err = s.advance(0, wrote, err, &interrupts); err != nil {
			return n + int64(wrote), s.fail(err, "write", at+int64(wrote), int64(total(bufs[i:])-skip-wrote))
		}
		n += int64(wrote)
		for skip += wrote; i < len(bufs) && skip > len(bufs[i]); i++ {
			skip -= len(bufs[i])
		}
	}
}

// gather appends at most limit bytes of the buffers to batch, without the first skip ones, in no more than storeVector parts.
func gather(batch, bufs [][]byte, skip, limit int) [][]byte {
	for _, b := range bufs {
		b = b[skip:]
		skip = 0
		b = b[:min(len(b), limit)]
		if len(b) > 0 {
			batch = append(batch, b)
		}
		if limit -= len(b); limit == 0 || len(batch) == storeVector {
			break
		}
	}
	return batch
}

// total returns the bytes of all buffers.
func total(bufs [][]byte) (n int) {
	for _, b := range bufs {
		n += len(b)
	}
	return n
}

// size returns the length of the store in bytes.
func (s *store) size() (int64, error) {
	n, _, err := s.stat()
	return n, err
}

// allocated returns the bytes that the store takes on its file system.
func (s *store) allocated() (int64, error) {
	_, n, err := s.stat()
	return n, err
}

func (s *store) stat() (size, allocated int64, err error) {
	err = again(func() (err error) {
		size, allocated, err = s.file.Stat()
		return err
	})
	if err != nil {
		return 0, 0, storeFault(err, "look at store %s", s.path)
	}
	return size, allocated, nil
}

// sync makes everything written before it durable. After it failed once it always fails; see [store]. The kernel tells a lost write to
// only one of two syncs that run at once, and the other would pass: so they do not.
func (s *store) sync() error {
	s.syncing.Lock()
	defer s.syncing.Unlock()
	if s.lost != nil {
		return s.lost
	}
	crashpoint.Hit(crashpoint.StoreSyncBefore)
	if err := again(s.file.Sync); err != nil {
		s.lost = storeFault(err, "sync store %s: what was written may be lost, so the store must be opened anew and its journal replayed", s.path)
	}
	crashpoint.Hit(crashpoint.StoreSyncAfter)
	return s.lost
}

// close closes the file. It does not sync.
func (s *store) close() error {
	if err := s.file.Close(); err != nil {
		return storeFault(err, "close store %s", s.path)
	}
	return nil
}
