package replica

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	bolt "go.etcd.io/bbolt"
	"golang.org/x/sys/unix"

	"pairfs/journal"
)

// Finding is one thing that [Check] looked at.
type Finding struct {
	Object string // "site.db", "volume/db", "group/default", "pair/pair0"; "store/db" and "journal/default" of what the database does not know; "kept/NAME"
	Text   string // one sentence
	Bad    bool   // something is wrong
}

// Check examines the state directory of a site that is not running and changes nothing: that the database opens and its entries fit
// together, that the stores are there with the sizes that their pairs have, that every record a journal must hold is there with its
// checksum, that every kept set is whole, and what lies there that the database does not know. It calls report for each finding. It fails if no site was ever in the directory, or a daemon uses it.
func Check(stateDir string, report func(Finding)) error {
	return withChecker(stateDir, report, (*checker).run)
}

// withChecker opens the database of a site that is not running and calls fn, unless the database cannot be used, which is reported.
func withChecker(stateDir string, report func(Finding), fn func(*checker) error) error {
	path := filepath.Join(stateDir, "site.db")
	c := checker{dir: stateDir, report: report}
	if fi, err := os.Lstat(path); errors.Is(err, os.ErrNotExist) && checkLost(stateDir) != nil {
		c.say(true, "site.db", "is missing, and with it what the site knew; go on as docs/runbooks.md says (Lost database)")
		return nil
	} else if err != nil {
		return fmt.Errorf("%s is no state directory of a site: %w", stateDir, err)
	} else if err := checkStateFile(path); err != nil {
		c.say(true, "site.db", "cannot be used: %v", err)
		return nil
	} else if fi.Size() == 0 {
		c.say(true, "site.db", "is empty: what the site knew is lost; go on as docs/runbooks.md says (Lost database)")
		return nil
	}
	var meta *brokenMeta
	switch err := verify(path); {
	case errors.Is(err, errInUse):
		return fmt.Errorf("the site of %s is running: stop it first (pairfs umount)", stateDir)
	case errors.As(err, &meta):
		c.wrong = fmt.Sprintf("; %v, and the next start mends it", err)
	case err != nil && !errors.Is(err, errDamaged):
		return fmt.Errorf("look at %s: %w", path, err)
	case err != nil:
		c.say(true, "site.db", "cannot be used: %v; keep a copy of %s, and go on as docs/runbooks.md says (Lost database)", err, stateDir)
		return nil
	}
	db, err := bolt.Open(path, 0o600, &bolt.Options{ReadOnly: true, Timeout: time.Second})
	if err != nil {
		return fmt.Errorf("open %s: %w", path, err)
	}
	defer db.Close()
	c.d = &database{db: db, path: path}
	if c.boot, err = journal.BootID(); err != nil {
		return err
	}
	if err := c.load(); err != nil {
		c.say(true, "site.db", "%v", err)
		return nil
	}
	return fn(&c)
}

type checker struct {
	dir     string
	d       *database
	report  func(Finding)
	volumes map[string]volumeRecord
	groups  map[string]groupRecord
	marks   map[string]marksRecord
	pairs   map[string]pairRecord
	rings   map[string]ringRecord
	site    string
	boot    string // this run of the machine
	wrong   string // with the database, although it can be used
}

func (c *checker) say(bad bool, object, format string, args ...any) {
	c.report(Finding{object, fmt.Sprintf(format, args...), bad})
}

func (c *checker) run() error {
	c.say(c.wrong != "", "site.db", "%s, %s, %s%s", counted(len(c.volumes), "volume"), counted(len(c.groups), "group"), counted(len(c.pairs), "pair"), c.wrong)
	for name := range c.volumes {
		c.volume(name)
	}
	for name, p := range c.pairs {
		c.pair(name, p)
	}
	for name, g := range c.groups {
		c.group(name, g)
	}
	c.strayStores()
	c.strayJournals()
	c.kept()
	return nil
}

// strayStores names the stores that no volume has. A crash leaves empty ones; one with data is of a volume that the database has lost.
func (c *checker) strayStores() {
	for _, name := range c.strays("volumes", func(name string) bool { _, ok := c.volumes[name]; return ok }) {
		path := filepath.Join(c.dir, "volumes", name)
		var st unix.Stat_t
		switch err := unix.Lstat(path, &st); {
		case err != nil:
			c.say(true, "store/"+name, "belongs to no volume and cannot be looked at: %v", err)
		case holdsData(&st):
			c.say(true, "store/"+name, "belongs to no volume of the site and holds data: move %s away before a volume is given that name", path)
		default:
			c.say(false, "store/"+name, "belongs to no volume of the site and holds nothing of its own: %s may be removed", path)
		}
	}
}

// strayJournals names the journals that no group has. They are left by a crash while a group was made or removed, or by a database that was
// put back from before the group.
func (c *checker) strayJournals() {
	for _, name := range c.strays("journals", func(name string) bool { _, ok := c.groups[name]; return ok }) {
		c.say(false, "journal/"+name, "belongs to no group of the site: %s may be removed; it goes when a group is given that name", filepath.Join(c.dir, "journals", name))
	}
}

// strays lists what is in a folder of the state directory and not known.
func (c *checker) strays(folder string, known func(name string) bool) (names []string) {
	entries, err := os.ReadDir(filepath.Join(c.dir, folder))
	if err != nil {
		c.say(true, folder, "cannot be listed: %v", err)
	}
	for _, e := range entries {
		if !known(e.Name()) {
			names = append(names, e.Name())
		}
	}
	return names
}

func (c *checker) load() error {
	err := c.d.db.View(func(tx *bolt.Tx) error {
		for _, b := range [][]byte{bucketSite, bucketPeers, bucketVolumes, bucketGroups, bucketMarks, bucketPairs, bucketBitmaps, bucketRings} {
			if tx.Bucket(b) == nil {
				return fmt.Errorf("bucket %s is missing", b)
			}
		}
		c.site = string(tx.Bucket(bucketSite).Get(keyName))
		if f := tx.Bucket(bucketSite).Get(keyFormat); len(f) != 4 || binary.LittleEndian.Uint32(f) > dbFormat {
			return fmt.Errorf("format %x is not known, %d is", f, dbFormat)
		}
		return nil
	})
	if err != nil {
		return err
	}
	var errs [6]error
	_, errs[0] = load[peerRecord](c.d, bucketPeers)
	c.volumes, errs[1] = load[volumeRecord](c.d, bucketVolumes)
	c.groups, errs[2] = load[groupRecord](c.d, bucketGroups)
	c.marks, errs[3] = load[marksRecord](c.d, bucketMarks)
	c.pairs, errs[4] = load[pairRecord](c.d, bucketPairs)
	c.rings, errs[5] = load[ringRecord](c.d, bucketRings)
	return cmp.Or(errors.Join(errs[:]...), c.d.valid())
}

func (c *checker) volume(name string) {
	fi, err := os.Lstat(filepath.Join(c.dir, "volumes", name))
	switch {
	case err != nil:
		c.say(true, "volume/"+name, "its store is missing: %v; put the disk in place that has it, or, if it is lost, mount with --without-store=%s", err, name)
	case !fi.Mode().IsRegular():
		c.say(true, "volume/"+name, "its store is not a regular file")
	default:
		c.say(false, "volume/"+name, "%d bytes", fi.Size())
	}
}

func (c *checker) pair(name string, p pairRecord) {
	object := "pair/" + name
	_, haveVolume := c.volumes[p.Volume]
	_, haveGroup := c.groups[p.Group]
	fi, err := os.Lstat(filepath.Join(c.dir, "volumes", p.Volume))
	b := newBitmap(max(p.Size, 0))
	switch {
	case !haveVolume || !haveGroup:
		c.say(true, object, "names volume %q and group %q, which the site does not have", p.Volume, p.Group)
	case err == nil && fi.Size() != p.Size:
		c.say(true, object, "has %d bytes, the store of volume %s has %d", p.Size, p.Volume, fi.Size())
	default:
		if err := c.d.loadBitmap(name, b); err != nil {
			c.say(true, object, "%v", err)
			return
		}
		c.say(false, object, "%s %s, %d bytes marked as different", p.State.Role, p.State.Status.On(p.State.Role), b.bytes())
	}
}

// group looks at the records that the journal must hold.
func (c *checker) group(name string, g groupRecord) {
	object := "group/" + name
	if g.Failed != "" {
		c.say(true, object, "its journal was given up and is made anew at the next start: %s", g.Failed)
		return
	}
	dir := filepath.Join(c.dir, "journals", name)
	if err := checkJournalDir(dir); err != nil {
		c.say(true, object, "%v", err)
		return
	}
	if _, err := os.Lstat(dir); errors.Is(err, os.ErrNotExist) {
		first := ""
		if g.Role == Primary {
			first = "; " + takeOverFirst(c.site, g.Peer)
		}
		c.say(true, object, "its journal is not there any more: the next start makes it anew, and suspends its pairs%s", first)
		return
	}
	records, at, bad, err := c.records(name, func(*journal.DumpRecord) {})
	switch {
	case err != nil:
		c.say(true, object, "its journal cannot be read: %v; a start tells what to do", err)
	case bad != nil:
		c.say(true, object, "its journal is damaged: %v; a start tells what to do", bad)
	default:
		c.say(false, object, "%s in the journal, all with good checksums, up to position %d", counted(records, "record"), at)
	}
}

// records walks the records that the journal of a group must hold: from its head on, to the mark that is known to be durable and to the last good one
// behind it. It counts them, and says where they end and what is wrong with them.
func (c *checker) records(group string, visit func(*journal.DumpRecord)) (records int, at journal.Position, bad, err error) {
	m := c.marks[group]
	at = m.Head.Position
	_, err = journal.Dump(nil, filepath.Join(c.dir, "journals", group), func(r *journal.DumpRecord) error {
		if r.Position < m.Head.Position || bad != nil {
			return nil
		}
		switch {
		case r.Position != at && at < m.Known:
			bad = fmt.Errorf("no record at position %d; the next one is at %d, in journal volume %d at offset %d", at, r.Position, r.JournalVolume, r.FileOffset)
		case r.Err != nil && r.Position < m.Known:
			bad = fmt.Errorf("in journal volume %d, %d bytes at offset %d (%d bytes at offset %d of %s): %w", r.JournalVolume, r.Size, r.FileOffset, r.Length, r.Offset, c.volumeOf(group, r.Volume), r.Err)
		case r.Err == nil && r.Position == at:
			at += journal.Position(r.Size)
			records++
			visit(r)
		}
		return nil
	})
	if err == nil && bad == nil && at < m.Known {
		bad = fmt.Errorf("it ends at position %d, but was durable up to %d", at, m.Known)
	}
	return records, at, bad, err
}

// volumeOf names the volume that has a number in a group.
func (c *checker) volumeOf(group string, number uint32) string {
	for _, p := range c.pairs {
		if p.Group == group && p.Number == number {
			return "volume " + p.Volume
		}
	}
	return fmt.Sprintf("a volume that is in no pair any more, %d", number)
}
