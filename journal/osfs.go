package journal

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"unsafe"

	"golang.org/x/sys/unix"
)

// OS is the file system of the operating system. Files are opened O_DIRECT where the file system allows it, because a flush of pages
// that were in the page cache costs more, and a failed write-back of it may be forgotten before anybody asks.
var OS FS = osFS{}

type osFS struct{}

type osFile struct{ *os.File }

// open opens with O_DIRECT, or without where the file system refuses that with EINVAL (some network and older tmpfs mounts). It follows no link,
// waits for no pipe, and takes nothing but what a journal volume can be.
func open(name string, flags int) (*os.File, error) {
	flags |= unix.O_NOFOLLOW | unix.O_NONBLOCK
	f, err := os.OpenFile(name, flags|unix.O_DIRECT, 0o600)
	if errors.Is(err, unix.EINVAL) {
		// A refused O_CREAT|O_EXCL may have left the empty file behind.
		f, err = os.OpenFile(name, flags&^os.O_EXCL, 0o600)
	}
	if errors.Is(err, unix.ELOOP) {
		return nil, fmt.Errorf("%w: it is a symbolic link; mount what lies on another disk at its place", err)
	}
	if err != nil {
		return nil, err
	}
	fi, err := f.Stat()
	if mode := fs.FileMode(0); err == nil {
		if mode = fi.Mode(); !mode.IsRegular() && (mode&fs.ModeDevice == 0 || mode&fs.ModeCharDevice != 0) {
			err = fmt.Errorf("open %s: it is neither a file nor a block device: %s", name, mode)
		}
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

func (osFS) Open(name string, write bool) (File, error) {
	if !write {
		f, err := open(name, os.O_RDONLY)
		if err != nil {
			return nil, err
		}
		return osFile{f}, nil
	}
	f, err := open(name, os.O_RDWR)
	if err != nil {
		return nil, err
	}
	// Two writers in one journal would destroy it; the lock ends with the process, however that dies.
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		return nil, fmt.Errorf("lock %s, which another process uses; stop that one first: %w", name, err)
	}
	return osFile{f}, nil
}

func (osFS) Create(name string) (File, error) {
	f, err := open(name, os.O_RDWR|os.O_CREATE|os.O_EXCL)
	if err != nil {
		return nil, err
	}
	return osFile{f}, nil
}

func (osFS) Rename(from, to string) error {
	err := unix.Renameat2(unix.AT_FDCWD, from, unix.AT_FDCWD, to, unix.RENAME_NOREPLACE)
	if errors.Is(err, unix.EINVAL) {
		// This file system cannot refuse a name that is taken; Create has looked before.
		return os.Rename(from, to)
	}
	if err != nil {
		return &os.LinkError{Op: "rename", Old: from, New: to, Err: err}
	}
	return nil
}

func (osFS) Remove(name string) error { return os.Remove(name) }

func (osFS) List(dir string) ([]string, error) {
	d, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	names, err := d.Readdirnames(-1)
	sort.Strings(names)
	return names, err
}

func (osFS) SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// MkdirAll makes the missing folders one by one, so that each is durable in its parent before the next is made.
func (o osFS) MkdirAll(dir string) error {
	st, err := os.Stat(dir)
	if err == nil && st.IsDir() {
		return nil
	}
	if err == nil {
		return &fs.PathError{Op: "mkdir", Path: dir, Err: unix.ENOTDIR}
	}
	parent := filepath.Dir(dir)
	if err := o.MkdirAll(parent); err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return o.SyncDir(parent)
}

func (f osFile) Sync() error {
	for {
		err := unix.Fdatasync(int(f.Fd()))
		if err != unix.EINTR {
			return err
		}
	}
}

func (f osFile) Preallocate(size int64) error {
	err := unix.Fallocate(int(f.Fd()), 0, 0, size)
	if errors.Is(err, unix.EOPNOTSUPP) {
		// The blocks come with the zeroes that are written next.
		return f.Truncate(size)
	}
	return err
}

func (f osFile) Size() (int64, error) {
	st, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return st.Size(), nil
}

// alignedBuf gives n bytes that begin at a page boundary, as O_DIRECT wants them. The garbage collector does not move them.
func alignedBuf(n int) []byte {
	b := make([]byte, n+PageSize)
	skip := int(-uintptr(unsafe.Pointer(unsafe.SliceData(b))) & (PageSize - 1))
	return b[skip : skip+n : skip+n]
}
