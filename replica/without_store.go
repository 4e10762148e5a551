package replica

import (
	"errors"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	bolt "go.etcd.io/bbolt"
)

// A site does not start while the store of a volume is missing: an empty one in its place would be served as the volume. Where it is lost for
// good the operator says so with Config.WithoutStores. Then the volume is forgotten with its pair, before anything is opened; the peer learns
// that the pair is gone as it does of any other that was deleted, and what it has stays there.

// givenUp is what goes with a store that is lost.
type givenUp struct {
	volume string
	pair   string // "" if it was in none
	rec    pairRecord
}

// findStores looks whether the stores of all volumes are there, and gives up what Config.WithoutStores names. It refuses a store that is missing
// and not named, one that is named and there, and a volume that is not known, and changes nothing then.
func (s *Site) findStores() error {
	volumes, err := load[volumeRecord](s.db, bucketVolumes)
	if err != nil {
		return err
	}
	var missing []string
	for _, name := range slices.Sorted(maps.Keys(volumes)) {
		if _, err := os.Lstat(s.storePath(name)); errors.Is(err, fs.ErrNotExist) {
			missing = append(missing, name)
		}
	}
	for _, name := range s.cfg.WithoutStores {
		_, known := volumes[name]
		switch {
		case !known:
			return refuse(KindNotFound, "site %s has no volume %q: leave --without-store=%s out", s.cfg.Name, name, name)
		case !slices.Contains(missing, name):
			return refuse(KindExists, "the store of volume %s is there: leave --without-store=%s out, or, if it cannot be read any more, move %s away first", name, name, s.storePath(name))
		}
	}
	if i := slices.IndexFunc(missing, func(name string) bool { return !slices.Contains(s.cfg.WithoutStores, name) }); i >= 0 {
		return refuse(KindNotFound, "site %s cannot start, for in %s the store of %s is missing: put the disk in place that has it; or, if it is lost, start with --without-store=%s, which gives up the volume and its pair here",
			s.cfg.Name, filepath.Dir(s.storePath(missing[i])), strings.Join(missing, ", of "), strings.Join(missing, " --without-store="))
	}
	return s.giveUpVolumes(missing)
}

// giveUpVolumes forgets volumes and their pairs.
func (s *Site) giveUpVolumes(names []string) error {
	if len(names) == 0 {
		return nil
	}
	pairs, err := load[pairRecord](s.db, bucketPairs)
	if err != nil {
		return err
	}
	gone := make([]givenUp, len(names))
	for i, name := range names {
		gone[i].volume = name
		for pair, rec := range pairs {
			if rec.Volume == name {
				gone[i].pair, gone[i].rec = pair, rec
			}
		}
	}
	if err := s.db.update(func(tx *bolt.Tx) error { return forgetVolumes(tx, gone, pairs) }); err != nil {
		return fault(KindInternal, err, "site %s cannot go on without %s", s.cfg.Name, strings.Join(names, ", "))
	}
	for _, g := range gone {
		s.events.add(slog.LevelWarn, "volume/"+g.volume, "%s", g.text())
		if g.pair != "" {
			s.past.remember(Entry{Object: "pair/" + g.pair, Group: g.rec.Group, What: SMPL.String(), Text: g.text(), Time: s.wall()})
		}
	}
	return nil
}

// forgetVolumes takes the volumes and pairs out of the database. A master group whose last pair goes has no peer any more; a restore group goes
// when the site begins.
func forgetVolumes(tx *bolt.Tx, gone []givenUp, pairs map[string]pairRecord) error {
	left := maps.Clone(pairs)
	for _, g := range gone {
		if err := remove(tx, bucketVolumes, g.volume); err != nil {
			return err
		}
		if g.pair == "" {
			continue
		}
		if err := dropPair(tx, g.pair); err != nil {
			return err
		}
		delete(left, g.pair)
	}
	for _, g := range gone {
		if g.pair == "" || slices.ContainsFunc(slices.Collect(maps.Values(left)), func(p pairRecord) bool { return p.Group == g.rec.Group }) {
			continue
		}
		rec, ok, err := get[groupRecord](tx, bucketGroups, g.rec.Group)
		if err != nil {
			return err
		}
		if !ok || rec.Role != Primary {
			continue
		}
		rec.Peer, rec.PeerGroup, rec.Handed = "", "", nil // as endMirror does
		if err := put(tx, bucketGroups, g.rec.Group, rec); err != nil {
			return err
		}
	}
	return nil
}

// text says what was given up and what to do.
func (g *givenUp) text() string {
	head := "its store is lost and the site was started without it: volume " + g.volume + " is given up"
	switch {
	case g.pair == "":
		return head
	case g.rec.State.Role == Primary:
		return head + ", and pair " + g.pair + " with it, whose S-VOL is at " + g.rec.Peer + ": take over there if that was not done, delete the pair there too, and create one from there"
	}
	return head + ", and pair " + g.pair + " with it, whose P-VOL is at " + g.rec.Peer + ": delete the pair there too, and create it anew"
}
