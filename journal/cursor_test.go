package journal_test

import (
	"context"
	"testing"
	"time"

	"pairfs/journal"
	"pairfs/journal/journaltest"
)

// readAll reads with a cursor until nothing new is durable.
func readAll(t *testing.T, c *journal.Cursor, max int) []seen {
	t.Helper()
	var list []seen
	buf := make([]byte, 2*mib)
	for {
		n, info, err := c.Read(buf, max)
		if err != nil {
			t.Fatal(err)
		}
		if info.Next != c.Position() {
			t.Fatalf("Next is %d, the cursor is at %d", info.Next, c.Position())
		}
		if n == 0 {
			return list
		}
		if info.Count > 1 && n > max {
			t.Fatalf("%d bytes, asked for %d", n, max)
		}
		count := 0
		for off := 0; off < n; count++ {
			r, size, err := journal.Parse(buf[off:n])
			if err != nil {
				t.Fatal(err)
			}
			if count == 0 && (r.Seq != info.First || r.Time != info.FirstTime) {
				t.Fatalf("first is %s, info %+v", r, info)
			}
			list = append(list, clone(&r))
			off += size
		}
		if last := list[len(list)-1].Seq; count != info.Count || last != info.Last {
			t.Fatalf("%d records up to number %d, info says %+v", count, last, info)
		}
	}
}

// TestWrap goes many times round three journal volumes and a smaller ring, with cursors from the disk and the ring, and opens again now and then.
func TestWrap(t *testing.T) {
	rng := seed(t)
	fsys := journaltest.NewFS()
	o := options(fsys, ringPath(t))
	create(t, o, 3)
	j, _, _ := open(t, o, journal.Head{}, 0)
	head, last := journal.Head{}, journal.Seq(0)
	for j.Marks().Reserved < 50*mib {
		n := rng.IntN(20000)
		if rng.IntN(10) == 0 {
			n = journal.MaxPayload - rng.IntN(100)
		}
		if u := j.Usage(); u.RingUsed+2*journal.MaxRecord+journal.PageSize > u.RingSize || rng.IntN(50) == 0 {
			m := j.Marks()
			syncTo(t, j, m.Appended)
			j.Release(m.Appended)
		}
		if u := j.Usage(); u.Used > 8*mib {
			checkUpdates(t, readAll(t, j.NewCursor(head.Position), rng.IntN(mib)), head.Seq+1, j.Marks().DurableSeq)
			p, ok := j.Locate(head.Seq + (j.Marks().DurableSeq-head.Seq)*3/4)
			if !ok {
				t.Fatal("a number between the marks is not found")
			}
			head = free(t, j, p)
		}
		if rng.IntN(300) == 0 {
			closeOK(t, j)
			var list []seen
			j, _, list = open(t, o, head, 0)
			checkUpdates(t, list, head.Seq+1, last)
		}
		last = update(t, j, n).Seq
	}
	closeOK(t, j)
}

// TestCursorLeavesRing: positions that were overwritten in the ring come from disk, those after from the ring, in one order.
func TestCursorLeavesRing(t *testing.T) {
	j, _, _ := newJournal(t, 3)
	defer j.Close()
	slow := j.NewCursor(0)
	for range 900 {
		r := update(t, j, 10000)
		syncTo(t, j, r.End)
		j.Release(r.End)
	}
	if u := j.Usage(); u.Used < 2*u.RingSize {
		t.Fatalf("usage %+v: the ring holds it all", u)
	}
	checkUpdates(t, readAll(t, slow, 100_000), 1, 900)
	checkUpdates(t, readAll(t, j.NewCursor(0), 1), 1, 900)
	if got := readAll(t, slow, mib); got != nil {
		t.Errorf("cursor at the end gives %d records", len(got))
	}
	update(t, j, 10)
	if got := readAll(t, slow, mib); got != nil {
		t.Errorf("cursor gives %d records that are not durable", len(got))
	}
	syncTo(t, j, j.Marks().Appended)
	checkUpdates(t, readAll(t, slow, mib), 901, 901)

	p, _ := j.Locate(300)
	free(t, j, p)
	_, _, err := j.NewCursor(0).Read(make([]byte, 2*mib), mib)
	wantIs(t, err, journal.ErrFreed)
	checkUpdates(t, readAll(t, j.NewCursor(p), mib), 300, 901)
	_, _, err = slow.Read(make([]byte, journal.MaxRecord-1), mib)
	wantIs(t, err, journal.ErrInvalid)
}

// TestCursorDamage: a damaged record on disk is an error that names it, after the good ones before it.
func TestCursorDamage(t *testing.T) {
	j, fsys, o := newJournal(t, 1)
	var p journal.Position
	for i := range 10 {
		if r := update(t, j, 5000); i == 6 {
			p = r.Pos
		}
	}
	syncTo(t, j, j.Marks().Appended)
	closeOK(t, j)
	j, _, _ = open(t, o, journal.Head{}, 0)
	defer j.Close()
	corrupt(t, fsys, p+200, 1, flip)
	c, buf := j.NewCursor(0), make([]byte, 2*mib)
	if n, info, err := c.Read(buf, mib); err != nil || info.Last != 6 || n == 0 {
		t.Errorf("first read: %+v, %v", info, err)
	}
	_, _, err := c.Read(buf, mib)
	wantIs(t, err, journal.ErrCorrupt)
	t.Log(err)
}

// TestCursorDamageInTheRing: a payload that changed in the staging ring is found there too. Who sends a record parses it once more, so only a cursor
// that is asked itself shows that.
func TestCursorDamageInTheRing(t *testing.T) {
	j, _, _ := newJournal(t, 1)
	defer j.Close()
	good, bad := update(t, j, 5000), update(t, j, 5000)
	syncTo(t, j, j.Marks().Appended)
	j.Bytes(bad.Pos+journal.HeaderSize, 5000)[4000] ^= 4
	c, buf := j.NewCursor(good.Pos), make([]byte, 2*mib)
	if n, info, err := c.Read(buf, mib); err != nil || info.Last != 1 || n == 0 {
		t.Errorf("first read: %+v, %v", info, err)
	}
	_, _, err := c.Read(buf, mib)
	wantIs(t, err, journal.ErrCorrupt)
}

func TestLocate(t *testing.T) {
	j, _, o := newJournal(t, 2)
	var at []journal.Position // by number
	at = append(at, 0)
	var end journal.Position
	for i := range 600 {
		if i%50 == 7 {
			if _, err := j.Append(t.Context(), journal.Header{Kind: journal.KindBase, Time: 1}, []byte("base")); err != nil {
				t.Fatal(err)
			}
		}
		r, err := j.Append(t.Context(), journal.Header{Kind: journal.KindUpdate, Time: int64(i+1) * 1000}, make([]byte, i*7))
		if err != nil {
			t.Fatal(err)
		}
		if i%3 == 0 {
			syncTo(t, j, r.End)
			j.Release(r.End)
		}
		at, end = append(at, r.Pos), r.End
	}
	check := func(from journal.Seq) {
		t.Helper()
		for s := journal.Seq(0); s <= 602; s++ {
			p, ok := j.Locate(s)
			if want := s > from && s <= 601; ok != want {
				t.Fatalf("number %d found: %v, want %v", s, ok, want)
			}
			if ok && s <= 600 && p != at[s] {
				t.Fatalf("number %d is at %d, not %d", s, at[s], p)
			}
			when, ok := j.TimeAt(s)
			if ok != (s > from && s <= 600) || ok && !when.Equal(time.Unix(0, int64(s)*1000)) {
				t.Fatalf("number %d has time %v, %v", s, when, ok)
			}
		}
	}
	check(0)
	if p, ok := j.Locate(601); !ok || p != end {
		t.Errorf("next number is at %d, want %d", p, end)
	}
	head := free(t, j, at[123])
	check(122)
	syncTo(t, j, end)
	closeOK(t, j)
	j, _, _ = open(t, o, head, 0)
	check(122)
	closeOK(t, j)
	if _, ok := j.Locate(300); ok {
		t.Error("a closed journal locates")
	}
	_, _, err := j.NewCursor(0).Read(make([]byte, 2*mib), mib)
	wantIs(t, err, journal.ErrClosed)
}

// TestFull: no room on disk is ErrFull at once; Free wakes who waits for room.
func TestFull(t *testing.T) {
	j, _, _ := newJournal(t, 1)
	defer j.Close()
	var err error
	var mid journal.Position
	for i := 0; err == nil; i++ {
		var r journal.Reservation
		if r, err = j.Append(t.Context(), journal.Header{Kind: journal.KindUpdate}, make([]byte, 100_000)); err == nil {
			syncTo(t, j, r.End)
			j.Release(r.End)
			if i == 20 {
				mid = r.Pos
			}
		}
	}
	wantIs(t, err, journal.ErrFull)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- j.WaitRoom(ctx, 100_000) }()
	cancel()
	wantIs(t, <-done, context.Canceled)
	go func() { done <- j.WaitRoom(t.Context(), 100_000) }()
	free(t, j, mid)
	if err := <-done; err != nil {
		t.Error(err)
	}
	syncTo(t, j, update(t, j, 100_000).End)
	wantIs(t, j.WaitRoom(t.Context(), journal.MaxPayload+1), journal.ErrTooLarge)
}
