package journal_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"pairfs/journal"
)

// TestRecoveryTable walks all combinations of facts: each must fit exactly one row, and the outcomes are held fixed.
func TestRecoveryTable(t *testing.T) {
	var b strings.Builder
	n := 0
	journal.EachFacts(func(words string, rows int, outcome journal.Outcome) {
		n++
		if rows != 1 {
			t.Errorf("%s: %d rows fit, want 1", words, rows)
		}
		fmt.Fprintf(&b, "%-8s %s\n", outcome, words)
	})
	if n != 48 {
		t.Errorf("%d combinations", n)
	}
	want, err := os.ReadFile("testdata/recovery.txt")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), b.String()); diff != "" {
		t.Errorf("outcomes (-want +got):\n%s\nall:\n%s", diff, &b)
	}
}
