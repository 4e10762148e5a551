package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestMountAfterKill kills a daemon and mounts again at once: the dead mount is taken away, whatever stage of its end it is in.
func TestMountAfterKill(t *testing.T) {
	dir := t.TempDir()
	mnt := filepath.Join(dir, "mnt")
	rings, err := os.MkdirTemp("/dev/shm", "pairfs-test-")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(mnt, 0o700); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := endSites(dir); err != nil {
			t.Error(err)
		}
		if err := os.RemoveAll(rings); err != nil {
			t.Error(err)
		}
	})
	for i := range 12 {
		out := runMount(t, dir, rings, mnt)
		if made := strings.Contains(out, "a new site killed was made in"); made != (i == 0) || out != "" && !made {
			t.Fatalf("a good start says %s", out)
		}
		st, err := site{mnt: mnt}.read("site")
		if err != nil {
			t.Fatal(err)
		}
		pid, err := strconv.Atoi(st.get("pid"))
		if err != nil {
			t.Fatal(err)
		}
		if err := unix.Kill(pid, unix.SIGKILL); err != nil {
			t.Fatal(err)
		}
	}
	if out := runMount(t, dir, rings, mnt); out != "" {
		t.Fatalf("a good start says %s", out)
	}
}

func runMount(t *testing.T, dir, rings, mnt string) string {
	t.Helper()
	cmd := exec.Command(os.Args[0], "mount", "--state", filepath.Join(dir, "state"), "--name", "killed", "--listen", "127.0.0.1:0", "--ring-dir", rings, mnt)
	cmd.Args[0] = "pairfs"
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("mount: %v: %s", err, out)
	}
	return string(out)
}

// TestMountWarns starts a site whose rings are on a disk: the command says so.
func TestMountWarns(t *testing.T) {
	dir, err := os.MkdirTemp("/var/tmp", "pairfs-test-")
	if err != nil {
		t.Fatal(err)
	}
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil || st.Type == unix.TMPFS_MAGIC {
		t.Skip("there is no disk to put rings on")
	}
	t.Cleanup(func() {
		if err := endSites(dir); err != nil {
			t.Error(err)
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	mnt := filepath.Join(dir, "mnt")
	if err := os.Mkdir(mnt, 0o700); err != nil {
		t.Fatal(err)
	}
	if out := runMount(t, dir, dir, mnt); !strings.Contains(out, "pairfs: site: the staging rings are in "+dir+", which is not on tmpfs") {
		t.Errorf("it says %q", out)
	}
}

// TestStopReasonLost says that the reason of an unclean stop could not be written, and why, where there is none.
func TestStopReasonLost(t *testing.T) {
	dir := t.TempDir()
	for said, want := range map[string]string{"": "the reason could not be written to " + dir, "it was busy\n": "not cleanly: it was busy"} {
		if err := os.WriteFile(filepath.Join(dir, stopErrorName), []byte(said), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := afterStop(mountEntry{}, dir); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("with %q left it says %v", said, err)
		}
	}
}
