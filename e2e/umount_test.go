package e2e

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestUmountSaysWhoHoldsIt unmounts with an open file, a working directory and a loop device in the way, and then without.
func TestUmountSaysWhoHoldsIt(t *testing.T) {
	t.Parallel()
	a := Start(t, "tokyo")
	a.MakeVolume("db", 16*mib)
	a.MakeVolume("disk", 16*mib)
	f, err := os.Open(a.Path("db"))
	if err != nil {
		t.Fatal(err)
	}
	busy := func(want ...string) {
		t.Helper()
		out, code := a.CLI("umount", a.Mnt)
		if code != 1 {
			t.Errorf("umount of a busy mount ended with %d: %s", code, out)
		}
		for _, w := range want {
			if !strings.Contains(out, w) {
				t.Errorf("umount of a busy mount said %q, which does not name %q", out, w)
			}
		}
		if !a.Running() {
			t.Fatal("the refused umount ended the daemon")
		}
	}
	busy("busy", fmt.Sprint(os.Getpid()), "db")
	f.Close()

	loop := strings.TrimSpace(Run(t, "losetup", "--find", "--show", "--direct-io=on", a.Path("disk")))
	busy("busy", strings.TrimPrefix(loop, "/dev/"), "disk")
	Run(t, "losetup", "--detach", loop)

	Until(t, stopLimit, "the loop device lets go and umount succeeds", func() bool {
		_, code := a.CLI("umount", a.Mnt)
		return code == 0
	})
	a.WaitExit(stopLimit)
	if err := a.ExitError(); err != nil {
		t.Errorf("the daemon ended with: %v", err)
	}
	if isMount(t, a.Mnt) {
		t.Error("the mount is still there")
	}
	a.Restart()
	if got := len(list(t, a.Mnt)); got != 3 {
		t.Errorf("after the umount the site has %v", list(t, a.Mnt))
	}
}

func isMount(t *testing.T, dir string) bool {
	t.Helper()
	b, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	return strings.Contains(string(b), " "+dir+" ")
}

// TestMountIsFusePairfs proves the type that tools see.
func TestMountIsFusePairfs(t *testing.T) {
	t.Parallel()
	a := Start(t, "tokyo")
	if got := strings.TrimSpace(Run(t, "findmnt", "-n", "-o", "FSTYPE", a.Mnt)); got != "fuse.pairfs" {
		t.Errorf("the mount is of type %q", got)
	}
	var st unix.Statfs_t
	if err := unix.Statfs(a.Mnt, &st); err != nil || st.Blocks == 0 || st.Bavail == 0 {
		t.Errorf("statfs: %+v %v", st, err)
	}
}

// TestSecondDaemonIsRefused starts a second daemon over the same state.
func TestSecondDaemonIsRefused(t *testing.T) {
	t.Parallel()
	a := Start(t, "tokyo")
	second := &Site{Name: "tokyo", Mnt: t.TempDir(), State: a.State, Ring: a.Ring, Listen: freePort(t), limit: siteLimit, t: t, log: a.log + "2"}
	t.Cleanup(func() {
		if second.Running() {
			second.giveUp()
		}
	})
	if err := second.TryStart(); err == nil {
		t.Fatal("two daemons serve one state directory")
	} else if !strings.Contains(err.Error(), a.State) {
		t.Errorf("the refusal does not name the state directory: %v", err)
	}
	if a.Get("site")["name"] != "tokyo" {
		t.Error("the first daemon suffered")
	}
}

// keepCopy starts a process in a mount namespace of its own, with a copy of the site's mount and of no other, as a container has one.
func keepCopy(t *testing.T, s *Site) (pid int) {
	t.Helper()
	cmd := exec.Command("unshare", "--mount", "--propagation", "private", "sh", "-c",
		`while read -r _ _ _ _ point rest; do case "$rest" in *fuse.pairfs*) [ "$point" = "$1" ] || umount -l "$point";; esac; done </proc/self/mountinfo; echo ready; read -r _`, "sh", s.Mnt)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { in.Close(); cmd.Wait() })
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "ready\n" {
		t.Fatalf("no copy of the mount: %q, %v", line, err)
	}
	return cmd.Process.Pid
}

// TestStopWithACopyElsewhere stops a site of whose mount another mount namespace has a copy: the kernel would let it serve that for ever. It names who has
// it, ends, and has lost nothing.
//
// It runs alone: a new mount namespace has a copy of every mount, and would keep the loop devices of other tests busy.
func TestStopWithACopyElsewhere(t *testing.T) {
	a := Start(t, "tokyo")
	a.MakeVolume("db", 16*mib)
	want := bytes.Repeat([]byte("kept "), 1000)
	f, err := os.OpenFile(a.Path("db"), os.O_WRONLY, 0)
	if err == nil {
		_, err = f.WriteAt(want, 4096)
	}
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
	pid := keepCopy(t, a)
	a.cmd.Process.Signal(unix.SIGTERM)
	a.WaitExit(stopLimit)
	if why := a.Log(); !strings.Contains(why, fmt.Sprintf("process %d) in a mount namespace of its own", pid)) {
		t.Errorf("the log does not name process %d:\n%s", pid, lastLines(why, 10))
	}
	a.Restart()
	got := make([]byte, len(want))
	g, err := os.Open(a.Path("db"))
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	if _, err := g.ReadAt(got, 4096); err != nil || !bytes.Equal(got, want) {
		t.Errorf("what was written is not there behind the stop (%v)", err)
	}
}
