package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestSilentProcess looks for holders among processes one of which never answers: the others are found, it is named, and asked once only.
func TestSilentProcess(t *testing.T) {
	root := t.TempDir()
	for pid, cwd := range map[string]string{"41": "/m/dir", "42": "/elsewhere", "43": "/m", "44": "/m"} {
		if err := os.Mkdir(filepath.Join(root, pid), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(cwd, filepath.Join(root, pid, "cwd")); err != nil {
			t.Fatal(err)
		}
	}
	silent := filepath.Join(root, "42", "maps")
	if err := unix.Mkfifo(silent, 0o600); err != nil { // opening it waits until somebody writes
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if fd, err := unix.Open(silent, unix.O_WRONLY|unix.O_NONBLOCK, 0); err == nil {
			unix.Close(fd)
		}
	})
	s := &procSearch{root: root, answer: 2 * time.Second, all: time.Minute, silent: map[string]bool{}}
	for range 2 {
		found, mute := s.holders(mountEntry{ID: 1, Point: "/m"}, 44)
		if len(found) != 2 || !strings.HasPrefix(found[0], "process 41 ") || !strings.HasPrefix(found[1], "process 43 ") {
			t.Errorf("found %q", found)
		}
		if !slices.Equal(mute, []string{"process 42"}) {
			t.Errorf("silent are %q", mute)
		}
		s.answer = time.Minute // nobody waits for 42 again
	}
}
