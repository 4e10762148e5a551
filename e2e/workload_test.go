package e2e

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// TestWorkloadOnFiles runs the workload, half of it in processes, over plain files, which are right by definition: the checker has to agree, and to disagree once
// a byte of them is changed behind its back.
func TestWorkloadOnFiles(t *testing.T) {
	const size = 8 << 20
	seed := Seed(t)
	h := NewHistory(seed)
	dir := t.TempDir()
	var targets []Target
	for i, name := range []string{"a", "b", "c"} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(path, size); err != nil {
			t.Fatal(err)
		}
		targets = append(targets, Target{Volume: i, Path: path, Size: size})
	}
	Prefill(t, h, targets[0])
	w := StartWorkload(t, h, targets, Load{Seed: seed, Burst: 3000, PerSecond: 1e6, Processes: 3})
	if err := w.Wait(); err != nil {
		t.Fatal(err)
	}
	p, err := CheckFiles(h, targets, Always)
	if err != nil {
		t.Fatalf("files that are right were refused: %v", err)
	}
	if p.Last != 0 || p.Writes != h.Len() {
		t.Fatalf("prefix %+v of %d writes is not all of them", p, h.Len())
	}
	f, err := os.OpenFile(targets[1].Path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt([]byte("x"), size/32+17); err != nil {
		t.Fatal(err)
	}
	var d *Defect
	if _, err := CheckFiles(h, targets, Always); !errors.As(err, &d) || d.Volume != 1 {
		t.Fatalf("a damaged byte of volume 1 was not found: %v", err)
	}
}

// TestWorkloadPause proves that nothing is in flight during a pause.
func TestWorkloadPause(t *testing.T) {
	h := NewHistory(1)
	path := filepath.Join(t.TempDir(), "a")
	if err := os.WriteFile(path, make([]byte, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	w := StartWorkload(t, h, []Target{{Path: path, Size: 1 << 20}}, Load{PerSecond: 1e5})
	for range 20 {
		resume := w.Pause()
		for _, one := range h.Writes() {
			if one.End == 0 {
				t.Errorf("write %d is in flight during a pause", one.Counter)
			}
		}
		resume()
	}
	if err := w.Stop(); err != nil {
		t.Fatal(err)
	}
}
