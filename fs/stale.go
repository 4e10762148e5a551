package fs

import (
	"bufio"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// maxStale is how many dead mounts over one another a start takes away.
const maxStale = 16

// mountPoint returns dir as an absolute path without symbolic links, free of mounts of this program. One whose daemon died is detached.
func mountPoint(dir string, log *slog.Logger) (string, error) {
	path, err := filepath.Abs(dir)
	if err != nil {
		return "", fmt.Errorf("mount at %q: %w", dir, err)
	}
	// The last element is not looked at yet: on a dead mount even that fails.
	parent, err := filepath.EvalSymlinks(filepath.Dir(path))
	if err != nil {
		return "", fmt.Errorf("mount at %s: %w; make the directory first", path, err)
	}
	path = filepath.Join(parent, filepath.Base(path))
	if err := freePoint(path, log); err != nil {
		return "", err
	}
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		return "", fmt.Errorf("mount at %s: %w; make the directory first", path, err)
	}
	if real != path {
		if err := freePoint(real, log); err != nil {
			return "", err
		}
	}
	if st, err := os.Stat(real); err != nil {
		return "", fmt.Errorf("mount at %s: %w", real, err)
	} else if !st.IsDir() {
		return "", fmt.Errorf("mount at %s: %w; name a directory", real, unix.ENOTDIR)
	}
	return real, nil
}

// freePoint detaches dead mounts of this program from path and refuses one that lives.
func freePoint(path string, log *slog.Logger) error {
	for range maxStale {
		typ, err := mountedAt(path)
		if err != nil {
			return fmt.Errorf("mount at %s: read the table of mounts: %w", path, err)
		}
		if typ != "fuse."+fsType {
			return nil
		}
		switch err := answers(path); {
		case err == nil:
			return fmt.Errorf("mount at %s: a site is mounted there and answers; unmount it first with \"pairfs umount %s\": %w",
				path, path, unix.EBUSY)
		case !errors.Is(err, unix.ENOTCONN) && !errors.Is(err, unix.ECONNABORTED):
			return fmt.Errorf("mount at %s: a site is mounted there and does not answer; end its daemon first: %w", path, err)
		}
		log.Warn("detaching a mount whose daemon died", "dir", path)
		if err := detachStale(path); err != nil {
			return fmt.Errorf("mount at %s: detach the mount of a daemon that died: %w", path, err)
		}
	}
	return fmt.Errorf("mount at %s: more than %d dead mounts lie over one another there; unmount them by hand", path, maxStale)
}

// answers asks the file system at path for its state, which no cache answers. A dead one gives ENOTCONN at once, one that hangs
// ETIMEDOUT after a while.
func answers(path string) error {
	got := make(chan error, 1)
	go func() {
		var st unix.Statfs_t
		got <- unix.Statfs(path, &st)
	}()
	select {
	case err := <-got:
		return err
	case <-time.After(staleProbeTime):
		return unix.ETIMEDOUT
	}
}

// detachStale takes a dead mount out of the tree even if something is open in it.
func detachStale(path string) error {
	err := unix.Unmount(path, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW)
	if !errors.Is(err, unix.EPERM) {
		return err
	}
	for _, helper := range []string{"fusermount3", "fusermount"} {
		if bin, lookErr := exec.LookPath(helper); lookErr == nil {
			out, runErr := exec.Command(bin, "-u", "-z", path).CombinedOutput()
			if runErr != nil {
				return fmt.Errorf("%s: %w: %s", helper, runErr, strings.TrimSpace(string(out)))
			}
			return nil
		}
	}
	return err
}

// mountedAt returns the type of what is mounted at path, the uppermost if there are several, "" if nothing is.
func mountedAt(path string) (typ string, err error) {
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return "", err
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		if point, t, ok := mountLine(lines.Text()); ok && point == path {
			typ = t
		}
	}
	return typ, lines.Err()
}

// mountLine returns mount point and type of one line of /proc/self/mountinfo.
func mountLine(line string) (point, typ string, ok bool) {
	left, right, found := strings.Cut(line, " - ")
	l, r := strings.Fields(left), strings.Fields(right)
	if !found || len(l) < 5 || len(r) < 1 {
		return "", "", false
	}
	return mountEscapes.Replace(l[4]), r[0], true
}

// mountEscapes undoes how the kernel writes paths there.
var mountEscapes = strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`)
