package e2e

import (
	"fmt"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// TestBothDirections keeps two groups from tokyo to osaka and one from osaka to tokyo, with writers on both sides: each group is a
// prefix of its own history, and a suspend of one leaves the others alone.
func TestBothDirections(t *testing.T) {
	t.Parallel()
	s := Two(t)
	const size = 16 * mib
	type flow struct {
		from, to *Site
		group    string
		volume   string
		h        *History
		w        *Workload
	}
	flows := []*flow{
		{from: s.A, to: s.B, group: "east", volume: "e"},
		{from: s.A, to: s.B, group: "west", volume: "w"},
		{from: s.B, to: s.A, group: "east", volume: "back"},
	}
	for i, f := range flows {
		f.from.MakeVolume(f.volume, size)
		f.from.Do("groups/"+f.group, "create size=256MiB")
		f.from.Do("p-"+f.volume, fmt.Sprintf("create volume=%s peer=%s group=%s", f.volume, f.to.Name, f.group))
		f.h = NewHistory(s.Seed + uint64(i))
		f.w = StartWorkload(t, f.h, f.from.Targets(size, f.volume), Load{Seed: s.Seed, PerSecond: 200, Writers: 3})
	}
	for _, f := range flows {
		f.from.Wait("p-"+f.volume, StatusLimit, "PAIR")
		f.to.Wait("p-"+f.volume, StatusLimit, "PAIR")
		more(t, f.w, 300)
	}
	floor := flows[1].h.Now()
	s.A.Do("groups/west", "suspend")
	s.WaitBoth("p-w", "PSUS")
	s.B.CheckImages(flows[1].h, s.B.Targets(size, "w"), floor)
	for _, i := range []int{0, 2} {
		if got := flows[i].from.Status("p-" + flows[i].volume); got != "PAIR" {
			t.Errorf("the suspend of another group made pair p-%s %s", flows[i].volume, got)
		}
	}
	s.Link.Cut(true)
	s.B.AwaitStill("east@tokyo")
	s.A.AwaitStill("east@osaka")
	s.B.CheckImages(flows[0].h, s.B.Targets(size, "e"), 0)
	s.A.CheckImages(flows[2].h, s.A.Targets(size, "back"), 0)
	s.Link.Cut(false)
	s.AwaitLink()
	s.A.Do("groups/west", "resync")
	for _, f := range flows {
		if err := f.w.Stop(); err != nil {
			t.Fatal(err)
		}
		f.from.Wait("p-"+f.volume, StatusLimit, "PAIR")
		f.from.AwaitDrained("p-" + f.volume)
		f.to.CheckImages(f.h, f.to.Targets(size, f.volume), Always)
	}
}

// TestDelete deletes from either side and by force without a link: the volumes are plain volumes again, with their bytes.
func TestDelete(t *testing.T) {
	t.Parallel()
	s := Two(t)
	h := NewHistory(s.Seed)
	const size = 16 * mib
	fresh := func(volume string) Target {
		s.A.MakeVolume(volume, size)
		target := Target{Path: s.A.Path(volume), Size: size}
		Prefill(t, h, target)
		s.CreatePair("p-"+volume, volume, "")
		s.WaitBoth("p-"+volume, "PAIR")
		return target
	}
	free := func(volume string) {
		t.Helper()
		for _, site := range []*Site{s.A, s.B} {
			site.Wait("p-"+volume, StatusLimit, "SMPL")
			Until(t, StatusLimit, volume+" is free and writable at "+site.Name, func() bool {
				v := site.Get("volumes/" + volume)
				return v["role"] == "-" && v["writable"] == "yes"
			})
		}
		s.SameVolumes(volume)
		for _, site := range []*Site{s.A, s.B} {
			if err := tryWrite(site.Path(volume)); err != nil {
				t.Errorf("write to the freed volume at %s: %v", site.Name, err)
			}
			if err := os.Remove(site.Path(volume)); err != nil {
				t.Errorf("remove the freed volume at %s: %v", site.Name, err)
			}
		}
	}

	fresh("one")
	s.A.Do("p-one", "delete")
	free("one")

	fresh("two")
	s.A.Do("p-two", "suspend")
	s.WaitBoth("p-two", "PSUS")
	s.A.Do("p-two", "delete")
	free("two")

	// From the secondary: the primary keeps a suspended pair that cannot be resynchronised, until it is deleted there.
	fresh("three")
	s.B.Do("p-three", "delete")
	s.A.Wait("p-three", StatusLimit, "PSUS")
	if got := s.A.Get("p-three")["suspend-type"]; got != "delete pair to RCU" {
		t.Errorf("suspend-type after a delete at the secondary is %q", got)
	}
	if err := s.A.Ctl("p-three", "resync"); err == nil {
		t.Error("a pair that the secondary has deleted was resynchronised")
	}
	s.A.Do("p-three", "delete mode=force")
	free("three")

	// Without a link: a normal delete is refused and changes nothing, a forced one succeeds on each side by itself.
	fresh("four")
	s.A.AwaitDrained("p-four")
	s.Link.Cut(true)
	Until(t, LinkLimit, "the link is down", func() bool {
		return s.A.Get("peers/osaka")["connected"] == "no" && s.B.Get("peers/tokyo")["connected"] == "no"
	})
	wantErrno(t, s.A.Ctl("p-four", "delete"), unix.EHOSTUNREACH)
	if got := s.A.Status("p-four"); got != "PAIR" {
		t.Errorf("the refused delete left the pair %s", got)
	}
	s.A.Do("p-four", "delete mode=force")
	s.B.Do("p-four", "delete mode=force")
	free("four")
	s.Link.Cut(false)
	s.AwaitLink()
	fresh("five")
}
