package replica

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"time"

	bolt "go.etcd.io/bbolt"

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

// commitStates makes the new states durable together with the bitmaps, then lets hosts and peer see them.
func (g *group) commitStates(in Input, pairs []*pair, outs map[*pair]Outcome, o runOptions) error {
	g.mu.Lock()
	for _, p := range pairs {
		g.enter(p, in, outs[p], o)
	}
	g.mu.Unlock()
	err := g.storeStates(pairs)
	g.mu.Lock()
	for _, p := range pairs {
		p.applyAccess()
		if p.leaving = err == nil && p.rec.State.Status == Deleting; p.leaving && in != EvPeerDelete {
			g.tellFirst() // the primary did not ask for it
		}
		p.stopping = p.stopping && err != nil
	}
	g.mu.Unlock()
	for _, p := range pairs {
		g.announce(p, change{in, o.by, o.text})
	}
	if err != nil {
		return fault(KindInternal, err, "group %s: a status change could not be stored; the daemon goes on with it in memory, mend the disk of the state directory", g.name)
	}
	return nil
}

// storeStates makes the states of pairs and their group durable as they are, together with the bitmaps.
func (g *group) storeStates(pairs []*pair) error {
	atts := make([]*attachment, len(pairs))
	for i, p := range pairs {
		atts[i] = p.att
	}
	return g.commit(atts, func(tx *bolt.Tx) error {
		g.mu.Lock()
		defer g.mu.Unlock()
		for _, p := range pairs {
			if err := put(tx, bucketPairs, p.name, p.rec); err != nil {
				return err
			}
		}
		return put(tx, bucketGroups, g.name, g.rec)
	})
}

// enter takes the outcome over into the pair. Requires mu.
func (g *group) enter(p *pair, in Input, out Outcome, o runOptions) {
	was, stop := p.rec.State, p.rec.StopSeq
	p.rec.State = out.State
	st := &p.rec.State
	if st.Role == Secondary && was.Role == Secondary && was.Status.active() && !st.Status.active() {
		p.rec.StopSeq = g.lastSeq
		if o.seq != 0 {
			p.rec.StopSeq = min(o.seq, g.lastSeq) // numbers behind the primary's stop came as skips
		}
		if p.rec.Starting && p.rec.SplitSeq != 0 {
			p.rec.StopSeq = p.rec.SplitSeq // nothing came since
		}
		if o.typ == SVOLByOperator || (o.typ == MCUInitialized && st.Status == PSUE) {
			st.Suspend = o.typ
		}
		if o.torn || p.rec.Torn {
			st.Consistent, o.writable = false, false // what hosts wrote to a store that takes nothing would be lost
		}
		if o.torn {
			g.tellFirst()
		}
		st.SVOLWrite = o.writable && st.Status.suspended()
	}
	if st.Role == Primary && was.Status.active() && !st.Status.active() {
		p.rec.HeldSeq = min(g.peerRestore, p.rec.StopSeq)
		if in == EvPeerDeleted {
			p.rec.HeldSeq = 0 // what came behind the delete was not restored there, and confirmed
		}
	}
	if st.Role == Primary && st.Status == Suspending && o.typ != NoSuspend {
		st.Suspend = o.typ
	}
	if st.Status.active() && !was.Status.active() {
		g.watchAnew()
		p.round.Add(1)
		kick(g.lookReq)
		if st.Role == Secondary {
			p.rec.StopSeq = noStop
		}
	}
	if st.Status == COPY && (was.Status != COPY || was.Role != st.Role) {
		p.rec.PairSeq = 0
		p.copyStart, p.copyTotal = time.Now(), p.att.bits.bytes()
	}
	if st.Role == Secondary && was.Role == Primary {
		stop = g.lastSeq // it has all that this side ever wrote
	}
	if begins := in == EvPeerResync || in == EvPeerDiscard || in == EvPeerSwap || in == EvSwapped; st.Role == Secondary && begins {
		if stop == noStop {
			stop = g.lastSeq // the split at the primary was not heard of: what came until now is the image that it has
		}
		p.rec.SplitSeq, p.rec.StopSeq, p.rec.Starting, p.rec.Torn = stop, noStop, true, false
		p.round.Add(1) // also of a pair that did not know yet that it was split: what waits is of the past
	}
	if st.Status != COPY {
		p.endCopy()
	}
	p.rec.taken(was, o)
	p.rec.Since, p.since = g.site.wall(), time.Now()
	switch {
	case o.text != "" && st.Status.suspended():
		p.rec.LastError = o.text
	case st.Status == PAIR || st.Status == COPY:
		p.rec.LastError = ""
	}
}

// heard notes that the peer has answered about pairs.
func (g *group) heard(pairs []*pair) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, p := range pairs {
		p.unheard = false
	}
}

// taken notes up to where an S-VOL had everything when it was taken over, or forgets it.
func (r *pairRecord) taken(was PairState, o runOptions) {
	switch {
	case !r.State.TookOver:
		r.TakenSeq, r.TakenTime = 0, 0
	case !was.TookOver && r.State.Role == Secondary:
		r.TakenSeq, r.TakenTime = r.StopSeq, o.taken
	case !was.TookOver:
		r.TakenSeq, r.TakenTime = o.seq, o.taken
	}
}

// announce tells the operator about a pair's new status.
func (g *group) announce(p *pair, c change) {
	g.mu.Lock()
	st := p.rec.State
	g.mu.Unlock()
	text := c.text
	if text != "" {
		text = ": " + text
	}
	if st.SVOLWrite {
		text = ", hosts may write it until the next resync" + text
	}
	if st.Suspend != NoSuspend {
		text = fmt.Sprintf(" (%s)%s", st.Suspend, text)
	}
	g.noteStatus(p, st, c)
	g.site.events.addCode(st.level(), p.object(), simCode(st, c.in), "%s is %s%s", st.Role, st.Status.On(st.Role), text)
}

// persist stores a pair as it is.
func (g *group) persist(p *pair) error {
	return g.site.db.update(func(tx *bolt.Tx) error {
		g.mu.Lock()
		defer g.mu.Unlock()
		return put(tx, bucketPairs, p.name, p.rec)
	})
}

// drain appends the record at which both sides stop. Updates behind it are marked from that very number on.
func (g *group) drain(ctx context.Context, in Input, pairs []*pair, o runOptions) error {
	g.mu.Lock()
	c := &control{typ: PVOLByOperator, writable: o.writable}
	if o.typ != NoSuspend {
		c.typ = o.typ
	}
	if in == EvOverflow {
		c.typ = JournalOverflow
	}
	for _, p := range pairs {
		c.numbers = append(c.numbers, p.att.number)
		p.endCopy() // what base records are under way is not unmarked any more
		p.rec.State.Status = Suspending
	}
	g.mu.Unlock()
	r, err := g.appendControl(ctx, controlSuspend, c, 0, func(seq journal.Seq) {
		for _, p := range pairs {
			p.att.stop.Store(uint64(seq))
		}
	})
	if err == nil {
		err = g.journal.Sync(g.ctx, r.End) // before the number is stored: a power cut must not give it to another record
	}
	if err != nil {
		// No room for the record, or no journal: stop without one.
		g.site.events.add(slog.LevelWarn, g.object(), "the suspend record could not be journaled (%v): the rest is marked instead", err)
		g.mu.Lock()
		defer g.mu.Unlock()
		for _, p := range pairs {
			p.drainBy = time.Now()
		}
		return nil
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, p := range pairs {
		p.rec.StopSeq = r.Seq
		p.drainBy, p.drainSeq = time.Now().Add(drainTimeout), g.peerRestore
	}
	return nil
}

// startPairs appends the record from which on updates are replicated. The caller lets the journal go when it has stored the pairs.
func (g *group) startPairs(ctx context.Context, pairs []*pair) (journal.Reservation, error) {
	return g.startPairsAt(ctx, pairs, 0)
}

// startPairsAt is startPairs at a number above the next one; 0 stands for the next one.
func (g *group) startPairsAt(ctx context.Context, pairs []*pair, at journal.Seq) (journal.Reservation, error) {
	c := &control{}
	for _, p := range pairs {
		c.numbers = append(c.numbers, p.att.number)
	}
	u := g.journal.Usage()
	if high, _ := levels(u.Capacity); u.Used >= high {
		g.settle(ctx) // what nobody needs any more must not count as a journal that is full
	}
	for _, p := range pairs {
		p.att.overlay.owed.Store(0) // no writer of the time before is under way: they were waited for, or restored at the peer
	}
	g.keep(g.journal.Marks().Reserved)
	r, err := g.appendControl(ctx, controlStart, c, at, func(seq journal.Seq) {
		for _, p := range pairs {
			p.att.start.Store(uint64(seq)) // before stop: see attachment
			p.att.stop.Store(uint64(noStop))
		}
	})
	if err != nil {
		return r, fault(KindNoSpace, err, "group %s: the start of the replication cannot be journaled", g.name)
	}
	// Its number is about to be stored: after a power cut nothing else may have it, for the peer waits for this record.
	if err := g.journal.Sync(g.ctx, r.End); err != nil {
		g.startedInVain(pairs)
		return r, fault(KindInternal, err, "group %s: the start of the replication cannot be journaled", g.name)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.active() {
		// Nothing before this record is kept for the peer: what differs is marked.
		g.peerRestore = max(g.peerRestore, r.Seq-1)
		g.peerDurable = max(g.peerDurable, r.Seq-1)
		g.paidSeq, g.sentOut = max(g.paidSeq, r.Seq-1), nil
	}
	for _, p := range pairs {
		p.rec.StartSeq, p.rec.StopSeq = r.Seq, noStop
	}
	return r, nil
}

// startedInVain takes back a start whose record may not be durable. What was written behind it marked nothing, so everything is marked.
func (g *group) startedInVain(pairs []*pair) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, p := range pairs {
		p.att.stop.Store(uint64(p.rec.StopSeq))
		p.att.start.Store(uint64(cmp.Or(p.rec.StartSeq, noStop)))
		p.att.bits.fill()
	}
}

// afterStart waits until every write that was numbered before the start has marked its regions, and only then lets the copy begin.
func (g *group) afterStart(ctx context.Context, r journal.Reservation, pairs []*pair) {
	if err := g.journal.Sync(ctx, r.End); err != nil {
		return // the journal failed or the site closes; both are told elsewhere
	}
	g.mu.Lock()
	for _, p := range pairs {
		p.copyTotal = p.att.bits.bytes()
	}
	if g.session != nil {
		kick(g.session.wake)
	}
	g.mu.Unlock()
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
