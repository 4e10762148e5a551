package replica

import (
	"errors"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// storeFile is what a [store] needs of the operating system, one system call a method; the seam at which tests let the n-th operation
// fail. Short reads and writes and EINTR are the store's business. Offsets and lengths are bytes; errors are bare, without a path.
type storeFile interface {
	ReadAt(p []byte, off int64) (int, error) // io.EOF when short at the end
	WriteAt(p []byte, off int64) (int, error)
	Writev(bufs [][]byte, off int64) (int, error)
	Fallocate(mode uint32, off, n int64) error
	Truncate(size int64) error
	Stat() (size, allocated int64, err error)
	Seek(off int64, whence int) (int64, error) // SEEK_DATA and SEEK_HOLE
	Sync() error                               // fdatasync
	Close() error
}

// osStoreFile is the storeFile of a real file or block device. Every call holds a reference of the os.File, so that a close at the same
// time cannot let it reach a file that was given the same descriptor.
type osStoreFile struct {
	f     *os.File
	block bool
}

// bare removes the name of the call and the path that package os puts around an error; the store adds its own.
func bare(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}

// control runs call with the descriptor.
func (s *osStoreFile) control(call func(fd int) error) error {
	c, err := s.f.SyscallConn()
	if err != nil {
		return bare(err)
	}
	var result error
	if err := c.Control(func(fd uintptr) { result = call(int(fd)) }); err != nil {
		return bare(err)
	}
	return result
}

func (s *osStoreFile) ReadAt(p []byte, off int64) (int, error) {
	n, err := s.f.ReadAt(p, off)
	if err != nil {
		err = bare(err)
	}
	return n, err
}

func (s *osStoreFile) WriteAt(p []byte, off int64) (int, error) {
	n, err := s.f.WriteAt(p, off)
	if err != nil {
		err = bare(err)
	}
	return n, err
}

func (s *osStoreFile) Writev(bufs [][]byte, off int64) (n int, err error) {
	err = s.control(func(fd int) (err error) {
		n, err = unix.Pwritev(fd, bufs, off)
		return err
	})
	return max(n, 0), err
}

func (s *osStoreFile) Fallocate(mode uint32, off, n int64) error {
	return s.control(func(fd int) error { return unix.Fallocate(fd, mode, off, n) })
}

func (s *osStoreFile) Truncate(size int64) error { return bare(s.f.Truncate(size)) }

func (s *osStoreFile) Stat() (size, allocated int64, err error) {
	if s.block {
		size, err = s.Seek(0, unix.SEEK_END)
		return size, size, err
	}
	var st unix.Stat_t
	err = s.control(func(fd int) error { return unix.Fstat(fd, &st) })
	return st.Size, st.Blocks * 512, err
}

func (s *osStoreFile) Seek(off int64, whence int) (at int64, err error) {
	err = s.control(func(fd int) (err error) {
		at, err = unix.Seek(fd, off, whence)
		return err
	})
	return at, err
}

func (s *osStoreFile) Sync() error { return s.control(unix.Fdatasync) }

func (s *osStoreFile) Close() error { return bare(s.f.Close()) }
