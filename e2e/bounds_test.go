package e2e

import (
	"testing"
	"time"
)

// TestMemoryBound writes as fast as it can over a slow link with a small memory bound: the daemons stay within a multiple of it that
// covers what is not counted (the runtime, request buffers, code).
func TestMemoryBound(t *testing.T) {
	t.Parallel()
	s := Two(t, Options{Memory: "64MiB"})
	const size = 64 * mib
	groupOfThree(t, s, size, "512MiB")
	s.Link.Delay(20e6)
	h := NewHistory(s.Seed)
	w := StartWorkload(t, h, s.A.Targets(size, three...), Load{Seed: s.Seed, PerSecond: 1e6, Writers: 12, Burst: scale(4000, 40)})
	if err := w.Wait(); err != nil {
		t.Fatal(err)
	}
	s.Link.Heal()
	s.A.AwaitDrained("p-log")
	for _, site := range []*Site{s.A, s.B} {
		_, peak := site.RSS()
		t.Logf("site %s: peak of %d MiB, says that it uses %d of %d", site.Name, peak/mib,
			site.Int("site", "memory-used"), site.Int("site", "memory-limit"))
		if used, limit := site.Int("site", "memory-used"), site.Int("site", "memory-limit"); limit != 64*mib || used > limit {
			t.Errorf("site %s says that it uses %d of %d bytes", site.Name, used, limit)
		}
		if !raceEnabled && peak > (3*64+128)*mib {
			t.Errorf("site %s used %d MiB with a bound of 64 MiB", site.Name, peak/mib)
		}
	}
	s.B.CheckImages(h, s.B.Targets(size, three...), Always)
}

// TestHugeSparseVolume makes and pairs a volume of 1 TiB: it takes no time and no room that its few bytes do not take. How long its copy and its
// resync took, what was sent for them and what the daemons take of memory is printed.
func TestHugeSparseVolume(t *testing.T) {
	t.Parallel()
	s := Two(t)
	const size = 1 << 40
	s.A.MakeVolume("huge", size)
	h := NewHistory(s.Seed)
	target := Target{Path: s.A.Path("huge"), Size: size}
	for _, off := range []int64{0, size / 2, size - 4096} {
		writeAt(t, h, target, off, 4096)
	}
	begun := time.Now()
	s.CreatePair("pair0", "huge", "")
	s.WaitBoth("pair0", "PAIR")
	s.huge("copy", begun)
	writeAt(t, h, target, size/4, 4096)
	s.A.AwaitDrained("pair0")
	for _, off := range []int64{0, size / 4, size / 2, size - 4096} {
		sameRange(t, s, "huge", off, 4096)
	}
	if got := s.B.Int("volumes/huge", "allocated-bytes"); got > mib {
		t.Errorf("the S-VOL of four blocks takes %d bytes", got)
	}
	s.A.Do("pair0", "suspend")
	s.WaitBoth("pair0", "PSUS")
	writeAt(t, h, target, size/8, 4096)
	s.A.Restart0(t)
	s.AwaitLink()
	begun = time.Now()
	s.A.Do("pair0", "resync")
	s.WaitBoth("pair0", "PAIR")
	s.huge("resync", begun)
	sameRange(t, s, "huge", size/8, 4096)
}

// huge prints what a step of [TestHugeSparseVolume] took that began then: what was sent is that since the primary was started.
func (s *Sites) huge(step string, begun time.Time) {
	s.t.Helper()
	const group = "groups/default"
	s.t.Logf("%s of 1 TiB: %.2f s, %d bytes of base records, %d bytes of records in all", step, time.Since(begun).Seconds(),
		s.A.Int(group, "base-sent-bytes"), s.A.Int(group, "sent-bytes"))
	for _, site := range []*Site{s.A, s.B} {
		now, peak := site.RSS()
		s.t.Logf("site %s: %d MiB resident and rings, %d MiB at most with them, memory-used %d MiB", site.Name, now/mib, peak/mib, site.Int("site", "memory-used")/mib)
	}
}

// sameRange compares a part of a volume at both sites.
func sameRange(t *testing.T, s *Sites, volume string, off, n int64) {
	t.Helper()
	read := func(site *Site) string {
		_, f, err := OpenImage(site.Path(volume), 0)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		p := AlignedBuffer(int(n))
		if err := readFull(f, p, off); err != nil {
			t.Fatal(err)
		}
		return string(p)
	}
	a, b := read(s.A), read(s.B)
	if a != b {
		t.Errorf("%s differs at %d", volume, off)
	}
	if _, zero, ok := ParseMark([]byte(a[:Sector])); zero || !ok {
		t.Errorf("%s does not hold at %d what was written", volume, off)
	}
}

// TestJournalFillsUp writes much more than a small journal holds over a link that is slower: hosts wait, nothing is lost, and the
// pair ends as PAIR.
func TestJournalFillsUp(t *testing.T) {
	t.Parallel()
	s := Two(t)
	const size = 24 * mib
	groupOfThree(t, s, size, "32MiB")
	s.Link.Delay(10e6)
	h := NewHistory(s.Seed)
	w := StartWorkload(t, h, s.A.Targets(size, three...), Load{Seed: s.Seed, PerSecond: 1e6, Burst: scale(3000, 10)})
	if err := w.Wait(); err != nil {
		t.Fatal(err)
	}
	s.Link.Heal()
	s.A.AwaitDrained("p-log")
	s.B.CheckImages(h, s.B.Targets(size, three...), Always)
}
