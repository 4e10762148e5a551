package replica

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// The tests of the pacer run in a bubble: its time is counted, and nobody waits for it.

// TestPacerKeepsItsRate: at any moment no more has passed than a burst and the rate times the time, and what waits is not held longer
// than that.
func TestPacerKeepsItsRate(t *testing.T) {
	seed := testSeed(t)
	synctest.Test(t, func(t *testing.T) {
		rng := newRand(seed)
		for range 20 {
			rate, began, passed := float64(lineSpeedMin+rng.IntN(100<<20)), time.Now(), 0
			p := newPacer(batchMax)
			p.set(rate)
			for range 50 {
				n := 1 + rng.IntN(batchMax)
				must(t, p.wait(t.Context(), n))
				passed += n
				may := batchMax + rate*time.Since(began).Seconds()
				if float64(passed) > may+1 {
					t.Fatalf("%d bytes passed, %v may have", passed, may)
				}
				if float64(passed) < may-batchMax-rate/1000 {
					t.Fatalf("%d bytes passed, %v might have", passed, may)
				}
				if rng.IntN(10) == 0 {
					time.Sleep(time.Duration(rng.IntN(1000)) * time.Millisecond) // a quiet moment gives a burst at most
					began, passed = time.Now().Add(-time.Duration(batchMax/rate*float64(time.Second))), 0
					must(t, p.wait(t.Context(), batchMax)) // and that is taken
					began = time.Now()
					passed = batchMax
				}
			}
		}
	})
}

// TestPacerSharedByMany: many at once get one rate, and none of them starves.
func TestPacerSharedByMany(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const rate, each, count = 1 << 20, 256 << 10, 40
		p := newPacer(recordMax)
		p.set(rate)
		began := time.Now()
		var all sync.WaitGroup
		for range count {
			all.Go(func() { must(t, p.wait(t.Context(), each)) })
		}
		all.Wait()
		want := time.Duration(float64(count*each-recordMax) / rate * float64(time.Second))
		if took := time.Since(began); took < want || took > want+time.Second/10 {
			t.Errorf("%d bytes took %v, want %v", count*each, took, want)
		}
	})
}

// TestPacerChanges: a new rate holds at once for who waits already; no rate lets everybody go; who gives up leaves the others their turn.
func TestPacerChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPacer(recordMax)
		began := time.Now()
		for range 100 {
			must(t, p.wait(t.Context(), recordMax))
		}
		p.set(1)
		must(t, p.wait(t.Context(), recordMax)) // the burst
		ended := make(chan string, 2)
		ctx, cancel := context.WithCancel(t.Context())
		go func() { ended <- fmt.Sprint("first ", errors.Is(p.wait(ctx, recordMax), context.Canceled)) }()
		synctest.Wait()
		go func() { ended <- fmt.Sprint("second ", p.wait(t.Context(), recordMax)) }()
		synctest.Wait()
		if time.Since(began) != 0 || len(ended) != 0 {
			t.Fatalf("%v passed and %d have ended", time.Since(began), len(ended))
		}
		cancel()
		if w := <-ended; w != "first true" {
			t.Fatal(w)
		}
		p.set(recordMax)
		if w := <-ended; w != "second <nil>" || time.Since(began) > 2*time.Second {
			t.Fatal(w, time.Since(began))
		}
		p.set(1)
		go func() { ended <- fmt.Sprint("third ", p.wait(t.Context(), recordMax)) }()
		synctest.Wait()
		at := time.Now()
		p.set(0)
		if w := <-ended; w != "third <nil>" || time.Since(at) != 0 {
			t.Fatal(w, time.Since(at))
		}
	})
}

// TestLineSpeedHolds: a mirror whose line lets no more than a burst pass sends no more, copies included, and all when it does.
func TestLineSpeedHolds(t *testing.T) {
	t.Parallel()
	d := newDuo(t)
	w := newWriter(d.a, "x")
	d.a.group("g")
	d.a.volume("x")
	for n := int64(0); n < 4; n++ {
		must(t, w.write(context.Background(), 0, n*256, 256, false))
	}
	g := d.a.site.groupByName("g")
	g.line.set(1)
	must(t, d.a.site.CreatePair(context.Background(), PairSpec{Name: "x", Volume: "x", Peer: "osaka", Group: "g"}))
	d.wait("the sender waits for the line", func() bool { return len(g.line.turn) > 0 && g.sent.Load() > 0 || d.a.status("x").Status == PAIR })
	if sent := g.sent.Load(); sent > batchMax || d.a.status("x").Status == PAIR {
		t.Fatalf("%d bytes were sent, and the pair is %s", sent, d.a.status("x").Status)
	}
	g.line.set(0)
	d.a.awaitBoth(PAIR, "x")
	d.a.suspend("g", SuspendOptions{}, "x")
	d.wantEqual("x")
}

// TestCopyPaceShares: a copy keeps the store busy for its part of the time, and updates go first, more so at a lower pace.
func TestCopyPaceShares(t *testing.T) {
	paces := []CopyPace{PaceLow, PaceMedium, PaceHigh}
	var shares []float64
	var updates []int
	for _, p := range paces {
		for _, busy := range []time.Duration{time.Microsecond, time.Millisecond, time.Second} {
			share := float64(busy) / float64(busy+p.rest(busy))
			if diff := share - paceShares[p].store; diff > 1e-3 || diff < -1e-3 {
				t.Errorf("%s: %v busy and %v at rest is %v, want %v", p, busy, p.rest(busy), share, paceShares[p].store)
			}
		}
		shares, updates = append(shares, paceShares[p].store), append(updates, -paceShares[p].updates)
	}
	if !slices.IsSorted(shares) || !slices.IsSorted(updates) || shares[0] <= 0 || shares[2] > 1 || updates[2] > -1 {
		t.Errorf("shares %v, updates %v", shares, updates)
	}
	if PaceHigh.rest(time.Second) != 0 {
		t.Error("a copy at high pace rests")
	}
}
