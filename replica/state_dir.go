package replica

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

// A state directory is the site itself: who can write in it can be the site, who can read in it can read all volumes. So it belongs to the user of
// the daemon or to root, nobody else may enter it, and what pairfs opens in it is what pairfs made there. A link is not followed, wherever it
// leads: what lies on another disk is mounted at its place. A pipe or a device is not even opened, for that may wait, or do something. The folder
// of the staging rings is the same: it lies where everybody may make folders, and one that is there already may be somebody else's.

// siteFiles are the files of a state directory. Stores, journals and kept sets are looked at by who opens them.
var siteFiles = []string{"site.db", "key.pem", "reset.key", "audit", "audit.1", "history", "history.1", "log", "log.1", "stop-error"}

// CheckStateDir refuses a state directory that others may use, and one in which something stands in the place of a file of the site. What is not
// there is not missed, the directory included. A daemon asks before it opens or makes anything in it.
func CheckStateDir(dir string) error {
	if err := checkPrivate(dir); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	for _, name := range siteFiles {
		if err := checkStateFile(filepath.Join(dir, name)); err != nil {
			return err
		}
	}
	return nil
}

// checkStateFile refuses what is no file, and one that others may write. That others may read it does no harm where they cannot get at it; a key
// that they could read is refused by who loads it.
func checkStateFile(path string) error {
	fi, err := os.Lstat(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("look at %s: %w", path, err)
	case !fi.Mode().IsRegular():
		return refuse(KindInvalid, "%s is not a regular file, it is %s; pairfs does not follow links in its state directory: put the file itself there", path, fileType(fi.Mode()))
	case fi.Mode().Perm()&0o022 != 0:
		return refuse(KindInvalid, "%s can be written by others (mode %04o): look at who did, then chmod 600 %s", path, fi.Mode().Perm(), path)
	}
	return checkUser(path, fi)
}

// privateDir makes a folder of mode 0700, or checks that there is one.
func privateDir(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("make %s: %w", dir, err)
	}
	return checkPrivate(dir)
}

// checkPrivate refuses what is no folder, and a folder that others may use.
func checkPrivate(dir string) error {
	fi, err := os.Lstat(dir)
	switch {
	case err != nil:
		return fmt.Errorf("look at %s: %w", dir, err)
	case !fi.IsDir():
		return refuse(KindInvalid, "%s is not a directory, it is %s; pairfs does not follow links in its state directory: mount what lies on another disk at its place", dir, fileType(fi.Mode()))
	case fi.Mode().Perm()&0o022 != 0:
		return refuse(KindInvalid, "%s can be written by others (mode %04o): look at what is in it, then chmod 700 %s", dir, fi.Mode().Perm(), dir)
	case fi.Mode().Perm()&0o077 != 0:
		return refuse(KindInvalid, "%s can be read by others (mode %04o): chmod 700 %s", dir, fi.Mode().Perm(), dir)
	}
	return checkUser(dir, fi)
}

// checkJournalDir refuses what stands in the place of a journal and is no folder. One that is not there is not missed here.
func checkJournalDir(dir string) error {
	if fi, err := os.Lstat(dir); err == nil && !fi.IsDir() {
		return refuse(KindInvalid, "the journal %s is not a directory, it is %s; pairfs does not follow links in its state directory: mount what lies on another disk at its place", dir, fileType(fi.Mode()))
	}
	return nil
}

// checkUser refuses what belongs to another user: that one may change it, whatever its mode says now.
func checkUser(path string, fi os.FileInfo) error {
	st, uid := fi.Sys().(*syscall.Stat_t), os.Geteuid()
	if int(st.Uid) != uid && st.Uid != 0 {
		return refuse(KindInvalid, "%s belongs to user %d, not to user %d: look at what is in it, then chown it", path, st.Uid, uid)
	}
	return nil
}

// openState opens a file of a state directory, or makes it, without following a link or waiting for a pipe.
func openState(path string, flags int) (*os.File, error) {
	f, err := os.OpenFile(path, flags|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0o600)
	if err != nil {
		return nil, err
	}
	fi, err := f.Stat()
	if err == nil && !fi.Mode().IsRegular() {
		err = refuse(KindInvalid, "%s is not a regular file, it is %s", path, fileType(fi.Mode()))
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// fileType is what a file is, for people.
func fileType(m os.FileMode) string {
	switch {
	case m&os.ModeSymlink != 0:
		return "a symbolic link"
	case m.IsDir():
		return "a directory"
	case m&os.ModeNamedPipe != 0:
		return "a pipe"
	case m&os.ModeSocket != 0:
		return "a socket"
	case m&os.ModeDevice != 0:
		return "a device"
	}
	return "a file"
}
