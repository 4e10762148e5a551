package replica

import (
	"fmt"
	"time"

	bolt "go.etcd.io/bbolt"
)

// commitStates makes the new states durable together with the bitmaps, then lets hosts and peer see them.
func (g *group) commitStates(in Input, pairs []*pair, outs map[*pair]Outcome, o runOptions) error {
	stops, before := false, make([]pairRecord, len(pairs))
	was := g.late.Swap(true) // what is entered here is not stored yet
	g.mu.Lock()
	for i, p := range pairs {
		before[i] = p.rec
		g.enter(p, in, outs[p], o)
		stops = stops || p.rec.State.Role == Secondary && !p.rec.State.Status.active()
	}
	g.mu.Unlock()
	err := error(nil)
	if stops {
		err = g.receivedIsDurable()
	}
	if err == nil {
		err = g.storeStates(pairs)
	}
	g.mu.Lock()
	for i, p := range pairs {
		if err != nil && in.command() && p.rec.State.lets(before[i].State) {
			defer g.mu.Unlock()
			g.takeBack(pairs, before)
			g.late.Store(was)
			return fault(KindInternal, err, "group %s: that hosts may write could not be stored, so they may not: nothing was changed; mend the disk of the state directory", g.name)
		}
		p.applyAccess()
		if p.leaving = err == nil && p.rec.State.Status == Deleting; p.leaving && in != EvPeerDelete {
			g.tellFirst() // the primary did not ask for it
		}
		p.stopping = p.stopping && err != nil
	}
	if err != nil && stops {
		g.tellFirst() // what the marks pass over from now on is not restored here, stored or not
	}
	g.mu.Unlock()
	for _, p := range pairs {
		g.announce(p, change{in, o.by, o.text})
	}
	if err != nil {
		g.storeSoon()
		return fault(KindInternal, err, "group %s: a status change could not be stored; the daemon goes on with it in memory, mend the disk of the state directory", g.name)
	}
	g.late.Store(was)
	return nil
}

// lets reports whether hosts may write an S-VOL in this state which they might not in the one before.
func (s PairState) lets(before PairState) bool {
	return s.Role == Secondary && before.Role == Secondary && s.mayWrite() && !before.mayWrite()
}

// takeBack lets a command come to nothing whose states are not stored and would let hosts write S-VOLs: the next start would know nothing of it, and
// replicate over what they wrote. Requires mu.
func (g *group) takeBack(pairs []*pair, before []pairRecord) {
	for i, p := range pairs {
		was := &before[i]
		p.rec.State, p.rec.StopSeq, p.rec.Since, p.rec.LastError = was.State, was.StopSeq, was.Since, was.LastError
		p.rec.TakenSeq, p.rec.TakenTime = was.TakenSeq, was.TakenTime
		p.applyAccess()
	}
}

// receivedIsDurable returns when what a secondary received is on its disk. An S-VOL that stops names the last number that it has, and behind a
// takeover the primary believes that and marks nothing before it: so a power cut must not take any of it away once the state is stored.
// A journal that has failed holds nothing more: the stores have it, see [group.failOver].
func (g *group) receivedIsDurable() error {
	if g.journal.Err() != nil {
		return nil
	}
	return g.journal.Sync(g.ctx, g.journal.Marks().Reserved)
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
		if o.typ == SVOLByOperator {
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
	if st.Role == Secondary && st.Status == PSUE && o.typ == MCUInitialized { // also of one that waited for a primary that was switched off
		st.Suspend = o.typ
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
	p.rec.PathLost = in == EvPathLost && st.Status == PSUE
	if st.Suspend != MCUPowerOff {
		p.rec.Missing = nil
	}
	p.rec.taken(was, o)
	p.rec.Since, p.since, p.trouble = g.site.wall(), time.Now(), ""
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
