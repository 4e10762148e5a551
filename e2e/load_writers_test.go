package e2e

import (
	"testing"
)

// TestLoad64Writers lets 64 writers at one volume at once: 48 at places of their own choice, half of the time in the same sixteenth of it, where many
// of their writes are in flight over one another, and 16 with a part each for themselves; 16 of them are processes. Behind a cut
// link and a kill of either side the S-VOL is one prefix of what they did, the P-VOL has all that was acknowledged, and in the end both are equal:
// overlapping writes have the same order on both sides.
func TestLoad64Writers(t *testing.T) {
	t.Parallel()
	s := Two(t)
	long := loadTime(t) > 0
	size, writes, rate, processes := int64(4*mib), int64(150), 200.0, 2
	if long {
		size, writes, rate, processes = 64*mib, 20000, 1e6, 12
	}
	s.A.Do("groups/g", "create size=64MiB inflow-control=yes overflow-watch=600s")
	s.A.MakeVolume("db", size)
	s.CreatePair("pair0", "db", "group=g")
	s.WaitBoth("pair0", "PAIR")
	h := NewHistory(s.Seed)
	here, there := s.A.Targets(size, "db"), s.B.Targets(size, "db")
	begin := func() (stop func() error) {
		seed := s.Seed + uint64(h.Len())
		crowd := StartWorkload(t, h, here, Load{Seed: seed, Writers: 48, Processes: processes, PerSecond: rate, MaxSize: 64 << 10, Overlap: true})
		apart := StartWorkload(t, h, here, Load{Seed: ^seed, Writers: 16, Processes: processes / 2, PerSecond: rate / 3, MaxSize: 64 << 10, Overlap: true, Apart: true})
		more(t, crowd, writes)
		more(t, apart, writes/8)
		return func() error { return cmpErr(crowd.Stop(), apart.Stop()) }
	}
	check := func(site *Site, targets []Target, floor Stamp) {
		t.Helper()
		p, err := CheckFiles(h, targets, floor)
		if err != nil {
			t.Fatalf("site %s: %v", site.Name, err)
		}
		t.Logf("site %s: prefix of %d writes, %d acknowledged ones after it; %d were in flight over another", site.Name, p.Writes, p.Last, overlapping(h.Writes()))
	}

	stop := begin()
	s.B.Kill9()
	s.B.Restart()
	s.AwaitLink()
	s.AwaitMirror("g")
	if long {
		s.Link.Cut(true) // for as long as QUIC's idle time
		s.B.AwaitStill("g@tokyo")
		check(s.B, there, 0)
	}
	s.A.Kill9()
	if err := stop(); err != nil && !DeadMount(err) {
		t.Fatal(err)
	}
	s.A.Restart()
	check(s.A, here, Always)
	if long {
		check(s.B, there, 0)
		s.Link.Cut(false)
	}
	s.AwaitLink()
	s.AwaitMirror("g")

	stop = begin()
	floor := h.Now()
	s.A.Do("pair0", "suspend")
	s.WaitBoth("pair0", "PSUS")
	if !s.splitWhole("pair0") {
		t.Log("hosts filled the journal while it was brought to the peer: the S-VOL is an earlier prefix")
		floor = 0
	}
	check(s.B, there, floor)
	if err := stop(); err != nil { // a busy machine may not get through with a resync under 64 writers
		t.Fatal(err)
	}
	s.A.Do("pair0", "resync")
	s.WaitBoth("pair0", "PAIR")
	s.A.AwaitDrained("pair0")
	check(s.A, here, Always)
	check(s.B, there, Always)
	s.SameVolumes("db")
	if n := overlapping(h.Writes()); n == 0 {
		t.Error("no two writes were in flight over one another: this test did not try what it is for")
	}
}

// overlapping counts writes that were in flight over an earlier one.
func overlapping(writes []Write) (n int) {
	var open []Write
	for _, w := range writes {
		kept := open[:0]
		hit := false
		for _, o := range open {
			if o.End != 0 && o.End < w.Start {
				continue
			}
			kept = append(kept, o)
			hit = hit || o.Volume == w.Volume && o.Off < w.Off+w.Len && w.Off < o.Off+o.Len
		}
		open = append(kept, w)
		if hit {
			n++
		}
	}
	return n
}
