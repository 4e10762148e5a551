package replica

import (
	"context"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"
)

// A store whose flush failed once is never flushed again as far as anybody knows, so no checkpoint may pass over it, whether or not more
// was written to it.
func TestCheckpointBehindLostFlush(t *testing.T) {
	var fail atomic.Bool
	d := newDuo(t, withStores("tokyo", probe(func(_, what string, _ []byte, _ int64) error {
		if what == "sync" && fail.Load() {
			return unix.EIO
		}
		return nil
	})))
	d.a.group("g")
	d.a.volume("v")
	d.a.pair("g", "v")
	w := newWriter(d.a, "v")
	must(t, w.write(context.Background(), 0, 1, 1, true))
	g := d.a.site.groupByName("g")
	must(t, g.restorePass())
	fail.Store(true)
	d.a.vol("v").dirtySync.Store(true) // the group's own checkpoint may have come first
	if g.doCheckpoint(context.Background()) == nil {
		t.Fatal("a checkpoint passed over a flush that failed")
	}
	fail.Store(false)
	for range 2 {
		if g.doCheckpoint(context.Background()) == nil {
			t.Fatal("a later checkpoint passed over a flush that failed")
		}
		g.settle(context.Background())
	}
	if g.storeErr.Load() == nil {
		t.Fatal("the group forgot that its store failed")
	}
	d.a.discard()
}

// A gate that closes and opens while a host waits for ring room is no error for the host.
func TestGateChangesUnderWrite(t *testing.T) {
	d := newDuo(t)
	d.a.group("g")
	d.a.volume("v")
	d.a.pair("g", "v")
	a := d.a.vol("v").att
	if err := a.reserveError(context.Canceled); err != errAgain {
		t.Fatalf("got %v", err)
	}
}
