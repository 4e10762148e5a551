package e2e

import (
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"pairfs/e2e/faultfs"
)

// metaPages is where the two meta pages of site.db end.
const metaPages = 8192

// TestDatabaseDisk lets the disk below site.db fail in each step of a commit, at either side, while writers run: the file is mapped and written
// by a library, so the failures come from below the system's calls. What is refused has not happened, what nobody can tell ends the daemon
// as a kill does, and hosts lose nothing of what was acknowledged.
func TestDatabaseDisk(t *testing.T) {
	t.Parallel()
	const size = 16 * mib
	for _, row := range []struct {
		name, at string
		fault    faultfs.Fault
		ends     bool   // the daemon
		refused  string // what a command says that wants something stored; "" if it works
		event    string
		long     bool
	}{
		{"writes", "tokyo", faultfs.Fault{Op: faultfs.Write}, false, "input/output error", "", true},
		{"writes", "osaka", faultfs.Fault{Op: faultfs.Write}, false, "input/output error", "", false},
		{"flush of pages", "tokyo", faultfs.Fault{Op: faultfs.Flush, From: metaPages}, false, "input/output error", "", false},
		{"flush of pages", "osaka", faultfs.Fault{Op: faultfs.Flush, From: metaPages}, false, "input/output error", "", true},
		{"flush of the meta page, once", "tokyo", faultfs.Fault{Op: faultfs.Flush, Below: metaPages, Times: 1}, false, "", "was done when it was tried again", false},
		{"flush of the meta page, once", "osaka", faultfs.Fault{Op: faultfs.Flush, Below: metaPages, Times: 1}, false, "", "was done when it was tried again", true},
		{"flush of the meta page", "tokyo", faultfs.Fault{Op: faultfs.Flush, Below: metaPages}, true, "", "", false},
		{"flush of the meta page", "osaka", faultfs.Fault{Op: faultfs.Flush, Below: metaPages}, true, "", "", true},
	} {
		if row.long && !Long() {
			continue
		}
		t.Run(row.name+" at "+row.at, func(t *testing.T) {
			t.Parallel()
			s := Two(t, Options{Faulty: true})
			groupOfThree(t, s, size, "64MiB")
			h := NewHistory(s.Seed)
			side, group := s.A, "groups/g"
			if row.at == "osaka" {
				side, group = s.B, "groups/g@tokyo"
			}
			w := StartWorkload(t, h, s.A.Targets(size, three...), Load{Seed: s.Seed, PerSecond: 100, MaxSize: 64 << 10})
			more(t, w, 50)
			row.fault.File, row.fault.Errno = "site.db", unix.EIO
			side.Fail(row.fault)
			if row.ends {
				diesOfItsDatabase(t, s, side, w)
			} else {
				err := side.Ctl("site", "set copies=63")
				if row.refused == "" && err != nil || row.refused != "" && (err == nil || !strings.Contains(err.Error(), row.refused)) {
					t.Errorf("an option is set: %v", err)
				}
				if row.event != "" && !side.HasEvent("site", row.event) {
					t.Errorf("no event says %q", row.event)
				}
				if row.refused != "" {
					Until(t, StatusLimit, "the group says what is wrong", func() bool { return strings.Contains(side.Get(group)["store-error"], "site.db") })
				}
				more(t, w, 50) // hosts of tokyo go on
				if err := w.Stop(); err != nil {
					t.Fatalf("a write failed: %v", err)
				}
				side.Kill9()
			}
			if n := side.Fail(faultfs.Fault{}); n == 0 {
				t.Error("nothing failed")
			}
			side.Restart()
			if text, err := side.Text("site"); err != nil || strings.Contains(text, "copies=63") != (row.refused == "") && !row.ends {
				t.Errorf("what was set is not what was answered (%v): %s", err, text)
			}
			s.A.CheckImages(h, s.A.Targets(size, three...), Always)
			s.AwaitLink()
			goOn(t, s)
			s.B.CheckImages(h, s.B.Targets(size, three...), Always)
			s.SameVolumes(three...)
			side.Do("site", "set copies=62")
			s.A.Stop()
			s.B.Stop()
		})
	}
}

// diesOfItsDatabase waits until the daemon has ended because nobody can tell what it stored last, and ends the writers.
func diesOfItsDatabase(t *testing.T, s *Sites, side *Site, w *Workload) {
	t.Helper()
	if side == s.B {
		more(t, w, 50)
	}
	_ = side.Ctl("site", "set copies=63") // if no checkpoint came first: the answer is lost with the daemon
	side.WaitExit(StatusLimit)
	if side.ExitError() == nil || !strings.Contains(side.Log(), "nobody can tell") {
		t.Errorf("site %s ended with %v, and its log does not say why", side.Name, side.ExitError())
	}
	if side == s.B {
		more(t, w, 50)
		if err := w.Stop(); err != nil {
			t.Fatalf("a write failed although only the secondary ended: %v", err)
		}
	} else if err := w.Wait(); !DeadMount(err) {
		t.Fatalf("the writers of a site that ended ended with: %v", err)
	}
}

// goOn brings the pairs to PAIR, by a resync of those that were suspended, and suspends them with everything.
func goOn(t *testing.T, s *Sites) {
	t.Helper()
	for _, v := range three {
		s.A.Wait("p-"+v, StatusLimit, "PAIR", "PSUE")
	}
	if s.A.Status("p-log") == "PSUE" {
		s.A.Do("groups/g", "resync")
	}
	for _, v := range three {
		s.WaitBoth("p-"+v, "PAIR")
	}
	s.A.AwaitDrained("p-log")
	s.A.Do("groups/g", "suspend")
	for _, v := range three {
		s.WaitBoth("p-"+v, "PSUS")
	}
}

// TestStartWithAnUnreadableDatabase: a start that cannot read site.db says so and begins nothing in its place; when the disk is mended all is there.
func TestStartWithAnUnreadableDatabase(t *testing.T) {
	t.Parallel()
	s := Start(t, "tokyo", Options{Faulty: true})
	s.MakeVolume("db", mib)
	s.Stop()
	s.Fail(faultfs.Fault{Op: faultfs.Read, File: "site.db", Errno: unix.EIO})
	if err := s.TryStart(); err == nil || !strings.Contains(err.Error(), "site.db") || !strings.Contains(err.Error(), "input/output error") {
		t.Fatalf("the start: %v", err)
	}
	s.Fail(faultfs.Fault{})
	s.Restart()
	if got := s.Get("volumes/db")["size-bytes"]; got != "1048576" {
		t.Errorf("the volume has %q bytes", got)
	}
}
