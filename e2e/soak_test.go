package e2e

import (
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"
)

// soakShort is how many cycles every run of the tests plays, with small volumes and few writes.
const soakShort = 10

// TestSoak keeps two sites under faults for as many cycles as PAIRFS_SOAK says: a group of three volumes with the smallest journal goes
// from tokyo to osaka, another one back, writers run at both, some of them as processes of their own. Each cycle kills, stops and cuts in random
// order while commands change the states of the pairs and takeovers their roles; then everything is mended, and what the package comment
// promises is checked. PAIRFS_SEED chooses the same faults again; at what moment of the daemons' work they come differs from run to run.
func TestSoak(t *testing.T) {
	t.Parallel()
	cycles, _ := strconv.Atoi(os.Getenv("PAIRFS_SOAK"))
	size, rates := 8*int64(mib), 7
	if cycles <= 0 {
		cycles, size, rates = soakShort, 2*mib, 3
	}
	s := newSoak(t, Options{Limit: 2 * time.Hour}, size, rates)
	for s.n = 1; s.n <= cycles; s.n++ {
		s.cycle()
	}
	s.end()
}

// soak is the state of a [TestSoak].
type soak struct {
	*Sites
	t     *soakT
	rng   *rand.Rand
	hosts []*host
	flows []*flow
	n     int    // of the cycle
	runs  uint64 // numbers of histories that were given

	rates  int  // hosts write up to 50, doubled so many times less one, times a second
	cutOff bool // the link is cut
	tries  tries
	done   map[string]int // what was done and checked, how often
}

// newSoak starts the sites and brings the groups, with volumes of that size, to PAIR.
func newSoak(t *testing.T, o Options, size int64, rates int) *soak {
	s := &soak{t: &soakT{T: t}, done: map[string]int{}, rates: rates}
	s.t.failing = s.report
	s.Sites = Two(s.t, o)
	s.rng = rand.New(rand.NewPCG(s.Seed, 0))
	tokyo, osaka := &host{Site: s.A}, &host{Site: s.B}
	s.hosts = []*host{tokyo, osaka}
	// The daemons must run when the sites are cleaned up, which is after this.
	t.Cleanup(func() {
		for _, h := range s.hosts {
			h.proceed()
		}
	})
	s.flows = []*flow{
		{s: s, from: tokyo, to: osaka, group: "g", journal: "16MiB", volumes: three, size: size},
		{s: s, from: osaka, to: tokyo, group: "back", journal: "64MiB", volumes: []string{"b"}, size: size},
	}
	for _, f := range s.flows {
		f.home, f.main = f.from, &stream{f: f, at: f.from, h: NewHistory(s.newRun())}
		f.from.Do("groups/"+f.group, "create size="+f.journal+" inflow-control=yes overflow-watch=10s copy-pace=high")
		for _, v := range f.volumes {
			f.from.MakeVolume(v, f.size)
		}
		f.create()
		f.settle()
	}
	return s
}

// cycle is one round of faults, and what is checked after it.
func (s *soak) cycle() {
	s.t.Logf("cycle %d", s.n)
	s.weather()
	for _, f := range s.flows {
		f.write()
	}
	for range 1 + s.rng.IntN(5) {
		s.moment(400 * time.Millisecond)
		s.act()
	}
	s.heal()
	for _, i := range s.rng.Perm(len(s.flows)) {
		s.flows[i].close()
	}
}

// end stops both sites cleanly and says what was done.
func (s *soak) end() {
	for _, f := range s.flows {
		f.compare()
	}
	s.A.Stop()
	s.B.Stop()
	s.t.Logf("%d cycles: %v; refused: %v", s.n-1, s.done, s.tries.refused)
}

// chance is true once in n times.
func (s *soak) chance(n int) bool { return s.rng.IntN(n) == 0 }

// moment lets a random time pass, for it is at a random instant that a fault has to come. Nothing is concluded from it.
func (s *soak) moment(most time.Duration) { <-time.After(time.Duration(s.rng.Int64N(int64(most)))) }

// newRun gives a history a number of its own.
func (s *soak) newRun() uint64 {
	s.runs++
	return s.Seed ^ s.runs<<40
}

// did counts what was done or checked.
func (s *soak) did(what string, n int) { s.done[what] += n }

// eventually waits for a condition that need not come.
func eventually(limit time.Duration, cond func() bool) bool {
	deadline := time.NewTimer(limit)
	defer deadline.Stop()
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	for !cond() {
		select {
		case <-ticker.C:
		case <-deadline.C:
			return cond()
		}
	}
	return true
}
