package e2e

import (
	"fmt"
	"os"
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
