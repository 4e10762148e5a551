package e2e

import (
	"bytes"
	"os"
	"path/filepath"
)

// What happens between the blocks of a runbook: faults, and what an administrator waits for.

// unlinked waits until a site says of the group that the mirror is down.
func (s *stage) unlinked(h *runbookHost, group string) {
	s.t.Helper()
	Until(s.t, LinkLimit, "site "+h.Name+" knows that the link of group "+group+" is down", func() bool { return h.Get("groups/" + group)["linked"] == "no" })
}

func (s *stage) connected() {
	s.t.Helper()
	Until(s.t, LinkLimit, "the sites are connected", func() bool {
		return s.tokyo.Get("peers/osaka")["connected"] == "yes" && s.osaka.Get("peers/tokyo")["connected"] == "yes"
	})
}

// answered waits until osaka answers a request of tokyo: behind a short cut both may count as connected before that, or as they were.
func (s *stage) answered() {
	s.t.Helper()
	Until(s.t, LinkLimit, "osaka answers", func() bool {
		_, err := s.tokyo.Paste("pairfs group resync default --dry-run")
		return err == nil
	})
}

// fillTo writes at tokyo until the pair has the status.
func (s *stage) fillTo(status string) {
	s.t.Helper()
	Until(s.t, StatusLimit, "the pair is "+status, func() bool {
		s.tokyo.Must("dd if=/dev/urandom of=/srv/db/filler bs=500K count=1 conv=fsync status=none")
		return s.tokyo.Status("pair0") == status
	})
}

// fillDisk makes the disk of a site's stores take nothing, and waits until what tokyo writes then cannot be brought into a store.
func (s *stage) fillDisk(h *runbookHost, group string) {
	s.t.Helper()
	h.failDisk()
	s.put(s.tokyo, "in-the-journal")
	Until(s.t, StatusLimit, "a store of site "+h.Name+" takes nothing", func() bool { return h.Get("groups/" + group)["store-error"] != "-" })
}

func (s *stage) remove(h *runbookHost, path string) {
	s.t.Helper()
	path = filepath.Join(h.State, path)
	if _, err := os.Stat(path); err != nil {
		s.t.Fatal(err)
	}
	if err := os.RemoveAll(path); err != nil {
		s.t.Fatal(err)
	}
}

// loseState ends a site for good, once all that tokyo wrote has arrived.
func (s *stage) loseState(h *runbookHost) {
	s.t.Helper()
	s.drained(s.tokyo)
	rings := h.rings()
	h.Crash()
	s.remove(h, "")
	if err := os.RemoveAll(rings); err != nil { // as of a machine that was started anew
		s.t.Fatal(err)
	}
}

// turnOver turns over a bit of a file where it has the words, or at most so often: a database may have them in pages that are not in use any more.
func (s *stage) turnOver(path, words string, most int) {
	s.t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		s.t.Fatal(err)
	}
	defer f.Close()
	b, err := os.ReadFile(path)
	if err != nil {
		s.t.Fatal(err)
	}
	for n := 0; n < most; n++ {
		at := bytes.Index(b, []byte(words))
		if at < 0 && n == 0 {
			s.t.Fatalf("%s has no %q", path, words)
		}
		if at < 0 {
			return
		}
		b[at] ^= 1
		if _, err := f.WriteAt(b[at:at+1], int64(at)); err != nil {
			s.t.Fatal(err)
		}
	}
}

// restored waits until a file of a site has the words.
func (s *stage) restored(h *runbookHost, path, words string) {
	s.t.Helper()
	Until(s.t, StatusLimit, path+" of site "+h.Name+" has what was written", func() bool {
		b, err := os.ReadFile(filepath.Join(h.State, path))
		return err == nil && bytes.Contains(b, []byte(words))
	})
}

// runbookDeeds are what happens between the blocks, by the words on the page.
var runbookDeeds = map[string]func(s *stage){
	"tokyo is lost": func(s *stage) {
		s.drained(s.tokyo)
		s.tokyo.Crash()
		s.unlinked(s.osaka, "default@tokyo")
	},
	"both sides write": func(s *stage) {
		s.drained(s.tokyo)
		s.link.Cut(true)
		s.osaka.Must("pairfs group takeover default@tokyo --timeout=2s\nmount -o loop /mnt/osaka/db /srv/db")
		s.put(s.osaka, "at-osaka")
		s.put(s.tokyo, "at-tokyo")
		s.link.Cut(false)
	},
	"the link is down too long": func(s *stage) {
		s.drained(s.tokyo)
		s.link.Cut(true)
		s.put(s.tokyo, "meanwhile")
		s.tokyo.Wait("pair0", StatusLimit, "PSUE")
		s.osaka.Wait("pair0", StatusLimit, "PSUE")
	},
	"the link is back": func(s *stage) {
		s.put(s.tokyo, "late")
		s.link.Cut(false)
		s.answered()
	},
	"the journal fills": func(s *stage) {
		s.link.Cut(true)
		s.fillTo("PFUL")
	},
	"the journal is full": func(s *stage) { s.fillTo("PFUS") },
	"the journal of tokyo fails": func(s *stage) {
		s.drained(s.tokyo)
		s.tokyo.failDisk()
		s.put(s.tokyo, "past-the-journal")
		s.tokyo.Wait("pair0", StatusLimit, "PSUE")
		s.put(s.tokyo, "later")
	},
	"the disk is new": func(s *stage) {
		s.tokyo.newDisk()
		s.osaka.newDisk()
	},
	"tokyo goes down and loses its journal": func(s *stage) {
		s.drained(s.tokyo)
		s.tokyo.Crash()
		s.remove(s.tokyo, "journals/default/000001")
	},
	"tokyo has heard of the takeover": func(s *stage) {
		Until(s.t, StatusLimit, "tokyo has heard of the takeover", func() bool { return s.tokyo.Get("pair0")["suspend-type"] == "both written" })
	},
	"the service goes on at osaka":     func(s *stage) { s.put(s.osaka, "at-osaka") },
	"the store of tokyo takes nothing": func(s *stage) { s.fillDisk(s.tokyo, "default") },
	"the store of osaka takes nothing": func(s *stage) { s.fillDisk(s.osaka, "default@tokyo") },
	"tokyo loses its store": func(s *stage) {
		s.drained(s.tokyo)
		s.tokyo.Crash()
		s.remove(s.tokyo, "volumes/db")
	},
	"tokyo loses its state directory": func(s *stage) { s.loseState(s.tokyo) },
	"osaka loses its state directory": func(s *stage) { s.loseState(s.osaka) },
	"the sites are connected":         (*stage).connected,
	"osaka loses its store":           func(s *stage) { s.remove(s.osaka, "volumes/db") },
	"tokyo goes down and its database is damaged": func(s *stage) {
		s.drained(s.tokyo)
		s.tokyo.Crash()
		s.turnOver(filepath.Join(s.tokyo.State, "site.db"), `"Volume":"db"`, 1000)
	},
	"osaka loses its database": func(s *stage) {
		s.drained(s.tokyo)
		s.osaka.Crash()
		s.remove(s.osaka, "site.db")
	},
	"a bit of the store of osaka turns over": func(s *stage) {
		s.put(s.tokyo, "copied")
		s.drained(s.tokyo)
		s.restored(s.osaka, "volumes/db", s.textOf("copied"))
		s.turnOver(filepath.Join(s.osaka.State, "volumes/db"), s.textOf("copied"), 1)
	},
	"the checksums are copied to tokyo": func(s *stage) {
		if err := os.Rename(filepath.Join(s.osaka.Backup, "osaka.sums"), filepath.Join(s.tokyo.Backup, "osaka.sums")); err != nil {
			s.t.Fatal(err)
		}
	},
	"osaka loses its journal": func(s *stage) {
		s.put(s.tokyo, "between")
	},
}
