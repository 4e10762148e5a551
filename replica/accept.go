package replica

import (
	"context"
	"errors"
	"fmt"
	"time"

	"pairfs/crashpoint"
	"pairfs/journal"
)

// What arrives at a secondary is checked, put into the restore journal with the number it has, and shown by the overlay at once.

// errUnstored is a pair whose delete is not in the database yet: its records cannot be left out before.
var errUnstored = errors.New("its pair is being deleted here and that is not stored")

// record puts one record into the restore journal and the overlay.
func (p *pullSession) record(rec *journal.Record, t *touched) error {
	if rec.Kind == journal.KindControl {
		return p.control(rec)
	}
	err := p.update(rec, t)
	if errors.Is(err, errUnstored) {
		p.g.cmd.Lock()   // behind the command that deletes it, with no lock held that this command needs
		p.g.cmd.Unlock() //nolint:staticcheck // an empty section is the point
		err = p.update(rec, t)
	}
	return err
}

// update puts one record of a volume into the restore journal and the overlay.
func (p *pullSession) update(rec *journal.Record, t *touched) error {
	g := p.g
	// The mode lock keeps the volume in the group until the record is published, as it does for a host's write.
	if m := g.member(rec.Volume); m != nil {
		m.vol.mode.RLock()
		defer m.vol.mode.RUnlock()
	}
	a, err := g.target(rec)
	if err != nil {
		return err
	}
	if a == nil && !rec.Advances() {
		return nil // it takes no number, so nothing is missing without it
	}
	if a == nil {
		rec = &journal.Record{Kind: journal.KindSkip, Seq: rec.Seq, Time: rec.Time}
		rec.CRC = journal.ChecksumRecord(rec)
	}
	r, err := g.reserveRoom(p.ctx, rec)
	if err != nil {
		return err
	}
	copy(r.Payload, rec.Payload)
	if a != nil && !a.alreadyZero(rec) {
		a.overlay.insert(int64(rec.Offset), int64(rec.Length), uint64(r.Pos)+journal.HeaderSize, uint64(r.Pos), len(rec.Payload) == 0)
		a.vol.changed()
		t.add(a.vol, int64(rec.Offset), int64(rec.Length))
	}
	crashpoint.Hit(crashpoint.ReceiveBefore)
	g.journal.Publish(r, rec.CRC)
	crashpoint.Hit(crashpoint.ReceiveAfter)
	if a != nil && rec.Kind == journal.KindBase {
		a.use.received.Add(rec.Length)
	}
	if rec.Advances() {
		g.mu.Lock()
		g.lastSeq, g.lastTime = rec.Seq, rec.Time
		g.mu.Unlock()
	}
	return nil
}

// alreadyZero reports whether a record only says that a range is zeroes which is a hole in the store, with nothing above it in the overlay.
// It need not go there then: the initial copy of a sparse volume of 1 TiB would put 16 million regions there for nothing. Only the pull may
// ask, because no other writer is under way on an S-VOL that is replicated.
func (a *attachment) alreadyZero(rec *journal.Record) bool {
	from, to := int64(rec.Offset), int64(rec.Offset+rec.Length)
	return len(rec.Payload) == 0 && a.holeAt(from, to) == to
}

func (g *group) member(number uint32) *attachment {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.members[number]
}

// target finds the volume that a record is for, nil for one that changes nothing here. What does not belong here ends the session.
func (g *group) target(rec *journal.Record) (*attachment, error) {
	if rec.Flags&journal.FlagLocal != 0 {
		return nil, fmt.Errorf("group %s: the %s should never have left the primary", g.name, rec)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if rec.Advances() && rec.Seq != g.lastSeq+1 || !rec.Advances() && rec.Seq != g.lastSeq {
		return nil, fmt.Errorf("group %s: the %s came behind sequence number %d", g.name, rec, g.lastSeq)
	}
	a := g.members[rec.Volume]
	switch {
	case rec.Kind == journal.KindSkip:
		return nil, nil
	case a == nil || a.pair.leaving:
		// Of a pair that was deleted here, or is being deleted, and that is durable: no start brings this history of it back, so whatever the
		// primary takes for received, no resync builds upon it.
		return nil, nil
	case a.pair.rec.State.Status == Deleting:
		return nil, fmt.Errorf("group %s: the %s cannot be taken: %w", g.name, rec, errUnstored)
	case !a.pair.rec.State.Status.active():
		return nil, fmt.Errorf("group %s: the %s is for pair %s, which is %s here", g.name, rec, a.pair.name, a.pair.rec.State.Status)
	case rec.Kind == journal.KindBase && a.pair.rec.State.Status != COPY:
		return nil, fmt.Errorf("group %s: the %s is for pair %s, which is not being copied", g.name, rec, a.pair.name)
	}
	if size := uint64(a.pair.rec.Size); rec.Offset > size || rec.Length > size-rec.Offset || rec.Length == 0 {
		return nil, fmt.Errorf("group %s: the %s lies outside of volume %s (%d bytes)", g.name, rec, a.pair.rec.Volume, size)
	}
	if rec.Length > max(discardMax, baseZeroMax) {
		return nil, fmt.Errorf("group %s: the %s is longer than a record may be", g.name, rec) // its regions would fill the memory
	}
	return a, nil
}

// reserveRoom reserves room for a record of the primary, waiting while journal, ring or overlay are full: the window of the pull is not
// moved meanwhile, so the primary waits too.
func (g *group) reserveRoom(ctx context.Context, rec *journal.Record) (journal.Reservation, error) {
	for {
		if e := g.storeErr.Load(); e != nil {
			return journal.Reservation{}, *e // the mirror is opened again until the stores take bytes
		}
		for len(rec.Payload) == 0 && g.overlayRegions() > overlayRegionsMax {
			g.kickRestore()
			if err := pause(ctx, 5*time.Millisecond); err != nil {
				return journal.Reservation{}, err
			}
		}
		r, err := g.journal.Reserve(ctx, rec.Header())
		if !errors.Is(err, journal.ErrFull) {
			if errors.Is(err, journal.ErrFailed) {
				g.journalFailed(err)
			}
			return r, err
		}
		g.waited.Add(1)
		if err := g.awaitFreed(ctx); err != nil {
			return r, err
		}
	}
}

// awaitFreed asks for a checkpoint and waits for a moment until it has freed room for a record, or ctx ends. Whoever calls it tries again.
func (g *group) awaitFreed(ctx context.Context) error {
	g.kickCheckpoint()
	wait, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
	defer cancel()
	_ = g.journal.WaitRoom(wait, journal.MaxPayload)
	return ctx.Err()
}

// control journals a control record and obeys it once it is durable. It does so to its end though the mirror is lost meanwhile: the record is in
// the journal, where no other may have its number.
func (p *pullSession) control(rec *journal.Record) error {
	g := p.g
	c, err := parseControl(rec.Payload)
	if err != nil {
		return fmt.Errorf("group %s: %w", g.name, err)
	}
	g.mu.Lock()
	last := g.lastSeq
	jump := rec.Seq != last+1
	bad := rec.Seq <= last || (jump && (rec.Flags&journal.FlagEpoch == 0 || !g.mayJump(c)))
	g.mu.Unlock()
	if bad {
		return fmt.Errorf("group %s: the %s came behind sequence number %d", g.name, rec, last)
	}
	r, err := g.reserveRoom(p.ctx, rec)
	if err != nil {
		return err
	}
	copy(r.Payload, rec.Payload)
	g.keep(r.Pos) // before it is published, so before a checkpoint can pass over it
	defer g.letGo()
	g.journal.Publish(r, rec.CRC)
	if err := g.journal.Sync(g.ctx, r.End); err != nil {
		return err
	}
	g.mu.Lock()
	g.lastSeq, g.lastTime = rec.Seq, rec.Time
	g.mu.Unlock()
	crashpoint.Hit(crashpoint.ControlDue)
	err = g.obeyControl(rec.Seq, c)
	crashpoint.Hit(crashpoint.ControlObeyed)
	return err
}

// mayJump reports whether a start record may leave out sequence numbers: only if no pair but those that start, or whose own start record
// is still to come, is replicated, so that what is left out is in the bitmaps. Requires mu.
func (g *group) mayJump(c control) bool {
	if c.op == controlSeq {
		return !g.active()
	}
	if c.op != controlStart {
		return false
	}
	starts := map[uint32]bool{}
	for _, n := range c.numbers {
		starts[n] = true
	}
	for _, p := range g.pairs {
		waits := p.rec.StartSeq == 0 || p.rec.Starting // for a start record of its own, behind this one
		if p.rec.State.Status.active() && !waits && !starts[p.rec.Number] {
			return false
		}
	}
	return true
}
