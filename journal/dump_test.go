package journal_test

import (
	"encoding/hex"
	"fmt"
	"go/parser"
	"go/token"
	"strings"
	"testing"

	"pairfs/journal"
	"pairfs/journal/journaltest"
)

// example makes the journal of the worked example in the package comment and gives the bytes of its file, and those of the layout file
// after the addition there.
func example(t *testing.T) (file, layout []byte) {
	t.Helper()
	fsys := journaltest.NewFS()
	o := options(fsys, "")
	create(t, o, 1)
	change := func(b []byte) {
		for i := range 16 {
			b[16+i] = byte(0xA0 + i) // the id
		}
		clear(b[40:48]) // the time of creation
		ringCRC(b)      // both headers have their checksum in the same place
	}
	if err := fsys.Corrupt(file1, 0, 4096, change); err != nil {
		t.Fatal(err)
	}
	j, _, _ := open(t, o, journal.Head{}, 0)
	for i, text := range []string{"hello", "world!"} {
		h := journal.Header{Kind: journal.KindUpdate, Volume: 7, Offset: uint64(4096 * (i + 1)), Time: 1_000_000_000}
		r, err := j.Append(t.Context(), h, []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		syncTo(t, j, r.End)
	}
	if err := fsys.Corrupt(file1, 0, 3*4096, func(b []byte) { file = append(file, b...) }); err != nil {
		t.Fatal(err)
	}
	if err := j.AddVolume(t.Context(), 8*mib); err != nil {
		t.Fatal(err)
	}
	closeOK(t, j)
	if err := fsys.Corrupt(layoutFile, 0, 2*4096, func(b []byte) { layout = append(layout, b...) }); err != nil {
		t.Fatal(err)
	}
	return file, layout
}

// hexLines gives a dump without the lines of zeroes.
func hexLines(b []byte) (list []string) {
	for _, l := range strings.Split(hex.Dump(b), "\n") {
		if len(l) > 60 && l[10:58] != strings.Repeat("00 ", 8)+" "+strings.Repeat("00 ", 7)+"00" {
			list = append(list, l)
		}
	}
	return list
}

// TestPackageComment checks the worked example in the package comment against a journal, and that go doc shows the comment.
func TestPackageComment(t *testing.T) {
	f, err := parser.ParseFile(token.NewFileSet(), "doc.go", nil, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	if f.Doc == nil || !strings.HasPrefix(f.Doc.Text(), "Package journal ") {
		t.Fatal("the comment does not stand directly above the package clause")
	}
	var want []string
	for _, l := range strings.Split(f.Doc.Text(), "\n") {
		if l = strings.TrimSpace(l); len(l) > 9 && strings.HasPrefix(l, "0000") && strings.HasSuffix(l, "|") {
			want = append(want, l)
		}
	}
	file, layout := example(t)
	wantEqual(t, want, append(hexLines(file), hexLines(layout)...))
}

// TestDump shows all records by position, with the damaged one marked.
func TestDump(t *testing.T) {
	fsys, o, r, id := three(t)
	corrupt(t, fsys, r[1].Pos+100, 1, flip)
	var got []string
	sum, err := journal.Dump(fsys, o.Dir, func(d *journal.DumpRecord) error {
		got = append(got, fmt.Sprintf("%d+%d volume %d at %d: %s seq %d synced %d bad %v", d.Position, d.Size, d.JournalVolume, d.FileOffset, d.Kind, d.Seq, d.Synced, d.Err != nil))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	wantEqual(t, []string{
		"0+6080 volume 1 at 4096: update seq 1 synced 0 bad false",
		"6080+2112 volume 1 at 10176: pad seq 1 synced 0 bad false",
		"8192+6080 volume 1 at 12288: update seq 2 synced 8192 bad true",
		"14272+2112 volume 1 at 18368: pad seq 2 synced 8192 bad false",
		"16384+6080 volume 1 at 20480: update seq 3 synced 16384 bad false",
		"22464+2112 volume 1 at 26560: pad seq 3 synced 16384 bad false",
	}, got)
	if sum.ID != id || sum.Records != 2 || sum.Pads != 3 || sum.Bad != 1 || sum.First != 0 || sum.Last != 24576 || sum.LastSeq != 3 || len(sum.Volumes) != 1 {
		t.Errorf("summary is %+v", sum)
	}
	_, err = journal.Dump(fsys, o.Dir, func(*journal.DumpRecord) error { return journaltest.ErrInjected })
	wantIs(t, err, journaltest.ErrInjected)
}

// TestDumpLaps: after the journal went round, records of the lap before that still stand are shown first.
func TestDumpLaps(t *testing.T) {
	j, fsys, o := newJournal(t, 2)
	var p journal.Position
	for p < 10*mib {
		r := update(t, j, 30000)
		p = r.End
		syncTo(t, j, p)
		free(t, j, r.Pos)
	}
	last := j.Marks().LastSeq
	closeOK(t, j)
	next := journal.Position(0)
	var seqs []journal.Seq
	sum, err := journal.Dump(fsys, o.Dir, func(d *journal.DumpRecord) error {
		if d.Position < next || d.Err != nil {
			t.Errorf("%s after %d: %v", d, next, d.Err)
		}
		next = d.Position + journal.Position(d.Size)
		if d.Kind != journal.KindPad {
			seqs = append(seqs, d.Seq)
		}
		return nil
	})
	if err != nil || sum.LastSeq != last || sum.Last != next || sum.First == 0 {
		t.Errorf("%+v, %v", sum, err)
	}
	if n := len(seqs); n < 200 || seqs[n-1] != last {
		t.Errorf("%d records up to number %d", n, seqs[n-1])
	}
}
