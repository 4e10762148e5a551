package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

func TestParseMount(t *testing.T) {
	for _, row := range []struct {
		name, line string
		want       mountEntry
		ok         bool
	}{
		{"plain", "36 35 0:45 / /mnt/a rw,relatime - fuse.pairfs pairfs rw,user_id=0", mountEntry{36, "0:45", "/mnt/a", "fuse.pairfs"}, true},
		{"optional fields", "36 35 8:1 / /mnt/a rw shared:1 master:2 - ext4 /dev/sda1 rw", mountEntry{36, "8:1", "/mnt/a", "ext4"}, true},
		{"escaped blank and backslash", `36 35 0:45 / /mnt/a\040b\134c rw - fuse.pairfs pairfs rw`, mountEntry{36, "0:45", `/mnt/a b\c`, "fuse.pairfs"}, true},
		{"a path that looks escaped", `36 35 0:45 / /mnt/a\9 rw - fuse.pairfs pairfs rw`, mountEntry{36, "0:45", `/mnt/a\9`, "fuse.pairfs"}, true},
		{"no separator", "36 35 0:45 / /mnt/a rw", mountEntry{}, false},
		{"no number", "x 35 0:45 / /mnt/a rw - ext4 a rw", mountEntry{}, false},
		{"empty", "", mountEntry{}, false},
	} {
		got, ok := parseMount(row.line)
		if d := cmp.Diff(row.want, got); d != "" || ok != row.ok {
			t.Errorf("%s: ok %v (-want +got):\n%s", row.name, ok, d)
		}
	}
}

func TestInside(t *testing.T) {
	for _, row := range []struct {
		path, dir string
		want      bool
	}{
		{"/mnt/a", "/mnt/a", true},
		{"/mnt/a/b", "/mnt/a", true},
		{"/mnt/ab", "/mnt/a", false},
		{"/mnt", "/mnt/a", false},
		{"/mnt", "/", true},
	} {
		if got := inside(row.path, row.dir); got != row.want {
			t.Errorf("inside(%s, %s) is %v", row.path, row.dir, got)
		}
	}
}

func TestAbsoluteDoesNotTouchTheLastElement(t *testing.T) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(dir, "mnt"), filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{"link": "mnt", "mnt": "mnt", "./x/../mnt": "mnt"} {
		got, err := absolute(filepath.Join(dir, path))
		if err != nil || got != filepath.Join(dir, want) {
			t.Errorf("absolute(%s) is %s (%v), want %s", path, got, err, want)
		}
	}
}

// TestFindHolders holds a tmpfs in each way there is, one after the other, and wants each named.
func TestFindHolders(t *testing.T) {
	mnt, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("tmpfs", mnt, "tmpfs", 0, "size=8m"); err != nil {
		t.Fatalf("mount a tmpfs (the tests run as root): %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(mnt, 0); err != nil {
			t.Errorf("unmount the tmpfs: %v", err)
			_ = unix.Unmount(mnt, unix.MNT_DETACH)
		}
	})
	all, err := mounts()
	if err != nil {
		t.Fatal(err)
	}
	at := slices.IndexFunc(all, func(m mountEntry) bool { return m.Point == mnt }) // other tests of this host mount too
	if at < 0 || all[at].Type != "tmpfs" {
		t.Fatalf("%s is not among the mounts: %+v", mnt, all)
	}
	m := all[at]
	file := filepath.Join(mnt, "file")
	if err := os.WriteFile(file, make([]byte, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	if by, _ := findHolders(m, 0); len(by) > 0 {
		t.Fatalf("nobody holds it, but findHolders says %q", by)
	}
	for _, row := range []struct {
		name string
		want string // a part of the sentence
		hold func(t *testing.T) (release func())
	}{
		{"working directory", "sleep (cwd " + mnt + ")", func(t *testing.T) func() { return holdBy(t, mnt, nil) }},
		{"open file", "sleep (" + file + ")", func(t *testing.T) func() {
			f, err := os.Open(file)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			return holdBy(t, "/", f)
		}},
		{"mapping", "(mapping of " + file + ")", func(t *testing.T) func() {
			f, err := os.Open(file)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			b, err := unix.Mmap(int(f.Fd()), 0, 4096, unix.PROT_READ, unix.MAP_SHARED)
			if err != nil {
				t.Fatal(err)
			}
			return func() { _ = unix.Munmap(b) }
		}},
		{"mount below", "the mount " + filepath.Join(mnt, "below"), func(t *testing.T) func() {
			below := filepath.Join(mnt, "below")
			if err := os.Mkdir(below, 0o700); err != nil {
				t.Fatal(err)
			}
			if err := unix.Mount("tmpfs", below, "tmpfs", 0, ""); err != nil {
				t.Fatal(err)
			}
			return func() { _ = unix.Unmount(below, 0) }
		}},
		{"loop device", "/dev/loop", func(t *testing.T) func() {
			out, err := exec.Command("losetup", "--find", "--show", file).CombinedOutput()
			if err != nil {
				t.Fatalf("losetup: %v\n%s", err, out)
			}
			return func() { _ = exec.Command("losetup", "-d", strings.TrimSpace(string(out))).Run() }
		}},
	} {
		t.Run(row.name, func(t *testing.T) {
			release := row.hold(t)
			by, _ := findHolders(m, 0)
			release()
			if len(by) != 1 || !strings.Contains(by[0], row.want) {
				t.Errorf("findHolders says %q, want one with %q", by, row.want)
			}
		})
	}
}

// holdBy starts a process in dir, with a file that it inherits.
func holdBy(t *testing.T, dir string, file *os.File) (release func()) {
	t.Helper()
	cmd := exec.Command("sleep", "60")
	cmd.Dir = dir
	if file != nil {
		cmd.ExtraFiles = []*os.File{file}
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}
}
