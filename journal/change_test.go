package journal_test

import (
	"context"
	"errors"
	"io/fs"
	"slices"
	"strings"
	"testing"

	"pairfs/journal"
	"pairfs/journal/journaltest"
)

// info describes a journal volume of 4 MiB without the bytes in it.
func info(number int, used int64, state journal.VolumeState) journal.VolumeInfo {
	return journal.VolumeInfo{Number: number, Size: journal.MinVolumeSize, Used: used, State: state}
}

// TestJoiningEndsWithTheOthers: a journal volume that was added and is filled at once, because the one before it was removed, does not join any
// more; nor does it after a restart, nor when it has been filled and another one is.
func TestJoiningEndsWithTheOthers(t *testing.T) {
	j, _, o := newJournal(t, 1)
	p := grow(t, j, 1<<20)
	for range 2 {
		if err := j.AddVolume(t.Context(), journal.MinVolumeSize); err != nil {
			t.Fatal(err)
		}
	}
	if err := j.RemoveVolume(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	wantEqual(t, []journal.VolumeInfo{info(1, int64(p), journal.VolumeLeaving), info(2, 0, journal.VolumeJoining), info(3, 0, journal.VolumeActive)}, j.Volumes())
	h := free(t, j, grow(t, j, 100_000))
	if err := j.WaitRemoved(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	wantEqual(t, []journal.VolumeInfo{info(2, 0, journal.VolumeJoining), info(3, 0, journal.VolumeActive)}, j.Volumes())
	h = free(t, j, grow(t, j, journal.MinVolumeSize))
	both := []journal.VolumeInfo{info(2, 0, journal.VolumeActive), info(3, 0, journal.VolumeActive)}
	wantEqual(t, both, j.Volumes())
	closeOK(t, j)
	j, _, _ = open(t, o, h, 0)
	wantEqual(t, both, j.Volumes())
	if err := j.RemoveVolume(t.Context(), 3); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		free(t, j, grow(t, j, journal.MinVolumeSize/2))
	}
	if err := j.WaitRemoved(t.Context(), 3); err != nil {
		t.Fatal(err)
	}
	wantEqual(t, both[:1], j.Volumes())
	closeOK(t, j)
}

// grow writes n bytes of records and makes them durable; the ring is let go.
func grow(t testing.TB, j *journal.Journal, n int) journal.Position {
	t.Helper()
	var end journal.Position
	for start := j.Marks().Reserved; end < start+journal.Position(n); {
		end = update(t, j, 50_000).End
		if j.Usage().RingUsed > 2<<20 {
			syncTo(t, j, end)
			j.Release(end)
		}
	}
	syncTo(t, j, end)
	j.Release(end)
	return j.Marks().Durable
}

// TestAddVolume: what joins comes next, with a size of its own, and room and usage grow with it at once.
func TestAddVolume(t *testing.T) {
	j, _, o := newJournal(t, 2)
	const data = journal.MinVolumeSize - journal.PageSize
	const large = journal.MinVolumeSize + 1<<20
	p := grow(t, j, 1<<20)
	if err := j.AddVolume(t.Context(), large); err != nil {
		t.Fatal(err)
	}
	wantEqual(t, []journal.VolumeInfo{info(1, int64(p), journal.VolumeActive), info(2, 0, journal.VolumeActive), {Number: 3, Size: large, State: journal.VolumeJoining}}, j.Volumes())
	if u := j.Usage(); u.Capacity != 2*data+large-journal.PageSize || u.Used != int64(p) {
		t.Errorf("usage is %+v", u)
	}
	p = grow(t, j, data)
	h, err := j.FreeHead(p)
	if err != nil || h.Volume != 3 || h.VolumeStart != data {
		t.Errorf("head is %+v, %v", h, err)
	}
	if s := j.Volumes()[2]; s.State != journal.VolumeActive || s.Used != int64(p)-data {
		t.Errorf("volume 3 is %+v", s)
	}
	// ErrFull comes when all of it is full, not before.
	n := 0
	for err = nil; err == nil; n++ {
		var r journal.Reservation
		if r, err = j.Reserve(t.Context(), journal.Header{Kind: journal.KindUpdate, Length: 50_000}); err == nil {
			journaltest.Fill(r.Seq, r.Payload)
			j.Publish(r, r.Checksum())
			if j.Usage().RingUsed > 2<<20 {
				syncTo(t, j, r.End)
				j.Release(r.End)
			}
		}
	}
	wantIs(t, err, journal.ErrFull)
	if u := j.Usage(); u.Capacity-u.Used > 51_000+2*journal.PageSize {
		t.Errorf("full with %+v", u)
	}
	last := j.Marks().LastSeq
	closeOK(t, j)
	j, _, list := open(t, o, journal.Head{}, 0)
	checkUpdates(t, list, 1, last)
	if _, ok := j.Locate(last / 2); !ok {
		t.Error("a number in the middle is not found")
	}
	closeOK(t, j)
}

// TestAddVolumeMany adds up to the bound, one after the other without writing between, and all of it is used.
func TestAddVolumeMany(t *testing.T) {
	j, _, o := newJournal(t, 1)
	grow(t, j, 100_000)
	for range 7 {
		if err := j.AddVolume(t.Context(), journal.MinVolumeSize); err != nil {
			t.Fatal(err)
		}
	}
	wantEqual(t, []int{1, 2, 3, 4, 5, 6, 7, 8}, numbers(j))
	p := grow(t, j, 7*journal.MinVolumeSize)
	var seqs []journal.Position
	for seq := journal.Seq(1); seq <= j.Marks().LastSeq; seq += 7 {
		at, ok := j.Locate(seq)
		if !ok {
			t.Fatalf("number %d is not found", seq)
		}
		seqs = append(seqs, at)
	}
	if !slices.IsSorted(seqs) {
		t.Error("positions are not in the order of numbers")
	}
	head := free(t, j, p)
	last := j.Marks().LastSeq
	closeOK(t, j)
	j, _, list := open(t, o, head, 0)
	checkUpdates(t, list, last+1, last)
	grow(t, j, 12*mib)
	closeOK(t, j)
}

// TestRemoveVolume: one without a needed byte goes at once, one with some when they are freed, and what fills it or is alone is told.
func TestRemoveVolume(t *testing.T) {
	fsys := journaltest.NewFS()
	o := options(fsys, "")
	create(t, o, 3)
	j, _, _ := open(t, o, journal.Head{}, 0)
	p := grow(t, j, 5*mib) // 1 and the beginning of 2
	for _, row := range []struct {
		number int
		want   error
	}{{0, journal.ErrInvalid}, {4, journal.ErrInvalid}, {-1, journal.ErrInvalid}} {
		err := j.RemoveVolume(t.Context(), row.number)
		wantIs(t, err, row.want)
	}
	if err := j.RemoveVolume(t.Context(), 3); err != nil {
		t.Fatal(err)
	}
	if err := j.WaitRemoved(t.Context(), 3); err != nil {
		t.Fatal(err)
	}
	if _, err := fsys.Open("/j/000003", false); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the file of volume 3: %v", err)
	}
	// 5 MiB are in use and one volume has 4.
	wantIs(t, j.RemoveVolume(t.Context(), 1), journal.ErrNeeded)
	free(t, j, 3*mib+first(t, j, 3*mib))
	for range 2 { // the second time says nothing new
		if err := j.RemoveVolume(t.Context(), 1); err != nil {
			t.Fatal(err)
		}
	}
	if v := j.Volumes()[0]; v.State != journal.VolumeLeaving || v.Used == 0 {
		t.Errorf("volume 1 is %+v", v)
	}
	wantIs(t, j.RemoveVolume(t.Context(), 2), journal.ErrNeeded)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	wantIs(t, j.WaitRemoved(ctx, 1), context.Canceled)
	head := free(t, j, p)
	if err := j.WaitRemoved(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	wantIs(t, j.RemoveVolume(t.Context(), 1), journal.ErrInvalid)
	wantEqual(t, []int{2}, numbers(j))
	if f, err := fsys.Open(file1, false); err != nil {
		t.Error(err)
	} else if n, err := f.Size(); n != journal.PageSize || err != nil {
		t.Errorf("what is left of volume 1 has %d bytes, %v", n, err)
	}
	grow(t, j, 2*mib)
	if u := j.Usage(); u.Capacity != journal.MinVolumeSize-journal.PageSize {
		t.Errorf("usage is %+v", u)
	}
	if err := j.AddVolume(t.Context(), journal.MinVolumeSize); err != nil {
		t.Fatal(err)
	}
	wantEqual(t, []int{2, 4}, numbers(j)) // no number is given twice
	closeOK(t, j)
	j, _, _ = open(t, o, head, 0)
	wantEqual(t, []int{2, 4}, numbers(j))
	closeOK(t, j)
	wantIs(t, journal.Create(o, journal.MinVolumeSize), journal.ErrExist)
}

// first gives how far the first record at or behind p is from it.
func first(t testing.TB, j *journal.Journal, p journal.Position) journal.Position {
	t.Helper()
	for seq := journal.Seq(1); ; seq++ {
		if at, ok := j.Locate(seq); !ok {
			t.Fatalf("number %d is not found", seq)
		} else if at >= p {
			return at - p
		}
	}
}

// TestRemoveFilled: an empty journal lets the very volume go that is being filled, without a write.
func TestRemoveFilled(t *testing.T) {
	j, _, o := newJournal(t, 2)
	head := free(t, j, grow(t, j, mib)) // in the volume that goes
	if err := j.RemoveVolume(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	if err := j.WaitRemoved(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	p := grow(t, j, mib)
	last := j.Marks().LastSeq
	closeOK(t, j)
	j, _, list := open(t, o, head, p)
	checkUpdates(t, list, head.Seq+1, last)
	closeOK(t, j)
}

// TestHeadAtBoundary: a head that was made before a change, at the very place where the new layout begins, still fits.
func TestHeadAtBoundary(t *testing.T) {
	j, _, o := newJournal(t, 2)
	const data = journal.MinVolumeSize - journal.PageSize
	for j.Marks().Reserved < data {
		// A flush in the background would make the rest smaller after it was measured.
		p := update(t, j, int(min(50_000, data-j.Marks().Reserved-journal.HeaderSize))).End
		syncTo(t, j, p)
		j.Release(p)
	}
	head, err := j.FreeHead(data)
	if err != nil || head.Volume != 2 || head.VolumeStart != data {
		t.Fatalf("%+v, %v", head, err)
	}
	if err := j.AddVolume(t.Context(), journal.MinVolumeSize); err != nil {
		t.Fatal(err)
	}
	if err := j.Free(head); err != nil {
		t.Error(err)
	}
	syncTo(t, j, update(t, j, 100).End)
	closeOK(t, j)
	j, _, list := open(t, o, head, 0)
	checkUpdates(t, list, head.Seq+1, head.Seq+1)
	if v := j.Volumes()[2]; v.Number != 3 || v.Used == 0 {
		t.Errorf("volume 3 is %+v", v)
	}
	closeOK(t, j)
	head.Position += journal.HeaderSize // volume 2 is not there
	openErr(t, o, head, 0, journal.ErrInvalid)
}

// TestAddVolumeRefused: what is asked for wrongly changes nothing, not even the version.
func TestAddVolumeRefused(t *testing.T) {
	j, fsys, o := newJournal(t, 1)
	for _, size := range []int64{0, journal.MinVolumeSize - journal.PageSize, journal.MinVolumeSize + 1, 1<<60 + journal.PageSize} {
		wantIs(t, j.AddVolume(t.Context(), size), journal.ErrInvalid)
	}
	wantIs(t, j.RemoveVolume(t.Context(), 1), journal.ErrNeeded)
	names, err := fsys.List(o.Dir)
	if err != nil || len(names) != 1 {
		t.Errorf("files are %v, %v", names, err)
	}
	// One that is ended in the middle leaves no file behind, and the next takes another number.
	ctx, cancel := context.WithCancelCause(t.Context())
	fsys.Inject(func(op journaltest.Op) error {
		if op.Kind == journaltest.OpWrite && strings.HasSuffix(op.Name, "2.new") {
			cancel(errStopped)
		}
		return nil
	})
	wantIs(t, j.AddVolume(ctx, journal.MinVolumeSize), errStopped)
	fsys.Inject(nil)
	if names, _ = fsys.List(o.Dir); !slices.Equal(names, []string{"000001", "layout"}) {
		t.Errorf("files are %v", names)
	}
	if err := j.AddVolume(t.Context(), journal.MinVolumeSize); err != nil {
		t.Fatal(err)
	}
	wantEqual(t, []int{1, 3}, numbers(j))
	closeOK(t, j)
	wantIs(t, j.AddVolume(t.Context(), journal.MinVolumeSize), journal.ErrClosed)
	wantIs(t, j.RemoveVolume(t.Context(), 1), journal.ErrClosed)
}

var errStopped = errors.New("stopped by the test")

// TestAddVolumeWritesGoOn: while a file is written once, records are appended and made durable; Close ends it.
func TestAddVolumeWritesGoOn(t *testing.T) {
	j, fsys, o := newJournal(t, 1)
	begun, goOn := make(chan struct{}), make(chan struct{})
	hold := &holdFS{FS: fsys, begun: begun, goOn: goOn}
	closeOK(t, j)
	o.FS = hold
	j, _, _ = open(t, o, journal.Head{}, 0)
	added := make(chan error)
	go func() { added <- j.AddVolume(context.Background(), journal.MinVolumeSize) }()
	<-begun
	syncTo(t, j, update(t, j, 5000).End)
	wantIs(t, j.RemoveVolume(t.Context(), 1), journal.ErrNeeded) // this does not wait either
	closed := make(chan error)
	go func() { closed <- j.Close() }()
	for !errors.Is(j.RemoveVolume(t.Context(), 1), journal.ErrClosed) {
		continue
	}
	close(goOn)
	wantIs(t, <-added, journal.ErrClosed)
	if err := <-closed; err != nil {
		t.Error(err)
	}
	j, _, list := open(t, o, journal.Head{}, 0)
	checkUpdates(t, list, 1, 1)
	closeOK(t, j)
	if names, _ := fsys.List(o.Dir); !slices.Equal(names, []string{"000001", "layout"}) {
		t.Errorf("files are %v", names)
	}
}

// holdFS holds the first write to a new journal volume.
type holdFS struct {
	journal.FS
	begun, goOn chan struct{}
}

type holdFile struct {
	journal.File
	fs *holdFS
}

func (h *holdFS) Create(name string) (journal.File, error) {
	f, err := h.FS.Create(name)
	if err != nil || !strings.HasSuffix(name, "2.new") {
		return f, err
	}
	return &holdFile{f, h}, nil
}

func (h *holdFile) WriteAt(b []byte, off int64) (int, error) {
	if off == journal.PageSize {
		close(h.fs.begun)
		<-h.fs.goOn
	}
	return h.File.WriteAt(b, off)
}
