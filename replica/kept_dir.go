package replica

import (
	"errors"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// keptFolder is the folder of kept sets in a state directory. An operator may mount a larger file system there.
const keptFolder = "kept"

// keptDir is an open folder: that of all kept sets, or one of them. Everything in it is reached from its descriptor and no symbolic link is
// followed, so that nothing outside of it is ever read, written or removed. Its methods may be called concurrently; close comes last.
type keptDir struct {
	f    *os.File
	path string
}

// openKeptDir opens the folder of kept sets of a state directory; with create it makes one that is not there.
func openKeptDir(state string, create bool) (*keptDir, error) {
	path := filepath.Join(state, keptFolder)
	if create {
		if err := os.Mkdir(path, 0o700); err == nil {
			err = syncDirOf(path)
			if err != nil {
				return nil, keptFault(err, path, "made")
			}
		} else if !errors.Is(err, os.ErrExist) {
			return nil, keptFault(bare(err), path, "made")
		}
	}
	return openAt(unix.AT_FDCWD, path, path)
}

// openAt opens a folder below at.
func openAt(at int, name, path string) (*keptDir, error) {
	var fd int
	err := again(func() (err error) {
		fd, err = unix.Openat(at, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		return err
	})
	switch {
	case errors.Is(err, unix.ENOTDIR), errors.Is(err, unix.ELOOP):
		return nil, refuse(KindInvalid, "%s is not a directory; pairfs does not follow links in its state directory", path)
	case err != nil:
		return nil, keptFault(err, path, "opened")
	}
	return &keptDir{f: os.NewFile(uintptr(fd), path), path: path}, nil
}

// keptFault says what could not be done with a file or folder of kept sets.
func keptFault(err error, path, what string) error {
	return storeFault(bare(err), "%s cannot be %s", path, what)
}

// private refuses a folder that others can read, as a file system that was just mounted there may be.
func (d *keptDir) private() error {
	fi, err := d.f.Stat()
	if err != nil {
		return keptFault(err, d.path, "looked at")
	}
	if fi.Mode().Perm()&0o077 != 0 {
		return refuse(KindInvalid, "%s can be read by others (mode %04o): chmod 700 %s", d.path, fi.Mode().Perm(), d.path)
	}
	return nil
}

// control runs call with the descriptor, again when it is interrupted.
func (d *keptDir) control(call func(fd int) error) error {
	c, err := d.f.SyscallConn()
	if err != nil {
		return bare(err)
	}
	var result error
	if err := c.Control(func(fd uintptr) { result = again(func() error { return call(int(fd)) }) }); err != nil {
		return bare(err)
	}
	return result
}

// sub opens a folder in d.
func (d *keptDir) sub(name string) (sub *keptDir, err error) {
	cerr := d.control(func(fd int) error {
		sub, err = openAt(fd, name, filepath.Join(d.path, name))
		return nil
	})
	return sub, errors.Join(cerr, err)
}

// make makes a folder of mode 0700 in d.
func (d *keptDir) make(name string) error {
	return d.control(func(fd int) error { return unix.Mkdirat(fd, name, 0o700) })
}

// file opens a regular file in d to read it, or with create makes one of mode 0600 that must not be there.
func (d *keptDir) file(name string, create bool) (*os.File, error) {
	path := filepath.Join(d.path, name)
	flags := unix.O_RDONLY | unix.O_NOFOLLOW | unix.O_CLOEXEC | unix.O_NONBLOCK // a pipe must not hold the open up
	if create {
		flags = unix.O_RDWR | unix.O_NOFOLLOW | unix.O_CLOEXEC | unix.O_CREAT | unix.O_EXCL
	}
	var got int
	err := d.control(func(fd int) (err error) {
		got, err = unix.Openat(fd, name, flags, 0o600)
		return err
	})
	switch {
	case errors.Is(err, unix.ELOOP):
		return nil, refuse(KindInvalid, "%s is a symbolic link; pairfs does not follow links in its state directory", path)
	case err != nil:
		return nil, keptFault(err, path, "opened")
	}
	f := os.NewFile(uintptr(got), path)
	fi, err := f.Stat()
	if err == nil && !fi.Mode().IsRegular() {
		err = refuse(KindInvalid, "%s is not a regular file", path)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// names lists what is in d.
func (d *keptDir) names() ([]string, error) {
	var fd int
	err := d.control(func(at int) (err error) { // a descriptor of its own: reading moves its offset
		fd, err = unix.Openat(at, ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		return err
	})
	if err != nil {
		return nil, keptFault(err, d.path, "listed")
	}
	f := os.NewFile(uintptr(fd), d.path)
	defer f.Close()
	names, err := f.Readdirnames(-1)
	if err != nil {
		return nil, keptFault(err, d.path, "listed")
	}
	return names, nil
}

// rename gives a folder in d another name. A folder of that name with anything in it is never replaced.
func (d *keptDir) rename(from, to string) error {
	if err := d.control(func(fd int) error { return unix.Renameat(fd, from, fd, to) }); err != nil {
		return keptFault(err, filepath.Join(d.path, from), "renamed to "+to)
	}
	return nil
}

// remove removes a folder in d with the files in it. A folder inside of it is none of a kept set's, and stays.
func (d *keptDir) remove(name string) error {
	sub, err := d.sub(name)
	if err != nil {
		return err
	}
	defer sub.close()
	names, err := sub.names()
	if err != nil {
		return err
	}
	for _, n := range names {
		if err := sub.control(func(fd int) error { return unix.Unlinkat(fd, n, 0) }); err != nil {
			return keptFault(err, filepath.Join(sub.path, n), "removed")
		}
	}
	if err := d.control(func(fd int) error { return unix.Unlinkat(fd, name, unix.AT_REMOVEDIR) }); err != nil {
		return keptFault(err, sub.path, "removed")
	}
	return nil
}

// sync makes the names in d durable.
func (d *keptDir) sync() error {
	if err := again(func() error { return bare(d.f.Sync()) }); err != nil {
		return keptFault(err, d.path, "flushed")
	}
	return nil
}

// room returns the bytes that kept sets may take on the file system of d, what stays free for others, and how large it is.
func (d *keptDir) room() (free, reserve int64, err error) {
	var st unix.Statfs_t
	if err := d.control(func(fd int) error { return unix.Fstatfs(fd, &st) }); err != nil {
		return 0, 0, keptFault(err, d.path, "looked at")
	}
	reserve = min(int64(st.Blocks)*st.Bsize/keptReserveShare, keptReserve)
	return int64(st.Bavail) * st.Bsize, reserve, nil
}

// close ends the use of d, of which nothing was written by its descriptor.
func (d *keptDir) close() { _ = d.f.Close() }
