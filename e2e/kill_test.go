package e2e

import (
	"testing"
	"time"

	"pairfs/e2e/prefix"
)

// TestKillInPair kills either side with kill -9 while writers run over a group in PAIR. No acknowledged write is lost, the S-VOLs are
// one prefix right after the restart, nothing is copied again, and the pair goes on by itself.
func TestKillInPair(t *testing.T) {
	t.Parallel()
	s := Two(t)
	const size = 32 * mib
	groupOfThree(t, s, size, "256MiB")
	h := NewHistory(s.Seed)
	for range scale(2, 15) {
		killPrimary(t, s, h, size)
		killSecondary(t, s, h, size)
	}
	settleAndCompare(t, s, h, size)
}

// killPrimary kills A in the middle of writes.
func killPrimary(t *testing.T, s *Sites, h *History, size int64) {
	t.Helper()
	w := StartWorkload(t, h, s.A.Targets(size, three...), Load{Seed: s.Seed + uint64(h.Len()), PerSecond: 4000})
	more(t, w, 2000)
	s.A.Kill9()
	if err := w.Wait(); !DeadMount(err) {
		t.Fatalf("the writers of a killed site ended with: %v", err)
	}
	s.B.AwaitStill("g@tokyo")
	s.B.CheckImages(h, s.B.Targets(size, three...), 0)
	s.A.Restart()
	s.A.CheckImages(h, s.A.Targets(size, three...), Always)
	s.AwaitLink()
	s.A.AwaitDrained("p-log")
	if got := s.A.Int("groups/g", "base-sent-bytes"); got != 0 {
		t.Errorf("after the kill of the primary %d bytes were copied", got)
	}
	s.B.CheckImages(h, s.B.Targets(size, three...), Always)
}

// killSecondary kills B in the middle of writes, and looks at it before the link is back.
func killSecondary(t *testing.T, s *Sites, h *History, size int64) {
	t.Helper()
	copied := s.A.Int("groups/g", "base-sent-bytes")
	w := StartWorkload(t, h, s.A.Targets(size, three...), Load{Seed: s.Seed + uint64(h.Len()), PerSecond: 2000})
	more(t, w, 1500)
	s.B.Kill9()
	s.Link.Cut(true)
	s.B.Restart()
	s.B.CheckImages(h, s.B.Targets(size, three...), 0)
	more(t, w, 500)
	s.Link.Cut(false)
	s.AwaitLink()
	if err := w.Stop(); err != nil {
		t.Fatalf("a write failed although only the secondary died: %v", err)
	}
	s.A.AwaitDrained("p-log")
	if got := s.A.Int("groups/g", "base-sent-bytes"); got != copied {
		t.Errorf("after the kill of the secondary %d bytes were copied", got-copied)
	}
	s.B.CheckImages(h, s.B.Targets(size, three...), Always)
}

// settleAndCompare suspends the group, compares the volumes byte by byte, and stops both sites cleanly.
func settleAndCompare(t *testing.T, s *Sites, h *History, size int64) {
	t.Helper()
	s.A.Do("groups/g", "suspend")
	for _, v := range three {
		s.WaitBoth("p-"+v, "PSUS")
	}
	s.SameVolumes(three...)
	s.A.CheckImages(h, s.A.Targets(size, three...), Always)
	s.A.Stop()
	s.B.Stop()
}

// TestKillInCopy kills either side with kill -9 during an initial copy under writes. The copy goes on where it was.
func TestKillInCopy(t *testing.T) {
	t.Parallel()
	for _, side := range []string{"primary", "secondary"} {
		t.Run(side, func(t *testing.T) {
			s := Two(t)
			size := int64(scale(256, 4)) * mib
			s.A.MakeVolume("db", size)
			h := NewHistory(s.Seed)
			targets := s.A.Targets(size, "db")
			Prefill(t, h, targets[0])
			s.Link.Delay(10 * time.Millisecond)
			w := StartWorkload(t, h, targets, Load{Seed: s.Seed, PerSecond: 200, MaxSize: 65536})
			s.CreatePair("pair0", "db", "")
			Until(t, StatusLimit, "half of the volume is copied", func() bool { return s.A.Int("pair0", "copied-bytes") >= size/2 })
			if got := s.A.Status("pair0"); got != "COPY" {
				t.Fatalf("the copy was over before it could be interrupted: the pair is %s", got)
			}
			before := s.A.Int("groups/default", "base-sent-bytes")
			if side == "primary" {
				s.A.Kill9()
				if err := w.Wait(); !DeadMount(err) {
					t.Fatalf("the writers of a killed site ended with: %v", err)
				}
				s.A.Restart()
				s.A.CheckImages(h, targets, Always)
				before = 0
			} else {
				s.B.Kill9()
				s.B.Restart()
			}
			s.Link.Delay(0)
			s.WaitBoth("pair0", "PAIR")
			if err := w.Stop(); err != nil && side == "secondary" {
				t.Fatalf("a write failed although only the secondary died: %v", err)
			}
			if more := s.A.Int("groups/default", "base-sent-bytes") - before; more > size*7/8 { // what the last checkpoint of the secondary did not cover is copied again
				t.Errorf("after the restart %d of %d bytes were copied, though half was there", more, size)
			}
			s.A.AwaitDrained("pair0")
			s.B.CheckImages(h, s.B.Targets(size, "db"), Always)
		})
	}
}

// TestPowerCut takes the staging ring away with the daemon: what a sync covered is there, the rest is a prefix, and the secondary is
// never ahead of the primary.
func TestPowerCut(t *testing.T) {
	t.Parallel()
	s := Two(t)
	const size = 32 * mib
	groupOfThree(t, s, size, "256MiB")
	h := NewHistory(s.Seed)
	for range scale(2, 15) {
		// A history with a loss in it cannot be gone on with: writes that are gone would be demanded. Each round has its own, over
		// volumes of zeroes.
		h = NewHistory(h.Run() + 1)
		wipe(t, s.A, size)
		w := StartWorkload(t, h, s.A.Targets(size, three...), Load{Seed: h.Run(), PerSecond: 4000})
		more(t, w, 2000)
		s.A.PowerCut()
		if err := w.Wait(); !DeadMount(err) {
			t.Fatalf("the writers ended with: %v", err)
		}
		s.A.Restart()
		s.A.CheckDemand(h, s.A.Targets(size, three...), prefix.Synced)
		s.AwaitLink()
		s.A.AwaitDrained("p-log")
		s.SameVolumes(three...)

		h = NewHistory(h.Run() + 1)
		wipe(t, s.A, size)
		w = StartWorkload(t, h, s.A.Targets(size, three...), Load{Seed: h.Run(), PerSecond: 2000})
		more(t, w, 1500)
		s.B.PowerCut()
		s.B.Restart()
		more(t, w, 500)
		if err := w.Stop(); err != nil {
			t.Fatal(err)
		}
		s.AwaitLink()
		s.A.AwaitDrained("p-log")
		s.B.CheckImages(h, s.B.Targets(size, three...), Always)
	}
	settleAndCompare(t, s, h, size)
}

// wipe discards all of the three volumes and waits until the peer has it too.
func wipe(t *testing.T, s *Site, size int64) {
	t.Helper()
	for _, v := range three {
		punch(t, s.Path(v), 0, size)
	}
	s.AwaitDrained("p-log")
}

// TestCleanRestart stops either side with SIGTERM during writes of the other, or of none.
func TestCleanRestart(t *testing.T) {
	t.Parallel()
	s := Two(t)
	const size = 32 * mib
	groupOfThree(t, s, size, "256MiB")
	h := NewHistory(s.Seed)
	w := StartWorkload(t, h, s.A.Targets(size, three...), Load{Seed: s.Seed})
	more(t, w, 1000)
	s.B.Stop()
	more(t, w, 500)
	s.B.Restart()
	if err := w.Stop(); err != nil {
		t.Fatal(err)
	}
	s.A.Stop()
	s.A.Restart()
	s.A.CheckImages(h, s.A.Targets(size, three...), Always)
	s.AwaitLink()
	s.A.AwaitDrained("p-log")
	s.B.CheckImages(h, s.B.Targets(size, three...), Always)
	if got := s.A.Int("groups/g", "base-sent-bytes"); got != 0 {
		t.Errorf("a clean restart copied %d bytes", got)
	}
}
