package e2e

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// differences is what "pair differences --json" prints of one pair.
type differences struct {
	Pair        string
	Note        *string
	PVOL        *int64 `json:"p-vol-bytes"`
	SVOL        *int64 `json:"s-vol-bytes"`
	Both        *int64 `json:"both-bytes"`
	Overwritten *int64 `json:"overwritten-bytes"`
	Resync      *int64 `json:"resync-bytes"`
	Ranges      []struct {
		Where          string
		Offset, Length int64
	}
}

// differences asks what differs in a pair.
func (s *Site) differences(pair string) (d differences) {
	s.t.Helper()
	out, code := s.CLI("pair", "differences", pair, "--json")
	var all []differences
	if err := json.Unmarshal([]byte(out), &all); code != 0 || err != nil || len(all) != 1 {
		s.t.Fatalf("site %s: pair differences %s: exit status %d, %v: %s", s.Name, pair, code, err, out)
	}
	return all[0]
}

// TestSplitCopyIsWrittenAndOverwritten mounts ext4 on both sides of a split with write option and works on both. What differs is listed, the
// same on both sides, and every region that differs is in the list; a dry run changes nothing; the resync tells what it overwrites, moves no
// more than was listed, and the S-VOL is the primary's again and clean.
func TestSplitCopyIsWrittenAndOverwritten(t *testing.T) {
	t.Parallel()
	s := Two(t)
	s.A.MakeVolume("disk", 64*mib)
	s.CreatePair("pair0", "disk", "")
	s.WaitBoth("pair0", "PAIR")
	dirA, undoA := loopMount(t, s.A.Path("disk"), "ext4", "discard", true)
	churn(t, dirA, 1)
	Run(t, "sync", "-f", dirA)
	s.A.Do("pair0", "suspend svol-write=enable")
	s.WaitBoth("pair0", "PSUS")
	Until(t, StatusLimit, "hosts may write the S-VOL", func() bool { return s.B.Get("volumes/disk")["writable"] == "yes" })
	dirB, undoB := loopMount(t, s.B.Path("disk"), "ext4", "discard", false)
	churn(t, dirB, 7)
	churn(t, dirA, 2)
	if err := os.WriteFile(filepath.Join(dirB, "only-here"), []byte("written at the S-VOL"), 0o600); err != nil {
		t.Fatal(err)
	}
	undoA()
	undoB()

	d, there := s.A.differences("pair0"), s.B.differences("pair0")
	if d.Note != nil || d.Resync == nil || *d.PVOL+*d.SVOL+*d.Both != *d.Resync || *d.SVOL+*d.Both != *d.Overwritten || *d.Overwritten == 0 || *d.PVOL+*d.Both == 0 {
		t.Errorf("%+v", d)
	}
	if *there.Resync != *d.Resync || *there.Overwritten != *d.Overwritten || len(there.Ranges) != len(d.Ranges) {
		t.Errorf("the secondary lists %+v, the primary %+v", there, d)
	}
	if out, code := s.A.CLI("pair", "resync", "pair0", "--dry-run"); code != 0 || !strings.Contains(out, "written at the S-VOL and overwritten") || strings.Contains(out, "OFFSET") {
		t.Errorf("dry run: exit status %d: %s", code, out)
	}
	if got := s.A.Status("pair0"); got != "PSUS" {
		t.Errorf("after a dry run the pair is %s", got)
	}
	s.listCovers(d)

	before := s.A.Int("groups/default", "base-sent-bytes")
	s.A.Do("pair0", "resync")
	s.WaitBoth("pair0", "PAIR")
	s.A.AwaitDrained("pair0")
	if moved := s.A.Int("groups/default", "base-sent-bytes") - before; moved > *d.Resync {
		t.Errorf("the resync moved %d bytes, %d were listed", moved, *d.Resync)
	}
	for _, site := range []*Site{s.A, s.B} {
		if !site.HasEvent("pair/pair0", "the resync overwrites ") {
			t.Errorf("site %s has no event of what the resync overwrites", site.Name)
		}
	}
	s.SameVolumes("disk")
	Run(t, "e2fsck", "-f", "-n", s.B.Path("disk"))
	if out := Run(t, "debugfs", "-R", "ls -p /", s.B.Path("disk")); strings.Contains(out, "only-here") {
		t.Errorf("a file that was written at the S-VOL is still there:\n%s", out)
	}
}

// listCovers fails the test if a region differs that is not listed.
func (s *Sites) listCovers(d differences) {
	s.t.Helper()
	listed := map[int64]bool{}
	for _, r := range d.Ranges {
		for at := r.Offset / region; at <= (r.Offset+r.Length-1)/region; at++ {
			listed[at] = true
		}
	}
	a, errA := os.ReadFile(s.A.Path("disk"))
	b, errB := os.ReadFile(s.B.Path("disk"))
	if errA != nil || errB != nil || len(a) != len(b) {
		s.t.Fatalf("the volumes cannot be read: %v, %v", errA, errB)
	}
	for at := int64(0); at*region < int64(len(a)); at++ {
		if string(a[at*region:(at+1)*region]) != string(b[at*region:(at+1)*region]) && !listed[at] {
			s.t.Errorf("region %d differs and is not listed", at)
		}
	}
}

// TestSVOLWriteWithoutThePrimary kills the primary: the S-VOL is split and made writable on its own host, its changes are listed there with
// a sentence about the primary's, survive a kill of the secondary, and are overwritten when the primary is back.
func TestSVOLWriteWithoutThePrimary(t *testing.T) {
	t.Parallel()
	s := Two(t)
	s.A.MakeVolume("disk", 16*mib)
	s.CreatePair("pair0", "disk", "")
	s.WaitBoth("pair0", "PAIR")
	s.A.Kill9()
	s.B.Do("pair0", "suspend svol-write=enable")
	for _, off := range []int64{3 * region, 9*region - 2048} {
		if err := pwrite(s.B.Path("disk"), off, 4096); !isWritten(err) {
			t.Fatal(err)
		}
	}
	s.B.Kill9()
	s.B.Restart()
	d := s.B.differences("pair0")
	if d.Note == nil || !strings.Contains(*d.Note, "what was changed at the P-VOL is not known") || d.PVOL != nil || d.Resync != nil ||
		*d.Overwritten != 3*region || len(d.Ranges) != 2 {
		t.Errorf("%+v", d)
	}
	s.A.Restart()
	s.AwaitLink()
	s.A.Wait("pair0", StatusLimit, "PSUS")
	if d := s.A.differences("pair0"); d.Note != nil || *d.Overwritten != 3*region {
		t.Errorf("%+v", d)
	}
	s.A.Do("pair0", "resync")
	s.WaitBoth("pair0", "PAIR")
	s.A.AwaitDrained("pair0")
	s.SameVolumes("disk")
}
