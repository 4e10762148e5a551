package replica

import (
	"log/slog"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// keptSeen is what a site last saw in its folder of kept sets, for its status, which waits for no disk.
type keptSeen struct {
	mu   sync.Mutex
	all  keptCount
	pair map[string]keptCount
}

// keptCount is how many sets there are, and the bytes that they take on their file system.
type keptCount struct {
	sets  int
	bytes int64
}

func (s *keptCount) add(k *Kept) {
	s.sets++
	s.bytes += k.Allocated
}

// openKept removes the sets that a crash left half written or half removed, and looks at the others. What is wrong with the folder is an
// event: the site serves without it, and only what needs it is refused.
func (s *Site) openKept() {
	err := s.sweepKept()
	if err == nil {
		_, err = s.Kept()
	}
	if err != nil {
		s.events.add(slog.LevelError, "site", "nothing can be kept aside before a resync that discards a side: %v", err)
	}
}

func (s *Site) sweepKept() error {
	d, err := openKeptDir(s.cfg.StateDir, true)
	if err != nil {
		return err
	}
	defer d.close()
	if err := d.private(); err != nil {
		return err
	}
	names, err := d.names()
	if err != nil {
		return err
	}
	for _, name := range names {
		set, begun := strings.CutPrefix(name, keptNew)
		if !begun && !strings.HasPrefix(name, keptOld) {
			continue
		}
		switch err := d.remove(name); {
		case err != nil:
			s.events.add(slog.LevelError, "site", "what a crash left of a kept set cannot be removed, remove it by hand: %v", err)
		case begun:
			s.events.add(slog.LevelWarn, "site", "the unfinished kept set %s was removed: pairfs ended while it was written, and nothing was overwritten then", set)
		}
	}
	return nil
}

// Kept returns the kept sets of the site, by name. One that cannot be read is there with the reason.
func (s *Site) Kept() ([]Kept, error) {
	all, err := KeptSets(s.cfg.StateDir)
	if err != nil {
		return nil, err
	}
	var sum keptCount
	pairs := map[string]keptCount{}
	for i := range all {
		sum.add(&all[i])
		p := pairs[all[i].Pair]
		p.add(&all[i])
		pairs[all[i].Pair] = p
	}
	s.kept.mu.Lock()
	defer s.kept.mu.Unlock()
	s.kept.all, s.kept.pair = sum, pairs
	return all, nil
}

// lookKept looks at the folder again for the status.
func (s *Site) lookKept() {
	if _, err := s.Kept(); err != nil {
		s.log.Warn("the kept sets cannot be listed", "error", err)
	}
}

// keptOf returns what was last seen of the sets of a pair.
func (s *Site) keptOf(pair string) keptCount {
	s.kept.mu.Lock()
	defer s.kept.mu.Unlock()
	return s.kept.pair[pair]
}

// keptAll returns what was last seen of all sets.
func (s *Site) keptAll() keptCount {
	s.kept.mu.Lock()
	defer s.kept.mu.Unlock()
	return s.kept.all
}

// KeptSet returns what the list of a set says; of one that cannot be read, the reason.
func (s *Site) KeptSet(name string) (Kept, error) {
	d, err := openKeptDir(s.cfg.StateDir, false)
	if err == nil {
		defer d.close()
		if checkKeptName(name) == nil {
			if k, there := d.info(name); there {
				return k, nil
			}
		}
	}
	if err == nil || KindOf(err) == KindNotFound {
		err = noSuchSet(name)
	}
	return Kept{}, err
}

// OpenKept opens a kept set; the caller closes it.
func (s *Site) OpenKept(name string) (*KeptSet, error) {
	d, err := openKeptDir(s.cfg.StateDir, false)
	if KindOf(err) == KindNotFound {
		return nil, noSuchSet(name)
	}
	if err != nil {
		return nil, err
	}
	defer d.close()
	return d.open(name)
}

// KeptSets returns the kept sets in a state directory, by name, whether its site runs or not. One that cannot be read is there with the
// reason; their lists are not read to the end.
func KeptSets(stateDir string) ([]Kept, error) {
	d, err := openKeptDir(stateDir, false)
	if KindOf(err) == KindNotFound {
		var st unix.Stat_t
		if err := unix.Stat(stateDir, &st); err != nil {
			return nil, keptFault(err, stateDir, "looked at")
		}
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer d.close()
	return d.sets()
}

// sets looks at every set.
func (d *keptDir) sets() ([]Kept, error) {
	names, err := d.names()
	if err != nil {
		return nil, err
	}
	slices.Sort(names)
	var all []Kept
	for _, name := range names {
		if checkKeptName(name) != nil {
			continue
		}
		if k, there := d.info(name); there {
			all = append(all, k)
		}
	}
	return all, nil
}

// info is what the list of a set says, or why it cannot be read.
func (d *keptDir) info(name string) (info Kept, there bool) {
	k, err := d.look(name)
	if err != nil {
		bad := Kept{Name: name, Bad: err.Error()}
		bad.Allocated, err = d.allocated(name)
		return bad, KindOf(err) != KindNotFound // it may have been dropped at this moment
	}
	defer k.Close()
	return k.Info(), true
}

func noSuchSet(name string) error {
	return refuse(KindNotFound, "there is no kept set %s: pairfs kept list shows them", name)
}
