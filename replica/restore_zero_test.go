package replica

import (
	"context"
	"sync/atomic"
	"testing"
)

// TestDiscardIsOneCall discards a sparse volume that is paired: restore joins the regions, so it ends in a few calls to the store, and what it leaves is zeroes.
func TestDiscardIsOneCall(t *testing.T) {
	t.Parallel()
	calls := &countedPunches{}
	d := newDuo(t, withStores("tokyo", calls.wrap))
	ctx := context.Background()
	v := d.a.volume("x")
	const size = 8 << 30
	must(t, v.Resize(ctx, size))
	if _, err := v.WriteAt(ctx, []byte("here"), size/2, false); err != nil {
		t.Fatal(err)
	}
	d.a.group("g")
	d.a.pair("g", "x")
	must(t, v.Discard(ctx, 0, size))
	b := make([]byte, 4)
	if _, err := v.ReadAt(b, size/2); err != nil || string(b) != "\x00\x00\x00\x00" {
		t.Fatalf("%q, %v", b, err)
	}
	g := d.a.site.groupByName("g")
	d.wait("everything is restored", func() bool { g.kickRestore(); return g.overlayRegions() == 0 })
	if n := calls.n.Load(); n > 4*size/discardMax {
		t.Errorf("a discard of %d GiB made %d calls to the store", size>>30, n)
	}
	d.wait("the peer follows", func() bool { return d.a.status("x").LagSeq == 0 })
}

// countedPunches counts the calls that change the allocation of a store.
type countedPunches struct{ n atomic.Int64 }

type countedPunch struct {
	storeFile
	n *atomic.Int64
}

func (c *countedPunches) wrap(_ string, f storeFile) storeFile { return countedPunch{f, &c.n} }

func (f countedPunch) Fallocate(mode uint32, off, n int64) error {
	f.n.Add(1)
	return f.storeFile.Fallocate(mode, off, n)
}
