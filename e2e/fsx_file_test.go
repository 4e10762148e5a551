package e2e

import (
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"

	"golang.org/x/sys/unix"
)

// fsxChannel is an open file as the tester reaches it. Defects of it are how the tester itself is tested.
type fsxChannel interface {
	// Read fills p from off; how is one of the reads. A mapping ends with the last page of the file, other reads with its last byte.
	Read(how fsxKind, p []byte, off int64) (int64, error)
	// Write puts p at off; how is one of the writes. What fits is written before the error of the rest.
	Write(how fsxKind, p []byte, off int64) (int64, error)
	Fallocate(mode uint32, off, n int64) error
	Truncate(size int64) error
	Seek(off int64, whence int) (int64, error)
	// CopyFrom copies n bytes from another file.
	CopyFrom(from fsxChannel, fromOff, off, n int64) (int64, error)
	Sync(data bool) error
	Size() (int64, error)
	Close() error

	fd() int
}

// fsxFile is a file of this host.
type fsxFile struct {
	file, dsync, direct *os.File
	view                []byte // all that the file may become; what lies behind its last page is not to be touched
	buf                 []byte // aligned to pages
}

// openFsx opens a file that becomes no longer than limit, with flags O_RDWR or O_RDONLY.
func openFsx(path string, flags int, limit int64) (fsxChannel, error) {
	f := &fsxFile{buf: AlignedBuffer(int(limit) + 4*fsxPage)}
	for at, more := range map[**os.File]int{&f.file: 0, &f.dsync: unix.O_DSYNC, &f.direct: unix.O_DIRECT} {
		var err error
		if *at, err = os.OpenFile(path, flags|more, 0); err != nil {
			f.Close()
			return nil, err
		}
	}
	pages, prot := (limit+fsxPage-1)/fsxPage*fsxPage, unix.PROT_READ
	if flags == os.O_RDWR {
		prot |= unix.PROT_WRITE
	}
	var err error
	if f.view, err = unix.Mmap(f.fd(), 0, int(pages), prot, unix.MAP_SHARED); err != nil {
		f.Close()
		return nil, fmt.Errorf("map %s: %w", path, err)
	}
	return f, nil
}

func (f *fsxFile) fd() int { return int(f.file.Fd()) }

func (f *fsxFile) Close() error {
	var errs []error
	if f.view != nil {
		errs = append(errs, unix.Munmap(f.view))
	}
	for _, file := range []*os.File{f.file, f.dsync, f.direct} {
		if file != nil {
			errs = append(errs, file.Close())
		}
	}
	return errors.Join(errs...)
}

func (f *fsxFile) Read(how fsxKind, p []byte, off int64) (n int64, err error) {
	switch how {
	case fsxReadMapped, fsxReadView:
		err = f.mapping(how, off, int64(len(p)), func(at []byte) { copy(p, at) })
		return int64(len(p)), err
	case fsxReadDirect:
		q := f.buf[:len(p)]
		done, err := readAt(f.direct, q, off)
		copy(p, q[:done])
		return done, err
	}
	return readAt(f.file, p, off)
}

// readAt reads up to the end of the file, which is no error.
func readAt(f *os.File, p []byte, off int64) (int64, error) {
	n, err := f.ReadAt(p, off)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return int64(n), err
}

func (f *fsxFile) Write(how fsxKind, p []byte, off int64) (int64, error) {
	file := f.file
	switch how {
	case fsxWriteMapped, fsxWriteView:
		err := f.mapping(how, off, int64(len(p)), func(at []byte) { copy(at, p) })
		return int64(len(p)), err
	case fsxWriteVector:
		return f.writev(p, off)
	case fsxWriteSync:
		file = f.dsync
	case fsxWriteDirect:
		file = f.direct
		p = f.buf[:copy(f.buf, p)]
	}
	return writeOn(len(p), func(done int) (int, error) { return unix.Pwrite(int(file.Fd()), p[done:], off+int64(done)) })
}

// writeOn calls write until all n bytes are written, or one call fails: then what was written before counts.
func writeOn(n int, write func(done int) (int, error)) (int64, error) {
	done := 0
	for done < n {
		err := retryEINTR(func() error {
			m, err := write(done)
			done += max(0, m)
			return err
		})
		if err != nil {
			return int64(done), err
		}
	}
	return int64(done), nil
}

// writev writes pieces of odd lengths with one call, and what that left with the next.
func (f *fsxFile) writev(p []byte, off int64) (int64, error) {
	return writeOn(len(p), func(done int) (int, error) {
		var pieces [][]byte
		for left, n := p[done:], 1; len(left) > 0; n = n*3 + 2 {
			n = min(n, len(left))
			pieces, left = append(pieces, left[:n]), left[n:]
		}
		return unix.Pwritev(f.fd(), pieces, off+int64(done))
	})
}

// mapping gives do the bytes of a range as they are mapped: by the view, or by a mapping of its own, which a write syncs before it is taken away.
// A page that cannot be had is an error and not the end of the process.
func (f *fsxFile) mapping(how fsxKind, off, n int64, do func([]byte)) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("a page of the mapping cannot be had: %v", r)
		}
	}()
	if how == fsxReadView || how == fsxWriteView {
		do(f.view[off : off+n])
		return nil
	}
	from, prot := off&^(fsxPage-1), unix.PROT_READ
	if how == fsxWriteMapped {
		prot |= unix.PROT_WRITE
	}
	at, err := unix.Mmap(f.fd(), from, int(off+n-from), prot, unix.MAP_SHARED)
	if err != nil {
		return err
	}
	defer unix.Munmap(at)
	do(at[off-from:])
	if how == fsxWriteMapped {
		return unix.Msync(at, unix.MS_SYNC)
	}
	return nil
}

func (f *fsxFile) Fallocate(mode uint32, off, n int64) error { return fallocate(f.file, mode, off, n) }

func (f *fsxFile) Truncate(size int64) error { return f.file.Truncate(size) }

func (f *fsxFile) Seek(off int64, whence int) (int64, error) { return unix.Seek(f.fd(), off, whence) }

func (f *fsxFile) CopyFrom(from fsxChannel, fromOff, off, n int64) (done int64, err error) {
	for done < n {
		src, dst, step := fromOff+done, off+done, 0
		err := retryEINTR(func() (err error) {
			step, err = unix.CopyFileRange(from.fd(), &src, f.fd(), &dst, int(n-done), 0)
			return err
		})
		if err != nil || step == 0 {
			return done, err
		}
		done += int64(step)
	}
	return done, nil
}

func (f *fsxFile) Sync(data bool) error {
	if data {
		return retryEINTR(func() error { return unix.Fdatasync(f.fd()) })
	}
	return f.file.Sync()
}

func (f *fsxFile) Size() (int64, error) {
	st, err := f.file.Stat()
	if err != nil {
		return 0, err
	}
	return st.Size(), nil
}
