package replica

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"
)

// TestDiscardKeepsFirst: where what loses cannot be kept aside nothing is given up, whichever side it is: both sides stay as they were, and when
// it can be kept the same command goes well.
func TestDiscardKeepsFirst(t *testing.T) {
	t.Parallel()
	for _, lose := range []Side{SideHere, SideThere} {
		t.Run(string(lose), func(t *testing.T) {
			t.Parallel()
			for _, step := range []string{"make", "write", "sync all"} {
				var full atomic.Bool
				full.Store(true)
				d, here, there := bothWrote(t, func(name string, c *Config) {
					c.keptStep = func(now string) error {
						if now == step && full.Load() {
							return unix.ENOSPC
						}
						return nil
					}
				})
				before := [2]PairStatus{d.a.status("x"), d.b.status("x")}
				err := d.a.site.ResyncGroupWith(context.Background(), "g", ResyncOptions{Discard: lose})
				refused(t, err, KindNoSpace)
				for i, n := range []*node{d.a, d.b} {
					if st := n.status("x"); st.Status != before[i].Status || st.Role != before[i].Role || st.TakenOver != before[i].TakenOver || st.KeptSets != 0 {
						t.Errorf("%s: %s is %+v, it was %+v", step, n.cfg.Name, st, before[i])
					}
					want := [][]byte{here, there}[i]
					if got := readAll(t, n.vol("x"))[5*regionSize:][:len(want)]; string(got) != string(want) {
						t.Errorf("%s: %s lost what its hosts wrote: %q", step, n.cfg.Name, got[:40])
					}
				}
				d.a.writesRefused("x", "y")
				must(t, errors.Join(d.b.vol("x").Writable(), d.b.vol("y").Writable()))
				full.Store(false)
				must(t, d.a.site.ResyncGroupWith(context.Background(), "g", ResyncOptions{Discard: lose}))
				d.a.awaitBoth(PAIR, "x", "y")
				loser, lost := d.b, there
				if lose == SideHere {
					loser, lost = d.a, here
				}
				if got := loser.kept(5*regionSize, len(lost)); got != string(lost) {
					t.Errorf("%s: kept was %q", step, got[:40])
				}
				d.wantEqual("x", "y")
			}
		})
	}
}
