package replica

import (
	"context"
	"errors"

	"pairfs/journal"
)

// MarkPair places a marker that speaks of one pair. It returns when the marker is durable: everything that was acknowledged to any host of the
// pair's group before the call stands before it. The pair must be in PAIR, and this side the primary; the mirror may be down.
func (s *Site) MarkPair(ctx context.Context, name string) (Marker, error) {
	p := s.pairByName(name)
	if p == nil {
		return Marker{}, noPair(name)
	}
	m, err := p.group.mark(ctx, name, func() []*pair { return []*pair{p} })
	return m, s.remember(p, err)
}

// MarkGroup places a marker that speaks of all pairs of a group, which must all be in PAIR.
func (s *Site) MarkGroup(ctx context.Context, name string) (Marker, error) {
	g := s.groupByName(name)
	if g == nil {
		return Marker{}, noGroup(name)
	}
	return g.mark(ctx, name, g.allPairs)
}

// mark appends the marker of the pairs that of gives. It does not wait for a command on the group that may be waiting for the peer: who marks
// has frozen a file system, often. So the states are looked at before, and the bounds of the replication behind.
func (g *group) mark(ctx context.Context, name string, of func() []*pair) (Marker, error) {
	if err := g.serves(); err != nil {
		return Marker{}, err
	}
	pairs := of()
	if err := g.canMark(name, pairs); err != nil {
		return Marker{}, err
	}
	r, err := g.placeMark(ctx, pairs)
	if err == nil {
		err = g.journal.Sync(ctx, r.End)
	}
	if refused := new(Error); errors.As(err, &refused) {
		return Marker{}, err
	}
	if err != nil {
		return Marker{}, g.markError(err)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, p := range pairs {
		if g.pairs[p.name] != p || !p.att.replicated(r.Seq) || !p.rec.State.Status.active() {
			return Marker{}, refuse(KindBusy, "pair %s was suspended at this moment: no marker was placed; see its status", p.name)
		}
	}
	return Marker{Name: name, Epoch: epochOf(pairs), Seq: uint64(r.Seq)}, nil
}

// placeMark journals the marker as a host journals a write, with the mode lock of a volume: an exchange of the roles waits for it, and one that
// is under way lets none be placed, for the numbers behind the one at which hosts stopped are the other side's.
func (g *group) placeMark(ctx context.Context, pairs []*pair) (r journal.Reservation, err error) {
	v := pairs[0].att.vol
	v.mode.RLock()
	defer v.mode.RUnlock()
	g.mu.Lock()
	primary, peer := g.role == Primary, g.rec.Peer
	g.mu.Unlock()
	switch {
	case !primary:
		return r, refuse(KindSecondary, "group %s became a secondary at this moment: place the marker at %s", g.name, peer)
	case g.fence.Load() != nil:
		return r, refuse(KindBusy, "group %s is exchanging its roles with %s: no marker was placed; place it at the side that is the primary then", g.name, peer)
	}
	return g.appendControl(ctx, controlMark, nil, 0, nil)
}

// canMark refuses a marker that would promise nothing.
func (g *group) canMark(name string, pairs []*pair) error {
	if len(pairs) == 0 {
		return refuse(KindBusy, "group %s has no pairs", name)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, p := range byName(pairs) {
		st := p.rec.State
		switch {
		case st.Role == Secondary:
			return refuse(KindSecondary, "pair %s is secondary here: a marker is placed at the primary, run it at %s", p.name, p.rec.Peer)
		case st.Status == COPY:
			return refuse(KindBusy, "pair %s is COPY here: its S-VOL is no image of one moment before the copy is complete; wait for PAIR (pair wait %s PAIR), then place the marker", p.name, p.name)
		case st.Status != PAIR:
			return refuse(KindBusy, "pair %s is %s here: only what is replicated can be marked; resync it and wait for PAIR, then place the marker", p.name, st.Status)
		}
	}
	return nil
}

// markError says why the marker could not be journaled.
func (g *group) markError(err error) error {
	switch {
	case errors.Is(err, journal.ErrFull):
		return fault(KindNoSpace, err, "group %s: no marker was placed, for its journal is full; the peer takes less than hosts write", g.name)
	case errors.Is(err, context.DeadlineExceeded):
		return fault(KindTimeout, err, "group %s: the marker was not durable in time: place another one", g.name)
	case errors.Is(err, context.Canceled):
		return err
	}
	if errors.Is(err, journal.ErrFailed) {
		g.journalFailed(err)
	}
	return fault(KindInternal, err, "group %s: no marker was placed, for its journal cannot be written", g.name)
}
