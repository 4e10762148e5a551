package journal_test

import (
	"errors"
	"sync/atomic"
	"testing"

	"pairfs/journal"
	"pairfs/journal/journaltest"
)

var errPlace = errors.New("this place cannot be read")

// brokenFS has files that cannot be read at one place.
type brokenFS struct {
	journal.FS
	place int64 // none if 0
	hits  atomic.Int64
}

type brokenFile struct {
	journal.File
	fs *brokenFS
}

func (b *brokenFS) Open(name string, write bool) (journal.File, error) {
	f, err := b.FS.Open(name, write)
	if err != nil {
		return nil, err
	}
	return brokenFile{f, b}, nil
}

func (f brokenFile) ReadAt(p []byte, off int64) (int, error) {
	if at := f.fs.place; at != 0 && off <= at && at < off+int64(len(p)) {
		f.fs.hits.Add(1)
		return 0, errPlace
	}
	return f.File.ReadAt(p, off)
}

// TestReadAheadFails: what cannot be read ends a start that comes to it, wherever in the journal that is, and no start that has no need of it, though
// it is read ahead. The next start, on a disk that reads again, finds everything.
func TestReadAheadFails(t *testing.T) {
	fsys := &brokenFS{FS: journaltest.NewFS()}
	o := options(fsys, "")
	if err := journal.Create(o, 128<<20); err != nil {
		t.Fatal(err)
	}
	j, _, _ := open(t, o, journal.Head{}, 0)
	for range 30 {
		r := update(t, j, journal.MaxPayload)
		syncTo(t, j, r.End)
		j.Release(r.End)
	}
	size := int64(j.Marks().Reserved)
	closeOK(t, j)
	const header, beyond = journal.PageSize, 41 << 20 // in the piece behind the last that a start looks at
	for at := int64(1 << 20); at < size; at += 3<<20 + 512 {
		fsys.place = header + at
		_, rec, err := journal.Open(o, journal.Head{}, 0, nil)
		if !errors.Is(err, errPlace) {
			t.Fatalf("a journal of %d bytes that cannot be read at %d opens: %+v, %v", size, at, rec, err)
		}
	}
	fsys.place = header + size + beyond
	fsys.hits.Store(0)
	j, rec, found := open(t, o, journal.Head{}, 0)
	if rec.Tail < journal.Position(size) || len(found) < 30 {
		t.Errorf("%d records up to %d were found, of %d bytes", len(found), rec.Tail, size)
	}
	closeOK(t, j)
	if fsys.hits.Load() == 0 {
		t.Error("the broken place was not read ahead, so this shows nothing")
	}
}
