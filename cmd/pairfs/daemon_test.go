package main

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestServiceManager runs a daemon as a unit would: in the foreground, with a socket to say READY and STOPPING to.
func TestServiceManager(t *testing.T) {
	dir := t.TempDir()
	rings, err := os.MkdirTemp("/dev/shm", "pairfs-test-")
	if err != nil {
		t.Fatal(err)
	}
	mnt := filepath.Join(dir, "mnt")
	if err := os.Mkdir(mnt, 0o700); err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(dir, "notify")
	manager, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: socket, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer manager.Close()
	cmd := exec.Command(os.Args[0], "mount", "--foreground", "--state", filepath.Join(dir, "state"), "--name", "unit", "--listen", "127.0.0.1:0",
		"--ring-dir", rings, mnt)
	cmd.Args[0] = "pairfs"
	cmd.Env = append(os.Environ(), "NOTIFY_SOCKET="+socket, "GORACE=atexit_sleep_ms=10")
	var log strings.Builder
	cmd.Stderr = &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // where the test failed before its end
		if err := endSites(dir); err != nil {
			t.Error(err)
		}
		if err := os.RemoveAll(rings); err != nil {
			t.Error(err)
		}
	})
	hear := func(want string) {
		t.Helper()
		b := make([]byte, 200)
		if err := manager.SetReadDeadline(time.Now().Add(60 * time.Second)); err != nil {
			t.Fatal(err)
		}
		n, err := manager.Read(b)
		if err != nil || !strings.HasPrefix(string(b[:n]), want) {
			t.Fatalf("the daemon said %q (%v), want %s\n%s", b[:n], err, want, log.String())
		}
	}
	hear("READY=1")
	if _, mounted, err := mountAt(mnt); err != nil || !mounted {
		t.Errorf("it is ready, but not mounted: %v", err)
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	hear("STOPPING=1")
	if err := cmd.Wait(); err != nil {
		t.Errorf("it ended with %v\n%s", err, log.String())
	}
	if _, mounted, err := mountAt(mnt); err != nil || mounted {
		t.Errorf("it ended, but is still mounted: %v", err)
	}
}
