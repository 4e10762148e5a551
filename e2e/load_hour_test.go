package e2e

import (
	"math/rand/v2"
	"os"
	"testing"
	"time"
)

// loadTime is how long TestLoadHour loads its sites: PAIRFS_LOAD, a duration; 0 if that is not set.
func loadTime(t *testing.T) time.Duration {
	t.Helper()
	text := os.Getenv("PAIRFS_LOAD")
	if text == "" {
		return 0
	}
	d, err := time.ParseDuration(text)
	if err != nil || d <= 0 {
		t.Fatalf("PAIRFS_LOAD=%q is no duration: %v", text, err)
	}
	return d
}

// TestLoadHour keeps two sites under full load for PAIRFS_LOAD, and at the end nothing of what they take of their hosts may have grown since the
// first quarter: open files, threads, goroutines, memory, state. One group with a journal of 64 MiB gets what writers can write, with inflow control
// and, every third round, without: then its journal fills, its pairs are split, and resync is given again and again. Another group has an even
// load. Meanwhile commands come from several processes and goroutines, 10,000 in an hour, wrong ones among them (commands). Each round ends with both
// groups in step, and with volumes that the history of the round explains.
func TestLoadHour(t *testing.T) {
	length := loadTime(t)
	if length == 0 {
		t.Skip("PAIRFS_LOAD=20s plays a round of each kind, PAIRFS_LOAD=1h is what it is for")
	}
	t.Parallel()
	l := newLoad(t, length)
	l.run()
	l.end()
}

// load is the state of a [TestLoadHour].
type load struct {
	*Sites
	t       *testing.T
	rng     *rand.Rand
	length  time.Duration
	short   bool // no more than a look at whether all of it works
	begun   time.Time
	full    *loadFlow
	even    *loadFlow
	runs    uint64
	orders  *commands
	samples []*Samples
	stop    func() error // the samples
	done    map[string]int
}

func newLoad(t *testing.T, length time.Duration) *load {
	l := &load{t: t, length: length, short: length < 10*time.Minute, done: map[string]int{}}
	l.Sites = Two(t, Options{Limit: 2*length + time.Hour})
	l.rng = rand.New(rand.NewPCG(l.Seed, 0))
	size, journal, perSecond := int64(32*mib), "64MiB", 1e6
	if l.short {
		size, journal, perSecond = 4*mib, "16MiB", 200
	}
	l.full = &loadFlow{l: l, group: "full", volumes: []string{"f0", "f1"}, size: size, load: Load{Writers: 8, Processes: 2, PerSecond: perSecond, MaxSize: 256 << 10}}
	l.even = &loadFlow{l: l, group: "even", volumes: []string{"e0"}, size: size, load: Load{Writers: 4, Processes: 1, PerSecond: 20, MaxSize: 64 << 10}}
	for _, f := range []*loadFlow{l.full, l.even} {
		l.A.Do("groups/"+f.group, "create size="+journal+" inflow-control=yes overflow-watch=60s copy-pace=high")
		for _, v := range f.volumes {
			l.A.MakeVolume(v, f.size)
			l.CreatePair(pairName(v), v, "group="+f.group)
		}
		f.settle()
	}
	l.orders = newCommands(l)
	l.begun = time.Now()
	every := max(length/360, time.Second)
	for _, site := range []*Site{l.A, l.B} {
		l.samples = append(l.samples, NewSamples(site))
	}
	l.stop = sampling(l.samples, every)
	t.Cleanup(func() { l.stop() })
	return l
}

// over reports whether the time is up and the commands have been given. There is a round of each kind at least.
func (l *load) over(round int) bool {
	return round >= 3 && time.Since(l.begun) >= l.length && l.orders.given() >= l.orders.goal
}

// run plays rounds.
func (l *load) run() {
	for n := 0; !l.over(n); n++ {
		for _, f := range []*loadFlow{l.full, l.even} {
			f.begin()
		}
		switch n % 3 {
		case 0:
			l.work()
			l.split()
		case 1:
			l.overflow()
		case 2:
			l.work()
			l.cut()
		}
		l.work()
		for _, f := range []*loadFlow{l.full, l.even} {
			f.end()
		}
		l.did("rounds", 1)
		if n%10 == 9 {
			l.t.Logf("%s: %v; commands: %s", time.Since(l.begun).Round(time.Second), l.done, l.orders.report())
		}
	}
}

// end stops everything, compares, and looks at what grew.
func (l *load) end() {
	l.orders.halt()
	l.orders.restore()
	if err := l.stop(); err != nil {
		l.t.Errorf("samples: %v", err)
	}
	for _, f := range []*loadFlow{l.full, l.even} {
		f.settle()
		l.SameVolumes(f.volumes...)
	}
	l.t.Logf("%s: %v; commands: %s", time.Since(l.begun).Round(time.Second), l.done, l.orders.report())
	if given := l.orders.given(); given < l.orders.goal {
		l.t.Errorf("%d commands were given, not %d", given, l.orders.goal)
	}
	for i, site := range []*Site{l.A, l.B} {
		l.t.Logf("site %s, its log has %d bytes:\n%s", site.Name, len(site.Log()), l.samples[i].Table(max(l.length/12, 5*time.Second)))
		if !l.short {
			for _, err := range l.samples[i].Check() {
				l.t.Error(err)
			}
		}
		_, peak := site.RSS()
		l.t.Logf("site %s: resident at most %d MiB, with the rings; memory-used %d of %d MiB", site.Name, peak/mib, site.Int("site", "memory-used")/mib, site.Int("site", "memory-limit")/mib)
	}
	l.A.Stop()
	l.B.Stop()
}

// did counts what was done or checked.
func (l *load) did(what string, n int) { l.done[what] += n }

// work lets the writers go on: for some thousands of writes, or for a minute where those take longer.
func (l *load) work() {
	l.t.Helper()
	writes := int64(100)
	if !l.short {
		writes = int64(3000 + l.rng.IntN(20000))
	}
	w := l.full.w
	goal := w.Acked() + writes
	more(l.t, w, 1)
	eventually(time.Minute, func() bool { return w.Acked() >= goal })
}

// split suspends the group that is under full load: the S-VOLs are a prefix that has everything from before, unless hosts filled the journal while
// that was being brought there.
func (l *load) split() {
	f := l.full
	floor := f.h.Now()
	l.A.Do("groups/"+f.group, "suspend")
	f.await("the split", func() bool { return f.all(l.A, "PSUS") && f.all(l.B, "SSUS") })
	for _, v := range f.volumes {
		if !l.splitWhole(pairName(v)) {
			l.did("splits of pairs that a full journal cut short", 1)
			floor = 0
		}
	}
	l.B.CheckImages(f.h, f.there(), floor)
	l.did("splits", 1)
	f.settle()
}

// splitWhole reports whether a pair that was split has all at the peer that came before the split. It has not where hosts filled the journal
// meanwhile, or where there was no mirror.
func (s *Sites) splitWhole(pair string) bool {
	s.t.Helper()
	return s.A.Get(pair)["suspend-seq"] == s.B.Get(pair)["suspend-seq"]
}

// cut takes the link away under both loads: the S-VOLs of each group are a prefix.
func (l *load) cut() {
	l.Link.Cut(true)
	for _, f := range []*loadFlow{l.full, l.even} {
		l.B.AwaitStill(f.group + "@tokyo")
		if f.all(l.B, "PAIR") {
			l.B.CheckImages(f.h, f.there(), 0)
			l.did("looks behind a cut", 1)
		}
	}
	l.Link.Cut(false)
	l.AwaitLink()
	for _, f := range []*loadFlow{l.full, l.even} {
		f.settle()
	}
}

// overflow takes inflow control and most of the line's speed away from the group under full load, so that its journal fills: its pairs are split
// at a prefix, and so they are after each resync, until they have both again.
func (l *load) overflow() {
	f := l.full
	l.A.Do("groups/"+f.group, "set inflow-control=no line-speed=1M")
	f.await("the journal is full", func() bool { return f.all(l.A, "PFUS") && f.all(l.B, "PFUS") })
	for _, v := range f.volumes {
		if got := l.B.Get(pairName(v)); got["consistent"] != "yes" {
			l.t.Errorf("pair %s was in PAIR, and its S-VOL is no image after a full journal: %v", pairName(v), got)
		}
	}
	l.B.CheckImages(f.h, f.there(), 0)
	l.did("full journals", 1)
	for range 1 + l.rng.IntN(3) {
		l.A.Do("groups/"+f.group, "resync")
		l.did("resyncs into a full journal", 1)
		f.await("the journal is full again", func() bool { return f.all(l.A, "PFUS") && f.all(l.B, "PFUS") })
	}
	l.A.Do("groups/"+f.group, "set inflow-control=yes line-speed=default")
	f.settle()
}

// loadFlow is one group of a load and who writes it.
type loadFlow struct {
	l       *load
	group   string
	volumes []string
	size    int64
	load    Load
	h       *History
	w       *Workload
	ends    passing
}

// passing is a test to what is used for one round: what that leaves to be cleaned up is replaced by what the next round leaves, so that an hour's
// histories are not held to the end.
type passing struct {
	*testing.T
	last func()
}

// Cleanup registers what is done at the end if nothing else is registered before.
func (p *passing) Cleanup(f func()) { p.last = f }

func (f *loadFlow) here() []Target  { return f.l.A.Targets(f.size, f.volumes...) }
func (f *loadFlow) there() []Target { return f.l.B.Targets(f.size, f.volumes...) }

// begin fills the volumes for a history of the round's own and starts the writers once the peer has that.
func (f *loadFlow) begin() {
	t := f.l.t
	if f.ends.T == nil {
		f.ends.T = t
		t.Cleanup(func() {
			if f.ends.last != nil {
				f.ends.last()
			}
		})
	}
	f.l.runs++
	f.h = NewHistory(f.l.Seed ^ f.l.runs<<40)
	for _, target := range f.here() {
		Prefill(t, f.h, target)
	}
	f.drain()
	load := f.load
	load.Seed = f.h.Run()
	f.w = StartWorkload(&f.ends, f.h, f.here(), load)
}

// end stops the writers and compares what is there with the history, on both sides.
func (f *loadFlow) end() {
	t := f.l.t
	if err := f.w.Stop(); err != nil {
		t.Fatalf("a write to group %s failed: %v", f.group, err)
	}
	f.drain()
	for _, side := range []struct {
		*Site
		targets []Target
	}{{f.l.A, f.here()}, {f.l.B, f.there()}} {
		if _, err := CheckFiles(f.h, side.targets, Always); err != nil {
			t.Fatalf("group %s at %s at the end of a round: %v", f.group, side.Name, err)
		}
	}
	f.l.did("acknowledged writes", int(f.w.Acked()))
}

// all reports whether each pair has one of the statuses at a site.
func (f *loadFlow) all(s *Site, statuses ...string) bool {
	for _, v := range f.volumes {
		got, ok := s.Status(pairName(v)), false
		for _, want := range statuses {
			ok = ok || got == want
		}
		if !ok {
			return false
		}
	}
	return true
}

// await waits for something that the group comes to under its load, however slow the machine is.
func (f *loadFlow) await(what string, cond func() bool) {
	f.l.t.Helper()
	Until(f.l.t, 3*StatusLimit, "group "+f.group+": "+what, cond)
}

// settle brings every pair to PAIR: a journal that is full once more is resynchronised once more.
func (f *loadFlow) settle() {
	l := f.l
	l.t.Helper()
	f.await("PAIR on both sides", func() bool {
		if f.all(l.A, "PSUS", "PSUE", "PFUS") && f.all(l.B, "SSUS", "PSUE", "PFUS") {
			if l.A.Ctl("groups/"+f.group, "resync") == nil {
				l.did("resyncs", 1)
			}
		}
		return f.all(l.A, "PAIR", "PFUL") && f.all(l.B, "PAIR")
	})
}

// drain waits until the peer has everything. Nobody writes.
func (f *loadFlow) drain() {
	f.l.t.Helper()
	f.settle()
	f.await("no lag", func() bool {
		if !f.all(f.l.A, "PAIR") || f.l.A.Get("groups/" + f.group)["lag-records"] != "0" {
			f.settle()
			return false
		}
		return true
	})
}

// goal is how many commands a load of that length has to have: 10,000 in an hour.
func goal(length time.Duration) int64 {
	return max(40, int64(10000*length/time.Hour))
}
