package replica

import (
	"bytes"
	"context"
	"math/rand/v2"
	"sync"
	"testing"
)

// touching notes which regions of the stores of one site are written or punched.
type touching struct {
	mu      sync.Mutex
	touched map[string]map[int64]bool
}

type touchedStore struct {
	storeFile
	all    *touching
	volume string
}

func (t *touching) wrap(volume string, f storeFile) storeFile { return &touchedStore{f, t, volume} }

func (t *touching) note(volume string, off, n int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.touched == nil {
		return
	}
	if t.touched[volume] == nil {
		t.touched[volume] = map[int64]bool{}
	}
	mark(t.touched[volume], off, n)
}

// watch forgets what was touched and begins anew; it gives what was touched before.
func (t *touching) watch() map[string]map[int64]bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	old := t.touched
	t.touched = map[string]map[int64]bool{}
	return old
}

func (s *touchedStore) WriteAt(p []byte, off int64) (int, error) {
	s.all.note(s.volume, off, int64(len(p)))
	return s.storeFile.WriteAt(p, off)
}

func (s *touchedStore) Writev(bufs [][]byte, off int64) (int, error) {
	s.all.note(s.volume, off, int64(len(bytes.Join(bufs, nil))))
	return s.storeFile.Writev(bufs, off)
}

func (s *touchedStore) Fallocate(mode uint32, off, n int64) error {
	s.all.note(s.volume, off, n)
	return s.storeFile.Fallocate(mode, off, n)
}

// mark adds the regions of a range to a set.
func mark(set map[int64]bool, off, n int64) {
	for r := off / regionSize; r <= (off+n-1)/regionSize; r++ {
		set[r] = true
	}
}

// scribbler writes to volumes of one site and remembers which regions it changed.
type scribbler struct {
	node    *node
	rng     *rand.Rand
	changed map[string]map[int64]bool
}

// some makes writes and discards of any offset and length; every third one straddles the border of two regions.
func (s *scribbler) some(t *testing.T, count int, volumes ...string) {
	t.Helper()
	for range count {
		name := volumes[s.rng.IntN(len(volumes))]
		v := s.node.vol(name)
		n := 1 + s.rng.Int64N(3*4096)
		if s.rng.IntN(6) == 0 {
			n = 1 + s.rng.Int64N(3*regionSize)
		}
		off := s.rng.Int64N(v.Size() - n + 1)
		if border := (off/regionSize + 1) * regionSize; s.rng.IntN(3) == 0 && border+n < v.Size() && n > 1 {
			off = border - 1 - s.rng.Int64N(n-1)
		}
		var err error
		if s.rng.IntN(4) == 0 {
			err = v.Discard(context.Background(), off, n)
		} else {
			b := make([]byte, n)
			for i := range b {
				b[i] = byte(1 + s.rng.IntN(255))
			}
			_, err = v.WriteAt(context.Background(), b, off, s.rng.IntN(8) == 0)
		}
		must(t, err)
		if s.changed[name] == nil {
			s.changed[name] = map[int64]bool{}
		}
		mark(s.changed[name], off, n)
	}
}
