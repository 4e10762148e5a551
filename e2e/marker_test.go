package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// mark runs a command that prints a marker.
func (s *Site) mark(args ...string) string {
	s.t.Helper()
	out, code := s.CLI(args...)
	if marker := strings.TrimSpace(out); code == 0 && strings.Count(marker, "\n") == 0 && strings.Count(marker, "/") == 1 {
		return marker
	}
	s.t.Fatalf("%s: status %d, %q", strings.Join(args, " "), code, out)
	return ""
}

// needsRecovery reports whether an ext4 image has to be recovered by its journal before it is whole.
func needsRecovery(t *testing.T, image string) bool {
	t.Helper()
	return strings.Contains(Run(t, "dumpe2fs", "-h", image), "needs_recovery")
}

// frozen does something while a file system is frozen: everything that its applications wrote is on the volume, and nothing changes.
func frozen(t *testing.T, dir string, do func()) {
	t.Helper()
	Run(t, "fsfreeze", "--freeze", dir)
	defer Run(t, "fsfreeze", "--unfreeze", dir)
	do()
}

// TestApplicationConsistentSplit: a file system is frozen, the split is made a marker, and it is thawed while the secondary is still receiving.
// The S-VOL is then the file system as it was while it was frozen: it needs no recovery, it has what nobody had synced, and nothing of what was
// written a moment later. A split without that is what a crash would leave.
func TestApplicationConsistentSplit(t *testing.T) {
	t.Parallel()
	s := Two(t)
	s.A.MakeVolume("disk", 128*mib)
	s.CreatePair("pair0", "disk", "")
	s.WaitBoth("pair0", "PAIR")
	dir, _ := loopMount(t, s.A.Path("disk"), "ext4", "discard", true)
	churn(t, dir, 1)

	// A marker that is waited for while applications go on.
	write := func(name string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(strings.Repeat(name+"\n", 1000)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("unsynced")
	var m string
	frozen(t, dir, func() { m = s.A.mark("group", "mark", "default") })
	churn(t, dir, 2)
	for _, side := range []*Site{s.A, s.B} {
		if out, code := side.CLI("wait", "--marker", m); code != 0 {
			t.Fatalf("%s: wait for %s: status %d, %s", side.Name, m, code, out)
		}
	}

	// A split in the middle, for comparison.
	s.A.Do("pair0", "suspend")
	s.WaitBoth("pair0", "PSUS")
	if !needsRecovery(t, s.B.Path("disk")) {
		t.Fatal("a file system that was split in the middle of its work needs no recovery: this test could not fail")
	}
	s.A.Do("pair0", "resync")
	s.WaitBoth("pair0", "PAIR")

	churn(t, dir, 3)
	write("before")
	frozen(t, dir, func() { m = s.A.mark("pair", "suspend", "pair0", "--mark") })
	write("after")
	Run(t, "sync", "-f", dir)
	churn(t, dir, 4)
	s.WaitBoth("pair0", "PSUS")
	number := m[strings.LastIndex(m, "-")+1:]
	for _, side := range []*Site{s.A, s.B} {
		if got := side.Get("pair0")["suspend-seq"]; got != number {
			t.Errorf("%s stopped at %s, the marker is %s", side.Name, got, m)
		}
		if out, code := side.CLI("wait", "--marker", m); code != 0 {
			t.Errorf("%s: wait for %s: status %d, %s", side.Name, m, code, out)
		}
	}
	svol := s.B.Path("disk")
	if needsRecovery(t, svol) {
		t.Error("the S-VOL needs recovery")
	}
	Run(t, "e2fsck", "-f", "-n", svol)
	there, _ := loopMount(t, svol, "ext4", "ro,noload", false)
	for _, name := range []string{"unsynced", "before"} {
		if b, err := os.ReadFile(filepath.Join(there, name)); err != nil || string(b) != strings.Repeat(name+"\n", 1000) {
			t.Errorf("file %s: %d bytes, %v", name, len(b), err)
		}
	}
	if _, err := os.Stat(filepath.Join(there, "after")); !os.IsNotExist(err) {
		t.Errorf("what was written after the marker: %v", err)
	}
	if b, err := os.ReadFile(filepath.Join(there, "d1", "f1")); err != nil || !strings.HasPrefix(string(b), "round 3 file 1\n") {
		t.Errorf("a file of the last round: %.20q, %v", b, err)
	}
}
