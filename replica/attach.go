package replica

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"time"

	bolt "go.etcd.io/bbolt"
)

// attach makes the tie between a volume, a pair and a group in memory. The volume's mode lock is held, or nothing uses it yet.
func (g *group) attach(v *Volume, name string, rec pairRecord) *pair {
	a := &attachment{vol: v, group: g, number: rec.Number, overlay: newOverlay(), bits: newBitmap(rec.Size)}
	p := &pair{name: name, group: g, att: a, rec: rec, since: time.Now()}
	a.pair = p
	p.loadOptions()
	a.use.steps.push(time.Now(), pairCounts{}) // what comes before the first look counts
	a.start.Store(uint64(rec.StartSeq))
	a.stop.Store(uint64(rec.StopSeq))
	a.torn.Store(rec.Torn)
	if rec.StartSeq == 0 {
		a.start.Store(uint64(noStop)) // nothing is replicated before the start record
	}
	g.mu.Lock()
	g.pairs[name] = p
	g.members[rec.Number] = a
	g.watchAnew()
	p.applyAccess()
	g.mu.Unlock()
	g.site.db.room.maps.Add(a.bits.stored())
	v.att = a
	v.slow.Store(g.slow)
	return p
}

// detach takes the tie apart. The volume's mode lock is held.
func (g *group) detach(p *pair) {
	g.mu.Lock()
	delete(g.pairs, p.name)
	delete(g.members, p.att.number)
	g.mu.Unlock()
	g.site.db.room.maps.Add(-p.att.bits.stored())
	p.att.vol.att = nil
	p.att.vol.slow.Store(nil)
	p.group.site.slots.drop(p)
}

// release ends Deleting: everything of the volume goes from journal to store, and the volume back to plain storage. What fails half way is
// tried again by the group's watch. group.cmd is held.
func (g *group) release(ctx context.Context, p *pair) error {
	err := g.tryRelease(ctx, p)
	if err == nil || ctx.Err() != nil {
		return err
	}
	g.mu.Lock()
	p.releaseWait = min(max(2*p.releaseWait, releaseRetryMin), releaseRetryMax)
	p.releaseAt = time.Now().Add(p.releaseWait)
	p.trouble = err.Error()
	g.mu.Unlock()
	g.tell() // the other side must not take it for a pair that follows
	return err
}

// releaseRest tries again what release could not do, or what a daemon that died did not come to. The cause is told once: by the command that
// met it first, or here.
func (g *group) releaseRest() {
	if len(g.leftToRelease()) == 0 || !g.cmd.TryLock() {
		return // the command that is under way may be the one that deletes them
	}
	defer g.cmd.Unlock()
	for _, p := range g.leftToRelease() {
		fresh := p.releaseWait == 0
		switch err := g.release(g.ctx, p); {
		case err == nil:
			g.tell()
		case fresh && g.ctx.Err() == nil:
			g.site.events.add(slog.LevelError, p.object(), "%v", err)
		}
	}
}

// leftToRelease returns the pairs in Deleting whose time for an attempt has come.
func (g *group) leftToRelease() (due []*pair) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, p := range g.pairs {
		if p.rec.State.Status == Deleting && time.Now().After(p.releaseAt) {
			due = append(due, p)
		}
	}
	return due
}

func (g *group) tryRelease(ctx context.Context, p *pair) error {
	a := p.att
	g.mu.Lock()
	a.start.Store(uint64(noStop))
	secondary, image, stored := p.rec.State.Role == Secondary, p.rec.State.Consistent, p.leaving
	g.mu.Unlock()
	if !stored {
		if err := g.persist(p); err != nil {
			return fault(KindInternal, err, "pair %s is still being deleted: that could not be stored; it goes by itself when the disk of the state directory is mended", p.name)
		}
		g.mu.Lock()
		p.leaving = true
		g.tellFirst()
		g.mu.Unlock()
	}
	if g.journal.Err() == nil {
		g.settle(ctx) // most of the work, while hosts go on
	}
	v := a.vol
	v.mode.Lock()
	defer v.mode.Unlock()
	if err := g.drainOrGiveUp(ctx, a); err != nil {
		return fault(KindBusy, err, "pair %s is still being deleted: its last records could not be restored; it goes by itself when the cause is mended", p.name)
	}
	if secondary && p.wroteHere() {
		if err := g.site.handedOver(v); err != nil {
			return err
		}
	}
	if err := g.unpair(p); err != nil {
		return fault(KindInternal, err, "pair %s is still being deleted: it could not be removed from the database; it goes by itself when the disk of the state directory is mended", p.name)
	}
	g.site.forgetPair(p)
	g.noteStatus(p, PairState{}, change{in: EvDetached})
	rest := ""
	if secondary && !image {
		rest = ", and no image of anything: its copy was not complete"
	}
	g.site.events.add(slog.LevelInfo, p.object(), "deleted: volume %s is SMPL%s", v.name, rest)
	return nil
}

// unpair takes a pair out of the database and the tie apart, with no pass or checkpoint under way that has the volume in its list: a pass would
// write what was given up over what hosts write to the store by then. The volume's mode lock is held.
func (g *group) unpair(p *pair) error {
	defer g.stopRestore()()
	if err := g.site.db.update(func(tx *bolt.Tx) error { return dropPair(tx, p.name) }); err != nil {
		return err
	}
	g.detach(p)
	return nil
}

// drainOrGiveUp is drainVolume, but for a pair that was deleted by force: what its store does not take is given up.
func (g *group) drainOrGiveUp(ctx context.Context, a *attachment) error {
	err := g.drainVolume(ctx, a)
	g.mu.Lock()
	forced := a.pair.forced
	g.mu.Unlock()
	if err == nil || !forced || ctx.Err() != nil {
		return err
	}
	g.site.events.add(slog.LevelWarn, a.pair.object(), "deleted by force: what could not be restored to volume %s is given up (%v): it is no image of one moment", a.vol.name, err)
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

// forgetPair removes a released pair from the site's table and tidies the group up when it was the last one: a group that was made on demand goes,
// and one of an operator stays and forgets its peer, whichever role they had last.
func (s *Site) forgetPair(p *pair) {
	s.mu.Lock()
	delete(s.pairs, p.name)
	s.mu.Unlock()
	g := p.group
	g.mu.Lock()
	last := len(g.pairs) == 0
	g.mu.Unlock()
	if last {
		s.endMirror(g)
	}
}

// madeOnDemand reports whether the group was made for a peer's pairs: its name has an @, which those that operators give have not.
func (g *group) madeOnDemand() bool { return strings.Contains(g.name, "@") }

// endMirror tidies up a group that has no pairs any more.
func (s *Site) endMirror(g *group) {
	g.mu.Lock()
	if g.session != nil {
		g.session.cancel()
	}
	if g.pulling != nil {
		g.pulling.cancel()
	}
	if !g.madeOnDemand() {
		if g.role == Secondary { // behind an exchange of the roles
			g.role, g.rec.Role = RoleNone, RoleNone
		}
		g.rec.Peer, g.rec.PeerGroup, g.rec.Handed = "", "", nil
		g.mergeHanded()
	}
	rec := g.rec
	g.mu.Unlock()
	if g.madeOnDemand() {
		s.wg.Go(func() { s.dropGroup(g) })
		return
	}
	if err := s.db.update(func(tx *bolt.Tx) error { return put(tx, bucketGroups, g.name, rec) }); err != nil {
		s.events.add(slog.LevelError, g.object(), "%v", err)
	}
}
