package replica

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// TestTakeoverOfSplitPairs: the answer to a takeover of pairs that were split before the primary was lost names the number at which they were, and says
// that what hosts wrote since is not here, whatever was heard of the group.
func TestTakeoverOfSplitPairs(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		split []string
	}{{"all", []string{"x", "y"}}, {"one", []string{"x"}}} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			d, w := twoPaired(t)
			for _, name := range c.split {
				must(t, d.a.site.SuspendPair(t.Context(), name, SuspendOptions{}))
			}
			d.a.awaitBoth(PSUS, c.split...)
			w.some(newRand(testSeed(t)), 20)
			d.wait("the other pair has all", func() bool { return d.a.status("y").LagBytes == 0 })
			d.cut()
			answer := d.b.takeOver("g@tokyo", takeoverSSUS)
			first := d.b.status("x")
			for _, words := range []string{fmt.Sprintf("up to sequence number %d is here", first.TakenSeq), "since the split is not here"} {
				if !strings.Contains(answer, words) {
					t.Errorf("the answer %q does not say %q", answer, words)
				}
			}
			if strings.Contains(answer, "nothing was missing") {
				t.Errorf("the answer is %q", answer)
			}
			if !first.TakenTime.IsZero() && first.TakenTime.After(first.Since) {
				t.Errorf("x has everything up to %v, and was taken over at %v", first.TakenTime, first.Since)
			}
		})
	}
}

// TestLostWords has what is known to be missing behind a takeover.
func TestLostWords(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for _, c := range []struct {
		kind         string
		split        bool
		last, newest uint64
		heard        time.Time
		want         []string
	}{
		{takeoverSSUS, false, 7, 7, at, []string{"nothing was missing when tokyo was heard last, at 03:04:05"}},
		{takeoverSSUS, false, 7, 9, at, []string{"tokyo had given 2 more when it was heard last, at 03:04:05"}},
		{takeoverSSUS, false, 7, 0, time.Time{}, []string{"tokyo was not heard since this site was started"}},
		{takeoverSSUS, true, 7, 7, at, []string{"since the split is not here"}},
		{takeoverSSUS, true, 7, 9, at, []string{"had given 2 more", "since the split is not here"}},
		{takeoverSSUS, true, 7, 0, time.Time{}, []string{"since the split is not here"}},
		{takeoverSVOL, false, 7, 7, at, []string{"since the split is not here"}},
		{takeoverSVOL, false, 7, 9, at, []string{"had given 2 more"}},
	} {
		got := lostWords(c.kind, c.split, "tokyo", c.last, c.newest, c.heard)
		if strings.Count(got, "; ") != len(c.want) {
			t.Errorf("%+v: %q", c, got)
		}
		for _, w := range c.want {
			if !strings.Contains(got, w) {
				t.Errorf("%+v: %q", c, got)
			}
		}
	}
}
