package replica

import (
	"context"
	"fmt"
	"log/slog"

	bolt "go.etcd.io/bbolt"
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
