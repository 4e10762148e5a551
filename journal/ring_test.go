package journal_test

import (
	"os"
	"reflect"
	"testing"

	"pairfs/journal"
	"pairfs/journal/journaltest"
)

// dead is what a killed process leaves: the files as they were written and a copy of the ring.
type dead struct {
	fsys *journaltest.FS
	o    journal.Options
	ring []byte
}

// kill takes a picture of the ring as kill -9 would leave it and ends the process's hold on the files. The caller closes the journal
// when all reservations are published.
func kill(t *testing.T, fsys *journaltest.FS, o journal.Options) dead {
	t.Helper()
	b, err := os.ReadFile(o.RingPath)
	if err != nil {
		t.Fatal(err)
	}
	fsys.Kill()
	return dead{fsys, o, b}
}

// rise puts the ring back.
func (d dead) rise(t *testing.T) {
	t.Helper()
	if err := os.WriteFile(d.o.RingPath, d.ring, 0o600); err != nil {
		t.Fatal(err)
	}
}

func ringJournal(t *testing.T) (*journal.Journal, *journaltest.FS, journal.Options) {
	t.Helper()
	fsys := journaltest.NewFS()
	o := options(fsys, ringPath(t))
	create(t, o, 1)
	j, _, _ := open(t, o, journal.Head{}, 0)
	return j, fsys, o
}

// TestRingRestart: what was published is there after kill -9; what was only reserved becomes a skip of its number, or a pad.
func TestRingRestart(t *testing.T) {
	j, fsys, o := ringJournal(t)
	syncTo(t, j, update(t, j, 3000).End)
	update(t, j, 5000)
	lost, err := j.Reserve(t.Context(), journal.Header{Kind: journal.KindUpdate, Volume: 5, Offset: 8192, Length: 10000, Time: 77})
	if err != nil {
		t.Fatal(err)
	}
	base, err := j.Reserve(t.Context(), journal.Header{Kind: journal.KindBase, Volume: 5, Length: 700})
	if err != nil {
		t.Fatal(err)
	}
	update(t, j, 6000)
	local, err := j.Reserve(t.Context(), journal.Header{Kind: journal.KindControl, Flags: journal.FlagLocal, Length: 0})
	if err != nil {
		t.Fatal(err)
	}
	epoch, err := j.Reserve(t.Context(), journal.Header{Kind: journal.KindControl, Flags: journal.FlagEpoch, Seq: 100})
	if err != nil {
		t.Fatal(err)
	}
	update(t, j, journal.MaxPayload)
	d := kill(t, fsys, o)
	for _, r := range []journal.Reservation{lost, base, local, epoch} {
		j.Publish(r, r.Checksum())
	}
	j.Close()
	d.rise(t)

	j, rec, list := open(t, o, journal.Head{}, 0)
	if rec.FromRing != 5 || rec.Skipped != 4 || rec.Records != 6 || rec.LastSeq != 101 {
		t.Errorf("recovery is %+v", rec)
	}
	var kinds []journal.Kind
	var seqs []journal.Seq
	for i := range list {
		kinds, seqs = append(kinds, list[i].Kind), append(seqs, list[i].Seq)
		if list[i].Kind == journal.KindUpdate {
			if err := journaltest.CheckFill(&list[i]); err != nil {
				t.Error(err)
			}
		}
	}
	k := journal.KindSkip
	u := journal.KindUpdate
	wantEqual(t, []journal.Kind{u, u, k, u, k, u}, kinds)
	wantEqual(t, []journal.Seq{1, 2, 3, 4, 100, 101}, seqs)
	if s := list[2]; s.Volume != 5 || s.Offset != 8192 || s.Length != 10000 || s.Time != 77 {
		t.Errorf("skip does not say what it stands for: %s", s)
	}
	// A second death at once changes nothing: all is on disk, the ring is empty.
	d = kill(t, fsys, o)
	j.Close()
	d.rise(t)
	j, rec, again := open(t, o, journal.Head{}, 0)
	if !reflect.DeepEqual(list, again) {
		t.Errorf("second recovery gives other records")
	}
	if rec.FromRing != 0 || rec.Outcome != journal.Clean {
		t.Errorf("second recovery is %+v", rec)
	}
	if r := update(t, j, 1); r.Seq != 102 {
		t.Errorf("numbers go on with %d", r.Seq)
	}
	closeOK(t, j)
}

// TestRingSize: a ring of another size is emptied into the journal before it is replaced.
func TestRingSize(t *testing.T) {
	j, fsys, o := ringJournal(t)
	for range 3 {
		update(t, j, 5000)
	}
	d := kill(t, fsys, o)
	j.Close()
	d.rise(t)
	o.RingSize *= 2
	j, rec, list := open(t, o, journal.Head{}, 0)
	checkUpdates(t, list, 1, 3)
	if u := j.Usage(); rec.FromRing != 3 || u.RingSize != int64(o.RingSize) {
		t.Errorf("recovery is %+v, usage %+v", rec, u)
	}
	closeOK(t, j)
}

// TestRingRefused: what is not of this journal and this run of the machine is not taken; what is, but is damaged, is refused loudly.
func TestRingRefused(t *testing.T) {
	for _, row := range []struct {
		name    string
		change  func(b []byte)
		records int
		want    error
	}{
		{"nothing", func([]byte) {}, 3, nil},
		{"other boot", func(b []byte) { b[32]++; ringCRC(b) }, 1, nil},
		{"other journal", func(b []byte) { b[16]++; ringCRC(b) }, 1, nil},
		{"header half written", func(b []byte) { b[60]++ }, 1, nil},
		{"not of the right size", nil, 1, nil},
		{"payload changed", func(b []byte) { b[4096+8192+100]++ }, 0, journal.ErrCorrupt},
		{"header changed ends the chain", func(b []byte) { b[4096+8192+9]++ }, 1, nil},
		{"disk lost what was durable", func(b []byte) { b[64+1] = 0xFF }, 0, journal.ErrCorrupt},
	} {
		t.Run(row.name, func(t *testing.T) {
			j, fsys, o := ringJournal(t)
			syncTo(t, j, update(t, j, 5000).End)
			update(t, j, 5000)
			update(t, j, 5000)
			d := kill(t, fsys, o)
			j.Close()
			if row.change == nil {
				d.ring = d.ring[:len(d.ring)-1]
			} else {
				row.change(d.ring)
			}
			d.rise(t)
			if row.want != nil {
				openErr(t, o, journal.Head{}, 0, row.want)
				return
			}
			j, _, list := open(t, o, journal.Head{}, 0)
			checkUpdates(t, list, 1, journal.Seq(row.records))
			closeOK(t, j)
		})
	}
}

// TestRingFailedFlush: a failed flush keeps the ring, and the next opening takes from it what the disk lacks.
func TestRingFailedFlush(t *testing.T) {
	j, fsys, o := ringJournal(t)
	syncTo(t, j, update(t, j, 5000).End)
	r := update(t, j, 5000)
	fsys.Inject(journaltest.FailNth(0, journaltest.OpWrite))
	wantIs(t, j.Sync(t.Context(), r.End), journal.ErrFailed)
	fsys.Inject(nil)
	wantIs(t, j.Sync(t.Context(), r.End), journaltest.ErrInjected) // the cause; and it is not tried again
	wantIs(t, j.Err(), journal.ErrFailed)
	_, err := j.Reserve(t.Context(), journal.Header{Kind: journal.KindSkip})
	wantIs(t, err, journal.ErrFailed)
	_, err = j.WaitDurable(t.Context(), r.Pos)
	wantIs(t, err, journal.ErrFailed)
	if n, info, err := j.NewCursor(0).Read(make([]byte, 2*mib), mib); n == 0 || info.Last != 1 || err != nil {
		t.Errorf("cursor of a failed journal gives %d bytes, %+v, %v", n, info, err)
	}
	wantIs(t, j.Close(), journal.ErrFailed)
	wantIs(t, j.Close(), journal.ErrClosed)
	j, rec, list := open(t, o, journal.Head{}, 0)
	checkUpdates(t, list, 1, 2)
	if rec.FromRing == 0 {
		t.Errorf("recovery is %+v", rec)
	}
	closeOK(t, j)
}

// TestRingRestartReceived: in a journal of received records a number that was only reserved is not taken: the peer sends it again.
func TestRingRestartReceived(t *testing.T) {
	j, fsys, o := ringJournal(t)
	update(t, j, 5000)
	base, err := j.Reserve(t.Context(), journal.Header{Kind: journal.KindBase, Volume: 5, Length: 700})
	if err != nil {
		t.Fatal(err)
	}
	lost, err := j.Reserve(t.Context(), journal.Header{Kind: journal.KindUpdate, Volume: 5, Length: 10000, Seq: 2})
	if err != nil {
		t.Fatal(err)
	}
	d := kill(t, fsys, o)
	for _, r := range []journal.Reservation{base, lost} {
		j.Publish(r, r.Checksum())
	}
	j.Close()
	d.rise(t)

	o.Received = true
	j, rec, _ := open(t, o, journal.Head{}, 0)
	if rec.LastSeq != 1 || rec.Records != 1 {
		t.Errorf("recovery is %+v, want the one published record", rec)
	}
	again, err := j.Reserve(t.Context(), journal.Header{Kind: journal.KindUpdate, Volume: 5, Length: 10000, Seq: 2})
	if err != nil {
		t.Fatal(err)
	}
	j.Publish(again, again.Checksum())
	syncTo(t, j, again.End)
}

// TestRingRestartReceivedLocal: what hosts of this side wrote behind a received record that is sent again stays, without the number that
// it was written behind; what was received behind it goes too.
func TestRingRestartReceivedLocal(t *testing.T) {
	j, fsys, o := ringJournal(t)
	update(t, j, 5000)
	all := []journal.Header{
		{Kind: journal.KindUpdate, Volume: 5, Length: 10000, Seq: 2},
		{Kind: journal.KindUpdate, Volume: 7, Offset: 4096, Length: 3000, Flags: journal.FlagLocal},
		{Kind: journal.KindUpdate, Volume: 5, Length: 800, Seq: 3},
		{Kind: journal.KindBase, Volume: 5, Length: 900},
		{Kind: journal.KindDiscard, Volume: 7, Offset: 65536, Length: 65536, Flags: journal.FlagLocal},
		{Kind: journal.KindUpdate, Volume: 5, Length: 100, Seq: 4},
		{Kind: journal.KindUpdate, Volume: 7, Offset: 0, Length: 10, Flags: journal.FlagLocal}, // not published
	}
	var list []journal.Reservation
	for i, h := range all {
		r, err := j.Reserve(t.Context(), h)
		if err != nil {
			t.Fatal(err)
		}
		for k := range r.Payload {
			r.Payload[k] = byte(i + 1)
		}
		if list = append(list, r); i > 0 && i < len(all)-1 {
			j.Publish(r, r.Checksum())
		}
	}
	d := kill(t, fsys, o)
	j.Publish(list[0], list[0].Checksum())
	j.Publish(list[len(list)-1], list[len(list)-1].Checksum())
	j.Close()
	d.rise(t)

	o.Received = true
	for range 2 { // with the ring, then from the disk alone
		j, rec, got := open(t, o, journal.Head{}, 0)
		if rec.LastSeq != 1 || len(got) != 3 || rec.Skipped != 0 {
			t.Fatalf("recovery is %+v with %d records, want number 1 and two writes of this side", rec, len(got))
		}
		if r := got[1]; r.Seq != 1 || r.Volume != 7 || r.Offset != 4096 || len(r.Payload) != 3000 || r.Payload[2999] != 2 || journal.ChecksumRecord(&r) != r.CRC {
			t.Errorf("the first write of this side came back as %s", &r)
		}
		if r := got[2]; r.Seq != 1 || r.Kind != journal.KindDiscard || r.Offset != 65536 || r.Length != 65536 {
			t.Errorf("the discard of this side came back as %s", &r)
		}
		closeOK(t, j)
	}
	j, _, _ = open(t, o, journal.Head{}, 0)
	again, err := j.Reserve(t.Context(), all[0])
	if err != nil {
		t.Fatalf("number 2 cannot be received again: %v", err)
	}
	j.Publish(again, again.Checksum())
	syncTo(t, j, again.End)
	closeOK(t, j)
}
