package replica

import (
	"context"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"
)

// What the disk of the state directory does to site.db while pairs are in use.

// failDatabase lets every write to the database of a running site fail: another file stands behind its descriptor. mend ends that; left is for a site that
// was killed meanwhile.
func (n *node) failDatabase(file string, flags int) (mend, left func()) {
	n.t.Helper()
	fd := int(n.site.db.room.file.Fd())
	good, err := unix.Dup(fd) // keeps the lock
	must(n.t, err)
	bad, err := os.OpenFile(file, flags, 0)
	must(n.t, err)
	n.site.commitsEnd(func() { must(n.t, unix.Dup3(int(bad.Fd()), fd, unix.O_CLOEXEC)) })
	must(n.t, bad.Close())
	return func() {
		n.t.Helper()
		n.site.commitsEnd(func() { must(n.t, unix.Dup3(good, fd, unix.O_CLOEXEC)) })
		must(n.t, unix.Close(good))
	}, func() { n.t.Helper(); must(n.t, unix.Close(good)) }
}

// commitsEnd calls do while no transaction is under way that writes.
func (s *Site) commitsEnd(do func()) {
	tx, err := s.db.db.Begin(true)
	if err != nil {
		panic(err)
	}
	defer tx.Rollback()
	do()
}

// TestDatabaseFaults lets a database take nothing while a pair is in use, full or broken: hosts of the primary go on, what has to be stored is refused
// with the file that does not take it, a secondary suspends, and nothing is lost, when the disk is mended as little as when the daemon is killed
// before that.
func TestDatabaseFaults(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		site, file string
		flags      int
		says       string
		end        string // how the daemon ends meanwhile, if at all
		long       bool   // for make disks alone
	}{
		{"tokyo", "/dev/full", os.O_WRONLY, "no space left on device", "", true},
		{"tokyo", "/dev/null", os.O_RDONLY, "bad file descriptor", "kill", false},
		{"osaka", "/dev/null", os.O_RDONLY, "bad file descriptor", "", true},
		{"osaka", "/dev/full", os.O_WRONLY, "no space left on device", "kill", false},
		{"tokyo", "/dev/full", os.O_WRONLY, "no space left on device", "stop", false},
		{"osaka", "/dev/null", os.O_RDONLY, "bad file descriptor", "stop", true},
	} {
		if row.long && !longSweep() {
			continue
		}
		t.Run(strings.TrimSpace(row.site+" "+row.says+" "+row.end), func(t *testing.T) {
			t.Parallel()
			d, w, rng := differ(t)
			side, group := d.a, "g"
			if row.site == "osaka" {
				side, group = d.b, "g@tokyo"
			}
			mend, left := side.failDatabase(row.file, row.flags)
			w.some(rng, 30)
			must(t, w.sync(t.Context(), 0))
			d.wait("the checkpoint fails", func() bool {
				side.site.groupByName(group).kickCheckpoint()
				must(t, w.write(t.Context(), rng.IntN(2), int64(rng.IntN(900)), 1, false))
				return strings.Contains(side.groupStatus(group).StoreError, "site.db: ")
			})
			if why := side.groupStatus(group).StoreError; !strings.Contains(why, row.says) || !strings.Contains(why, storeAdvice) {
				t.Errorf("the status says %q", why)
			}
			_, err := side.site.CreateVolume("new")
			says(t, err, row.says)
			must(t, w.write(t.Context(), 0, 7, 1, true)) // hosts go on
			if row.site == "osaka" {
				d.a.awaitBoth(PSUE, "x", "y")
			}
			switch row.end {
			case "kill":
				side.crash(nil)
				left()
				side.open()
			case "stop":
				side.discard()
				left()
				side.open()
			default:
				mend()
			}
			side.site.groupByName(group).kickRestore()
			d.wait("the group goes on", func() bool { return side.groupStatus(group).StoreError == "" && side.groupStatus(group).Failed == "" })
			w.check(d.a, everyAck)
			d.wait("the link is up", d.a.linked)
			if row.site == "osaka" {
				d.a.await(PSUE, "x", "y")
				d.mend()
			} else {
				d.a.awaitBoth(PAIR, "x", "y")
				d.a.suspend("g", SuspendOptions{}, "x", "y")
			}
			w.check(d.b, everyAck)
			_, err = side.site.CreateVolume("new")
			must(t, err)
		})
	}
}

// TestSplitThatIsNotStored: an S-VOL is split while its site's database takes nothing and nobody writes. The command says so, the pair is split, and the
// primary hears of it, when the database is mended as well as before.
func TestSplitThatIsNotStored(t *testing.T) {
	for _, mended := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, 1)
			tokyo, osaka := w.sites[0], w.sites[1]
			time.Sleep(time.Minute) // there is nothing left to checkpoint
			osaka.failStates(newRand(1))
			err := osaka.site.SuspendPair(context.Background(), "x", SuspendOptions{})
			refused(t, err, KindInternal)
			says(t, err, "a status change could not be stored")
			if mended {
				osaka.mendStates()
			}
			w.until("the primary has heard of the split", func() bool { return tokyo.status("x").Status == PSUS })
			osaka.mendStates()
			w.until("the split is stored", func() bool { return !osaka.site.groupByName("g@tokyo").late.Load() })
			w.look()
			w.finish()
		})
	}
}
