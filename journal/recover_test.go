package journal_test

import (
	"context"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"testing"

	"pairfs/journal"
	"pairfs/journal/journaltest"
)

const file1, file2 = "/j/000001", "/j/000002"

// corrupt changes the journal bytes at a position of the first lap of a journal of one volume.
func corrupt(t *testing.T, fsys *journaltest.FS, p journal.Position, n int64, change func(b []byte)) {
	t.Helper()
	if err := fsys.Corrupt(file1, int64(p)+journal.PageSize, n, change); err != nil {
		t.Fatal(err)
	}
}

// reseal gives a changed record header of the journal with that id its seal again.
func reseal(id [16]byte, b []byte) {
	tab := crc32.MakeTable(crc32.Castagnoli)
	binary.LittleEndian.PutUint32(b[60:], crc32.Update(crc32.Checksum(id[:], tab), tab, b[:60]))
}

func flip(b []byte) { b[0] ^= 1 }

// three makes a journal with three synced flushes of one record each, and closes it.
func three(t *testing.T) (*journaltest.FS, journal.Options, [3]journal.Reservation, [16]byte) {
	j, fsys, o := newJournal(t, 1)
	var r [3]journal.Reservation
	for i := range r {
		r[i] = update(t, j, 6000)
		syncTo(t, j, r[i].End)
	}
	id := j.ID()
	closeOK(t, j)
	return fsys, o, r, id
}

func openErr(t *testing.T, o journal.Options, head journal.Head, known journal.Position, want error) {
	t.Helper()
	j, _, err := journal.Open(o, head, known, nil)
	if err == nil {
		j.Close()
	}
	wantIs(t, err, want)
	t.Log(err)
}

func TestRecoverDamage(t *testing.T) {
	for _, row := range []struct {
		name   string
		change func(t *testing.T, fsys *journaltest.FS, r [3]journal.Reservation, id [16]byte)
		known  func(r [3]journal.Reservation) journal.Position
		want   error // nil: torn or clean after the number below
		last   journal.Seq
		out    journal.Outcome
	}{
		{name: "nothing", change: func(*testing.T, *journaltest.FS, [3]journal.Reservation, [16]byte) {}, last: 3, out: journal.Clean},
		{name: "payload of the last record", last: 2, out: journal.Torn,
			change: func(t *testing.T, f *journaltest.FS, r [3]journal.Reservation, _ [16]byte) {
				corrupt(t, f, r[2].Pos+100, 1, flip)
			}},
		{name: "header of the last record", last: 2, out: journal.Torn, // its pad is left behind
			change: func(t *testing.T, f *journaltest.FS, r [3]journal.Reservation, _ [16]byte) {
				corrupt(t, f, r[2].Pos+20, 1, flip)
			}},
		{name: "all of the last flush", last: 2, out: journal.Clean,
			change: func(t *testing.T, f *journaltest.FS, r [3]journal.Reservation, _ [16]byte) {
				corrupt(t, f, r[2].Pos, 8192, func(b []byte) { clear(b) })
			}},
		{name: "payload of the last record, known to be durable", want: journal.ErrCorrupt,
			change: func(t *testing.T, f *journaltest.FS, r [3]journal.Reservation, _ [16]byte) {
				corrupt(t, f, r[2].Pos+100, 1, flip)
			},
			known: func(r [3]journal.Reservation) journal.Position { return r[2].End }},
		{name: "payload of a middle record", want: journal.ErrCorrupt, // the third says that the second was durable
			change: func(t *testing.T, f *journaltest.FS, r [3]journal.Reservation, _ [16]byte) {
				corrupt(t, f, r[1].Pos+100, 1, flip)
			}},
		{name: "header of the first record", want: journal.ErrCorrupt,
			change: func(t *testing.T, f *journaltest.FS, r [3]journal.Reservation, _ [16]byte) {
				corrupt(t, f, r[0].Pos+8, 1, flip)
			}},
		{name: "zeroes over the second record", want: journal.ErrCorrupt,
			change: func(t *testing.T, f *journaltest.FS, r [3]journal.Reservation, _ [16]byte) {
				corrupt(t, f, r[1].Pos, 8192, func(b []byte) { clear(b) })
			}},
		{name: "newer version of the last record", want: journal.ErrVersion,
			change: func(t *testing.T, f *journaltest.FS, r [3]journal.Reservation, id [16]byte) {
				corrupt(t, f, r[2].Pos, 64, func(b []byte) { b[2] = 2; reseal(id, b) })
			}},
		{name: "newer version without a seal is no version", last: 2, out: journal.Torn,
			change: func(t *testing.T, f *journaltest.FS, r [3]journal.Reservation, id [16]byte) {
				corrupt(t, f, r[2].Pos, 64, func(b []byte) { b[2] = 2 })
			}},
		{name: "sealed header of kind 99", want: journal.ErrCorrupt,
			change: func(t *testing.T, f *journaltest.FS, r [3]journal.Reservation, id [16]byte) {
				corrupt(t, f, r[2].Pos, 64, func(b []byte) { b[3] = 99; reseal(id, b) })
			}},
		{name: "sealed header with a number that does not follow", want: journal.ErrCorrupt,
			change: func(t *testing.T, f *journaltest.FS, r [3]journal.Reservation, id [16]byte) {
				corrupt(t, f, r[2].Pos, 64, func(b []byte) { b[16] = 5; reseal(id, b) })
			}},
		{name: "sealed pad across the end of the volume", want: journal.ErrCorrupt,
			change: func(t *testing.T, f *journaltest.FS, r [3]journal.Reservation, id [16]byte) {
				corrupt(t, f, r[2].Pos, 64, func(b []byte) { b[3] = 3; binary.LittleEndian.PutUint64(b[24:], 1<<63); reseal(id, b) })
			}},
	} {
		t.Run(row.name, func(t *testing.T) {
			fsys, o, r, id := three(t)
			row.change(t, fsys, r, id)
			known := journal.Position(0)
			if row.known != nil {
				known = row.known(r)
			}
			if row.want != nil {
				openErr(t, o, journal.Head{}, known, row.want)
				return
			}
			j, rec, list := open(t, o, journal.Head{}, known)
			checkUpdates(t, list, 1, row.last)
			if rec.Outcome != row.out || rec.LastSeq != row.last {
				t.Errorf("recovery is %+v, want %s after number %d", rec, row.out, row.last)
			}
			// It goes on densely, and the next opening finds nothing but that.
			syncTo(t, j, update(t, j, 100).End)
			closeOK(t, j)
			j, rec, list = open(t, o, journal.Head{}, rec.Tail)
			defer j.Close()
			checkUpdates(t, list, 1, row.last+1)
			if rec.Outcome != journal.Clean {
				t.Errorf("second recovery is %+v", rec)
			}
		})
	}
}

// TestStaleAfterTorn: the first page of an interrupted flush is lost, the second survives with a record whose position and number would
// fit behind whatever is written over the first. It must not come back.
func TestStaleAfterTorn(t *testing.T) {
	torn := 0
	for s := uint64(0); s < 40; s++ {
		j, fsys, o := newJournal(t, 1)
		update(t, j, 4032)
		second := update(t, j, 4032)
		fsys.Inject(journaltest.FailNth(0, journaltest.OpSync))
		wantIs(t, j.Sync(t.Context(), second.End), journal.ErrFailed)
		fsys.Inject(nil)
		fsys.Crash(s, 4096)
		j.Close()

		j, rec, list := open(t, o, journal.Head{}, 0)
		if rec.Outcome == journal.Torn && len(list) == 0 {
			torn++
			if !rec.Erased {
				t.Errorf("seed %d: recovery is %+v, want the rest erased", s, rec)
			}
		}
		n := journal.Seq(len(list))
		r := update(t, j, 4032)
		syncTo(t, j, r.End)
		fsys.Crash(s, 4096)
		j.Close()
		j, _, list = open(t, o, journal.Head{}, r.End)
		checkUpdates(t, list, 1, n+1)
		closeOK(t, j)
	}
	if torn == 0 {
		t.Error("no seed lost the first page only; the test proves nothing")
	}
}

// TestStaleLap: on the second lap old records with valid seals lie behind the tail and are not taken.
func TestStaleLap(t *testing.T) {
	j, _, o := newJournal(t, 1)
	var head journal.Head
	last := journal.Seq(0)
	for p := journal.Position(0); p < 10*mib; {
		r := update(t, j, 4032)
		last = r.Seq
		if p = r.End; last%100 == 0 {
			syncTo(t, j, p)
			head = free(t, j, r.Pos)
		}
	}
	m := j.Marks()
	closeOK(t, j)
	j, rec, list := open(t, o, head, m.Durable)
	defer j.Close()
	checkUpdates(t, list, head.Seq+1, last)
	if rec.Outcome != journal.Clean {
		t.Errorf("recovery is %+v", rec)
	}
}

func TestHead(t *testing.T) {
	fsys, o, r, _ := three(t)
	_ = fsys
	j, _, _ := open(t, o, journal.Head{}, 0)
	h, err := j.FreeHead(r[1].Pos)
	if err != nil || h != (journal.Head{Position: r[1].Pos, Volume: 1, Seq: 1}) {
		t.Fatalf("head is %+v, %v", h, err)
	}
	if h, err := j.FreeHead(r[1].End); err != nil || h.Seq != 2 {
		t.Errorf("head at the end of number 2 is %+v, %v", h, err)
	}
	all, err := j.FreeHead(j.Marks().Durable)
	if err != nil || all.Seq != 3 {
		t.Errorf("head at the end is %+v, %v", all, err)
	}
	_, err = j.FreeHead(r[2].End + 1<<20)
	wantIs(t, err, journal.ErrInvalid)
	_, err = j.FreeHead(r[1].Pos + 64)
	wantIs(t, err, journal.ErrCorrupt)
	closeOK(t, j)
	j, _, list := open(t, o, h, 0)
	checkUpdates(t, list, 2, 3)
	closeOK(t, j)
	j, rec, list := open(t, o, all, 0)
	if len(list) != 0 || rec.LastSeq != 3 || update(t, j, 1).Seq != 4 {
		t.Errorf("an empty journal forgot its number: %+v", rec)
	}
	closeOK(t, j)
	for _, bad := range []journal.Head{{Position: 64, Volume: 2}, {Position: 1, Volume: 1}, {Position: 64}, {Position: 0, Volume: 1, VolumeStart: 4096}, {Position: 1 << 30, Volume: 1}} {
		openErr(t, o, bad, 0, journal.ErrInvalid)
	}
	visit := func(*journal.Record) error { return journaltest.ErrInjected }
	_, _, err = journal.Open(o, journal.Head{}, 0, visit)
	wantIs(t, err, journaltest.ErrInjected)
}

// TestRecoveredIsDurable: what Open found is durable when it returns, on every journal volume, though the process that wrote it died before its flush:
// it may have been in a cache only.
func TestRecoveredIsDurable(t *testing.T) {
	for seed := range uint64(6) {
		j, fsys, o := newJournal(t, 2)
		for j.Marks().Reserved < journal.MinVolumeSize-journal.PageSize-16<<10 {
			r := update(t, j, 4<<10)
			syncTo(t, j, r.End)
			j.Release(r.End)
		}
		fsys.Inject(func(op journaltest.Op) error {
			if op.Kind == journaltest.OpSync {
				return errors.New("the process dies here")
			}
			return nil
		})
		update(t, j, 8<<10) // the last of the first journal volume
		last := update(t, j, 8<<10)
		if j.Sync(context.Background(), last.End) == nil {
			t.Fatal("a flush that failed ended well")
		}
		fsys.Kill()
		fsys.Inject(nil)
		_, rec, _ := open(t, o, journal.Head{}, 0)
		if rec.LastSeq != last.Seq {
			t.Fatalf("what was written up to %d is found up to %d", last.Seq, rec.LastSeq)
		}
		fsys.Crash(seed, 4096)
		j, again, list := open(t, o, journal.Head{}, rec.Tail)
		if again.LastSeq != last.Seq {
			t.Errorf("seed %d: it was open up to %d, and a power cut left %d", seed, last.Seq, again.LastSeq)
		}
		checkUpdates(t, list, 1, last.Seq)
		closeOK(t, j)
	}
}
