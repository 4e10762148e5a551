package journal_test

import (
	"os"
	"slices"
	"testing"

	"pairfs/journal"
	"pairfs/journal/journaltest"
)

// TestLayoutRecoveryCrash cuts the power in the middle of a change, and again in the middle of the opening that follows. The next opening finds all that was promised, and the old layout or the new one.
func TestLayoutRecoveryCrash(t *testing.T) {
	rng := seed(t)
	points := 0
	for _, x := range layoutChanges {
		t.Run(x.name, func(t *testing.T) {
			for n, failed := rng.IntN(stride), true; failed; n += stride {
				// Every eighth operation of the opening, others in each run.
				for m, again := rng.IntN(8), true; again; m += 8 {
					c := x.start(t, "")
					c.fsys.Inject(failFrom(n, true))
					err := x.do(t, c)
					c.j.LetGo()
					failed = c.fsys.Injected()
					c.fsys.Inject(nil)
					x.crash(t, c, n, "power cut", err)
					again = openCut(t, c, m)
					x.found(t, c, n, m, err)
					points++
				}
			}
		})
	}
	t.Logf("%d crash points", points)
}

// openCut opens with a disk that answers no more from the m-th operation on, and cuts the power. It reports whether an operation was hit.
func openCut(t *testing.T, c *changeRun, m int) bool {
	t.Helper()
	c.fsys.Inject(failFrom(m, true))
	j, _, err := journal.Open(c.o, c.head, 0, nil)
	if err == nil {
		j.LetGo()
	} else {
		wantIs(t, err, journaltest.ErrInjected)
	}
	hit := c.fsys.Injected()
	c.fsys.Inject(nil)
	c.fsys.Crash(uint64(m), []int{16, 512, 4096}[m%3])
	if err == nil {
		j.Close()
	}
	os.Remove(c.o.RingPath)
	return hit
}

// found opens and checks what is there.
func (x *layoutChange) found(t *testing.T, c *changeRun, n, m int, changed error) {
	t.Helper()
	var list []seen
	c.j, _, list = open(t, c.o, c.head, 0)
	last := c.head.Seq + journal.Seq(len(list))
	checkUpdates(t, list, c.head.Seq+1, last)
	if last < c.synced {
		t.Fatalf("operations %d, %d: numbers up to %d came back, %d were promised", n, m, last, c.synced)
	}
	stay := c.staying()
	if !slices.Equal(stay, x.after) && (changed == nil || !slices.Equal(stay, x.before)) {
		t.Fatalf("operations %d, %d (%v): journal volumes are %v, want %v or %v", n, m, changed, stay, x.before, x.after)
	}
	closeOK(t, c.j)
}
