package e2e

import (
	"testing"
)

// scale returns n, or long times n in the long variant.
func scale(n, long int) int {
	if Long() {
		return n * long
	}
	return n
}

// TestInitialCopyUnderLoad makes a pair of a full volume while writers change it: the copy ends, the S-VOL is the image of a prefix at
// once, and of everything in the end.
func TestInitialCopyUnderLoad(t *testing.T) {
	t.Parallel()
	s := Two(t)
	size := int64(scale(192, 8)) * mib
	s.A.MakeVolume("db", size)
	h := NewHistory(s.Seed)
	targets := s.A.Targets(size, "db")
	Prefill(t, h, targets[0])
	w := StartWorkload(t, h, targets, Load{Seed: s.Seed})
	s.CreatePair("pair0", "db", "")
	s.WaitBoth("pair0", "PAIR")
	if got := s.B.Get("pair0")["consistent"]; got != "yes" {
		t.Errorf("in PAIR the S-VOL is consistent=%s", got)
	}

	// A look at the S-VOL right after the copy, with writes going on.
	s.Link.Cut(true)
	s.B.AwaitStill("default@tokyo")
	s.B.CheckImages(h, s.B.Targets(size, "db"), 0)
	s.Link.Cut(false)

	if err := w.Stop(); err != nil {
		t.Fatal(err)
	}
	s.A.AwaitDrained("pair0")
	s.A.CheckImages(h, targets, Always)
	s.B.CheckImages(h, s.B.Targets(size, "db"), Always)
}

// TestCopySkipsHoles proves that holes and zeroes cost nothing on the link and are holes on the other side.
func TestCopySkipsHoles(t *testing.T) {
	t.Parallel()
	s := Two(t)
	const size = 512 * mib
	s.A.MakeVolume("db", size)
	h := NewHistory(s.Seed)
	Prefill(t, h, Target{Path: s.A.Path("db"), Size: 8 * mib})
	zeroFill(t, s.A.Path("db"), 64*mib, 32*mib)
	s.CreatePair("pair0", "db", "")
	s.WaitBoth("pair0", "PAIR")
	if sent := s.A.Int("groups/default", "base-sent-bytes"); sent < 8*mib || sent > 9*mib {
		t.Errorf("8 MiB of data and 504 MiB of nothing cost %d bytes", sent)
	}
	if got := s.B.Int("volumes/db", "allocated-bytes"); got > 16*mib {
		t.Errorf("the S-VOL of 8 MiB of data takes %d bytes of its disk", got)
	}
	s.SameVolumes("db")
}

// TestCopyNone proves that copy=none makes a PAIR at once, for volumes that are known to be equal.
func TestCopyNone(t *testing.T) {
	t.Parallel()
	s := Two(t)
	const size = 64 * mib
	s.A.MakeVolume("db", size)
	s.B.MakeVolume("db", size)
	s.B.Do("volumes/db", "reserve peer=tokyo")
	s.CreatePair("pair0", "db", "copy=none")
	s.WaitBoth("pair0", "PAIR")
	h := NewHistory(s.Seed)
	w := StartWorkload(t, h, s.A.Targets(size, "db"), Load{Seed: s.Seed, Burst: 1500})
	if err := w.Wait(); err != nil {
		t.Fatal(err)
	}
	s.A.AwaitDrained("pair0")
	if sent := s.A.Int("groups/default", "base-sent-bytes"); sent != 0 {
		t.Errorf("copy=none copied %d bytes", sent)
	}
	s.B.CheckImages(h, s.B.Targets(size, "db"), Always)
}
