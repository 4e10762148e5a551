package replica

import (
	"context"
	"fmt"

	"pairfs/crashpoint"
	"pairfs/journal"
)

// runOptions are what an input carries besides itself.
type runOptions struct {
	seq      journal.Seq // where the other side stopped, 0 if unknown
	typ      SuspendType // secondary: the type that the primary names
	writable bool        // hosts may write the S-VOL once it is split
	text     string      // why, for the operator
	by       Caller      // who asked, set by run
	fill     bool        // nothing is known of the other side: mark whole volumes
	exact    bool        // the other side has everything up to seq for good
	torn     bool        // secondary: the S-VOL is no image of one moment any more
	taken    int64       // of a takeover: when the last record that the S-VOL has was made, 0 if that is not known
	at       journal.Seq // drain: stop at this number instead of a suspend record's own, 0 for that

	// ask makes the request to the peer for the pairs that it is given; it may mark what the peer says differs.
	ask func(ctx context.Context, pairs []*pair) error
}

// run steps pairs of the group with one input and carries out what follows, at one sequence number for all of them. Either every pair
// accepts it (or has nothing to do), or nothing changes. group.cmd is held.
func (g *group) run(ctx context.Context, in Input, pairs []*pair, o runOptions) error {
	o.by = callerOf(ctx)
	if in == EvPeerTookOver && o.seq != 0 {
		if at, ok := g.journal.TimeAt(o.seq); ok {
			o.taken = at.UnixNano()
		}
	}
	g.letWritesGo(0) // an exchange of the roles that was prepared comes to nothing
	accepted, outs, err := g.stepAll(in, pairs)
	if err != nil || len(accepted) == 0 {
		return err
	}
	with := func(a Action) []*pair { return withAction(accepted, outs, a) }
	if asked := with(ActAskPeer); len(asked) > 0 && o.ask != nil {
		if err := o.ask(ctx, asked); err != nil {
			return err
		}
		if in == CmdResync || in == CmdDiscard {
			crashpoint.Hit(crashpoint.ResyncAsked)
		}
		g.heard(asked)
	}
	for _, p := range with(ActFillMap) {
		p.att.bits.fill()
	}
	for _, p := range with(ActReadOnly) {
		p.att.writable.Store(false)
		p.att.vol.barrier()
	}
	for _, p := range with(ActClearMap) {
		p.att.bits.reset()
	}
	if marked := with(ActMark); len(marked) > 0 {
		if err := g.markRest(ctx, marked, outs, accepted, o); err != nil {
			return err
		}
	}
	if drained := with(ActDrain); len(drained) > 0 {
		stop := g.drain
		if o.at != 0 {
			stop = g.drainTo
		}
		if err := stop(ctx, in, drained, o); err != nil {
			return err
		}
	}
	var begun journal.Reservation
	started := with(ActStart)
	if len(started) > 0 {
		defer g.letGo()
		if begun, err = g.startPairs(ctx, started); err != nil {
			return err
		}
	}
	if err := g.commitStates(in, accepted, outs, o); err != nil {
		return err
	}
	if len(started) > 0 {
		crashpoint.Hit(crashpoint.ResyncBegun)
		g.afterStart(ctx, begun, started)
	}
	if in == EvPeerResync || in == EvPeerDiscard {
		for _, p := range accepted {
			p.att.torn.Store(false) // the resync tries the store again
		}
	}
	if settled := with(ActSettle); len(settled) > 0 {
		g.settle(ctx)
	}
	if direct := with(ActDirect); len(direct) > 0 {
		g.journalFailed(fmt.Errorf("%s", o.text))
	}
	var failed error
	for _, p := range with(ActRelease) {
		if err := g.release(ctx, p); err != nil && failed == nil {
			failed = err // the others go all the same
		}
	}
	g.tell()
	return failed
}

// stepAll asks [Step] for every pair and returns those that accept.
func (g *group) stepAll(in Input, pairs []*pair) ([]*pair, map[*pair]Outcome, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	outs := map[*pair]Outcome{}
	var accepted []*pair
	for _, p := range pairs {
		out := Step(p.state(), in)
		switch out.Verdict {
		case Refuse:
			kind := KindBusy
			if p.rec.State.Role == Secondary && (in == CmdResync || in == CmdPurge) {
				kind = KindSecondary
			}
			return nil, nil, refuse(kind, "pair %s is %s here: %s", p.name, p.rec.State.Status.On(p.rec.State.Role), out.Why)
		case Impossible:
			return nil, nil, refuse(KindInternal, "pair %s cannot meet %s in %s: please report this", p.name, in, p.rec.State.Status)
		case Accept:
			outs[p] = out
			accepted = append(accepted, p)
		}
	}
	return accepted, outs, nil
}

func withAction(pairs []*pair, outs map[*pair]Outcome, a Action) (some []*pair) {
	for _, p := range pairs {
		for _, b := range outs[p].Actions {
			if a == b {
				some = append(some, p)
			}
		}
	}
	return some
}

// settle brings everything received into the stores and checkpoints, so that the marks say so.
func (g *group) settle(ctx context.Context) {
	if g.journal.Err() != nil {
		return
	}
	if err := g.journal.Sync(ctx, g.journal.Marks().Reserved); err != nil {
		return
	}
	g.tryRestore()
	if g.storeErr.Load() == nil {
		if err := g.doCheckpoint(ctx); err != nil && ctx.Err() == nil {
			g.storeFailed(err)
		}
	}
}

// barrier waits until every request that is under way on the volume has ended.
func (v *Volume) barrier() {
	v.mode.Lock()
	v.mode.Unlock() //nolint:staticcheck // an empty section is the point
}
