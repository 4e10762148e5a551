package journal_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pairfs/journal"
	"pairfs/journal/journaltest"
)

// slowFS takes a time for each write and each flush of a journal volume that is being made; others take none.
type slowFS struct {
	journal.FS
	write, flush time.Duration
	busy         atomic.Int64 // ns
}

type slowFile struct {
	journal.File
	fs *slowFS
}

func (f *slowFS) Create(name string) (journal.File, error) {
	file, err := f.FS.Create(name)
	if err != nil || !strings.HasSuffix(name, ".new") {
		return file, err
	}
	return &slowFile{file, f}, nil
}

func (f *slowFile) take(d time.Duration) {
	f.fs.busy.Add(int64(d))
	time.Sleep(d)
}

func (f *slowFile) WriteAt(p []byte, off int64) (int, error) {
	f.take(f.fs.write)
	return f.File.WriteAt(p, off)
}

func (f *slowFile) Sync() error {
	f.take(f.fs.flush)
	return f.File.Sync()
}

// TestAddVolumeLeavesTheDisk: an added journal volume is written in the share of the disk's time that it may have, whatever the disk is like, and
// who gives up or closes the journal does not wait for a rest.
func TestAddVolumeLeavesTheDisk(t *testing.T) {
	for _, c := range []struct {
		share        float64
		write, flush time.Duration
	}{{0.25, time.Millisecond, 0}, {0.25, time.Second, 3 * time.Second}, {0.1, 2 * time.Millisecond, 20 * time.Millisecond}, {1, time.Millisecond, time.Millisecond}} {
		synctest.Test(t, func(t *testing.T) {
			fsys := &slowFS{FS: journaltest.NewFS()}
			o := options(nil, "")
			o.FS, o.AddShare = fsys, c.share
			create(t, o, 1)
			j, _, _ := open(t, o, journal.Head{}, 0)
			fsys.write, fsys.flush = c.write, c.flush
			began := time.Now()
			if err := j.AddVolume(t.Context(), 40<<20); err != nil {
				t.Fatal(err)
			}
			took, busy := time.Since(began), time.Duration(fsys.busy.Load())
			// Behind the last piece come header and layout, and no rest.
			unrested := 3 * (c.write + c.flush)
			if low, high := float64(busy-unrested)/c.share, float64(busy)/c.share; float64(took) < low || float64(took) > high {
				t.Errorf("share %v: %v for %v of the disk's time", c.share, took, busy)
			}

			fsys.write = time.Hour
			ctx, cancel := context.WithCancelCause(t.Context())
			gone := errors.New("gone")
			time.AfterFunc(90*time.Minute, func() { cancel(gone) })
			began = time.Now()
			if err := j.AddVolume(ctx, 40<<20); !errors.Is(err, gone) {
				t.Errorf("given up: %v", err)
			}
			time.AfterFunc(90*time.Minute, func() { _ = j.Close() })
			if err := j.AddVolume(t.Context(), 40<<20); !errors.Is(err, journal.ErrClosed) {
				t.Errorf("closed: %v", err)
			}
			if took := time.Since(began); took > 4*time.Hour {
				t.Errorf("the end was waited for for %v", took)
			}
		})
	}
	for _, share := range []float64{-1, 1.5} {
		o := options(journaltest.NewFS(), "")
		o.AddShare = share
		create(t, o, 1)
		_, _, err := journal.Open(o, journal.Head{}, 0, nil)
		wantIs(t, err, journal.ErrInvalid)
	}
}
