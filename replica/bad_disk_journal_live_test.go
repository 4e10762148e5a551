package replica

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// What the disk of the journals does while a pair is in use.

// nthFault lets the n-th operation of one kind on a watchedFS fail, once or from then on, and tells how many did.
func nthFault(disk *watchedFS, kind string, err error, n int, lasting bool) (fired func() int) {
	var mu sync.Mutex
	count := 0
	disk.failWith(func(what string) error {
		mu.Lock()
		defer mu.Unlock()
		if what != kind || count > 0 && !lasting {
			return nil
		}
		if n--; n >= 0 {
			return nil
		}
		count++
		return err
	})
	return func() int { mu.Lock(); defer mu.Unlock(); return count }
}

// journalFaults are what the disk of a journal may do. Once is enough for ever: after a write or flush that failed nobody knows what is on the disk,
// and a record that cannot be read cannot be sent.
var journalFaults = []struct {
	site, kind string
	err        error
	lasting    bool
	long       bool // for make disks alone: TestI8 has the like
}{
	{"tokyo", "write", unix.EIO, false, true},
	{"tokyo", "write", unix.ENOSPC, true, false},
	{"tokyo", "sync", unix.EIO, false, true},
	{"tokyo", "read", unix.EIO, true, false}, // one that ends is tried again
	{"osaka", "write", unix.ENOSPC, false, false},
	{"osaka", "sync", unix.EIO, true, true},
}

// TestJournalFaults lets the n-th read, write or flush of a journal of one side fail: its hosts go on and get no error, both sides are PSUE with the type of
// the side that failed and a sentence that says what to do, a resync is refused until the site was started anew, and then makes both sides the same.
func TestJournalFaults(t *testing.T) {
	t.Parallel()
	most := 1
	if longSweep() {
		most = 25
	}
	for i, row := range journalFaults {
		if row.long && !longSweep() {
			continue
		}
		for n := range most {
			t.Run(fmt.Sprintf("%s_%s_%d_%d", row.site, row.kind, i, n), func(t *testing.T) {
				t.Parallel()
				disk := newWatchedFS()
				d, w, rng := differ(t, withJournal(row.site, disk))
				side, types := d.a, [2]SuspendType{PVOLFailure, PVOLFailure}
				if row.site == "osaka" {
					side, types = d.b, [2]SuspendType{ByRCU, SVOLFailure}
				}
				if row.kind == "read" { // what the ring does not have any more is read to be sent
					d.cut()
					w.some(rng, 60)
					d.a.reopen()
				}
				fired := nthFault(disk, row.kind, row.err, n, row.lasting)
				if row.kind == "read" {
					d.heal()
				}
				// A look at the status reads too, for the lag: one that fails there harms nothing, if all that the peer needs was read before.
				sent := func() bool {
					return row.kind == "read" && d.a.status("x").Status == PAIR && d.a.groupStatus("g").PeerRestored >= d.a.groupStatus("g").AppendedSeq-1
				}
				d.wait("it fails", func() bool {
					if row.kind == "read" { // what is sent then was written before, and the peer comes to the end of it
						return sent() || d.a.status("x").Status == PSUE
					}
					must(t, w.write(t.Context(), rng.IntN(2), int64(rng.IntN(900)), 1, true))
					return fired() > 0
				})
				if sent() {
					return // fewer reads than n
				}
				d.a.awaitBoth(PSUE, "x", "y")
				if got := [2]SuspendType{d.a.status("x").Suspend, d.b.status("x").Suspend}; got != types {
					t.Errorf("the pair is suspended by %v, want %v", got, types)
				}
				if why := side.status("x").LastError; why == "" || side.tells(side.site.allGroups()[0].object(), "mend the disk, restart pairfs, then resync") != 1 {
					t.Errorf("what to do is not said: %q, %v", why, side.site.Events())
				}
				must(t, w.write(t.Context(), 0, 1, 1, true))
				w.check(d.a, everyAck)
				d.wantCovered("x", "y")
				refused(t, d.a.site.ResyncGroup(t.Context(), "g"), KindBusy)
				disk.failWith(nil)
				side.discard()
				side.open()
				if side.tells(side.site.allGroups()[0].object(), "the journal is made anew") != 1 {
					t.Errorf("that the journal is another one is not told: %v", side.site.Events())
				}
				w.check(d.a, everyAck)
				d.wait("the link is up", d.a.linked)
				d.mend()
				w.check(d.b, everyAck)
				if why := d.a.status("x").LastError; strings.Contains(why, "journal") {
					t.Errorf("it still says %q", why)
				}
			})
		}
	}
}
