package journal_test

import (
	"os"
	"path/filepath"
	"testing"
)

// ringPath gives a place for a staging ring: tmpfs if the machine has it.
func ringPath(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "pairfs-test-")
	if err != nil {
		dir = t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return filepath.Join(dir, "group.ring")
}
