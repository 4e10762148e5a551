//go:build !race

package journal_test

import "os"

// stride is the step from one interrupted operation to the next: PAIRFS_LONG=1 visits all, every run some, from another one on each time.
var stride = everyOperation(os.Getenv("PAIRFS_LONG") != "")

func everyOperation(long bool) int {
	if long {
		return 1
	}
	return 5
}
