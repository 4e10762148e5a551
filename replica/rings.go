package replica

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sort"
	"strings"

	bolt "go.etcd.io/bbolt"

	"pairfs/journal"
)

// A staging ring holds writes that were acknowledged and not yet flushed. A daemon that is killed leaves it behind, and only the next one
// brings those writes into the journal; so the site remembers where the rings of its groups are for as long as they hold something that is
// nowhere else, and does not start without them.

// bucketRings holds a JSON ringRecord for each group whose ring is in use. What was closed in good order is not in it.
var bucketRings = []byte("rings")

type ringRecord struct {
	Path string
	Boot string // the run of the machine in which it was made: tmpfs does not outlive that
}

// openRings makes the folder of the staging rings, pairfs-SITE-KEY on tmpfs, KEY being 8 digits that stand for the site's key: the ring of
// a killed daemon holds acknowledged writes, so another site that happens to have the same name must not come near it.
func (s *Site) openRings() error {
	var err error
	if s.cfg.RingDir, err = filepath.Abs(s.cfg.RingDir); err != nil {
		return fmt.Errorf("ring directory %s: %w", s.cfg.RingDir, err)
	}
	if s.boot, err = journal.BootID(); err != nil {
		return err
	}
	fp := s.identity.Fingerprint()
	s.ringDir = filepath.Join(s.cfg.RingDir, fmt.Sprintf("pairfs-%s-%x", s.cfg.Name, fp[:4]))
	if err := s.checkRings(); err != nil {
		return err
	}
	if err := makeRingDir(s.cfg.RingDir); err != nil {
		return err
	}
	if err := privateDir(s.ringDir); err != nil {
		return err
	}
	if !onTmpfs(s.ringDir) {
		// No promise is broken: the pages outlive the daemon, and what a power cut leaves of them is not used. But the kernel writes every one
		// of them back, and hosts wait for that.
		s.events.add(slog.LevelWarn, "site", "the staging rings are in %s, which is not on tmpfs: every write goes to that disk once more and is slow; mount with a --ring-dir on tmpfs (/dev/shm)", s.cfg.RingDir)
	}
	return nil
}

// makeRingDir makes the folder that was given where its parent is on tmpfs; elsewhere a name that does not exist is taken for a mistake.
func makeRingDir(dir string) error {
	_, err := os.Stat(dir)
	if !errors.Is(err, fs.ErrNotExist) {
		return nil // what else is wrong is found when the rings are made
	}
	if !onTmpfs(filepath.Dir(dir)) {
		return refuse(KindInvalid, "the folder %s for the staging rings does not exist: give one on tmpfs with --ring-dir (/dev/shm), or make it first", dir)
	}
	return privateDir(dir)
}

// checkRings refuses to start without the rings that a killed daemon left. It changes nothing.
func (s *Site) checkRings() error {
	left, err := s.leftRings()
	if err != nil {
		return err
	}
	names := make([]string, 0, len(left))
	for name := range left {
		names = append(names, name)
	}
	sort.Strings(names)
	for _, name := range names { // a ring that is elsewhere comes first: nothing is lost there
		if err := s.ringElsewhere(left[name], name); err != nil {
			return err
		}
	}
	for _, name := range names {
		if _, err := os.Stat(s.ringPath(name)); errors.Is(err, fs.ErrNotExist) && !s.cfg.WithoutRing {
			return s.ringGone(left[name], name)
		}
	}
	return nil
}

// leftRings are the rings that a daemon which was killed in this run of the machine left, by group. One whose journal was given up or is
// lost counts for nothing: the journal is made anew, which is told.
func (s *Site) leftRings() (map[string]ringRecord, error) {
	all, err := load[ringRecord](s.db, bucketRings)
	if err != nil {
		return nil, err
	}
	groups, err := load[groupRecord](s.db, bucketGroups)
	if err != nil {
		return nil, err
	}
	for name, r := range all {
		rec, ok := groups[name]
		_, err := os.Lstat(s.journalDir(name))
		if !ok || r.Boot != s.boot || rec.Failed != "" || errors.Is(err, fs.ErrNotExist) {
			delete(all, name)
		}
	}
	return all, nil
}

// ringElsewhere refuses to start where the ring is not at the configured place and is at the remembered one.
func (s *Site) ringElsewhere(r ringRecord, group string) error {
	was, err := os.Stat(r.Path)
	if err != nil {
		return nil
	}
	if now, err := os.Stat(s.ringPath(group)); err == nil && os.SameFile(was, now) {
		return nil
	}
	dir := filepath.Dir(filepath.Dir(r.Path))
	return refuse(KindInvalid, "site %s was killed and its staging rings are in %s, with writes that were acknowledged and are nowhere else: start with --ring-dir=%s", s.cfg.Name, dir, dir)
}

// ringGone is the refusal to start where the ring of a group is nowhere.
func (s *Site) ringGone(r ringRecord, group string) error {
	return fault(KindInternal, journal.ErrRing, "site %s was killed and the staging ring of group %s, %s, is gone: the last writes that were acknowledged may have been in it alone; put it back, or start with --without-ring to go on without them",
		s.cfg.Name, group, r.Path)
}

func (s *Site) ringPath(group string) string { return filepath.Join(s.ringDir, group+".ring") }

func (s *Site) journalDir(group string) string {
	return filepath.Join(s.cfg.StateDir, "journals", group)
}

// ringLeft gives what is remembered of the group's ring, if a daemon that was killed in this run of the machine left one.
func (g *group) ringLeft() (r ringRecord, left bool, err error) {
	err = g.site.db.db.View(func(tx *bolt.Tx) error {
		r, left, err = get[ringRecord](tx, bucketRings, g.name)
		return err
	})
	return r, left && r.Boot == g.site.boot, err
}

// rememberRing is called when the ring was made and before anything is acknowledged from it.
func (g *group) rememberRing() error {
	return g.site.db.update(func(tx *bolt.Tx) error {
		return put(tx, bucketRings, g.name, ringRecord{Path: g.ringPath(), Boot: g.site.boot})
	})
}

// forgetRing is called when everything in the ring is durable in the journal, and nothing is added any more.
func (g *group) forgetRing() error { return g.site.db.update(g.dropRing) }

func (g *group) dropRing(tx *bolt.Tx) error {
	return remove(tx, bucketRings, g.name)
}

// closeJournal closes the journal and forgets the ring if nothing is left in it. The group's goroutines have ended.
func (g *group) closeJournal() error {
	if g.journal.Err() != nil {
		return g.journal.Close()
	}
	err := g.journal.Sync(context.Background(), g.journal.Marks().Reserved)
	if err == nil {
		err = g.forgetRing()
	}
	if err != nil { // the next start looks for it, and finds nothing in it
		g.journal.KeepRing()
	}
	return errors.Join(err, g.journal.Close())
}

// tellRingLost says what a group lost whose ring was given up with --without-ring.
func (g *group) tellRingLost(r ringRecord) {
	var names []string
	for _, a := range g.attachments() {
		names = append(names, a.vol.name)
	}
	sort.Strings(names)
	g.site.events.add(slog.LevelError, g.object(), "the staging ring %s is gone and the site was started without it: of volumes %s the last writes that were acknowledged before the daemon was killed may be missing; what is there is an image of a moment before, check what their hosts make of it",
		r.Path, strings.Join(names, ", "))
}
