package e2e

import (
	"errors"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// writeAt makes one write of the history.
func writeAt(t *testing.T, h *History, tg Target, off, n int64) {
	t.Helper()
	f, err := os.OpenFile(tg.Path, os.O_RDWR|unix.O_DIRECT, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	p := AlignedBuffer(int(n))
	c := h.Begin(Write{Volume: tg.Volume, Off: off, Len: n})
	Fill(p, Mark{Run: h.Run(), Counter: c, Volume: uint32(tg.Volume), Offset: off})
	if _, err := f.WriteAt(p, off); err != nil {
		t.Fatal(err)
	}
	h.Ack(c)
}

// tryWrite writes a few bytes and returns the error of open or write.
func tryWrite(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = f.WriteAt([]byte("trespass"), 0)
	return err
}

func syncFile(t *testing.T, path string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Sync(); err != nil {
		t.Fatal(err)
	}
}

// zeroFill writes zeroes as data.
func zeroFill(t *testing.T, path string, off, n int64) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt(make([]byte, n), off); err != nil {
		t.Fatal(err)
	}
}

// punch discards a range.
func punch(t *testing.T, path string, off, n int64) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := fallocate(f, unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, off, n); err != nil {
		t.Fatalf("punch %d bytes at %d of %s: %v", n, off, path, err)
	}
}

func fallocate(f *os.File, mode uint32, off, n int64) error {
	return retryEINTR(func() error { return unix.Fallocate(int(f.Fd()), mode, off, n) })
}

// isErrno reports whether err is the errno of that name.
func isErrno(err error, name string) bool {
	var errno unix.Errno
	return errors.As(err, &errno) && unix.ErrnoName(errno) == name
}
