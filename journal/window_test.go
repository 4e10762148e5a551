package journal_test

import (
	"bytes"
	"sync/atomic"
	"testing"

	"pairfs/journal"
	"pairfs/journal/journaltest"
)

// countedFS counts the bytes that are read from files that are opened.
type countedFS struct {
	journal.FS
	read atomic.Int64
}

type countedFile struct {
	journal.File
	read *atomic.Int64
}

func (c *countedFS) Open(name string, write bool) (journal.File, error) {
	f, err := c.FS.Open(name, write)
	if err != nil {
		return nil, err
	}
	return countedFile{f, &c.read}, nil
}

func (f countedFile) ReadAt(p []byte, off int64) (int, error) {
	n, err := f.File.ReadAt(p, off)
	f.read.Add(int64(n))
	return n, err
}

// TestLargeRecordsAreReadOnce: a start reads a journal of the largest records once, although none of them begins a piece that is read, and finds in
// each what was written.
func TestLargeRecordsAreReadOnce(t *testing.T) {
	fsys := &countedFS{FS: journaltest.NewFS()}
	o := options(fsys, "")
	if err := journal.Create(o, 96<<20); err != nil {
		t.Fatal(err)
	}
	j, _, _ := open(t, o, journal.Head{}, 0)
	var wrote []journal.Record
	for n := range 50 {
		r := update(t, j, journal.MaxPayload-n)
		wrote = append(wrote, journal.Record{Seq: r.Seq, Payload: bytes.Clone(r.Payload)})
		syncTo(t, j, r.End)
		j.Release(r.End)
	}
	size := int64(j.Marks().Reserved)
	closeOK(t, j)
	fsys.read.Store(0)
	j, _, found := open(t, o, journal.Head{}, 0)
	const behind = 50 << 20 // looked at behind the tail, for what an interrupted flush left, and read ahead
	if n := fsys.read.Load(); n > size+behind {
		t.Errorf("of %d bytes in the journal %d were read", size, n)
	}
	updates := 0
	for _, r := range found {
		if r.Kind != journal.KindUpdate {
			continue
		}
		if w := wrote[updates]; r.Seq != w.Seq || !bytes.Equal(r.Payload, w.Payload) {
			t.Errorf("record %d is not what was written", r.Seq)
		}
		updates++
	}
	if updates != len(wrote) {
		t.Errorf("%d records of %d were found", updates, len(wrote))
	}
	closeOK(t, j)
}
