package replica

import (
	"context"
	"os"
	"runtime"
	"sync"
	"testing"
	"time"
)

// atLength skips what is too long for every run of the tests: `make links` sets PAIRFS_LINKS.
func atLength(t *testing.T, always bool) {
	t.Helper()
	if !always && os.Getenv("PAIRFS_LINKS") == "" {
		t.Skip("with PAIRFS_LINKS=1")
	}
}

// outage follows a group at a site through the time in which its peer is of no use. It looks each outageLook.
type outage struct {
	t     *testing.T
	at    *simSite
	g     *group
	began time.Time
	first uint64 // the event behind which it began

	mu   sync.Mutex
	down time.Duration            // when the mirror was seen to be down first, since began; 0 before
	psue map[string]time.Duration // by pair: when it was seen suspended, since down
}

const outageLook = 50 * time.Millisecond

// outage begins one now.
func (s *simSite) outage(name string) *outage {
	o := &outage{t: s.t.(*testing.T), at: s, g: s.site.groupByName(name), began: time.Now(), psue: map[string]time.Duration{}}
	if e := s.site.Events(); len(e) > 0 {
		o.first = e[len(e)-1].ID
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for o.look(); pause(ctx, outageLook) == nil; o.look() {
		}
	}()
	s.t.Cleanup(func() { cancel(); <-ended })
	return o
}

// look takes one look.
func (o *outage) look() {
	o.g.mu.Lock()
	defer o.g.mu.Unlock()
	o.mu.Lock()
	defer o.mu.Unlock()
	now := time.Since(o.began)
	if !o.g.linked && o.down == 0 {
		o.down = max(now, 1)
	}
	for name, p := range o.g.pairs {
		if _, seen := o.psue[name]; !seen && p.shown.Status == PSUE {
			o.psue[name] = now - o.down
		}
	}
}

// until waits for a condition, and looks at each second that the site stays within its bound of memory. It returns how long it has been since the outage
// began; most is how long that may be.
func (o *outage) until(what string, most time.Duration, ok func() bool) time.Duration {
	o.t.Helper()
	for n := 0; !ok(); n++ {
		if time.Since(o.began) > most {
			o.at.world.dump()
			o.t.Fatalf("%s: not %v behind the begin", what, most)
		}
		time.Sleep(outageLook)
		if n%20 > 0 {
			continue
		}
		if st := o.at.site.Status(); st.MemoryUsed > st.MemoryLimit {
			o.t.Fatalf("%s uses %d bytes of memory, its bound is %d", st.Name, st.MemoryUsed, st.MemoryLimit)
		}
	}
	return time.Since(o.began)
}

// awaitDown waits until the mirror was down and returns when.
func (o *outage) awaitDown(most time.Duration) (down time.Duration) {
	o.t.Helper()
	o.until("the mirror is down", most, func() bool {
		o.mu.Lock()
		defer o.mu.Unlock()
		down = o.down
		return down > 0
	})
	return down
}

// awaitPathLost expects the pairs to be suspended when path watch time has passed since the mirror was down: not before, and behind it by no more
// than the time between two looks of the worker.
func (o *outage) awaitPathLost(pairs ...string) {
	o.t.Helper()
	watch := o.g.opts.Load().PathWatch
	for _, p := range pairs {
		var took time.Duration
		o.until(p+" is suspended", 2*activeWatch+watch+time.Minute, func() bool {
			o.mu.Lock()
			defer o.mu.Unlock()
			at, ok := o.psue[p]
			took = at
			return ok
		})
		if took < watch-outageLook || took > watch+watchTick+outageLook {
			o.t.Errorf("%s: %s was suspended %v after the mirror was down, path watch time is %v", o.at.cfg.Name, p, took, watch)
		}
		if st := o.at.status(p); st.Suspend != SVOLFailure {
			o.t.Errorf("%s: the suspend type of %s is %s", o.at.cfg.Name, p, st.Suspend)
		}
	}
}

// goOn lets the outage last for some minutes more: nothing grows meanwhile, and nothing is told again and again.
func (o *outage) goOn() {
	o.t.Helper()
	count := func() (goroutines int, used int64) {
		most := 0
		for range 40 {
			time.Sleep(time.Second) // of virtual time
			most = max(most, runtime.NumGoroutine())
		}
		return most, o.at.site.Status().MemoryUsed
	}
	goroutines, used := count()
	time.Sleep(5 * time.Minute)
	if n, u := count(); n > goroutines+4 || u > used {
		o.t.Errorf("%d goroutines and %d bytes of memory some minutes later, %d and %d before", n, u, goroutines, used)
	}
	said := map[string]int{}
	for _, e := range o.at.site.Events() {
		if e.ID > o.first && e.Object == o.g.object() {
			said[e.Text]++
		}
	}
	for text, n := range said {
		if n > 2 {
			o.t.Errorf("it was told %d times of %s", n, text)
		}
	}
}
