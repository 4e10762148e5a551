package replica

import (
	"context"
	"math"
	"time"

	"pairfs/journal"
)

// A split can be one point with a marker in two ways. With Mark the suspend record of a flush is the marker: it is placed now, and both sides
// stop there. With At they stop at a marker that was placed before; hosts have written behind it meanwhile, and all of that is marked in the
// bitmap as a purge does, while what stands before it is still sent as in a flush. That is possible until a record behind the marker was
// sent, for a secondary shows what it has received and never goes back. The order between the two is that of group.mu: the sender notes there
// what passes, and stops at the bound that is set there.

// suspendAt splits pairs at a marker, which the command's remarks begin with.
func (g *group) suspendAt(ctx context.Context, name string, pairs []*pair, o SuspendOptions) error {
	if err := g.checkMarker(name, pairs, o); err != nil {
		return err
	}
	m := o.At
	if err := g.run(ctx, CmdSuspend, pairs, runOptions{typ: PVOLByOperator, writable: o.SVOLWrite, at: journal.Seq(m.Seq)}); err != nil {
		return err
	}
	if o.Mark {
		g.mu.Lock()
		m = Marker{Name: name, Epoch: epochOf(pairs), Seq: uint64(pairs[0].rec.StopSeq)}
		g.mu.Unlock()
		if journal.Seq(m.Seq) == noStop {
			return refuse(KindNoSpace, "%s is being suspended, but no marker was placed, for the suspend record could not be journaled", name)
		}
		if err := g.journal.Sync(ctx, g.journal.Marks().Reserved); err != nil {
			return g.markError(err)
		}
	}
	kick(g.watchReq) // the peer may be there already
	Remark(ctx, "marker "+m.String()+" is where both sides stop")
	return nil
}

// checkMarker refuses a split at a marker that cannot be.
func (g *group) checkMarker(name string, pairs []*pair, o SuspendOptions) error {
	at := o.At != (Marker{})
	switch {
	case o.Purge:
		return refuse(KindInvalid, "a split at a marker is a flush: leave mode=purge out")
	case at && o.Mark:
		return refuse(KindInvalid, "mark=yes places a marker and marker= names one that was placed before: give one of them")
	case at && o.SVOLWrite:
		return refuse(KindInvalid, "svol-write=enable does not go with marker=, for no suspend record brings it to the secondary: give it there once the pair is split")
	}
	if err := g.canMark(name, pairs); err != nil || !at {
		return err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	of := g.marked(o.At)
	for _, p := range append(of, pairs...) {
		if p.rec.StartSeq > journal.Seq(o.At.Seq) {
			of = nil
		}
	}
	if len(of) == 0 || o.At.Seq > uint64(g.journal.Marks().LastSeq) {
		return refuse(KindBusy, "marker %s is not of the present history of group %s: place a new one, or suspend with mark=yes", o.At, g.name)
	}
	return nil
}

// drainTo lets both sides stop at a number that was given already. What hosts wrote behind it is marked before the new states are stored, and
// until then the journal keeps it and nothing behind it passes.
func (g *group) drainTo(_ context.Context, _ Input, pairs []*pair, o runOptions) error {
	byNumber := map[uint32]*attachment{}
	g.mu.Lock()
	if err := g.mayStopAt(pairs, o.at); err != nil {
		g.mu.Unlock()
		return err
	}
	for _, p := range pairs {
		p.endCopy()
		p.rec.State.Status, p.rec.StopSeq, p.stopping = Suspending, o.at, true
		p.att.stop.Store(uint64(o.at))
		p.drainBy, p.drainSeq = time.Now().Add(math.MaxInt64), g.peerRestore
		byNumber[p.att.number] = p.att
	}
	g.mu.Unlock()
	for _, p := range pairs {
		p.att.vol.barrier() // who did not see the new bound has published
	}
	err := g.markBehind(o.at, byNumber)
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, p := range pairs { // the disk may have taken that long
		p.drainBy, p.drainSeq = time.Now().Add(drainTimeout), g.peerRestore
	}
	return err
}

// mayStopAt refuses a number that the secondary is behind, or may be. Requires mu.
func (g *group) mayStopAt(pairs []*pair, at journal.Seq) error {
	if g.session == nil {
		return refuse(KindBusy, "the mirror with %s is down, so it is not known how far it has come: suspend without a marker, or with mark=yes", g.rec.Peer)
	}
	for _, p := range pairs {
		if p.att.passed > at {
			return refuse(KindBusy, "%s has passed the marker: it may have pair %s up to sequence number %d and does not go back to %d; suspend with mark=yes, which places a marker where both sides stop", g.rec.Peer, p.name, p.att.passed, at)
		}
	}
	return nil
}
