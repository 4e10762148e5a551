package e2e

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
)

// aside is what a side that is about to lose has and the other never had, by volume and sector.
type aside struct {
	f      *flow
	loser  *host
	bytes  []map[int64][]byte
	before []string // sets that were kept then
}

// alone reads what a side loses by a discard that is given at h; nil for what loses nothing. Nobody writes.
func (f *flow) alone(h *host, line string) *aside {
	f.s.t.Helper()
	other := f.from
	if h == f.from {
		other = f.to
	}
	a := &aside{f: f}
	switch line {
	case "resync discard=here":
		a.loser = h
	case "resync discard=there":
		a.loser = other
	default:
		return nil
	}
	known := f.branch.h.Writes()
	for i, t := range a.loser.Targets(f.size, f.volumes...) {
		all, err := readAll(t.Path)
		if err != nil {
			f.s.t.Fatalf("%v", err)
		}
		own := map[int64][]byte{}
		for at := int64(0); at < int64(len(all)); at += Sector {
			if m, zero, ok := ParseMark(all[at : at+Sector]); ok && !zero && f.ownOf(a.loser, m, known) {
				own[at] = slices.Clone(all[at : at+Sector])
			}
		}
		a.bytes = append(a.bytes, own)
		a.before = append(a.before, a.sets(i)...)
	}
	return a
}

// ownOf reports whether a write was made at that side behind what both have; known are the writes of the branch.
func (f *flow) ownOf(h *host, m Mark, known []Write) bool {
	if h == f.branch.at {
		return m.Run == f.branch.h.Run()
	}
	return m.Counter > uint64(f.base) || known[m.Counter-1].GivenUp
}

// sets are the folders in which something of a volume's pair was kept.
func (a *aside) sets(volume int) []string {
	all, _ := filepath.Glob(filepath.Join(a.loser.State, "kept", pairName(a.f.volumes[volume])+"-*"))
	return all
}

// check finds all of it in what was kept aside since, and removes that.
func (a *aside) check() {
	if a == nil {
		return
	}
	t := a.f.s.t
	t.Helper()
	for i, own := range a.bytes {
		sets := slices.DeleteFunc(a.sets(i), func(s string) bool { return slices.Contains(a.before, s) })
		if len(own) > 0 && len(sets) != 1 {
			t.Fatalf("group %s: %d sectors of %s at %s were given up, and kept aside in %q", a.f.group, len(own), a.f.volumes[i], a.loser.Name, sets)
		}
		for _, set := range sets {
			image, err := os.Open(filepath.Join(set, "image"))
			if err != nil {
				t.Fatalf("%v", err)
			}
			defer image.Close()
			for at, want := range own {
				got := make([]byte, Sector)
				if _, err := image.ReadAt(got, at); err != nil || !bytes.Equal(got, want) {
					t.Fatalf("group %s: %s at %s, offset %d: what was kept aside in %s is not what was there (%v)", a.f.group, a.f.volumes[i], a.loser.Name, at, set, err)
				}
			}
			a.f.s.did("sectors found aside", len(own))
		}
		for _, set := range a.sets(i) {
			if out, code := a.loser.CLI("kept", "drop", filepath.Base(set)); code != 0 {
				t.Fatalf("site %s: pairfs kept drop: %s", a.loser.Name, out)
			}
		}
	}
}
