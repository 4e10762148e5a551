package replica

import (
	"context"
	"fmt"
	"slices"
	"sort"
	"time"

	"pairfs/crashpoint"
	"pairfs/journal"
)

// An exchange of the roles turns a whole group round: the engine stays as it is, who feeds it changes. It happens
//
//   - planned, without a copy ([EvSwapped]): the primary holds host writes at a number, the secondary takes everything up to it, and then the
//     primary gives its role up, durably, before the secondary takes it. At no moment do hosts write on both sides; a crash in between leaves
//     two secondaries, and the takeover is given again;
//   - behind a takeover ([CmdSwap] here, [EvPeerSwap] there): the old primary becomes the secondary, and what differs is copied to it.
//
// All pairs of the group turn at one moment, with the mode locks of all volumes, checkMu, restoreMu and mu held, and are durable before hosts
// go on. From then on numbers go on above all that either side ever gave, and the pairs carry another generation.

// exchange is what turning round needs to know besides the input.
type exchange struct {
	runOptions
	generation uint64
	last       journal.Seq // the highest number that the other side has given or received
}

// turn steps all pairs of the group with an input that exchanges the roles. Either all accept it or nothing changes. cmd is held, and nothing
// is pulled: see [group.holdPull].
func (g *group) turn(ctx context.Context, in Input, x *exchange) error {
	pairs := g.allPairs()
	x.by = callerOf(ctx)
	accepted, outs, err := g.stepAll(in, pairs)
	if err != nil {
		return err
	}
	if len(accepted) != len(pairs) {
		return refuse(KindBusy, "group %s: not all of its pairs can exchange their roles", g.name)
	}
	if len(withAction(accepted, outs, ActAskPeer)) > 0 {
		if err := x.ask(ctx, accepted); err != nil {
			return err
		}
	}
	unlock := lockModes(accepted)
	err = g.turnLocked(ctx, in, accepted, outs, x)
	unlock()
	if err != nil {
		return err
	}
	if settled := withAction(accepted, outs, ActSettle); len(settled) > 0 {
		g.settle(ctx)
	}
	kick(g.pullReq)
	g.tell()
	return nil
}

// lockModes takes the mode locks of the pairs' volumes, which ends all host requests, and gives what lets them go on.
func lockModes(pairs []*pair) (unlock func()) {
	all := slices.Clone(pairs)
	sort.Slice(all, func(i, j int) bool { return all[i].name < all[j].name })
	for _, p := range all {
		p.att.vol.mode.Lock()
	}
	return func() {
		for _, p := range all {
			p.att.vol.mode.Unlock()
		}
	}
}

// turnLocked turns the group round and stores that. The mode locks are held.
func (g *group) turnLocked(ctx context.Context, in Input, pairs []*pair, outs map[*pair]Outcome, x *exchange) error {
	// What was acknowledged before is durable under the old role: a replay must not take it for the new one's.
	if err := g.journal.Sync(ctx, g.journal.Marks().Reserved); err != nil {
		return fault(KindInternal, err, "group %s cannot exchange its roles", g.name)
	}
	back := g.changeRole(outs[pairs[0]].State.Role, pairs, x)
	for _, p := range withAction(pairs, outs, ActClearMap) {
		p.att.bits.reset()
	}
	started := withAction(pairs, outs, ActStart)
	if len(started) > 0 {
		defer g.letGo()
		if _, err := g.startAbove(ctx, started, x.last); err != nil {
			back()
			return err
		}
	}
	crashpoint.Hit(crashpoint.TurnStarted)
	err := g.commitStates(in, pairs, outs, x.runOptions)
	if err != nil && len(started) > 0 {
		back() // hosts must not write what a restart would not know as a primary's
	}
	if err != nil || len(started) == 0 {
		return err
	}
	g.mu.Lock()
	for _, p := range started {
		p.copyTotal = p.att.bits.bytes()
	}
	g.mu.Unlock()
	return nil
}

// changeRole changes what the group and its pairs know of their sides, and gives what takes that back.
func (g *group) changeRole(to Role, pairs []*pair, x *exchange) (back func()) {
	last := g.journal.Marks().LastSeq
	defer g.stopRestore()()
	g.mu.Lock()
	defer g.mu.Unlock()
	was, peerRestore, peerDurable, lastSeq, paidSeq := g.role, g.peerRestore, g.peerDurable, g.lastSeq, g.paidSeq
	recs := map[*pair]pairRecord{}
	g.role, g.rec.Role = to, to
	g.lastSeq = last
	g.peerRestore, g.peerDurable = max(last, x.last), max(last, x.last)
	g.newestSeq, g.newestTime, g.over = 0, 0, false
	g.told, g.sentOut, g.paidSeq = toldLag{}, nil, g.peerDurable // nothing is owed; a start counts from 0
	g.lastHeard = time.Now()                                     // the other side has just said so
	g.idleFrom, g.idleTo, g.aliveSeq = 0, 0, 0
	if g.session != nil {
		g.session.cancel()
		g.session = nil
	}
	g.setLinked(false)
	for _, p := range pairs {
		recs[p] = p.rec
		p.endCopy()
		p.round.Add(1) // what was seen of it before is about the other role
		if again := was == Secondary && to == Secondary && p.rec.Starting && p.rec.Parent != 0; !again {
			p.rec.Parent = p.rec.Generation
		} // else granted before and not begun: the peer still names the history before that
		p.rec.Generation = x.generation
		p.rec.ControlSeq, p.rec.PairSeq = last, 0
		p.peerStatus, p.peerStop, p.gone, p.missing, p.unheard = SMPL, 0, false, false, false
		p.att.start.Store(uint64(noStop))
		g.rec.NextPair = max(g.rec.NextPair, p.rec.Number)
	}
	g.mergeHanded()
	return func() {
		defer g.stopRestore()()
		g.mu.Lock()
		defer g.mu.Unlock()
		g.role, g.rec.Role, g.peerRestore, g.peerDurable, g.lastSeq, g.paidSeq = was, was, peerRestore, peerDurable, lastSeq, paidSeq
		for p, rec := range recs {
			p.rec = rec
			p.att.start.Store(uint64(rec.StartSeq))
			p.applyAccess()
		}
		g.mergeHanded()
	}
}

// startAbove appends the start record of pairs at a number above last.
func (g *group) startAbove(ctx context.Context, pairs []*pair, last journal.Seq) (journal.Reservation, error) {
	seq := journal.Seq(0)
	if last > g.journal.Marks().LastSeq {
		seq = last + 1
	}
	return g.startPairsAt(ctx, pairs, seq)
}

// wholeGroup refuses what exchanges the roles of a part of a group.
func (g *group) wholeGroup(pairs []*pair, what string) error {
	g.mu.Lock()
	n := len(g.pairs)
	g.mu.Unlock()
	if n != len(pairs) {
		return refuse(KindBusy, "group %s has %s in one write order, and roles are exchanged for all of them at once: %s", g.name, counted(n, "pair"), what)
	}
	return nil
}

// histories says what both sides have of a pair that was taken over. here and there are bytes that the other side lacks, -1 if unknown.
func (g *group) histories(p *pair, here, there int64) string {
	m := g.journal.Marks()
	g.mu.Lock()
	stop, peer := p.rec.TakenSeq, p.rec.Peer
	if !p.rec.State.TookOver {
		stop = p.rec.StopSeq
	}
	g.mu.Unlock()
	last := fmt.Sprintf("number %d", m.LastSeq)
	if at, ok := g.journal.TimeAt(m.LastSeq); ok {
		last += " of " + at.UTC().Format("2006-01-02 15:04:05.000 UTC")
	}
	wrote := "what was written there since is not known"
	if there >= 0 {
		wrote = fmt.Sprintf("up to %s were written there since", iec(there))
	}
	return fmt.Sprintf("%s has up to %s that %s lacks, up to sequence %s; %s was taken over at sequence number %d, and %s", g.site.cfg.Name, iec(here), peer, last, peer, stop, wrote)
}
