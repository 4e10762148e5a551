package replica

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"

	bolt "go.etcd.io/bbolt"

	"pairfs/journal"
)

// GroupSpec says what group to create.
type GroupSpec struct {
	Name    string
	Size    int64             // bytes of each journal volume, 0 = 1 GiB
	Volumes int               // journal volumes, 0 = 1
	Options map[string]string // options of the group, by name; see [OptionNames]
}

// CreateGroup makes a journal group with its journal.
func (s *Site) CreateGroup(_ context.Context, spec GroupSpec) error {
	s.cmd.Lock()
	defer s.cmd.Unlock()
	s.awaitMade(spec.Name)
	for _, r := range spec.Name {
		if r == '@' {
			return refuse(KindInvalid, "group name %q: names with @ are those of restore groups, which are made on demand", spec.Name)
		}
	}
	if s.groupByName(spec.Name) != nil {
		return refuse(KindExists, "group %s exists already: pairs can be made in it as it is, or delete it first", spec.Name)
	}
	var options map[string]string
	if len(spec.Options) > 0 {
		o, err := withOptions(groupOptions, defaultGroupOptions(s.cfg.PathWatch), "group "+spec.Name, spec.Options)
		if err != nil {
			return err
		}
		options = mergeOptions(groupOptions, nil, o, spec.Options)
	}
	_, err := s.addGroup(spec.Name, groupRecord{Role: RoleNone, Size: spec.Size, Volumes: spec.Volumes, Options: options})
	return err
}

// DeleteGroup deletes all pairs of a group and, unless the group was made on demand and went with them, the group.
func (s *Site) DeleteGroup(ctx context.Context, name string, o DeleteOptions) error {
	g := s.groupByName(name)
	if g == nil {
		return refuse(KindNotFound, "there is no group %s: `pairfs group list` shows the groups of this site", name)
	}
	if err := func() error {
		g.cmd.Lock()
		defer g.cmd.Unlock()
		return g.deletePairs(ctx, g.allPairs(), o)
	}(); err != nil {
		return err
	}
	wait, cancel := context.WithTimeout(ctx, removeWait)
	defer cancel()
	if err := s.removeIdle(wait, g); err != nil {
		return fault(KindOf(err), err, "group %s cannot be deleted", name)
	}
	s.events.add(slog.LevelInfo, g.object(), "deleted")
	return nil
}

// dropGroup stops a group without pairs and removes it, unless a pair came meanwhile.
func (s *Site) dropGroup(g *group) {
	if err := s.removeIdle(s.ctx, g); err != nil && KindOf(err) != KindBusy {
		s.events.add(slog.LevelError, g.object(), "the group is not needed any more and could not be removed: %v", err)
	}
}

// removeIdle removes a group that has no pairs as soon as no command on it is under way. A command may wait for the peer, so Site.cmd is not
// held while that lasts: everybody else's commands would wait too.
func (s *Site) removeIdle(ctx context.Context, g *group) error {
	for {
		s.cmd.Lock()
		if g.cmd.TryLock() {
			defer s.cmd.Unlock()
			return s.removeLocked(g)
		}
		s.cmd.Unlock()
		if pause(ctx, removeRetry) != nil {
			return refuse(KindBusy, "a command on it is under way: try again when that has ended")
		}
	}
}

// removeGroup removes a restore group that has no pairs. Site.cmd is held: no command on a restore group waits for the peer.
func (s *Site) removeGroup(g *group) error {
	g.cmd.Lock()
	return s.removeLocked(g)
}

// removeLocked removes a group that has no pairs. Site.cmd is held, and group.cmd, which is let go.
func (s *Site) removeLocked(g *group) error {
	g.mu.Lock()
	used := len(g.pairs) > 0
	g.mu.Unlock()
	switch {
	case s.groupByName(g.name) != g:
		g.cmd.Unlock()
		return nil // somebody else did it
	case s.closing:
		g.cmd.Unlock()
		return refuse(KindBusy, "the site is closing")
	case used:
		g.cmd.Unlock()
		return refuse(KindBusy, "it got a pair at this moment: delete that first")
	}
	s.mu.Lock()
	delete(s.groups, g.name)
	s.mu.Unlock()
	g.cmd.Unlock()
	if err := g.stop(s.ctx); err != nil {
		s.log.Warn("group stopped with an error", "group", g.name, "error", err)
	}
	err := s.db.update(func(tx *bolt.Tx) error {
		return errors.Join(g.dropRing(tx), remove(tx, bucketGroups, g.name), remove(tx, bucketMarks, g.name))
	})
	return errors.Join(err, g.remove())
}

// making is a group whose journal is being written. Its name and memory are taken.
type making struct {
	memory int64
	done   chan struct{} // closed when it is there, or has failed
}

// awaitMade waits until no group of that name is being made. Site.cmd is held, and let go meanwhile: what was looked at before has to be looked
// at again.
func (s *Site) awaitMade(name string) {
	for {
		s.mu.RLock()
		m := s.making[name]
		s.mu.RUnlock()
		if m == nil {
			return
		}
		s.cmd.Unlock()
		<-m.done
		s.cmd.Lock()
	}
}

// awaitMaking waits until no group at all is being made, as awaitMade does for one.
func (s *Site) awaitMaking() {
	for {
		s.mu.RLock()
		names := slices.Collect(maps.Keys(s.making))
		s.mu.RUnlock()
		if len(names) == 0 {
			return
		}
		s.awaitMade(names[0])
	}
}

// writeJournal makes the journal of a new group. That takes a second for each GiB, so Site.cmd, which is held, is let go meanwhile: the name is
// taken, and whoever needs it waits.
func (s *Site) writeJournal(g *group) error {
	if s.closing {
		return refuse(KindBusy, "the site is closing")
	}
	m := &making{int64(g.rec.RingSize) + mirrorBuffers, make(chan struct{})}
	s.mu.Lock()
	s.making[g.name] = m
	s.mu.Unlock()
	s.cmd.Unlock()
	err := g.remove() // what is there without a group is what a crash in the middle of making or removing one left
	if err != nil {
		err = fault(KindInternal, err, "group %s cannot be made", g.name)
	} else if err = g.create(); err != nil {
		err = errors.Join(err, g.remove())
	}
	s.cmd.Lock()
	s.mu.Lock()
	delete(s.making, g.name)
	s.mu.Unlock()
	close(m.done)
	if err == nil && s.closing {
		err = errors.Join(refuse(KindBusy, "the site is closing"), g.remove())
	}
	return err
}

// addGroup makes a new group with its journal, of which rec says role, sizes and options, and starts it. Site.cmd is held, but for the time in
// which the journal is written.
func (s *Site) addGroup(name string, rec groupRecord) (*group, error) {
	if err := checkName("group", name); err != nil {
		return nil, err
	}
	size, volumes := cmp.Or(rec.Size, journalDefault), cmp.Or(rec.Volumes, 1)
	if size < journalMin || size > volumeMax {
		return nil, refuse(KindInvalid, "a journal volume of %s is out of range: %s to %s", iec(size), iec(journalMin), iec(volumeMax))
	}
	if volumes < 1 || volumes > journalVolumesMax {
		return nil, refuse(KindInvalid, "%d journal volumes are out of range: 1 to %d", volumes, journalVolumesMax)
	}
	size = size &^ (journal.PageSize - 1)
	s.mu.RLock()
	count := len(s.groups) + len(s.making)
	s.mu.RUnlock()
	if count >= groupsMax {
		return nil, refuse(KindNoSpace, "the site has %d groups, which is the most", count)
	}
	ring, err := s.ringSize()
	if err != nil {
		return nil, err
	}
	if err := s.checkSpace(size*int64(volumes), "the journal of group "+name); err != nil {
		return nil, err
	}
	rec.Size, rec.Volumes, rec.RingSize = size, volumes, ring
	g := s.newGroup(name, rec)
	if err := s.writeJournal(g); err != nil {
		return nil, err
	}
	if err := s.db.update(func(tx *bolt.Tx) error { return put(tx, bucketGroups, name, g.rec) }); err != nil {
		return nil, errors.Join(err, g.remove())
	}
	if err := g.open(marksRecord{}); err != nil {
		return nil, fault(KindInternal, err, "the new group %s cannot be opened", name)
	}
	s.mu.Lock()
	s.groups[name] = g
	s.mu.Unlock()
	g.start()
	s.events.add(slog.LevelInfo, g.object(), "created with a journal of %d × %s", volumes, iec(size))
	return g, nil
}

// ringSize chooses the ring of a new group: half of what the memory bound leaves for the first, a quarter for others, so that many groups
// fit and the first ones are fast.
func (s *Site) ringSize() (int, error) {
	used := s.memoryUsed()
	left := s.cfg.Memory/4*ringQuarters - used - mirrorBuffers
	share := left / 4
	if used == 0 {
		share = left / 2
	}
	size := int64(ringMax)
	for size > ringMin && size > share {
		size /= 2
	}
	if size > left {
		least := ((used+mirrorBuffers+ringMin)*4/ringQuarters + 1<<20 - 1) >> 20
		return 0, refuse(KindNoSpace, "the memory bound of site %s, %s, leaves no room for the ring of another group: mount it with --memory=%dMiB or more, or put the volume into an existing group", s.cfg.Name, iec(s.cfg.Memory), least)
	}
	return int(size), nil
}

// memoryUsed is what rings and buffers of all groups may hold.
func (s *Site) memoryUsed() int64 {
	s.mu.RLock()
	defer s.mu.RUnlock()
	var n int64
	for _, g := range s.groups {
		n += int64(g.rec.RingSize) + mirrorBuffers
	}
	for _, m := range s.making {
		n += m.memory
	}
	return n
}
