package e2e

import (
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"
)

// TestSoak keeps two sites under faults for as many cycles as PAIRFS_SOAK says: a group of three volumes with the smallest journal goes
// from tokyo to osaka, another one back, writers run at both. Each cycle kills, stops and cuts in random order while commands change the
// states of the pairs; then everything is mended, and what the package comment promises is checked. PAIRFS_SEED chooses the same faults
// again; at what moment of the daemons' work they come differs from run to run.
func TestSoak(t *testing.T) {
	cycles, _ := strconv.Atoi(os.Getenv("PAIRFS_SOAK"))
	if cycles <= 0 {
		t.Skip("PAIRFS_SOAK is not set to a number of cycles")
	}
	if os.Getenv("PAIRFS_SEED") == "" {
		t.Setenv("PAIRFS_SEED", strconv.FormatInt(time.Now().UnixNano(), 10))
	}
	s := newSoak(t, 2*time.Hour)
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
	n     int // of the cycle

	cutOff bool // the link is cut
	tries  tries
	done   map[string]int // what was done and checked, how often
}

// newSoak starts the sites and brings the groups to PAIR.
func newSoak(t *testing.T, limit time.Duration) *soak {
	s := &soak{t: &soakT{T: t}, done: map[string]int{}}
	s.t.failing = s.report
	s.Sites = Two(s.t, Options{Limit: limit})
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
		{s: s, from: tokyo, to: osaka, group: "g", journal: "16MiB", volumes: three, size: 8 * mib},
		{s: s, from: osaka, to: tokyo, group: "back", journal: "64MiB", volumes: []string{"b"}, size: 8 * mib},
	}
	for i, f := range s.flows {
		f.h = NewHistory(s.Seed + uint64(i)<<32)
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
		f.settle()
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
