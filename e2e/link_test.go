package e2e

import (
	"testing"
	"time"
)

// TestBlackout cuts the link for longer than a QUIC connection lives, with writers going on: hosts notice nothing, the pair stays
// PAIR, and after the return everything arrives without a copy.
func TestBlackout(t *testing.T) {
	t.Parallel()
	s := Two(t)
	const size = 48 * mib
	groupOfThree(t, s, size, "512MiB")
	copied := s.A.Int("groups/g", "base-sent-bytes")
	h := NewHistory(s.Seed)
	w := StartWorkload(t, h, s.A.Targets(size, three...), Load{Seed: s.Seed, PerSecond: 250})
	for range scale(1, 5) {
		more(t, w, 500)
		s.Link.Cut(true)
		Until(t, LinkLimit, "both sites say that they are not connected", func() bool {
			return s.A.Get("peers/osaka")["connected"] == "no" && s.B.Get("peers/tokyo")["connected"] == "no"
		})
		more(t, w, 800)
		if got := s.A.Status("p-log"); got != "PAIR" {
			t.Errorf("without the link the pair is %s", got)
		}
		if s.A.Int("p-log", "lag-records") == 0 {
			t.Error("without the link the pair has no lag")
		}
		s.B.AwaitStill("g@tokyo")
		s.B.CheckImages(h, s.B.Targets(size, three...), 0)
		s.Link.Cut(false)
		s.AwaitMirror("g")
	}
	if err := w.Stop(); err != nil {
		t.Fatal(err)
	}
	s.A.AwaitDrained("p-log")
	s.B.CheckImages(h, s.B.Targets(size, three...), Always)
	if got := s.A.Int("groups/g", "base-sent-bytes"); got != copied {
		t.Errorf("the return of the link copied %d bytes", got-copied)
	}
}

// TestBadLink runs over a link that loses, delays, reorders, doubles and damages packets.
func TestBadLink(t *testing.T) {
	t.Parallel()
	s := Two(t)
	s.Link.Delay(5 * time.Millisecond)
	s.Link.Drop(0.01)
	s.Link.Mangle(0.005)
	const size = 16 * mib
	s.A.MakeVolume("db", size)
	h := NewHistory(s.Seed)
	Prefill(t, h, s.A.Targets(size, "db")[0])
	s.CreatePair("pair0", "db", "")
	w := StartWorkload(t, h, s.A.Targets(size, "db"), Load{Seed: s.Seed, PerSecond: 200, MaxSize: 65536, Burst: scale(1500, 10)})
	s.WaitBoth("pair0", "PAIR")
	if err := w.Wait(); err != nil {
		t.Fatal(err)
	}
	s.A.AwaitDrained("pair0")
	s.B.CheckImages(h, s.B.Targets(size, "db"), Always)
}
