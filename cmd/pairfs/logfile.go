package main

import (
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

const (
	logName = "log"
	// maxLog bounds the log of a daemon; with the one before it, a state directory holds at most twice that.
	maxLog = 16 << 20
)

// openLog opens the log of a state directory for appending.
func openLog(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, logName), os.O_CREATE|os.O_APPEND|os.O_WRONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the log of the daemon: %w", err)
	}
	return f, nil
}

// rotatingLog writes to stderr, which is the log, and begins a new one when it has grown to maxLog. Stderr itself is moved, so that the
// last words of a crashing process land in the same file. Not safe for concurrent use; slog's handlers serialise.
type rotatingLog struct {
	dir     string
	written int64
}

// Write appends one line.
func (r *rotatingLog) Write(p []byte) (int, error) {
	if r.written == 0 {
		if info, err := os.Stderr.Stat(); err == nil {
			r.written = info.Size()
		}
	}
	if r.written >= maxLog {
		if err := r.rotate(); err != nil {
			fmt.Fprintf(os.Stderr, "cannot begin a new log: %v\n", err)
		}
		r.written = 1
	}
	n, err := os.Stderr.Write(p)
	r.written += int64(n)
	return n, err
}

// rotate keeps the full log as log.1 and moves stdout and stderr to a new one.
func (r *rotatingLog) rotate() error {
	path := filepath.Join(r.dir, logName)
	if err := os.Rename(path, path+".1"); err != nil {
		return err
	}
	f, err := openLog(r.dir)
	if err != nil {
		return err
	}
	defer f.Close()
	for _, fd := range []int{unix.Stdout, unix.Stderr} {
		if err := unix.Dup3(int(f.Fd()), fd, 0); err != nil {
			return fmt.Errorf("move the log: %w", err)
		}
	}
	return nil
}
