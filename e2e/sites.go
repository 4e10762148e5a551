package e2e

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"pairfs/e2e/prefix"
)

// Limits of what tests wait for. They are for a loaded machine with two cores; nothing is measured by them.
const (
	StatusLimit = 3 * time.Minute  // a status change, an initial copy of a test's size
	LinkLimit   = 60 * time.Second // a connection after the link is back
)

// Sites is the topology of most tests: two sites that are each other's peers over a link with faults.
type Sites struct {
	A, B *Site // tokyo and osaka
	Link *Link
	Seed uint64

	t T
}

// Two starts two sites, tokyo and osaka, and makes them peers: either may create volumes at the other.
func Two(t T, opts ...Options) *Sites {
	t.Helper()
	seed := Seed(t)
	s := &Sites{A: Start(t, "tokyo", opts...), B: Start(t, "osaka", opts...), Seed: seed, t: t}
	s.Link = NewLink(t, s.A, s.B, seed)
	s.A.Do("peers/osaka", fmt.Sprintf("add address=%s key=%s create=2TiB", s.Link.AddrB(), s.B.Fingerprint()))
	s.B.Do("peers/tokyo", fmt.Sprintf("add address=%s key=%s create=2TiB", s.Link.AddrA(), s.A.Fingerprint()))
	s.AwaitLink()
	return s
}

// AwaitLink waits until both sites say that they are connected.
func (s *Sites) AwaitLink() {
	s.t.Helper()
	Until(s.t, LinkLimit, "the sites are connected", func() bool {
		return s.A.Get("peers/osaka")["connected"] == "yes" && s.B.Get("peers/tokyo")["connected"] == "yes"
	})
}

// AwaitMirror waits until the secondary of a group of A pulls again. Use it after [Site.AwaitStill], which saw the end of the session
// before: a peer counts as connected as long as one of its connections lives, though the mirror may have used another.
func (s *Sites) AwaitMirror(group string) {
	s.t.Helper()
	Until(s.t, LinkLimit, "the mirror of group "+group+" is up", func() bool {
		return s.B.Get("groups/" + group + "@tokyo")["linked"] == "yes" && s.A.Get("groups/" + group)["linked"] == "yes"
	})
}

// MakeVolume makes a volume of size bytes at the site.
func (s *Site) MakeVolume(name string, size int64) {
	s.t.Helper()
	f, err := os.OpenFile(s.Path(name), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		s.t.Fatalf("make volume %s: %v", name, err)
	}
	defer f.Close()
	if err := f.Truncate(size); err != nil {
		s.t.Fatalf("make volume %s: %v", name, err)
	}
}

// Targets returns the volumes of the site as targets numbered in their order, for writing or for checking.
func (s *Site) Targets(size int64, volumes ...string) []Target {
	var out []Target
	for i, v := range volumes {
		out = append(out, Target{Volume: i, Path: s.Path(v), Size: size})
	}
	return out
}

// AwaitDrained waits until the peer of a primary pair holds everything that was written so far to its group, durably. The workload must be stopped
// or paused.
func (s *Site) AwaitDrained(pair string) {
	s.t.Helper()
	Until(s.t, StatusLimit, "pair "+pair+" has no lag", func() bool {
		p := s.Get(pair)
		return p["status"] == "PAIR" && p["lag-records"] == "0" && s.Get("groups/" + p["group"])["lag-records"] == "0"
	})
}

// AwaitStill waits until a restore journal of a site whose link is cut has stored all that it received.
func (s *Site) AwaitStill(group string) {
	s.t.Helper()
	file := "groups/" + group
	Until(s.t, StatusLimit, "the link of group "+group+" is down and its journal stands still", func() bool {
		g := s.Get(file)
		return g["linked"] == "no" && g["appended"] == g["durable"] && g["durable"] == g["restored"]
	})
}

// CheckImages checks volumes of a site against the history and fails the test unless they are the image of one prefix that holds all
// that was acknowledged before floor.
func (s *Site) CheckImages(h *History, targets []Target, floor Stamp) Prefix {
	s.t.Helper()
	return s.CheckDemand(h, targets, prefix.Before(floor))
}

// CheckDemand is CheckImages with any demand.
func (s *Site) CheckDemand(h *History, targets []Target, must prefix.Demand) Prefix {
	s.t.Helper()
	p, err := checkFiles(h, targets, must)
	if err != nil {
		s.t.Fatalf("site %s: the volumes are not the image of one prefix: %v", s.Name, err)
	}
	s.t.Logf("site %s: prefix of %d writes, %d acknowledged ones after it", s.Name, p.Writes, p.Last)
	return p
}

// SameVolumes compares volumes of the same name at both sites byte by byte.
func (s *Sites) SameVolumes(volumes ...string) {
	s.t.Helper()
	for _, v := range volumes {
		if err := SameFile(s.A.Path(v), s.B.Path(v)); err != nil {
			s.t.Fatalf("the volumes differ: %v", err)
		}
	}
}

// CreatePair makes a pair from A to B and fails the test if it is refused. args are further words of the command. The default group is made first
// if it is meant and not there: a journal of the default size, 1 GiB on either side, costs a slow disk more than most tests.
func (s *Sites) CreatePair(pair, volume, args string) {
	s.t.Helper()
	if !strings.Contains(args, "group=") {
		var there *CtlError
		if err := s.A.Ctl("groups/default", "create size=256MiB inflow-control=yes overflow-watch=600s"); err != nil && !(errors.As(err, &there) && there.Errno == unix.EEXIST) {
			s.t.Fatalf("create the default group: %v", err)
		}
	}
	s.A.Do(pair, fmt.Sprintf("create volume=%s peer=osaka %s", volume, args))
}

// WaitBoth waits until the pair has the status on both sides; SSUS stands for PSUS on the secondary B.
func (s *Sites) WaitBoth(pair, status string) {
	s.t.Helper()
	s.A.Wait(pair, StatusLimit, status)
	if status == "PSUS" {
		status = "SSUS"
	}
	s.B.Wait(pair, StatusLimit, status)
}

// DeadMount reports whether an error is what a host sees of a mount whose daemon died.
func DeadMount(err error) bool {
	return errors.Is(err, unix.ENOTCONN) || errors.Is(err, unix.ECONNABORTED) || errors.Is(err, unix.EIO) || errors.Is(err, unix.EINTR)
}
