package journal_test

import (
	"context"
	"encoding/binary"
	"errors"
	"flag"
	"hash/crc32"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"pairfs/journal"
	"pairfs/journal/journaltest"

	"pgregory.net/rapid"
)

const mib = 1 << 20

// TestMain bounds the time of the property tests; -rapid.checks=N asks for more.
func TestMain(m *testing.M) {
	flag.Parse()
	given := false
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == "rapid.checks" })
	if !given {
		if err := flag.Set("rapid.checks", "10"); err != nil {
			panic(err)
		}
	}
	os.Exit(m.Run())
}

// ringPath gives a place for a staging ring: tmpfs if the machine has it.
func ringPath(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "pairfs-test-")
	if err != nil {
		dir = t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return filepath.Join(dir, "group.ring")
}

// seed gives a seed that the log names.
func seed(t testing.TB) *rand.Rand {
	t.Helper()
	s := uint64(time.Now().UnixNano())
	t.Logf("seed %d", s)
	return rand.New(rand.NewPCG(s, 0))
}

// options are those of a small journal in memory whose flushes happen only on demand or by size.
func options(fsys journal.FS, ring string) journal.Options {
	return journal.Options{FS: fsys, Dir: "/j", RingPath: ring, RingSize: journal.MinRingSize, FlushDelay: time.Hour}
}

// create makes a journal of volumes of 4 MiB.
func create(t rapid.TB, o journal.Options, volumes int) {
	t.Helper()
	sizes := make([]int64, volumes)
	for i := range sizes {
		sizes[i] = journal.MinVolumeSize
	}
	if err := journal.Create(o, sizes...); err != nil {
		t.Fatal(err)
	}
}

// seen is a copy of a visited record.
type seen = journal.Record

// open opens and collects the records.
func open(t testing.TB, o journal.Options, head journal.Head, known journal.Position) (*journal.Journal, journal.Recovery, []seen) {
	t.Helper()
	var list []seen
	j, rec, err := journal.Open(o, head, known, func(r *journal.Record) error {
		list = append(list, clone(r))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return j, rec, list
}

func clone(r *journal.Record) journal.Record {
	c := *r
	c.Payload = append([]byte(nil), r.Payload...)
	return c
}

// newJournal gives an open journal in memory without a ring file.
func newJournal(t testing.TB, volumes int) (*journal.Journal, *journaltest.FS, journal.Options) {
	t.Helper()
	fsys := journaltest.NewFS()
	o := options(fsys, "")
	create(t, o, volumes)
	j, _, _ := open(t, o, journal.Head{}, 0)
	return j, fsys, o
}

// update appends a host write of n bytes whose payload follows from its number.
func update(t testing.TB, j *journal.Journal, n int) journal.Reservation {
	t.Helper()
	r, err := j.Reserve(context.Background(), journal.Header{Kind: journal.KindUpdate, Volume: 1, Offset: 4096, Length: uint64(n)})
	if err != nil {
		t.Fatal(err)
	}
	journaltest.Fill(r.Seq, r.Payload)
	j.Publish(r, r.Checksum())
	return r
}

func syncTo(t testing.TB, j *journal.Journal, upTo journal.Position) {
	t.Helper()
	if err := j.Sync(context.Background(), upTo); err != nil {
		t.Fatal(err)
	}
}

func closeOK(t testing.TB, j *journal.Journal) {
	t.Helper()
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
}

// free releases and frees everything before p and gives the head.
func free(t testing.TB, j *journal.Journal, p journal.Position) journal.Head {
	t.Helper()
	j.Release(p)
	h, err := j.FreeHead(p)
	if err != nil {
		t.Fatal(err)
	}
	if err := j.Free(h); err != nil {
		t.Fatal(err)
	}
	return h
}

func wantIs(t testing.TB, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("error is %v, want one that wraps %q", err, want)
	}
}

// checkUpdates checks that list holds the updates from number first to last and nothing else.
func checkUpdates(t testing.TB, list []seen, first, last journal.Seq) {
	t.Helper()
	if len(list) != int(last-first+1) {
		t.Fatalf("%d records, want numbers %d to %d", len(list), first, last)
	}
	for i := range list {
		if list[i].Seq != first+journal.Seq(i) {
			t.Fatalf("record %d has number %d, want %d", i, list[i].Seq, first+journal.Seq(i))
		}
		if err := journaltest.CheckFill(&list[i]); err != nil {
			t.Fatal(err)
		}
	}
}

func wantEqual[T any](t testing.TB, want, got T) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// ringCRC makes the changed header page of a ring file valid again.
func ringCRC(b []byte) {
	binary.LittleEndian.PutUint32(b[60:], crc32.Checksum(b[:60], crc32.MakeTable(crc32.Castagnoli)))
}
