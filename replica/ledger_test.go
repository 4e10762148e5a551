package replica

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// testEntry is entry number n of a test.
func testEntry(n int) *Entry {
	return &Entry{
		Time: time.Unix(int64(n), 0).UTC(), Kind: EntryCommand, Caller: Caller{Host: true, UID: 1, PID: uint32(n)}, Object: "pair/x",
		What: fmt.Sprint("suspend ", n), Result: "ok",
	}
}

// numbers reads the numbers of the test entries in a ledger.
func numbers(t rapid.TB, l *ledger) (all []int) {
	list, err := l.entries()
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range list {
		all = append(all, int(e.Time.Unix()))
	}
	return all
}

// TestLedgerIsBounded: whatever is appended, the files stay in their bounds and hold the newest entries without a gap.
func TestLedgerIsBounded(t *testing.T) {
	dir := t.TempDir()
	l, err := openLedger(dir, "audit", false)
	must(t, err)
	defer l.close()
	const last = 2*ledgerLines + 1000
	for n := 1; n <= last; n++ {
		must(t, l.append(testEntry(n)))
	}
	all := numbers(t, l)
	if len(all) != ledgerLines+1000 || all[0] != ledgerLines+1 || all[len(all)-1] != last {
		t.Errorf("%d entries, %d to %d", len(all), all[0], all[len(all)-1])
	}
	for i, n := range all {
		if n != all[0]+i {
			t.Fatalf("entry %d has number %d", i, n)
		}
	}
	long := testEntry(last + 1)
	long.What, long.Text = strings.Repeat("\x01", 3*ledgerText), strings.Repeat("é", 3*ledgerText)
	for range 100 {
		must(t, l.append(long))
	}
	for _, name := range []string{"audit", "audit.1"} {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil || info.Size() > ledgerBytes || info.Mode() != 0o600 {
			t.Errorf("%s: %v, %v", name, info, err)
		}
	}
	if files, _ := os.ReadDir(dir); len(files) != 2 {
		t.Errorf("%d files", len(files))
	}
	list, err := l.entries()
	must(t, err)
	if e := list[len(list)-1]; len(e.What) > ledgerText || !strings.HasSuffix(e.What, "...") {
		t.Errorf("a command of %d bytes", len(e.What))
	}
}

// TestLedgerSurvivesACrash cuts the file anywhere, as a crash does with what was not written out yet, and goes on: what was whole is read,
// what comes after it too, and nothing else.
func TestLedgerSurvivesACrash(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		dir, err := os.MkdirTemp("", "ledger")
		if err != nil {
			t.Fatal(err)
		}
		defer os.RemoveAll(dir)
		path := filepath.Join(dir, "history")
		var want []int
		next := 1
		for range rapid.IntRange(1, 5).Draw(t, "crashes") {
			l, err := openLedger(dir, "history", false)
			if err != nil {
				t.Fatal(err)
			}
			var ends []int64
			for range rapid.IntRange(0, 5).Draw(t, "appends") {
				if err := l.append(testEntry(next)); err != nil {
					t.Fatal(err)
				}
				want, ends = append(want, next), append(ends, l.size)
				next++
			}
			if got := numbers(t, l); fmt.Sprint(got) != fmt.Sprint(want) {
				t.Fatalf("%v, want %v", got, want)
			}
			size := l.size
			if err := l.close(); err != nil {
				t.Fatal(err)
			}
			cut := rapid.Int64Range(0, min(size, 300)).Draw(t, "cut")
			if err := os.Truncate(path, size-cut); err != nil {
				t.Fatal(err)
			}
			b, _ := os.ReadFile(path)
			whole, _ := readEntries(nil, strings.NewReader(string(b)))
			want = want[:0]
			for _, e := range whole {
				want = append(want, int(e.Time.Unix()))
			}
			if len(ends) > 0 && cut == 0 && (len(want) == 0 || want[len(want)-1] != next-1) {
				t.Fatalf("nothing was cut, and the last entry is gone: %v", want)
			}
		}
	})
}

// TestLedgerPassesOverWhatIsNoEntry: bytes of any kind are no error and no entry.
func TestLedgerPassesOverWhatIsNoEntry(t *testing.T) {
	dir := t.TempDir()
	must(t, os.WriteFile(filepath.Join(dir, "history"), []byte("\x00\x00\x00\n{}\n[1]\nnull\n{\"kind\":\"command\"}\n"), 0o600))
	l, err := openLedger(dir, "history", true)
	must(t, err)
	must(t, l.append(testEntry(7)))
	if got := numbers(t, l); fmt.Sprint(got) != "[7]" {
		t.Errorf("%v", got)
	}
	must(t, l.close())
	must(t, l.close())
	if err := l.append(testEntry(8)); err == nil {
		t.Error("a closed ledger took an entry")
	}
	must(t, os.Symlink("history", filepath.Join(dir, "audit")))
	if _, err := openLedger(dir, "audit", true); err == nil {
		t.Error("a link was followed")
	}
}
