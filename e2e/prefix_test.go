package e2e

import (
	"fmt"
	"testing"
)

var three = []string{"data", "index", "log"}

// groupOfThree makes three volumes in one group at A, pairs them, and waits for PAIR.
func groupOfThree(t *testing.T, s *Sites, size int64, journal string) {
	t.Helper()
	s.A.Do("groups/g", "create size="+journal+" inflow-control=yes overflow-watch=600s")
	for _, v := range three {
		s.A.MakeVolume(v, size)
	}
	for _, v := range three {
		s.CreatePair("p-"+v, v, "group=g")
	}
	for _, v := range three {
		s.WaitBoth("p-"+v, "PAIR")
	}
}

// TestGroupIsOnePrefix looks at the three S-VOLs of a group again and again while writers run: after a cut of the link, and after a
// suspend of the group, which has to hold everything acknowledged before it was asked for.
func TestGroupIsOnePrefix(t *testing.T) {
	t.Parallel()
	s := Two(t)
	const size = 48 * mib
	groupOfThree(t, s, size, "512MiB")
	h := NewHistory(s.Seed)
	w := StartWorkload(t, h, s.A.Targets(size, three...), Load{Seed: s.Seed, PerSecond: 250})
	images := s.B.Targets(size, three...)
	last := 0
	for range scale(3, 10) {
		more(t, w, 600)
		s.Link.Cut(true)
		s.B.AwaitStill("g@tokyo")
		p := s.B.CheckImages(h, images, 0)
		if p.Writes < last {
			t.Errorf("the image went back from %d to %d writes", last, p.Writes)
		}
		last = p.Writes
		s.Link.Cut(false)
		s.AwaitMirror("g")

		more(t, w, 300)
		floor := h.Now()
		s.A.Do("groups/g", "suspend")
		for _, v := range three {
			s.WaitBoth("p-"+v, "PSUS")
		}
		last = s.B.CheckImages(h, images, floor).Writes
		more(t, w, 200)
		if p := s.B.CheckImages(h, images, floor); p.Writes != last {
			t.Errorf("the suspended image moved from %d to %d writes", last, p.Writes)
		}
		s.A.Do("groups/g", "resync")
		for _, v := range three {
			s.WaitBoth("p-"+v, "PAIR")
		}
	}
	if err := w.Stop(); err != nil {
		t.Fatal(err)
	}
	s.A.AwaitDrained("p-log")
	s.A.CheckImages(h, s.A.Targets(size, three...), Always)
	s.B.CheckImages(h, images, Always)
}

// more waits until the workload has done n more writes.
func more(t *testing.T, w *Workload, n int64) {
	t.Helper()
	goal := w.Acked() + n
	Until(t, StatusLimit, fmt.Sprintf("%d more writes are acknowledged", n), func() bool { return w.Acked() >= goal })
}

// TestPurgeIsOnePrefix suspends with mode=purge: what the peer has not got stays behind, and what it has is a prefix.
func TestPurgeIsOnePrefix(t *testing.T) {
	t.Parallel()
	s := Two(t)
	const size = 32 * mib
	groupOfThree(t, s, size, "256MiB")
	s.A.Do("groups/g", "set copy-pace=high")
	s.Link.Delay(10e6)
	h := NewHistory(s.Seed)
	w := StartWorkload(t, h, s.A.Targets(size, three...), Load{Seed: s.Seed, PerSecond: 250})
	for range scale(2, 10) {
		more(t, w, 500)
		s.A.Do("groups/g", "suspend mode=purge")
		for _, v := range three {
			s.WaitBoth("p-"+v, "PSUS")
		}
		s.B.CheckImages(h, s.B.Targets(size, three...), 0)
		s.A.Do("groups/g", "resync")
		for _, v := range three {
			s.WaitBoth("p-"+v, "PAIR")
		}
	}
	if err := w.Stop(); err != nil {
		t.Fatal(err)
	}
	s.A.AwaitDrained("p-log")
	s.B.CheckImages(h, s.B.Targets(size, three...), Always)
}

// TestOverflowIsOnePrefix fills the journal while the link is cut: all pairs of the group are suspended, hosts go on, and the S-VOLs are
// one prefix, although the peer heard of it only afterwards.
func TestOverflowIsOnePrefix(t *testing.T) {
	t.Parallel()
	s := Two(t)
	const size = 32 * mib
	groupOfThree(t, s, size, "32MiB")
	s.A.Do("groups/g", "set inflow-control=no")
	h := NewHistory(s.Seed)
	w := StartWorkload(t, h, s.A.Targets(size, three...), Load{Seed: s.Seed, PerSecond: 250})
	more(t, w, 300)
	s.Link.Cut(true)
	for _, v := range three {
		s.A.Wait("p-"+v, StatusLimit, "PFUS")
	}
	more(t, w, 300)
	s.Link.Cut(false)
	for _, v := range three {
		s.B.Wait("p-"+v, StatusLimit, "PFUS")
		if got := s.A.Get("p-" + v)["suspend-type"]; got != "JNL overflow" {
			t.Errorf("suspend-type of p-%s is %q", v, got)
		}
	}
	s.B.CheckImages(h, s.B.Targets(size, three...), 0)
	s.A.Do("groups/g", "set inflow-control=yes copy-pace=high") // or a slow disk fills the journal again during the copy
	s.A.Do("groups/g", "resync")
	for _, v := range three {
		s.WaitBoth("p-"+v, "PAIR")
	}
	if err := w.Stop(); err != nil {
		t.Fatal(err)
	}
	s.A.AwaitDrained("p-log")
	s.B.CheckImages(h, s.B.Targets(size, three...), Always)
}
