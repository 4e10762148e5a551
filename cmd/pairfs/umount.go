package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// umountFor bounds how long umount waits for a daemon that was told to stop: its last flush and checkpoint included.
const umountFor = 60 * time.Second

// umountCmd stops the site of a mount.
type umountCmd struct {
	Dir string `arg:"" name:"mnt" help:"The mount."`
}

// Run refuses a busy mount, tells the daemon to stop, and waits until it is gone.
func (u *umountCmd) Run(a *app) error {
	mnt, err := findMount(u.Dir)
	if err != nil {
		return err
	}
	m, _, err := mountAt(mnt)
	if err != nil {
		return err
	}
	s := site{mnt: mnt}
	st, err := s.read("site")
	if daemonGone(err) {
		return detachDead(a.stdout, mnt)
	}
	if err != nil {
		return err
	}
	pid, err := strconv.Atoi(st.get("pid"))
	if err != nil {
		return fmt.Errorf("the site does not say which process it is: pid %q", st.get("pid"))
	}
	by, silent := findHolders(m, pid)
	if len(silent) > 0 {
		fmt.Fprintf(a.stderr, "pairfs: %s\n", unasked(silent, mnt))
	}
	if len(by) > 0 {
		return fmt.Errorf("%s is busy: held by %s; close them and try again", mnt, strings.Join(by, ", "))
	}
	end, err := watch(pid)
	if err != nil {
		return err
	}
	defer end.Close()
	if _, err := s.do("site", "stop", false); err != nil {
		return err
	}
	if err := end.wait(a.ctx, umountFor); err != nil {
		return fmt.Errorf("%s: the daemon, process %d, %w; its log is %s", mnt, pid, err, filepath.Join(st.get("state"), logName))
	}
	return afterStop(m, st.get("state"))
}

// unasked says who was not asked, and goes on.
func unasked(silent []string, mnt string) string {
	return fmt.Sprintf("%s did not answer when asked for what is open on %s, and may be blocked inside of the kernel; going on without", strings.Join(silent, ", "), mnt)
}

// afterStop says what the daemon could not do, if anything.
func afterStop(m mountEntry, stateDir string) error {
	if said, err := os.ReadFile(filepath.Join(stateDir, stopErrorName)); err == nil {
		why := strings.TrimSpace(string(said))
		if why == "" {
			why = fmt.Sprintf("the reason could not be written to %s, whose file system is probably full: make room, see what %s has of it, and start the site again; nothing that was acknowledged is lost", stateDir, filepath.Join(stateDir, logName))
		}
		return fmt.Errorf("the site stopped, but not cleanly: %s", why)
	}
	now, ok, err := mountAt(m.Point)
	if err != nil {
		return err
	}
	if ok && now.ID == m.ID {
		return fmt.Errorf("the daemon of %s ended without unmounting; pairfs umount %s once more detaches the mount, and the next pairfs mount recovers the site", m.Point, m.Point)
	}
	return nil
}

// detachDead removes a mount whose daemon is gone.
func detachDead(out io.Writer, mnt string) error {
	if err := unix.Unmount(mnt, unix.MNT_DETACH); err != nil {
		return fmt.Errorf("detach the dead mount %s: %w", mnt, err)
	}
	fmt.Fprintf(out, "the daemon of %s was gone already; the mount is detached, and the next pairfs mount recovers the site\n", mnt)
	return nil
}

// ending watches for the end of a process that is not a child. It holds the process itself, not its number.
type ending struct {
	fd int
}

// watch begins to watch a process.
func watch(pid int) (*ending, error) {
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return nil, fmt.Errorf("watch the daemon, process %d: %w", pid, err)
	}
	return &ending{fd: fd}, nil
}

// Close stops watching.
func (e *ending) Close() { unix.Close(e.fd) }

// wait returns nil once the process has ended. Its errors go on from "the daemon".
func (e *ending) wait(ctx context.Context, atMost time.Duration) error {
	deadline := time.Now().Add(atMost)
	for {
		left := time.Until(deadline)
		if left <= 0 {
			return fmt.Errorf("is still stopping after %v", atMost)
		}
		// Short polls only so that Ctrl-C is noticed.
		slice := min(left, 200*time.Millisecond)
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(e.fd), Events: unix.POLLIN}}, int(slice.Milliseconds())+1)
		switch {
		case n > 0:
			return nil
		case err != nil && !errors.Is(err, unix.EINTR):
			return fmt.Errorf("cannot be watched: %w", err)
		case ctx.Err() != nil:
			return errors.New("was told to stop; it goes on stopping by itself")
		}
	}
}
