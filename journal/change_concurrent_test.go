package journal_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pairfs/journal"
	"pairfs/journal/journaltest"
)

// TestConcurrentLayout adds and removes journal volumes of any size all the time while 8 writers append and sync, one reader follows,
// checks everything and frees it, and another locates and watches the marks.
func TestConcurrentLayout(t *testing.T) {
	const writers, each = 8, 150
	rng := seed(t)
	fsys := journaltest.NewFS()
	o := options(fsys, ringPath(t))
	o.FlushDelay = time.Millisecond
	create(t, o, 2)
	j, _, _ := open(t, o, journal.Head{}, 0)
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	fail := func(err error) {
		if err != nil && ctx.Err() == nil {
			cancel(err)
		}
	}
	var wg, watch sync.WaitGroup
	var done atomic.Bool
	for w := range writers {
		rng := rand.New(rand.NewPCG(rng.Uint64(), uint64(w)))
		wg.Go(func() { fail(writeMany(ctx, j, rng, each)) })
	}
	wg.Go(func() { fail(follow(ctx, j, writers*each)) })
	changes := 0
	watch.Go(func() {
		rng := rand.New(rand.NewPCG(rng.Uint64(), 99))
		for ; (!done.Load() || changes == 0) && ctx.Err() == nil; changes++ {
			fail(changeOnce(ctx, j, rng))
		}
	})
	watch.Go(func() {
		for !done.Load() && ctx.Err() == nil {
			fail(watchMarks(j))
			_ = j.Volumes()
		}
	})
	wg.Wait()
	done.Store(true)
	watch.Wait()
	if err := context.Cause(ctx); err != nil {
		t.Error(err)
	}
	t.Logf("%d changes, journal volumes are %+v", changes, j.Volumes())
	closeOK(t, j)
}

// changeOnce adds a journal volume or removes one; with many it waits for one to go.
func changeOnce(ctx context.Context, j *journal.Journal, rng *rand.Rand) error {
	list := j.Volumes()
	if len(list) < 4 {
		return j.AddVolume(ctx, journal.MinVolumeSize+int64(rng.IntN(300))*journal.PageSize)
	}
	number := list[rng.IntN(len(list))].Number
	if err := j.RemoveVolume(ctx, number); errors.Is(err, journal.ErrNeeded) || errors.Is(err, journal.ErrInvalid) {
		return nil
	} else if err != nil {
		return err
	}
	if len(list) > 5 {
		// When the writers have ended, nothing makes room any more.
		ctx, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
		defer cancel()
		if err := j.WaitRemoved(ctx, number); err != nil && !errors.Is(err, context.DeadlineExceeded) {
			return err
		}
	}
	return nil
}

// holdLayout holds the second write to the layout file: the first change itself.
type holdLayout struct {
	journal.FS
	begun, goOn chan struct{}
	once        sync.Once
	err         error
}

type heldLayout struct {
	journal.File
	fs *holdLayout
}

func (h *holdLayout) Open(name string, write bool) (journal.File, error) {
	f, err := h.FS.Open(name, write)
	if err != nil || name != layoutFile || !write {
		return f, err
	}
	return &heldLayout{f, h}, nil
}

func (h *heldLayout) WriteAt(b []byte, off int64) (int, error) {
	h.fs.once.Do(func() { close(h.fs.begun) })
	<-h.fs.goOn
	if h.fs.err != nil {
		return 0, h.fs.err
	}
	return h.File.WriteAt(b, off)
}

// TestReserveWaitsForLayout: while the new layout is not durable nothing is reserved where it begins, and everything before is. Who waits
// goes on when it is, and gets the failure if it cannot be written.
func TestReserveWaitsForLayout(t *testing.T) {
	for _, fault := range []error{nil, journaltest.ErrInjected} {
		t.Run(fmt.Sprint(fault), func(t *testing.T) {
			fsys := journaltest.NewFS()
			hold := &holdLayout{FS: fsys, begun: make(chan struct{}), goOn: make(chan struct{}), err: fault}
			o := options(hold, "")
			create(t, o, 2)
			j, _, _ := open(t, o, journal.Head{}, 0)
			grow(t, j, 3*mib)
			added := make(chan error, 1)
			go func() { added <- j.AddVolume(context.Background(), journal.MinVolumeSize) }()
			<-hold.begun
			const base = journal.MinVolumeSize - journal.PageSize
			stopped, cancel := context.WithCancel(t.Context())
			cancel()
			var err error
			for err == nil {
				var r journal.Reservation
				if r, err = j.Reserve(stopped, journal.Header{Kind: journal.KindUpdate, Length: 5000}); err == nil {
					journaltest.Fill(r.Seq, r.Payload)
					j.Publish(r, r.Checksum())
					syncTo(t, j, r.End)
					j.Release(r.End)
				}
			}
			wantIs(t, err, context.Canceled)
			if m := j.Marks(); m.Reserved > base || m.Reserved < base-3*journal.PageSize {
				t.Errorf("reserved up to %d, the new layout begins at %d", m.Reserved, base)
			}
			waited := make(chan error, 1)
			go func() {
				r, err := j.Reserve(t.Context(), journal.Header{Kind: journal.KindUpdate, Length: 50_000})
				if err == nil {
					journaltest.Fill(r.Seq, r.Payload)
					j.Publish(r, r.Checksum())
				}
				waited <- err
			}()
			close(hold.goOn)
			if fault == nil {
				if err := errors.Join(<-added, <-waited); err != nil {
					t.Error(err)
				}
				if v := j.Volumes()[2]; v.Used == 0 {
					t.Errorf("volume 3 is %+v", v)
				}
				closeOK(t, j)
				return
			}
			wantIs(t, <-added, journal.ErrFailed)
			wantIs(t, <-waited, journal.ErrFailed)
			wantIs(t, j.AddVolume(t.Context(), journal.MinVolumeSize), journal.ErrFailed)
			wantIs(t, j.RemoveVolume(t.Context(), 1), journal.ErrFailed)
			wantIs(t, j.Close(), journal.ErrFailed)
		})
	}
}

// TestLayoutRealDisk changes a journal on the operating system's files.
func TestLayoutRealDisk(t *testing.T) {
	o := journal.Options{Dir: filepath.Join(t.TempDir(), "journal"), RingPath: ringPath(t), RingSize: journal.MinRingSize}
	create(t, o, 1)
	j, _, _ := open(t, o, journal.Head{}, 0)
	grow(t, j, mib)
	if err := j.AddVolume(t.Context(), journal.MinVolumeSize+journal.PageSize); err != nil {
		t.Fatal(err)
	}
	p := grow(t, j, 4*mib)
	head := free(t, j, p)
	for _, number := range []int{1} {
		if err := j.RemoveVolume(t.Context(), number); err != nil {
			t.Fatal(err)
		}
		if err := j.WaitRemoved(t.Context(), number); err != nil {
			t.Fatal(err)
		}
	}
	if st, err := os.Stat(filepath.Join(o.Dir, "000001")); err != nil || st.Size() != journal.PageSize {
		t.Errorf("what is left of volume 1 is %v, %v", st, err)
	}
	if err := j.AddVolume(t.Context(), journal.MinVolumeSize); err != nil {
		t.Fatal(err)
	}
	if err := j.RemoveVolume(t.Context(), 2); err != nil {
		t.Fatal(err)
	}
	grow(t, j, mib)
	first, last := head.Seq+1, j.Marks().LastSeq
	closeOK(t, j)
	j, _, list := open(t, o, head, 0)
	checkUpdates(t, list, first, last)
	free(t, j, j.Marks().Durable)
	if err := j.WaitRemoved(t.Context(), 2); err != nil {
		t.Fatal(err)
	}
	if err := j.WaitRemoved(t.Context(), 2); err != nil {
		t.Error(err)
	}
	closeOK(t, j)
	names, err := journal.OS.List(o.Dir)
	if got := strings.Join(names, " "); err != nil || got != "000001 000003 layout" {
		t.Errorf("files are %s, %v", got, err)
	}
	if sum, err := journal.Dump(nil, o.Dir, nil); err != nil || sum.Bad != 0 {
		t.Errorf("%+v, %v", sum, err)
	}
}
