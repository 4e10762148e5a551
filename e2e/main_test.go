package e2e

import (
	"fmt"
	"os"
	"testing"

	"pairfs/e2e/faultfs"
)

// TestMain builds the binary once for all tests.
func TestMain(m *testing.M) {
	ServeWriter()
	faultfs.Serve()
	serveFsx()
	os.Exit(buildAndRun(m))
}

func buildAndRun(m *testing.M) int {
	dir, err := os.MkdirTemp("", "pairfs-e2e-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	if err := Build(dir); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}
