package journal_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"strings"
	"testing"

	"pairfs/journal"
	"pairfs/journal/journaltest"
)

const layoutFile = "/j/layout"

// changed makes a closed journal whose layout was changed: volumes 1 and 3 are filled, 2 has gone.
func changed(t *testing.T) (*journaltest.FS, journal.Options, journal.Head) {
	t.Helper()
	j, fsys, o := newJournal(t, 2)
	grow(t, j, mib)
	if err := j.AddVolume(t.Context(), journal.MinVolumeSize+journal.PageSize); err != nil {
		t.Fatal(err)
	}
	if err := j.RemoveVolume(t.Context(), 2); err != nil {
		t.Fatal(err)
	}
	if err := j.WaitRemoved(t.Context(), 2); err != nil {
		t.Fatal(err)
	}
	head := free(t, j, grow(t, j, 4*mib))
	grow(t, j, 100_000)
	closeOK(t, j)
	return fsys, o, head
}

// layoutCRC gives a changed page of the layout file its checksum.
func layoutCRC(b []byte) {
	tab := crc32.MakeTable(crc32.Castagnoli)
	binary.LittleEndian.PutUint32(b[60:], crc32.Update(crc32.Checksum(b[:60], tab), tab, b[64:4096]))
}

// both changes both pages of the layout file alike.
func both(change func(b []byte)) func(b []byte) {
	return func(b []byte) { change(b[:4096]); change(b[4096:]) }
}

// TestLayoutRefused: what does not belong together is told apart, with the name of the file.
func TestLayoutRefused(t *testing.T) {
	version := func(v byte) func(b []byte) { return func(b []byte) { b[8] = v; layoutCRC(b) } }
	for _, row := range []struct {
		name   string
		file   string
		n      int64 // bytes to change; 0: the file is removed
		change func(b []byte)
		want   error
		text   string
	}{
		{"layout of a newer version", layoutFile, 8192, both(version(3)), journal.ErrVersion, "layout has version 3"},
		{"layout of which one page is newer", layoutFile, 8192, version(3), journal.ErrVersion, "layout has version 3"},
		{"layout of version 1", layoutFile, 8192, both(version(1)), journal.ErrCorrupt, "/j/layout has version 1"},
		{"layout of zeroes", layoutFile, 8192, func(b []byte) { clear(b) }, journal.ErrCorrupt, "neither page of /j/layout"},
		{"layout with bad checksums", layoutFile, 8192, both(flip), journal.ErrCorrupt, "neither page of /j/layout"},
		{"layout with reserved bytes", layoutFile, 8192, both(func(b []byte) { b[4000] = 1; layoutCRC(b) }), journal.ErrCorrupt, "break its rules"},
		{"layout missing", layoutFile, 0, nil, fs.ErrNotExist, "/j/layout is missing, and /j/000001 says"},
		{"layout of another journal", layoutFile, 8192, both(func(b []byte) { b[16]++; layoutCRC(b) }), journal.ErrCorrupt, "/j/000001 belongs to another journal"},
		{"volume missing", "/j/000003", 0, nil, fs.ErrNotExist, "/j/000003 is missing; bring the file back"},
		{"volume of another journal", "/j/000003", 4096, func(b []byte) { b[16]++; ringCRC(b) }, journal.ErrCorrupt, "/j/000003 belongs to another journal"},
		{"another volume of this journal", "/j/000003", 4096, func(b []byte) { b[12] = 2; ringCRC(b) }, journal.ErrCorrupt, "/j/000003 is journal volume 2 of this journal, wanted 3"},
		{"volume of another size", "/j/000003", 4096, func(b []byte) { binary.LittleEndian.PutUint64(b[32:], 0x3FF000); ringCRC(b) }, journal.ErrCorrupt, "/j/000003 has version 2 and"},
		{"volume shorter than it says", "/j/000003", 4096, func(b []byte) { b[35]++; ringCRC(b) }, journal.ErrCorrupt, "/j/000003 has"},
		{"damaged header", "/j/000003", 4096, flip, journal.ErrCorrupt, "/j/000003 does not begin"},
		{"first volume from before the change", file1, 4096, func(b []byte) { b[8], b[48] = 1, 2; ringCRC(b) }, journal.ErrCorrupt, "/j/000001 has version 1"},
		{"count in version 2", "/j/000003", 4096, func(b []byte) { b[48] = 3; ringCRC(b) }, journal.ErrCorrupt, "/j/000003 claims"},
	} {
		t.Run(row.name, func(t *testing.T) {
			fsys, o, head := changed(t)
			var err error
			if row.n == 0 {
				err = fsys.Remove(row.file)
			} else {
				err = fsys.Corrupt(row.file, 0, row.n, row.change)
			}
			if err != nil {
				t.Fatal(err)
			}
			openErr(t, o, head, 0, row.want)
			_, err = journal.Dump(fsys, o.Dir, nil)
			wantIs(t, err, row.want)
			if !strings.Contains(err.Error(), row.text) {
				t.Errorf("%q does not say %q", err, row.text)
			}
		})
	}
}

// TestLayoutOlderProgram: all that an older program looks at first, the header of 000001, tells it that the format is newer. It knew version 1 alone.
func TestLayoutOlderProgram(t *testing.T) {
	fsys, o, head := changed(t)
	for _, also := range []bool{false, true} {
		var b []byte
		if err := fsys.Corrupt(file1, 0, 64, func(p []byte) { b = append(b, p...) }); err != nil {
			t.Fatal(err)
		}
		if string(b[:8]) != "PAIRFSJV" || b[8] != 2 || binary.LittleEndian.Uint32(b[60:]) != crc32.Checksum(b[:60], crc32.MakeTable(crc32.Castagnoli)) {
			t.Errorf("the header of 000001 is % x", b)
		}
		if also {
			break
		}
		j, _, _ := open(t, o, head, 0)
		grow(t, j, mib)
		free(t, j, j.Marks().Durable)
		if err := j.RemoveVolume(t.Context(), 1); err != nil {
			t.Fatal(err)
		}
		head = free(t, j, grow(t, j, 2*mib))
		if err := j.WaitRemoved(t.Context(), 1); err != nil {
			t.Fatal(err)
		}
		closeOK(t, j)
	}
}

// TestFirstHeaderTorn: power is cut while the first change gives 000001 its new version, and any bytes of that are lost.
func TestFirstHeaderTorn(t *testing.T) {
	torn := 0
	for s := range uint64(60) {
		j, fsys, o := newJournal(t, 1)
		grow(t, j, 100_000)
		header := false
		fsys.Inject(func(op journaltest.Op) error {
			header = header || op.Name == layoutFile && op.Kind == journaltest.OpOpen
			if header && op.Kind == journaltest.OpSync {
				return journaltest.ErrInjected
			}
			return nil
		})
		wantIs(t, j.AddVolume(t.Context(), journal.MinVolumeSize), journal.ErrFailed)
		fsys.Inject(nil)
		fsys.Crash(s, 4)
		j.Close()
		if _, err := journal.Dump(fsys, o.Dir, nil); err != nil {
			t.Fatalf("seed %d: %v", s, err)
		}
		if err := fsys.Corrupt(file1, 0, 64, func(b []byte) {
			if binary.LittleEndian.Uint32(b[60:]) != crc32.Checksum(b[:60], crc32.MakeTable(crc32.Castagnoli)) {
				torn++
			}
		}); err != nil {
			t.Fatal(err)
		}
		j, _, list := open(t, o, journal.Head{}, 0)
		checkUpdates(t, list, 1, journal.Seq(len(list)))
		if err := j.AddVolume(t.Context(), journal.MinVolumeSize); err != nil {
			t.Fatal(err)
		}
		closeOK(t, j)
	}
	if torn == 0 {
		t.Error("no seed tore the header; the test proves nothing")
	}
	// Any other byte is not of that.
	j, fsys, o := newJournal(t, 1)
	fsys.Inject(func(op journaltest.Op) error {
		if op.Name == "/j/000002.new" {
			return journaltest.ErrInjected
		}
		return nil
	})
	wantIs(t, j.AddVolume(t.Context(), journal.MinVolumeSize), journaltest.ErrInjected)
	fsys.Inject(nil)
	closeOK(t, j)
	if err := fsys.Corrupt(file1, 0, 64, func(b []byte) { b[17]++ }); err != nil {
		t.Fatal(err)
	}
	openErr(t, o, journal.Head{}, 0, journal.ErrCorrupt)
}

// TestLayoutTornPage: a page that a crash tore, or a disk damaged later, does not count; the other one stands for the same, and makes it good.
func TestLayoutTornPage(t *testing.T) {
	for damaged := range int64(2) {
		fsys, o, head := changed(t)
		sum, err := journal.Dump(fsys, o.Dir, nil)
		if err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprintf("%v", sum.Layout.Cycle); got != "[3 1]" || sum.Layout.Generation != 5 || len(sum.Volumes) != 2 || sum.Volumes[1].Since == 0 {
			t.Errorf("summary is %+v", sum)
		}
		for _, page := range []int64{damaged, 1 - damaged} { // the second one was made good between
			if err := fsys.Corrupt(layoutFile, page*4096, 4096, func(b []byte) { b[70] ^= 1 }); err != nil {
				t.Fatal(err)
			}
			j, rec, _ := open(t, o, head, 0)
			wantEqual(t, []int{1, 3}, numbers(j))
			if rec.Records == 0 {
				t.Errorf("page %d: what stood behind the head is gone", page)
			}
			closeOK(t, j)
		}
		j, _, _ := open(t, o, head, 0)
		grow(t, j, mib)
		closeOK(t, j)
	}
}

// TestLeftForeign: a file of another journal that has the name of a journal volume is not removed, and an addition that would take it says so.
func TestLeftForeign(t *testing.T) {
	fsys, o, head := changed(t)
	other := journaltest.NewFS()
	create(t, options(other, ""), 1)
	f, err := fsys.Create("/j/000004")
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Preallocate(8192); err != nil {
		t.Fatal(err)
	}
	f.Close()
	if err := other.Corrupt(file1, 0, 4096, func(b []byte) {
		if err := fsys.Corrupt("/j/000004", 0, 4096, func(to []byte) { copy(to, b) }); err != nil {
			t.Fatal(err)
		}
	}); err != nil {
		t.Fatal(err)
	}
	j, _, _ := open(t, o, head, 0)
	defer j.Close()
	err = j.AddVolume(t.Context(), journal.MinVolumeSize)
	if !errors.Is(err, fs.ErrExist) || !strings.Contains(err.Error(), "/j/000004") {
		t.Errorf("addition gives %v", err)
	}
	if err := j.AddVolume(t.Context(), journal.MinVolumeSize); err != nil {
		t.Error(err)
	}
	wantEqual(t, []int{1, 3, 5}, numbers(j))
}
