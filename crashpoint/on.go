//go:build crashpoints

package crashpoint

import (
	"fmt"
	"os"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// armed is where this process dies, and how often it is still there before. Written before main begins.
var armed struct {
	point Point
	left  atomic.Int64
}

// The variable is read before main, so that a daemon which would never come to the point does not start.
func init() {
	point, times, err := parse(os.Getenv("PAIRFS_CRASH"))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	armed.point = point
	armed.left.Store(times)
}

// Hit says that the daemon is at a point. If it is the one, for the time that was named, the daemon dies here.
func Hit(p Point) {
	if p != armed.point || armed.left.Add(-1) != 0 {
		return
	}
	fmt.Fprintf(os.Stderr, "crash point %s\n", p)
	_ = unix.Kill(os.Getpid(), unix.SIGKILL)
	select {} // nothing comes behind this point
}
