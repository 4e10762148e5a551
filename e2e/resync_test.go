package e2e

import (
	"testing"
)

// region is the unit of the product's difference bitmap, in bytes.
const region = 64 << 10

// TestResyncCopiesWhatChanged suspends, writes known regions on the primary, and counts what the resync moves.
func TestResyncCopiesWhatChanged(t *testing.T) {
	t.Parallel()
	s := Two(t)
	const size = 128 * mib
	s.A.MakeVolume("db", size)
	h := NewHistory(s.Seed)
	Prefill(t, h, s.A.Targets(size, "db")[0])
	s.CreatePair("pair0", "db", "")
	s.WaitBoth("pair0", "PAIR")
	s.A.Do("pair0", "suspend")
	s.WaitBoth("pair0", "PSUS")
	if got := s.A.Get("pair0")["suspend-type"]; got != "P-VOL by operator" {
		t.Errorf("suspend-type is %q", got)
	}

	const changed = 40
	for i := range int64(changed) {
		writeAt(t, h, s.A.Targets(size, "db")[0], i*3*region+4096, 4096)
	}
	// What was written twice counts once.
	writeAt(t, h, s.A.Targets(size, "db")[0], 8192, 4096)
	syncFile(t, s.A.Path("db"))
	if got := s.A.Int("pair0", "different-bytes"); got != changed*region {
		t.Errorf("different-bytes is %d after changes in %d regions of %d", got, changed, region)
	}

	before := s.A.Int("groups/default", "base-sent-bytes")
	s.A.Do("pair0", "resync")
	s.WaitBoth("pair0", "PAIR")
	s.A.AwaitDrained("pair0")
	if moved := s.A.Int("groups/default", "base-sent-bytes") - before; moved < changed*4096 || moved > changed*region {
		t.Errorf("a resync of %d regions of %d bytes moved %d", changed, region, moved)
	}
	if got := s.A.Int("pair0", "different-bytes"); got != 0 {
		t.Errorf("after the resync different-bytes is %d", got)
	}
	s.B.CheckImages(h, s.B.Targets(size, "db"), Always)
}

// TestResyncAfterBothChanged suspends with the S-VOL writable, changes both sides, and resynchronises: the primary's bytes win.
func TestResyncAfterBothChanged(t *testing.T) {
	t.Parallel()
	s := Two(t)
	const size = 64 * mib
	s.A.MakeVolume("db", size)
	h := NewHistory(s.Seed)
	target := s.A.Targets(size, "db")[0]
	Prefill(t, h, target)
	s.CreatePair("pair0", "db", "")
	s.WaitBoth("pair0", "PAIR")
	if err := tryWrite(s.B.Path("db")); !isErrno(err, "EROFS") {
		t.Errorf("a write to the S-VOL of a PAIR: %v, want EROFS", err)
	}
	s.A.Do("pair0", "suspend svol-write=enable")
	s.WaitBoth("pair0", "PSUS")
	if got := s.B.Get("pair0")["svol-write"]; got != "yes" {
		t.Errorf("svol-write at the secondary is %q", got)
	}
	// Regions 0.. at the primary, 8.. at the secondary, some in common.
	other := NewHistory(s.Seed + 1)
	for i := range int64(10) {
		writeAt(t, h, target, i*region, 4096)
		writeAt(t, other, s.B.Targets(size, "db")[0], (i+8)*region+16384, 8192)
	}
	before := s.A.Int("groups/default", "base-sent-bytes")
	s.A.Do("pair0", "resync")
	s.WaitBoth("pair0", "PAIR")
	s.A.AwaitDrained("pair0")
	moved := s.A.Int("groups/default", "base-sent-bytes") - before
	if moved < 10*4096 || moved > 18*region {
		t.Errorf("the resync of 18 regions moved %d bytes", moved)
	}
	s.B.CheckImages(h, s.B.Targets(size, "db"), Always)
	s.SameVolumes("db")
	if err := tryWrite(s.B.Path("db")); !isErrno(err, "EROFS") {
		t.Errorf("a write to the S-VOL after the resync: %v, want EROFS", err)
	}
}

// TestSuspendAtSecondary asks for the split at the secondary.
func TestSuspendAtSecondary(t *testing.T) {
	t.Parallel()
	s := Two(t)
	const size = 32 * mib
	s.A.MakeVolume("db", size)
	h := NewHistory(s.Seed)
	s.CreatePair("pair0", "db", "")
	s.WaitBoth("pair0", "PAIR")
	w := StartWorkload(t, h, s.A.Targets(size, "db"), Load{Seed: s.Seed})
	more(t, w, 500)
	s.B.Do("pair0", "suspend")
	s.WaitBoth("pair0", "PSUS")
	s.B.CheckImages(h, s.B.Targets(size, "db"), 0)
	for side, site := range map[string]*Site{"primary": s.A, "secondary": s.B} {
		if got := site.Get("pair0")["suspend-type"]; got != "S-VOL by operator" {
			t.Errorf("suspend-type at the %s is %q", side, got)
		}
	}
	more(t, w, 500)
	s.A.Do("pair0", "resync")
	s.WaitBoth("pair0", "PAIR")
	if err := w.Stop(); err != nil {
		t.Fatal(err)
	}
	s.A.AwaitDrained("pair0")
	s.B.CheckImages(h, s.B.Targets(size, "db"), Always)
}

// TestKillWhileSuspended kills the primary in PSUS after changes: the bitmap has to know all of them.
func TestKillWhileSuspended(t *testing.T) {
	t.Parallel()
	s := Two(t)
	const size = 48 * mib
	groupOfThree(t, s, size, "64MiB")
	h := NewHistory(s.Seed)
	s.A.Do("groups/g", "suspend")
	for _, v := range three {
		s.WaitBoth("p-"+v, "PSUS")
	}
	for range scale(2, 10) {
		w := StartWorkload(t, h, s.A.Targets(size, three...), Load{Seed: s.Seed + uint64(h.Len()), PerSecond: 4000})
		more(t, w, 1500)
		s.A.Kill9()
		w.Wait()
		s.A.Restart()
		s.A.CheckImages(h, s.A.Targets(size, three...), Always)
	}
	if got := s.A.Status("p-log"); got != "PSUS" {
		t.Fatalf("after the restart the pair is %s", got)
	}
	s.AwaitLink()
	s.A.Do("groups/g", "resync")
	for _, v := range three {
		s.WaitBoth("p-"+v, "PAIR")
	}
	s.A.AwaitDrained("p-log")
	s.B.CheckImages(h, s.B.Targets(size, three...), Always)
	s.SameVolumes(three...)
}
