package e2e

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// crowd is many volumes in many groups at once.
type crowd struct {
	*Sites
	t      *testing.T
	flows  []*loadFlow
	begun  time.Time
	before [2]float64 // open files of the sites without them
}

// TestLoad200 makes 200 volumes in 20 groups by commands, pairs all of them, writes to all at once, looks at each group's prefix behind a cut link and
// in a split of all, starts both sites again, deletes everything, and finds the sites as they were before. How long each step took is
// printed. The short form has 9 volumes in 3 groups and no cut.
func TestLoad200(t *testing.T) {
	t.Parallel()
	long := loadTime(t) > 0
	groups, each, memory := 3, 3, "64MiB"
	if long {
		groups, each, memory = 20, 10, "1GiB"
	}
	c := newCrowd(t, groups, each, memory)
	c.pair()
	c.write(20)
	if long {
		c.cut() // for as long as QUIC's idle time
	}
	c.split()
	c.halt()
	c.restart()
	c.write(10)
	c.halt()
	c.figures()
	c.dissolve()
}

func newCrowd(t *testing.T, groups, each int, memory string) *crowd {
	c := &crowd{t: t, begun: time.Now()}
	c.Sites = Two(t, Options{Memory: memory, Limit: time.Hour})
	for i, s := range []*Site{c.A, c.B} {
		c.before[i] = c.files(s)
	}
	c.begun = time.Now()
	l := &load{Sites: c.Sites, t: t, done: map[string]int{}}
	for g := range groups {
		f := &loadFlow{l: l, group: fmt.Sprintf("g%02d", g), size: mib, load: Load{Writers: 2, PerSecond: 8, MaxSize: 32 << 10}}
		for v := range each {
			f.volumes = append(f.volumes, fmt.Sprintf("v%02d-%02d", g, v))
		}
		c.flows = append(c.flows, f)
		c.A.Do("groups/"+f.group, "create size=16MiB inflow-control=yes overflow-watch=600s copy-pace=high")
		for _, v := range f.volumes {
			c.A.MakeVolume(v, f.size)
		}
	}
	c.took(fmt.Sprintf("%d groups and %d volumes made", groups, groups*each))
	return c
}

// took says how long the step took that ends here.
func (c *crowd) took(what string) {
	c.t.Helper()
	c.t.Logf("%6.2f s  %s", time.Since(c.begun).Seconds(), what)
	c.begun = time.Now()
}

// files is how many files the daemon of a site has open.
func (c *crowd) files(s *Site) float64 {
	c.t.Helper()
	m, err := s.Metrics()
	if err != nil {
		c.t.Fatal(err)
	}
	return m["process_open_fds"]
}

// look is how often all pairs are looked at: often enough for a figure, and seldom enough that a site with 200 of them does something else too.
const look = 500 * time.Millisecond

// await waits until all pairs have the statuses, on either side.
func (c *crowd) await(primary, secondary string) {
	c.t.Helper()
	pairs := 0
	for _, f := range c.flows {
		pairs += len(f.volumes)
	}
	for _, side := range []struct {
		*Site
		status string
	}{{c.A, primary}, {c.B, secondary}} {
		next := time.Now()
		Until(c.t, 3*StatusLimit, "all pairs are "+side.status+" at "+side.Name, func() bool {
			if time.Now().Before(next) {
				return false
			}
			next = time.Now().Add(look)
			text, err := side.Text("pairs")
			return err == nil && strings.Count(text, " status="+side.status+" ") == pairs
		})
	}
}

// pair fills the volumes and pairs them.
func (c *crowd) pair() {
	for i, f := range c.flows {
		f.h = NewHistory(c.Seed ^ uint64(i+1)<<40)
		for _, target := range f.here() {
			Prefill(c.t, f.h, target)
		}
	}
	c.took("volumes filled")
	for _, f := range c.flows {
		for _, v := range f.volumes {
			c.CreatePair(pairName(v), v, "group="+f.group)
		}
	}
	c.took("pairs created")
	c.await("PAIR", "PAIR")
	c.took("all in PAIR")
}

// write lets writers run in all groups until each has done so much.
func (c *crowd) write(n int64) {
	for _, f := range c.flows {
		f.load.Seed = f.h.Run() + uint64(f.h.Len())
		f.w = StartWorkload(c.t, f.h, f.here(), f.load)
	}
	for _, f := range c.flows {
		more(c.t, f.w, n)
	}
	c.took("writers in all groups")
}

// cut takes the link away under the writers: the S-VOLs of each group are a prefix.
func (c *crowd) cut() {
	c.Link.Cut(true)
	for _, f := range c.flows {
		c.B.AwaitStill(f.group + "@tokyo")
		if _, err := CheckFiles(f.h, f.there(), 0); err != nil {
			c.t.Fatalf("group %s behind a cut: %v", f.group, err)
		}
	}
	c.Link.Cut(false)
	c.AwaitLink()
	for _, f := range c.flows {
		c.AwaitMirror(f.group)
	}
	c.took("cut, all groups looked at, connected")
}

// split suspends all groups and resynchronises them.
func (c *crowd) split() {
	floors := make([]Stamp, len(c.flows))
	for i, f := range c.flows {
		Until(c.t, LinkLimit, "the split of group "+f.group+" is taken", func() bool {
			floors[i] = f.h.Now()
			err := c.A.Ctl("groups/"+f.group, "suspend")
			if err != nil && !isErrno(err, "EHOSTUNREACH") && !isErrno(err, "ETIMEDOUT") && !isErrno(err, "EBUSY") {
				c.t.Fatal(err)
			}
			return err == nil
		})
	}
	c.await("PSUS", "SSUS")
	c.took("all split")
	for i, f := range c.flows {
		if !c.splitWhole(pairName(f.volumes[0])) {
			c.t.Logf("group %s: hosts filled the journal while it was brought to the peer: the S-VOLs are an earlier prefix", f.group)
			floors[i] = 0
		}
		if _, err := CheckFiles(f.h, f.there(), floors[i]); err != nil {
			c.t.Fatalf("group %s, split: %v", f.group, err)
		}
		more(c.t, f.w, 5)
	}
	c.took("all groups looked at")
	for _, f := range c.flows {
		c.A.Do("groups/"+f.group, "resync")
	}
	c.await("PAIR", "PAIR")
	c.took("all resynchronised")
}

// halt stops the writers and compares all volumes with what was written.
func (c *crowd) halt() {
	for _, f := range c.flows {
		if err := f.w.Stop(); err != nil {
			c.t.Fatal(err)
		}
	}
	for _, f := range c.flows {
		f.drain()
		for _, targets := range [][]Target{f.here(), f.there()} {
			if _, err := CheckFiles(f.h, targets, Always); err != nil {
				c.t.Fatalf("group %s: %v", f.group, err)
			}
		}
	}
	c.took("drained and compared")
}

// restart starts the primary again in good order, and the secondary behind a kill.
func (c *crowd) restart() {
	c.A.Stop()
	c.took("primary stopped")
	c.A.Restart()
	c.took("primary started")
	c.B.Kill9()
	c.B.Restart()
	c.took("secondary killed and started")
	c.AwaitLink()
	c.await("PAIR", "PAIR")
	c.took("all in PAIR again")
}

// figures prints what the sites take, and holds it to its bounds.
func (c *crowd) figures() {
	for _, s := range []*Site{c.A, c.B} {
		m, err := s.Metrics()
		if err != nil {
			c.t.Fatal(err)
		}
		const reads = 50
		for range reads {
			if _, err := s.Text("pairs"); err != nil {
				c.t.Fatal(err)
			}
		}
		after, err := s.Metrics()
		if err != nil {
			c.t.Fatal(err)
		}
		c.t.Logf("site %s: a look at all pairs takes %.1f ms of its processors", s.Name, 1000*(after["process_cpu_seconds_total"]-m["process_cpu_seconds_total"])/reads)
		now, peak := s.RSS()
		used, limit := s.Int("site", "memory-used"), s.Int("site", "memory-limit")
		c.t.Logf("site %s: %d MiB and rings, %d at most with them, %d of %d MiB used; %.0f open files of %.0f, %.0f threads, %.0f goroutines", s.Name,
			now/mib, peak/mib, used/mib, limit/mib, m["process_open_fds"], m["process_max_fds"], m["go_threads"], m["go_goroutines"])
		if used > limit {
			c.t.Errorf("site %s uses %d of %d bytes", s.Name, used, limit)
		}
		if !raceEnabled && peak > 2*limit+384*mib {
			c.t.Errorf("site %s took %d MiB with a bound of %d MiB", s.Name, peak/mib, limit/mib)
		}
	}
}

// dissolve deletes all pairs, groups and volumes, and finds the sites as they were.
func (c *crowd) dissolve() {
	for i, f := range c.flows {
		if i%2 == 0 {
			for _, v := range f.volumes {
				c.A.Do(pairName(v), "delete")
			}
		}
		c.A.Do("groups/"+f.group, "delete")
	}
	c.took("all deleted")
	for _, s := range []*Site{c.A, c.B} {
		for _, f := range c.flows {
			for _, v := range f.volumes {
				Until(c.t, StatusLimit, v+" is removed at "+s.Name, func() bool {
					err := os.Remove(s.Path(v))
					return err == nil || os.IsNotExist(err)
				})
			}
		}
	}
	c.took("volumes removed")
	for i, s := range []*Site{c.A, c.B} {
		Until(c.t, StatusLimit, "site "+s.Name+" has nothing left", func() bool {
			return s.Int("site", "memory-used") == 0 && len(list(c.t, s.ctlPath("groups"))) == 0
		})
		if text, err := s.Text("pairs"); err != nil || text != "" {
			c.t.Errorf("site %s has pairs left: %q %v", s.Name, text, err)
		}
		// The connections of the peers and a read or two of this test may differ.
		Until(c.t, StatusLimit, fmt.Sprintf("site %s has about %g files open", s.Name, c.before[i]), func() bool { return c.files(s) <= c.before[i]+4 })
	}
	c.took("nothing left")
}

// TestGroupsWithinMemory makes groups until the memory bound refuses one: the refusal, of this site or of the peer, says how much it takes,
// and that is enough.
func TestGroupsWithinMemory(t *testing.T) {
	t.Parallel()
	s := Two(t, Options{Memory: "32MiB"})
	made := 0
	var err error
	for err == nil && made < 100 {
		made++
		err = s.A.Ctl(fmt.Sprintf("groups/g%d", made), "create size=16MiB")
	}
	wantErrno(t, err, unix.ENOSPC)
	t.Logf("group %d: %v", made, err)
	grow := func(site *Site, err error) {
		t.Helper()
		_, rest, _ := strings.Cut(err.Error(), "--memory=")
		more, _, ok := strings.Cut(rest, " ")
		if !ok || !strings.Contains(err.Error(), "memory bound of site "+site.Name+", 32 MiB,") {
			t.Fatalf("the refusal does not say how much memory it takes: %v", err)
		}
		site.Stop()
		site.Memory = more
		site.Restart()
	}
	grow(s.A, err)
	s.A.Do(fmt.Sprintf("groups/g%d", made), "create size=16MiB")
	s.AwaitLink()
	for i := range made {
		v := fmt.Sprintf("v%d", i+1)
		s.A.MakeVolume(v, mib)
		create := fmt.Sprintf("create volume=%s peer=osaka group=g%d", v, i+1)
		if i < made-1 {
			s.A.Do("p-"+v, create)
			continue
		}
		err := s.A.Ctl("p-"+v, create)
		wantErrno(t, err, unix.ENOSPC)
		t.Logf("at the peer: %v", err)
		if _, err := os.Stat(s.B.Path(v)); !os.IsNotExist(err) {
			t.Errorf("the refused create left volume %s at the peer: %v", v, err)
		}
		grow(s.B, err)
		s.AwaitLink()
		s.A.Do("p-"+v, create)
	}
	for i := range made {
		s.WaitBoth(fmt.Sprintf("p-v%d", i+1), "PAIR")
	}
}
