package replica

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	bolt "go.etcd.io/bbolt"

	"pairfs/journal"
)

// attach makes the tie between a volume, a pair and a group in memory. The volume's mode lock is held, or nothing uses it yet.
func (g *group) attach(v *Volume, name string, rec pairRecord) *pair {
	a := &attachment{vol: v, group: g, number: rec.Number, overlay: newOverlay(), bits: newBitmap(rec.Size)}
	p := &pair{name: name, group: g, att: a, rec: rec}
	a.pair = p
	a.start.Store(uint64(rec.StartSeq))
	a.stop.Store(uint64(rec.StopSeq))
	if rec.StartSeq == 0 {
		a.start.Store(uint64(noStop)) // nothing is replicated before the start record
	}
	g.mu.Lock()
	g.pairs[name] = p
	g.members[rec.Number] = a
	g.watchAnew()
	p.applyAccess()
	g.mu.Unlock()
	v.att = a
	return p
}

// detach takes the tie apart. The volume's mode lock is held.
func (g *group) detach(p *pair) {
	g.mu.Lock()
	delete(g.pairs, p.name)
	delete(g.members, p.att.number)
	g.mu.Unlock()
	p.att.vol.att = nil
}

// release ends Deleting: everything of the volume goes from journal to store, and the volume back to plain storage. It may be called
// again if it failed half way.
func (g *group) release(ctx context.Context, p *pair) error {
	a := p.att
	g.mu.Lock()
	a.start.Store(uint64(noStop))
	secondary := p.rec.State.Role == Secondary
	if secondary && g.pulling != nil {
		g.pulling.cancel()
	}
	g.mu.Unlock()
	if g.journal.Err() == nil {
		g.settle(ctx) // most of the work, while hosts go on
	}
	v := a.vol
	v.mode.Lock()
	defer v.mode.Unlock()
	if err := g.drainVolume(ctx, a); err != nil {
		return fault(KindBusy, err, "pair %s is still being deleted: its last records could not be restored; mend the cause and delete it again", p.name)
	}
	if secondary && p.wroteHere() {
		if err := g.site.handedOver(v); err != nil {
			return err
		}
	}
	err := g.site.db.update(func(tx *bolt.Tx) error { return dropPair(tx, p.name) })
	if err != nil {
		return fault(KindInternal, err, "pair %s could not be removed from the database", p.name)
	}
	g.detach(p)
	g.site.forgetPair(p)
	g.site.events.add(slog.LevelInfo, p.object(), "deleted: volume %s is SMPL", v.name)
	return nil
}

// wroteHere reports whether hosts wrote to an S-VOL while it was split: only they mark its bitmap.
func (p *pair) wroteHere() bool { return p.att.bits.any() }

// drainVolume empties the overlay of a volume whose mode lock is held.
func (g *group) drainVolume(ctx context.Context, a *attachment) error {
	if a.direct.Load() {
		return a.vol.store.sync()
	}
	if err := g.journal.Sync(ctx, g.journal.Marks().Reserved); err != nil {
		return err
	}
	if err := g.restorePass(); err != nil {
		return err
	}
	if err := g.doCheckpoint(ctx); err != nil {
		return err
	}
	if n := a.overlay.len(); n != 0 {
		return fmt.Errorf("%d extents of volume %s are left in the overlay", n, a.vol.name)
	}
	return nil
}

// forgetPair removes a released pair from the site's table and tidies the group up when it was the last one: a master group forgets its
// peer, a restore group, made on demand, goes.
func (s *Site) forgetPair(p *pair) {
	s.mu.Lock()
	delete(s.pairs, p.name)
	s.mu.Unlock()
	g := p.group
	g.mu.Lock()
	last := len(g.pairs) == 0
	if last && g.session != nil {
		g.session.cancel()
	}
	if last && g.role == Primary {
		g.rec.Peer, g.rec.PeerGroup = "", ""
	}
	role, rec := g.role, g.rec
	g.mu.Unlock()
	if !last {
		return
	}
	if role == Secondary {
		s.wg.Go(func() { s.dropGroup(g) })
		return
	}
	if err := s.db.update(func(tx *bolt.Tx) error { return put(tx, bucketGroups, g.name, rec) }); err != nil {
		s.events.add(slog.LevelError, g.object(), "%v", err)
	}
}

// dropGroup stops a group without pairs and removes it, unless a pair came meanwhile.
func (s *Site) dropGroup(g *group) {
	s.cmd.Lock()
	defer s.cmd.Unlock()
	if err := s.removeGroup(g); err != nil && !errors.Is(err, errGroupInUse) && s.ctx.Err() == nil {
		s.events.add(slog.LevelError, g.object(), "the group is not needed any more and could not be removed: %v", err)
	}
}

var errGroupInUse = errors.New("the group has pairs")

// removeGroup removes a group that has no pairs. Site.cmd is held.
func (s *Site) removeGroup(g *group) error {
	g.cmd.Lock()
	g.mu.Lock()
	used := len(g.pairs) > 0
	g.mu.Unlock()
	if used || s.closing || s.groupByName(g.name) != g {
		g.cmd.Unlock()
		return errGroupInUse
	}
	s.mu.Lock()
	delete(s.groups, g.name)
	s.mu.Unlock()
	g.cmd.Unlock()
	if err := g.stop(s.ctx); err != nil {
		s.log.Warn("group stopped with an error", "group", g.name, "error", err)
	}
	err := s.db.update(func(tx *bolt.Tx) error {
		return errors.Join(tx.Bucket(bucketGroups).Delete([]byte(g.name)), tx.Bucket(bucketMarks).Delete([]byte(g.name)))
	})
	return errors.Join(err, g.remove())
}

// addGroup makes a new group with its journal and starts it. Site.cmd is held.
func (s *Site) addGroup(name string, role Role, size int64, volumes int) (*group, error) {
	if err := checkName("group", name); err != nil {
		return nil, err
	}
	if size == 0 {
		size = journalDefault
	}
	if volumes == 0 {
		volumes = 1
	}
	if size < journalMin || size > volumeMax {
		return nil, refuse(KindInvalid, "a journal volume of %s is out of range: %s to %s", iec(size), iec(journalMin), iec(volumeMax))
	}
	if volumes < 1 || volumes > journalVolumesMax {
		return nil, refuse(KindInvalid, "%d journal volumes are out of range: 1 to %d", volumes, journalVolumesMax)
	}
	size = size &^ (journal.PageSize - 1)
	s.mu.RLock()
	count := len(s.groups)
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
	g := s.newGroup(name, groupRecord{Role: role, Size: size, Volumes: volumes, RingSize: ring})
	// What is there without a group is what a crash in the middle of making or removing one left.
	if err := g.remove(); err != nil {
		return nil, fault(KindInternal, err, "group %s cannot be made", name)
	}
	if err := g.create(); err != nil {
		return nil, errors.Join(err, g.remove())
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
		return 0, refuse(KindNoSpace, "the memory bound of %s leaves no room for the ring of another group: mount with a larger --memory, or put the volume into an existing group", iec(s.cfg.Memory))
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
	return n
}
