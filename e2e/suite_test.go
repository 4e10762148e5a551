package e2e

import (
	"os"
	"testing"
	"time"
)

// needSuites skips a suite unless it was asked for.
func needSuites(t *testing.T) {
	t.Helper()
	if os.Getenv("PAIRFS_SUITES") == "" {
		t.Skip("suites run with PAIRFS_SUITES=1: `make suites` installs their programs and sets it")
	}
}

// suiteLimit ends the daemons of a suite that hangs.
const suiteLimit = time.Hour
