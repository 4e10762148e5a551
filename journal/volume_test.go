package journal_test

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"pairfs/journal"
	"pairfs/journal/journaltest"
)

// TestVersionOrDamage: a newer journal volume is told from a damaged one.
func TestVersionOrDamage(t *testing.T) {
	crc := func(b []byte) {
		binary.LittleEndian.PutUint32(b[60:], crc32.Checksum(b[:60], crc32.MakeTable(crc32.Castagnoli)))
	}
	for _, row := range []struct {
		name   string
		change func(b []byte)
		want   error
	}{
		{"newer version", func(b []byte) { b[8] = 3; crc(b) }, journal.ErrVersion},
		{"newer version that uses what is reserved", func(b []byte) { b[8] = 3; b[52] = 1; b[100] = 1; crc(b) }, journal.ErrVersion},
		{"newer version without checksum", func(b []byte) { b[8] = 3 }, journal.ErrCorrupt},
		{"version 0", func(b []byte) { b[8] = 0; crc(b) }, journal.ErrCorrupt},
		{"other magic", func(b []byte) { b[0]++; crc(b) }, journal.ErrCorrupt},
		{"reserved bytes", func(b []byte) { b[52] = 1; crc(b) }, journal.ErrCorrupt},
		{"bytes behind the header", func(b []byte) { b[4095] = 1 }, journal.ErrCorrupt},
		{"index of another", func(b []byte) { b[12] = 1; crc(b) }, journal.ErrCorrupt},
		{"id of another", func(b []byte) { b[16]++; crc(b) }, journal.ErrCorrupt},
		{"other count", func(b []byte) { b[48] = 3; crc(b) }, journal.ErrCorrupt},
		{"more data than the file has", func(b []byte) { b[35]++; crc(b) }, journal.ErrCorrupt},
		{"zeroes", func(b []byte) { clear(b) }, journal.ErrCorrupt},
	} {
		t.Run(row.name, func(t *testing.T) {
			fsys := journaltest.NewFS()
			o := options(fsys, "")
			create(t, o, 2)
			if err := fsys.Corrupt(file2, 0, 4096, row.change); err != nil {
				t.Fatal(err)
			}
			openErr(t, o, journal.Head{}, 0, row.want)
			if _, err := journal.Dump(fsys, o.Dir, nil); !errors.Is(err, row.want) {
				t.Errorf("dump gives %v", err)
			}
		})
	}
}

func TestCreate(t *testing.T) {
	fsys := journaltest.NewFS()
	o := options(fsys, "")
	openErr(t, o, journal.Head{}, 0, fs.ErrNotExist)
	for _, sizes := range [][]int64{{}, {4096}, {journal.MinVolumeSize + 1}, make([]int64, journal.MaxVolumes+1)} {
		wantIs(t, journal.Create(o, sizes...), journal.ErrInvalid)
	}
	create(t, o, 2)
	wantIs(t, journal.Create(o, journal.MinVolumeSize), journal.ErrExist)
	j, _, _ := open(t, o, journal.Head{}, 0)
	if _, _, err := journal.Open(o, journal.Head{}, 0, nil); err == nil {
		t.Error("a journal was opened twice")
	}
	closeOK(t, j)
	if err := fsys.Remove(file2); err != nil {
		t.Fatal(err)
	}
	openErr(t, o, journal.Head{}, 0, fs.ErrNotExist)
	o.RingSize = 3 << 20
	openErr(t, o, journal.Head{}, 0, journal.ErrInvalid)
}

// TestCreateInterrupted fails each operation of Create, cuts the power, and creates again: the journal is there whole or not at all.
func TestCreateInterrupted(t *testing.T) {
	for n, failed := 0, true; failed; n++ {
		for s := range uint64(2) {
			fsys := journaltest.NewFS()
			o := options(fsys, "")
			fsys.Inject(journaltest.FailNth(n))
			err := journal.Create(o, journal.MinVolumeSize, journal.MinVolumeSize)
			failed = fsys.Injected()
			fsys.Inject(nil)
			if failed == (err == nil) {
				t.Fatalf("operation %d failed: %v, Create gives %v", n, failed, err)
			}
			fsys.Crash(s, 512)
			if err := journal.Create(o, journal.MinVolumeSize, journal.MinVolumeSize); err != nil && !errors.Is(err, journal.ErrExist) {
				t.Fatalf("after operation %d failed: %v", n, err)
			}
			j, _, _ := open(t, o, journal.Head{}, 0)
			closeOK(t, j)
		}
	}
}

// TestRealDisk runs on the operating system's files, with O_DIRECT where they have it.
func TestRealDisk(t *testing.T) {
	o := journal.Options{Dir: filepath.Join(t.TempDir(), "a", "journal"), RingPath: ringPath(t), RingSize: journal.MinRingSize}
	create(t, o, 2)
	wantIs(t, journal.Create(o, journal.MinVolumeSize), journal.ErrExist)
	j, _, _ := open(t, o, journal.Head{}, 0)
	if _, _, err := journal.Open(o, journal.Head{}, 0, nil); err == nil {
		t.Error("a journal was opened twice")
	}
	for range 100 {
		update(t, j, 5000)
	}
	syncTo(t, j, j.Marks().Appended)
	update(t, j, 5000) // Close flushes it
	closeOK(t, j)
	if _, err := os.Stat(o.RingPath); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("ring file after a clean close: %v", err)
	}
	if sum, err := journal.Dump(nil, o.Dir, nil); err != nil || sum.Records != 101 || sum.Bad != 0 {
		t.Errorf("dump gives %+v, %v", sum, err)
	}
	j, rec, list := open(t, o, journal.Head{}, 0)
	defer j.Close()
	checkUpdates(t, list, 1, 101)
	if rec.FromRing != 0 {
		t.Errorf("recovery is %+v", rec)
	}
	if st, err := os.Stat(filepath.Join(o.Dir, "000001")); err != nil || st.Size() != journal.MinVolumeSize || st.Mode().Perm() != 0o600 {
		t.Errorf("journal volume is %v, %v", st, err)
	}
}
