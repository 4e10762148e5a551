package replica

import (
	"fmt"
	"maps"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// TestVirtualTime runs random hosts, commands, link faults, crashes and disk failures on two whole sites, and checks I1, I2 and I4 to I8
// after every step. One seed is one run; as many run at once as there are processors. The files: sim_plan_test.go makes the steps from the
// seed alone, sim_do_test.go and sim_hosts_test.go carry them out, sim_disks_test.go lets disks fail, sim_clock_test.go sets clocks and
// watches the lag, sim_check_test.go looks at every moment, sim_settle_test.go at what has come to rest, sim_world_test.go is what they run in.
//
// Virtual, by a synctest bubble, is all time: path watch, data overflow watch, flushes that are given up, keep-alive, paces and line speed,
// QUIC's timers, the link's latency. Time passes only while every goroutine waits, so a run of some minutes takes a second, and what the
// checks read is one moment of both sites. Simulated are the link (wiretest.Network) and the disks of the journals, which can lose
// power and fail (journaltest.FS). Real are the files of stores and site.db, both on tmpfs, and the staging rings, mapped as ever. A
// system call on them stops time while it lasts. A power cut takes the rings, and what the stores did not flush by a layer above the files
// (mortalStores); site.db keeps every transaction that ended, as fsync promises. What a failed flush of a store lost is gone when the daemon
// is started anew; until then the system's memory shows it, though a real one may drop it earlier. A kill is that of [node.crash], with the
// link cut off first. The wall clock of a site is virtual time and what it was set by.
//
// A mutex stops time too, for who waits in one does not count as waiting. So what the product holds while it waits for the peer or for room
// is a [waitLock].
//
// A seed repeats the choices. How goroutines interleave between two moments is the scheduler's, so a failure that hangs on it may need some
// runs of its seed.
//
//	PAIRFS_SEED=n    runs that seed alone
//	PAIRFS_SIM=n     runs n seeds, from PAIRFS_SEED on if that is set: every second one here, the others in TestVirtualTakeover; make sim SEEDS=n
func TestVirtualTime(t *testing.T) { simulateAll(t, false) }

// TestVirtualTakeover is TestVirtualTime with takeovers, exchanges of the roles and what is given up behind them, at both sides; sim_turn_test.go
// says how the checks follow the roles.
func TestVirtualTakeover(t *testing.T) { simulateAll(t, true) }

// simulateAll runs the seeds, as many at a time as there are processors.
func simulateAll(t *testing.T, turns bool) {
	t.Helper()
	seeds, budget := simSeeds(t, turns)
	began, seen := time.Now(), &simSeen{n: map[string]int{}}
	var next atomic.Int64
	var all sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), len(seeds)) { // runs know nothing of each other
		all.Go(func() {
			for {
				i := int(next.Add(1)) - 1
				if i >= len(seeds) || budget > 0 && i >= simLeast && time.Since(began) > budget {
					return
				}
				t.Run(fmt.Sprint(seeds[i]), func(t *testing.T) { simulate(t, seeds[i], seen, turns) })
			}
		})
	}
	all.Wait()
	for _, what := range slices.Sorted(maps.Keys(seen.n)) {
		t.Logf("%7d × %s", seen.n[what], what)
	}
}

// simSeen counts what the checks of all runs met.
type simSeen struct {
	mu sync.Mutex
	n  map[string]int
}

func (s *simSeen) add(more map[string]int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for what, n := range more {
		s.n[what] += n
	}
}

const (
	simSteps  = 32
	simLeast  = 3                // seeds that are run however slow the machine is
	simBudget = 12 * time.Second // of real time: when it is spent no further seed is begun
)

// simFixed are the seeds that every run of the tests begins with.
var simFixed = []uint64{1, 2, 3, 4, 5, 6}

// simSeeds says what to run: what the environment says, or else fixed seeds and fresh ones by turns within a budget.
func simSeeds(t *testing.T, turns bool) (seeds []uint64, budget time.Duration) {
	t.Helper()
	first := testSeed(t)
	n, _ := strconv.Atoi(os.Getenv("PAIRFS_SIM"))
	if n == 0 && os.Getenv("PAIRFS_SEED") != "" {
		n = 1
	}
	for i := range n {
		if n == 1 || turns == (i%2 == 1) {
			seeds = append(seeds, first+uint64(i))
		}
	}
	if n > 0 {
		return seeds, 0
	}
	for i, fixed := range simFixed {
		seeds = append(seeds, fixed, first+uint64(i))
	}
	return seeds, simBudget
}

// simulate is one run.
func simulate(t *testing.T, seed uint64, seen *simSeen, turns bool) {
	t.Helper()
	began, virtual := time.Now(), time.Duration(0)
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, seed)
		t.Cleanup(func() { w.tell(seed, t.Name()) })
		w.turns = turns
		w.farther(seed)
		for _, s := range plan(seed, simSteps, turns) {
			w.do(s)
			w.look()
		}
		w.finish()
		virtual = time.Since(w.began)
		seen.add(w.seen)
	})
	t.Logf("seed %d: %v in %v", seed, virtual.Round(time.Second), time.Since(began).Round(time.Millisecond))
}

// tell says what was done in a run that failed, and how to repeat it.
func (w *world) tell(seed uint64, name string) {
	if !w.t.Failed() {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, line := range w.log {
		w.t.Log(line)
	}
	name, _, _ = strings.Cut(name, "/")
	w.t.Logf("seed %d failed: PAIRFS_SEED=%d go test ./replica -run %s repeats the choices", seed, seed, name)
}

// TestWaitLock: any number share it or one has it alone, and who waits for it in a bubble does not stop its time.
func TestWaitLock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l waitLock
		var wg sync.WaitGroup
		inside := 0
		for i := range 8 {
			wg.Go(func() {
				for range 100 {
					l.Lock()
					inside++
					time.Sleep(time.Duration(i) * time.Millisecond)
					inside--
					l.Unlock()
				}
			})
			wg.Go(func() {
				for range 100 {
					l.RLock()
					if inside != 0 {
						t.Error("shared while somebody has it alone")
					}
					time.Sleep(time.Millisecond)
					l.RUnlock()
				}
			})
		}
		wg.Wait()
		if !l.TryLock() {
			t.Fatal("it is not free")
		}
		if l.TryLock() {
			t.Fatal("two have it alone")
		}
		l.Unlock()
		l.RLock()
		if l.TryLock() {
			t.Fatal("one has it alone while another shares it")
		}
		l.RLock()
		l.RUnlock()
		l.RUnlock()
	})
}

// TestWaitLockInTurn: who takes it again and again leaves it to who waits for it.
func TestWaitLockInTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l waitLock
		var got atomic.Int64
		l.Lock()
		for range 3 {
			go func() {
				l.Lock()
				got.Add(1)
				l.Unlock()
			}()
		}
		synctest.Wait()
		l.Unlock()
		l.Lock()
		if n := got.Load(); n != 3 {
			t.Errorf("of three who waited %d got it before who came last", n)
		}
		l.Unlock()
	})
}
