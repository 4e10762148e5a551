package replica

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"

	bolt "go.etcd.io/bbolt"
	"golang.org/x/sys/unix"

	"pairfs/journal"
)

// Opening a site: its directories, and what the database says is in them.

// checkLost refuses a state directory that lost its database or its key: without the database the stores are bytes of nobody, and a new
// site in the same place would write over them; without its key no peer would know the site again.
func checkLost(dir string) error {
	if noDatabase(dir) {
		for _, left := range leftOfSite {
			path := filepath.Join(dir, left)
			if holds, what := holdsAnything(path); holds {
				return refuse(KindInternal, "%s has no site.db, but %s is there%s: put back the very one that it had (an older copy is none), or move the whole directory away and go on as docs/runbooks.md says (Lost database)", dir, path, what)
			}
		}
		return nil
	}
	if _, err := os.Lstat(filepath.Join(dir, "key.pem")); errors.Is(err, os.ErrNotExist) {
		return refuse(KindInternal, "%s has a site.db and no key.pem: restore the key, for peers know the site by it; or make a new one (pairfs key --state %s) and give it to every peer", dir, dir)
	}
	return nil
}

// leftOfSite is what a site that did anything leaves in its state directory besides its database and key.
var leftOfSite = []string{"volumes", "journals", keptFolder, "audit", "history"}

// noDatabase reports whether a state directory has no database: an empty file is what a start leaves that was cut off before it made one, and what
// a disk or a copy may leave of one that was there.
func noDatabase(dir string) bool {
	fi, err := os.Lstat(filepath.Join(dir, "site.db"))
	return errors.Is(err, os.ErrNotExist) || err == nil && fi.Mode().IsRegular() && fi.Size() == 0
}

// holdsAnything reports whether a folder or file is there and not empty, and names the first thing in it.
func holdsAnything(path string) (holds bool, what string) {
	fi, err := os.Lstat(path)
	switch {
	case err != nil:
		return false, ""
	case !fi.IsDir():
		return fi.Size() > 0, ""
	}
	left, err := os.ReadDir(path)
	for _, e := range left {
		if e.Name() != "lost+found" { // of a file system that is mounted there
			return true, " and holds " + e.Name()
		}
	}
	return err != nil, ""
}

// DefaultRingDir finds a folder on tmpfs for staging rings: /dev/shm, or /run where that is one; /dev/shm if neither is.
func DefaultRingDir() string {
	for _, dir := range []string{"/dev/shm", "/run"} {
		if onTmpfs(dir) {
			return dir
		}
	}
	return "/dev/shm"
}

func onTmpfs(dir string) bool {
	var st unix.Statfs_t
	return unix.Statfs(dir, &st) == nil && (st.Type == unix.TMPFS_MAGIC || st.Type == unix.RAMFS_MAGIC)
}

// openDirs makes the folders and refuses a state directory that others may use.
func (s *Site) openDirs() error {
	base := filepath.Base(s.cfg.StateDir)
	abs, err := filepath.Abs(s.cfg.StateDir)
	if err != nil || base == "" {
		return fmt.Errorf("state directory %s: %w", s.cfg.StateDir, err)
	}
	s.cfg.StateDir = abs
	for _, dir := range []string{abs, filepath.Join(abs, "volumes"), filepath.Join(abs, "journals")} {
		if err := privateDir(dir); err != nil {
			return err
		}
	}
	return CheckStateDir(abs)
}

// loadVolumes opens the stores.
func (s *Site) loadVolumes() error {
	recs, err := load[volumeRecord](s.db, bucketVolumes)
	if err != nil {
		return err
	}
	for name, rec := range recs {
		if err := checkName("volume", name); err != nil {
			return err
		}
		v, err := s.openVolume(name, rec, false)
		if err != nil {
			return fmt.Errorf("volume %s: %w", name, err)
		}
		s.volumes[name] = v
	}
	return nil
}

func (s *Site) openVolume(name string, rec volumeRecord, create bool) (*Volume, error) {
	st, err := openStore(s.storePath(name), create)
	if err != nil {
		return nil, err
	}
	if wrap := s.cfg.wrapStore; wrap != nil {
		st.file = wrap(name, st.file)
	}
	size, err := st.size()
	if err != nil {
		return nil, errors.Join(err, st.close())
	}
	v := &Volume{site: s, id: rec.ID, name: name, store: st, reserved: rec.Reserved, madeBy: rec.MadeBy}
	v.handed.Store(rec.MadeBy != "" && !rec.Written)
	v.size.Store(size)
	v.changed()
	return v, nil
}

// loadGroups attaches the pairs and opens the journals.
func (s *Site) loadGroups() error {
	groups, err := load[groupRecord](s.db, bucketGroups)
	if err != nil {
		return err
	}
	marks, err := load[marksRecord](s.db, bucketMarks)
	if err != nil {
		return err
	}
	pairs, err := load[pairRecord](s.db, bucketPairs)
	if err != nil {
		return err
	}
	for name, rec := range groups {
		s.groups[name] = s.newGroup(name, rec)
	}
	for name, rec := range pairs {
		if err := s.loadPair(name, rec); err != nil {
			return err
		}
	}
	for name, g := range s.groups {
		err := s.openGroup(g, marks[name])
		if errors.Is(err, journal.ErrRing) {
			return err // the operator has to find it
		}
		if err != nil {
			g.hold(err)
		}
	}
	return nil
}

func (s *Site) loadPair(name string, rec pairRecord) error {
	g, v := s.groups[rec.Group], s.volumes[rec.Volume]
	if g == nil || v == nil {
		return fmt.Errorf("pair %s: site.db names group %q and volume %q, which it does not have: run pairfs check", name, rec.Group, rec.Volume)
	}
	if v.Size() != rec.Size {
		return fmt.Errorf("pair %s: the store of volume %s has %d bytes, the pair has %d: the store was changed behind pairfs; put back the one that it had; or, if that is lost, move %s away and start with --without-store=%s", name, rec.Volume, v.Size(), rec.Size, s.storePath(rec.Volume), rec.Volume)
	}
	p := g.attach(v, name, rec)
	p.leaving = rec.State.Status == Deleting
	p.unheard = true
	s.pairs[name] = p
	return s.db.loadBitmap(name, p.att.bits)
}

// openGroup opens one group; a journal that was given up, or is not there, is made anew with its pairs suspended.
func (s *Site) openGroup(g *group, m marksRecord) error {
	_, err := os.Lstat(g.dir())
	lost := errors.Is(err, os.ErrNotExist)
	if err := checkJournalDir(g.dir()); err != nil {
		return fmt.Errorf("group %s: %w", g.name, err)
	}
	if g.rec.Failed == "" && !lost {
		return g.open(m)
	}
	reason := g.rec.Failed
	if lost {
		reason = "its journal is not there any more"
	}
	s.events.add(slog.LevelError, g.object(), "the journal is made anew: %s", reason)
	text := "the journal of group " + g.name + " was lost (" + reason + "): resync from the primary"
	if lost && g.rec.Failed == "" && g.role == Primary {
		text += "; " + takeOverFirst(s.cfg.Name, g.rec.Peer)
	}
	changed := map[*pair]Input{}
	g.mu.Lock()
	for _, p := range g.pairs {
		in := EvFailure
		if lost && p.rec.State.Role == Primary {
			in = EvLost
		}
		if out := Step(p.rec.State, in); out.Verdict == Accept && (lost || p.rec.State.Status != PSUE) {
			g.enter(p, in, out, runOptions{text: text})
			changed[p] = in
		}
		// A lost restore journal held what the primary keeps and marks until it is restored here; only what hosts wrote here is unknown.
		if p.rec.State.Role == Primary || (lost && (p.rec.State.SVOLWrite || p.rec.State.TookOver)) {
			p.att.bits.fill()
		}
		p.rec.State.Consistent = p.rec.State.Consistent && !lost
		p.applyAccess()
	}
	g.mu.Unlock()
	// A crash in the middle of what follows begins it anew: the group counts as failed until the new journal is there.
	g.rec.Failed = reason
	err = g.commit(g.attachments(), func(tx *bolt.Tx) error {
		for name, p := range g.pairs {
			if err := put(tx, bucketPairs, name, p.rec); err != nil {
				return err
			}
		}
		return put(tx, bucketGroups, g.name, g.rec)
	})
	if err != nil {
		return err
	}
	for p, in := range changed {
		g.announce(p, change{in: in, text: text})
	}
	if err := errors.Join(g.remove(), g.create()); err != nil {
		return errors.Join(err, g.remove()) // what is half made takes room that others need
	}
	g.rec.Failed = ""
	last := m.LastSeq
	if g.role != Secondary {
		last = max(last, 1) // numbers were given even if no checkpoint came to store that: the peer knows them
	}
	fresh := marksRecord{LastSeq: last, Seq: m.Seq, PeerDurable: m.PeerDurable, PeerRestored: m.PeerRestored}
	err = s.db.update(func(tx *bolt.Tx) error {
		return errors.Join(g.dropRing(tx), put(tx, bucketMarks, g.name, fresh), put(tx, bucketGroups, g.name, g.rec))
	})
	if err != nil {
		return err
	}
	return g.open(fresh)
}
