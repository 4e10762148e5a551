package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// loopMount puts a file system on a loop device over a volume and mounts it. undo is safe to call twice and runs at the end anyway.
func loopMount(t *testing.T, volume, fstype, options string, mkfs bool) (dir string, undo func()) {
	t.Helper()
	loop := strings.TrimSpace(Run(t, "losetup", "--find", "--show", "--direct-io=on", volume))
	dir = t.TempDir()
	mounted, attached := false, true
	undo = func() {
		if mounted {
			// A process that another test starts has, between its fork and its exec, all files that are open here.
			var err error
			eventually(30*time.Second, func() bool { err = unix.Unmount(dir, 0); return err != unix.EBUSY })
			if err != nil {
				t.Errorf("umount %s: %v", dir, err)
				unix.Unmount(dir, unix.MNT_DETACH)
			}
			mounted = false
		}
		if attached {
			Run(t, "losetup", "--detach", loop)
			attached = false
		}
	}
	t.Cleanup(undo)
	if mkfs {
		args := map[string][]string{"ext4": {"-q", "-F", loop}, "xfs": {"-q", "-f", loop}}[fstype]
		Run(t, "mkfs."+fstype, args...)
	}
	Run(t, "mount", "-t", fstype, "-o", options, loop, dir)
	mounted = true
	return dir, undo
}

// churn makes, changes and removes files, some synced.
func churn(t *testing.T, dir string, round int) {
	t.Helper()
	for i := range 60 {
		path := filepath.Join(dir, fmt.Sprintf("d%d", i%5), fmt.Sprintf("f%d", i))
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		text := strings.Repeat(fmt.Sprintf("round %d file %d\n", round, i), 100*(i+1))
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if i%10 == 0 {
			syncFile(t, path)
		}
		if i%7 == 3 {
			os.Remove(path)
		}
	}
}

// TestFilesystemsOnVolumes keeps ext4 and xfs with discard on loop devices over P-VOLs: after a suspend in the middle of their work
// both sides are clean for fsck (after replay of their own journal on a copy), and the volumes are equal in the end.
func TestFilesystemsOnVolumes(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		fstype, options string
		size            int64
		fsck            []string
	}{
		{"ext4", "discard", 128 * mib, []string{"e2fsck", "-f", "-n"}},
		{"xfs", "discard,nouuid", 384 * mib, []string{"xfs_repair", "-n"}},
	} {
		t.Run(row.fstype, func(t *testing.T) {
			s := Two(t)
			s.A.MakeVolume("disk", row.size)
			s.CreatePair("pair0", "disk", "")
			s.WaitBoth("pair0", "PAIR")
			dir, undo := loopMount(t, s.A.Path("disk"), row.fstype, row.options, true)
			churn(t, dir, 1)

			// Suspended in the middle: the S-VOL is what a crash would leave. Mounting a copy replays the journal of the file system.
			s.A.Do("pair0", "suspend")
			s.WaitBoth("pair0", "PSUS")
			churn(t, dir, 2)
			checkCrashImage(t, s.B.Path("disk"), row.fstype, row.options, row.fsck)

			s.A.Do("pair0", "resync")
			s.WaitBoth("pair0", "PAIR")
			churn(t, dir, 3)
			os.RemoveAll(filepath.Join(dir, "d1"))
			Run(t, "fstrim", dir)
			undo()
			s.A.Do("pair0", "suspend")
			s.WaitBoth("pair0", "PSUS")
			for _, side := range []*Site{s.A, s.B} {
				Run(t, row.fsck[0], append(row.fsck[1:len(row.fsck):len(row.fsck)], side.Path("disk"))...)
			}
			s.SameVolumes("disk")
		})
	}
}

// checkCrashImage copies an S-VOL, mounts the copy, and checks that it is clean and that what was synced in round 1 is there.
func checkCrashImage(t *testing.T, svol, fstype, options string, fsck []string) {
	t.Helper()
	copied := filepath.Join(t.TempDir(), "copy")
	Run(t, "cp", "--sparse=always", svol, copied)
	dir, undo := loopMount(t, copied, fstype, options, false)
	b, err := os.ReadFile(filepath.Join(dir, "d0", "f20"))
	if err != nil || !strings.HasPrefix(string(b), "round 1 file 20\n") {
		t.Errorf("a synced file is not in the image of the suspend: %.20q %v", b, err)
	}
	undo()
	Run(t, fsck[0], append(fsck[1:len(fsck):len(fsck)], copied)...)
}

// TestFilesystemRunsOnTheSplitCopy mounts the S-VOL itself after a split with write option, works on it, and resynchronises.
func TestFilesystemRunsOnTheSplitCopy(t *testing.T) {
	t.Parallel()
	s := Two(t)
	s.A.MakeVolume("disk", 64*mib)
	s.CreatePair("pair0", "disk", "")
	s.WaitBoth("pair0", "PAIR")
	dirA, undoA := loopMount(t, s.A.Path("disk"), "ext4", "discard", true)
	churn(t, dirA, 1)
	Run(t, "sync", "-f", dirA)
	s.A.Do("pair0", "suspend svol-write=enable")
	s.WaitBoth("pair0", "PSUS")
	dirB, undoB := loopMount(t, s.B.Path("disk"), "ext4", "discard", false)
	churn(t, dirB, 7)
	churn(t, dirA, 2)
	undoB()
	s.A.Do("pair0", "resync")
	s.WaitBoth("pair0", "PAIR")
	undoA()
	s.A.AwaitDrained("pair0")
	s.SameVolumes("disk")
	Run(t, "e2fsck", "-f", "-n", s.B.Path("disk"))
}
