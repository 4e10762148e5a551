package journal_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pairfs/journal"
	"pairfs/journal/journaltest"
)

// TestConcurrent lets 16 writers append and sync while one cursor follows, checks all, releases and frees behind itself, and another
// reader locates and watches the marks. The journal is much smaller than what goes through it.
func TestConcurrent(t *testing.T) {
	const writers, each = 16, 120
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
	watch.Go(func() {
		for !done.Load() && ctx.Err() == nil {
			fail(watchMarks(j))
		}
	})
	wg.Wait()
	done.Store(true)
	watch.Wait()
	if err := context.Cause(ctx); err != nil {
		t.Error(err)
	}
	if m := j.Marks(); m.DurableSeq != writers*each || m.Appended != m.Durable && t.Context().Err() == nil {
		t.Logf("marks %+v", m)
	}
	closeOK(t, j)
}

// writeMany appends updates and syncs some.
func writeMany(ctx context.Context, j *journal.Journal, rng *rand.Rand, n int) error {
	for i := range n {
		size := rng.IntN(24000)
		if rng.IntN(50) == 0 {
			size = journal.MaxPayload
		}
		var r journal.Reservation
		for {
			var err error
			r, err = j.Reserve(ctx, journal.Header{Kind: journal.KindUpdate, Length: uint64(size)})
			if err == nil {
				break
			}
			if !errors.Is(err, journal.ErrFull) {
				return err
			}
			if err := j.WaitRoom(ctx, size); err != nil {
				return err
			}
		}
		journaltest.Fill(r.Seq, r.Payload)
		j.Publish(r, r.Checksum())
		if i == n-1 || rng.IntN(4) == 0 {
			if err := j.Sync(ctx, r.End); err != nil {
				return err
			}
			if d := j.Marks().Durable; d < r.End {
				return fmt.Errorf("synced up to %d, durable is %d", r.End, d)
			}
		}
	}
	return nil
}

// follow reads everything in order, checks it and frees it, up to number last.
func follow(ctx context.Context, j *journal.Journal, last journal.Seq) error {
	buf, c := make([]byte, 2*mib), j.NewCursor(0)
	for next := journal.Seq(1); next <= last; {
		n, info, err := c.Read(buf, mib)
		if err != nil {
			return err
		}
		if n == 0 {
			if _, err := j.WaitDurable(ctx, c.Position()); err != nil {
				return err
			}
			continue
		}
		for off := 0; off < n; next++ {
			r, size, err := journal.Parse(buf[off:n])
			if err != nil {
				return err
			}
			if r.Seq != next {
				return fmt.Errorf("number %d comes after %d", r.Seq, next-1)
			}
			if err := journaltest.CheckFill(&r); err != nil {
				return err
			}
			off += size
		}
		// Restoring reads the ring in place, and lets it go.
		if m := j.Marks(); m.Released < info.Next {
			_ = j.Bytes(m.Released, journal.HeaderSize)
		}
		j.Release(info.Next)
		h, err := j.FreeHead(info.Next)
		if err != nil {
			return err
		}
		if h.Seq != info.Last {
			return fmt.Errorf("head at %d says number %d, it is %d", info.Next, h.Seq, info.Last)
		}
		if err := j.Free(h); err != nil {
			return err
		}
	}
	return nil
}

// watchMarks checks what always holds between the marks.
func watchMarks(j *journal.Journal) error {
	m := j.Marks()
	if !(m.Freed <= m.Durable && m.Durable <= m.Appended && m.Appended <= m.Reserved && m.DurableSeq <= m.AppendedSeq && m.AppendedSeq <= m.LastSeq) {
		return fmt.Errorf("marks are out of order: %+v", m)
	}
	if u := j.Usage(); u.RingUsed > u.RingSize || u.Used > u.Capacity+journal.PageSize {
		return fmt.Errorf("more is used than there is: %+v", u)
	}
	if p, ok := j.Locate(m.DurableSeq); ok && p > m.Durable {
		return fmt.Errorf("durable number %d is at %d, durable up to %d", m.DurableSeq, p, m.Durable)
	}
	return nil
}

// TestRingWaits: Reserve waits for Release, ends with its context, and a large record is not overtaken for ever by small ones.
func TestRingWaits(t *testing.T) {
	j, _, _ := newJournal(t, 4)
	fill := func() (end journal.Position) {
		for u := j.Usage(); u.RingUsed+2*journal.MaxRecord+journal.PageSize < u.RingSize; u = j.Usage() {
			end = update(t, j, 65000).End
		}
		for u := j.Usage(); u.RingUsed+65000+2*journal.PageSize < u.RingSize; u = j.Usage() {
			end = update(t, j, 60000).End
		}
		return end
	}
	end := fill()
	ctx, cancel := context.WithCancel(t.Context())
	errs := make(chan error)
	reserve := func(ctx context.Context, n int) {
		r, err := j.Reserve(ctx, journal.Header{Kind: journal.KindUpdate, Length: uint64(n)})
		if err == nil {
			journaltest.Fill(r.Seq, r.Payload)
			j.Publish(r, r.Checksum())
		}
		errs <- err
	}
	go reserve(ctx, journal.MaxPayload)
	cancel()
	wantIs(t, <-errs, context.Canceled)
	go reserve(t.Context(), journal.MaxPayload)
	syncTo(t, j, end)
	j.Release(end)
	if err := <-errs; err != nil {
		t.Error(err)
	}
	fill()
	go reserve(t.Context(), journal.MaxPayload)
	go reserve(t.Context(), journal.MaxPayload)
	go func() { errs <- j.Close() }()
	closed := 0
	for range 3 {
		if err := <-errs; errors.Is(err, journal.ErrClosed) {
			closed++
		} else if err != nil {
			t.Error(err)
		}
	}
	if closed != 2 {
		t.Errorf("%d of 2 that waited ended with the journal", closed)
	}
}

// TestSyncShared: a Sync that waits for another's flush ends with its context while that flush goes on.
func TestSyncShared(t *testing.T) {
	j, _, _ := newJournal(t, 1)
	defer j.Close()
	held, err := j.Reserve(t.Context(), journal.Header{Kind: journal.KindUpdate, Length: 100})
	if err != nil {
		t.Fatal(err)
	}
	lead := make(chan error, 1)
	go func() { lead <- j.Sync(context.Background(), held.End) }() // waits for the Publish below
	ctx, cancel := context.WithCancel(t.Context())
	wait := make(chan error, 8)
	for range cap(wait) {
		end := update(t, j, 100).End
		go func() { wait <- j.Sync(ctx, end) }()
	}
	cancel()
	// One of all flushes for the others and hangs on the reservation; those of the rest whose context ended come back before it.
	for range cap(wait) - 1 {
		wantIs(t, <-wait, context.Canceled)
	}
	journaltest.Fill(held.Seq, held.Payload)
	j.Publish(held, held.Checksum())
	if err := <-wait; err != nil && !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if err := <-lead; err != nil {
		t.Error(err)
	}
	wantIs(t, j.Sync(t.Context(), 1<<40), journal.ErrInvalid)
	syncTo(t, j, j.Marks().Appended)
	m := j.Marks()
	if p, err := j.WaitDurable(t.Context(), 0); err != nil || p != m.Durable {
		t.Errorf("durable up to %d, %v", p, err)
	}
}

// TestFlushDelay: what nobody syncs becomes durable by itself.
func TestFlushDelay(t *testing.T) {
	fsys := journaltest.NewFS()
	o := options(fsys, "")
	o.FlushDelay = time.Millisecond
	create(t, o, 1)
	j, _, _ := open(t, o, journal.Head{}, 0)
	defer j.Close()
	for range 3 {
		r := update(t, j, 1000)
		if _, err := j.WaitDurable(t.Context(), r.Pos); err != nil {
			t.Fatal(err)
		}
	}
}
