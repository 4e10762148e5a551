package replica

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"
)

// paths sets the number of paths of a group and waits until both sides have them.
func (w *world) paths(g *simGroup, n string, want int) {
	w.t.Helper()
	must(w.t, g.home.site.SetGroup(context.Background(), g.master(), map[string]string{"paths": n}))
	w.until(fmt.Sprintf("there are %d paths", want), func() bool {
		return g.home.groupStatus(g.master()).Usage.Paths == want && g.away().groupStatus(g.restored()).Usage.Paths == want
	})
}

// early watches how many batches wait for their turn at the secondary of a group, and returns the most at the end.
func (w *world) early(g *simGroup) (most func() int) {
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	n := 0
	wg.Go(func() {
		for pause(ctx, time.Millisecond) == nil {
			own := g.away().site.groupByName(g.restored())
			own.mu.Lock()
			p := own.pulling
			own.mu.Unlock()
			if p != nil {
				p.gateMu.Lock()
				n = max(n, len(p.early))
				p.gateMu.Unlock()
			}
		}
	})
	most = sync.OnceValue(func() int { cancel(); wg.Wait(); return n })
	w.t.Cleanup(func() { most() })
	return most
}

// drained waits until the secondary of a group has all.
func (w *world) drained(g *simGroup) {
	w.t.Helper()
	w.until("all of "+g.name+" arrives", func() bool { return g.home.groupStatus(g.master()).LagSeq == 0 })
}

// splitsEqual ends a run: the S-VOLs are what the P-VOLs are.
func (w *world) splitsEqual(g *simGroup) {
	w.t.Helper()
	must(w.t, g.home.site.SuspendGroup(context.Background(), g.master(), SuspendOptions{}))
	w.awaitStatus(g, PSUS)
	g.w.check(g.away().node, everyAck)
	w.wantEqual(g.w.names...)
}

// TestPathsOfDifferentLengths: batches go over paths of which each takes another time and loses packets, and come in an order that is not theirs. What
// the secondary makes of them is one prefix at every moment, while pairs are split and taken up again among them.
func TestPathsOfDifferentLengths(t *testing.T) {
	inPair(t, func(t *testing.T, w *world, g *simGroup, tokyo, osaka *simSite) {
		for _, s := range w.sites {
			s.far = []time.Duration{0, 15 * time.Millisecond, 60 * time.Millisecond, 200 * time.Millisecond}
		}
		w.net.Drop(0.01)
		w.paths(g, "4", 4)
		most := w.early(g)
		rng := newRand(testSeed(t))
		for round := range 12 {
			w.startHost(g, rng.Uint64(), 60, 256)
			w.startHost(g, rng.Uint64(), 60, 8)
			for range 4 {
				time.Sleep(time.Duration(rng.IntN(int(200 * time.Millisecond))))
				w.look()
			}
			v := g.w.names[round%2]
			switch round % 4 {
			case 0:
				must(t, tokyo.site.SuspendPair(context.Background(), v, SuspendOptions{Purge: true}))
			case 2:
				must(t, tokyo.site.SuspendPair(context.Background(), v, SuspendOptions{}))
			}
			w.look()
			time.Sleep(time.Duration(rng.IntN(int(time.Second))))
			w.finished(&tokyo.busy, "hosts")
			w.again("resync", func() error { return tokyo.site.ResyncGroup(context.Background(), g.master()) })
			w.look()
		}
		w.awaitStatus(g, PAIR)
		w.drained(g)
		if n := most(); n < 3 {
			t.Errorf("at most %d batches came before their turn", n)
		}
		if n := osaka.groupStatus(g.restored()).Usage.Reconnects; n != 0 {
			t.Errorf("the mirror came up again %d times", n)
		}
		w.splitsEqual(g)
	})
}
