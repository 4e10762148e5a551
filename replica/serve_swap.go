package replica

import (
	"context"
	"fmt"
	"slices"
	"time"

	"pairfs/crashpoint"
	"pairfs/journal"
	"pairfs/quicwire"
)

// serveSwap answers what a peer asks for in an exchange of the roles. done says that the answer was sent.
func (s *Site) serveSwap(ctx context.Context, peer string, m *quicwire.SwapPairs, send quicwire.SendFunc) (answer quicwire.Frame, err error) {
	g := s.groupByName(m.Group)
	if g == nil {
		return nil, refuse(KindNotFound, "site %s has no group %s", s.cfg.Name, m.Group)
	}
	if err := g.serves(); err != nil {
		return nil, err
	}
	pairs, err := g.swapPairs(peer, m.Pairs)
	if err != nil {
		return nil, err
	}
	switch m.Phase {
	case quicwire.SwapPrepare:
		return g.servePrepare(ctx, pairs, m)
	case quicwire.SwapCommit:
		return g.serveCommit(ctx, m)
	case quicwire.SwapAbort:
		g.letWritesGo(m.Token)
		return quicwire.NewResult(quicwire.ResultDone, ""), nil
	case quicwire.SwapResync:
		return nil, g.serveSwapResync(ctx, pairs, m, send)
	case quicwire.SwapAsk:
		if err := g.serveAsk(ctx, peer, pairs, m); err != nil {
			return nil, err
		}
		return quicwire.NewResult(quicwire.ResultDone, ""), nil
	}
	return nil, refuse(KindInvalid, "site %s does not know this part of an exchange of roles", s.cfg.Name)
}

// swapPairs finds the pairs that a peer means: of this group, with this peer, in their history or the one before it.
func (g *group) swapPairs(peer string, refs []quicwire.PairRef) (pairs []*pair, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.rec.Peer != peer {
		return nil, refuse(KindAccess, "group %s of site %s is not mirrored with %s", g.name, g.site.cfg.Name, peer)
	}
	for _, ref := range refs {
		p := g.pairs[ref.Name]
		if p == nil || !p.knows(ref.Generation) {
			return nil, refuse(KindNotFound, "site %s has no pair %s of that history in group %s", g.site.cfg.Name, ref.Name, g.name)
		}
		if slices.Contains(pairs, p) { // it would stand for another one, that is not asked for
			return nil, refuse(KindInvalid, "pair %s is named twice", ref.Name)
		}
		pairs = append(pairs, p)
	}
	if len(pairs) != len(g.pairs) || len(pairs) == 0 {
		return nil, refuse(KindBusy, "group %s of site %s has %s, and the exchange is asked for of %d: roles are exchanged for a whole group", g.name, g.site.cfg.Name, counted(len(g.pairs), "pair"), len(pairs))
	}
	return pairs, nil
}

// knows reports whether a peer that names a history means this pair: its history, or the one before it as long as nothing of its own came
// from the new primary, for then that side may not know of the exchange. Later a request that names it is one that was late. Requires mu.
func (p *pair) knows(generation uint64) bool {
	return p.rec.Generation == generation || p.rec.Parent == generation && p.rec.Starting
}

// servePrepare holds the writes of this side's hosts and says at which number they stopped.
func (g *group) servePrepare(ctx context.Context, pairs []*pair, m *quicwire.SwapPairs) (quicwire.Frame, error) {
	if err := g.lockServed(ctx); err != nil {
		return nil, err
	}
	defer g.cmd.Unlock()
	g.mu.Lock()
	gaveUp := true // the answer to the commit was lost
	for i, p := range pairs {
		gaveUp = gaveUp && p.rec.State.Role == Secondary && p.rec.Parent == m.Pairs[i].Generation && p.rec.Starting && p.rec.State.Status == PAIR
	}
	failed, ready := g.failed, g.swapReady(g.lastSeq)
	g.mu.Unlock()
	if gaveUp {
		// The peer is about to let its hosts write. That this side does not may be known in memory alone, if it could not be stored then.
		if err := g.storeStates(pairs); err != nil {
			return nil, err
		}
		return ready, nil
	}
	if failed != "" || g.storeErr.Load() != nil {
		return nil, refuse(KindBusy, "the journal or a store of group %s at site %s takes nothing at the moment, so it cannot follow: mend that (see its events); or stop its hosts, wait until all has arrived, suspend the group here and take over again", g.name, g.site.cfg.Name)
	}
	if _, _, err := g.stepAll(EvSwapped, pairs); err != nil {
		return nil, err
	}
	g.mu.Lock()
	primary := g.role == Primary
	g.mu.Unlock()
	if !primary {
		return nil, refuse(KindBusy, "group %s of site %s is a secondary itself", g.name, g.site.cfg.Name)
	}
	f, err := g.holdWrites(ctx, m.Token, time.Duration(m.Wait)*time.Millisecond)
	if err != nil {
		return nil, fault(KindInternal, err, "group %s of site %s cannot stop its hosts", g.name, g.site.cfg.Name)
	}
	crashpoint.Hit(crashpoint.SwapHeld)
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.swapReady(f.seq), nil
}

// swapReady is the answer that names a number and the pairs as they are. Requires mu.
func (g *group) swapReady(seq journal.Seq) *quicwire.ResyncReady {
	return &quicwire.ResyncReady{LastSeq: uint64(seq), Pairs: g.wireStates(0)}
}

// serveCommit gives the role up at the number where hosts were stopped.
func (g *group) serveCommit(ctx context.Context, m *quicwire.SwapPairs) (quicwire.Frame, error) {
	if err := g.lockServed(ctx); err != nil {
		return nil, err
	}
	defer g.cmd.Unlock()
	if m.Generation == 0 {
		return nil, refuse(KindInvalid, "the request to exchange the roles of group %s names no history", g.name)
	}
	f := g.takeFence(m.Token)
	if f == nil {
		return nil, refuse(KindBusy, "site %s lets its hosts write again, the exchange took too long or something else came between: try again", g.site.cfg.Name)
	}
	err := error(nil)
	if last := g.journal.Marks().LastSeq; last != f.seq {
		err = refuse(KindBusy, "group %s of site %s went on to sequence number %d meanwhile: try again", g.name, g.site.cfg.Name, last)
	}
	if err == nil {
		err = g.turn(ctx, EvSwapped, &exchange{generation: m.Generation, last: f.seq, runOptions: runOptions{}})
	}
	if err == nil {
		crashpoint.Hit(crashpoint.SwapGiven)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.dropFence(f)
	if err != nil {
		return nil, err
	}
	return g.swapReady(f.seq), nil
}

// serveSwapResync makes this side the secondary of a peer that was taken over, and sends what this side has that the peer lacks: that is
// kept aside first, if the peer says that it may be lost, and refused otherwise.
func (g *group) serveSwapResync(ctx context.Context, pairs []*pair, m *quicwire.SwapPairs, send quicwire.SendFunc) error {
	if m.Generation == 0 {
		return refuse(KindInvalid, "the request to exchange the roles of group %s names no history", g.name)
	}
	ready, err := g.giveRole(ctx, pairs, m)
	if err != nil {
		return err
	}
	return sendMaps(ready, pairs, send)
}

func (g *group) giveRole(ctx context.Context, pairs []*pair, m *quicwire.SwapPairs) (*quicwire.ResyncReady, error) {
	g.mu.Lock()
	secondary := g.role == Secondary
	g.mu.Unlock()
	if secondary { // it was granted before
		letGo := g.holdPull()
		defer letGo()
	}
	if err := g.lockServed(ctx); err != nil {
		return nil, err
	}
	defer g.cmd.Unlock()
	if err := g.stillMeant(pairs, m.Pairs, secondary); err != nil {
		return nil, err
	}
	hosts := g.holdHosts(pairs) // of a side that was taken over too
	defer hosts()
	if err := g.learnTakeover(ctx, pairs, journal.Seq(m.Seq)); err != nil {
		return nil, err
	}
	if err := g.mayLose(ctx, pairs, m); err != nil {
		return nil, err
	}
	if err := g.turn(ctx, EvPeerSwap, &exchange{generation: m.Generation}); err != nil {
		return nil, err
	}
	crashpoint.Hit(crashpoint.RoleGiven)
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.swapReady(g.lastSeq), nil
}

// stillMeant refuses a request that waited for a command which changed what it is about. cmd is held.
func (g *group) stillMeant(pairs []*pair, refs []quicwire.PairRef, secondary bool) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	same := (g.role == Secondary) == secondary
	for i, p := range pairs {
		same = same && g.pairs[p.name] == p && p.knows(refs[i].Generation)
	}
	if !same {
		return refuse(KindBusy, "group %s of site %s changed at this moment: try again", g.name, g.site.cfg.Name)
	}
	return nil
}

// lockServed takes cmd for a request of the peer. The peer may hold its own cmd and wait for the answer while a command here waits for the
// peer: then one of the two has to give way.
func (g *group) lockServed(ctx context.Context) error {
	wait, cancel := context.WithTimeout(ctx, servedWait)
	defer cancel()
	for !g.cmd.TryLock() {
		if pause(wait, 5*time.Millisecond) != nil {
			return refuse(KindBusy, "a command on group %s of site %s is under way: try again when that has ended", g.name, g.site.cfg.Name)
		}
	}
	if ctx.Err() != nil { // nobody waits for the answer any more
		g.cmd.Unlock()
		return ctx.Err()
	}
	return nil
}

// learnTakeover lets a primary that has not heard of the takeover hear of it now. cmd is held.
func (g *group) learnTakeover(ctx context.Context, pairs []*pair, seq journal.Seq) error {
	var news []*pair
	g.mu.Lock()
	for _, p := range pairs {
		if p.rec.State.Role == Primary && !p.rec.State.TookOver {
			news = append(news, p)
		}
	}
	peer := g.rec.Peer
	g.mu.Unlock()
	if len(news) == 0 {
		return nil
	}
	return g.run(ctx, EvPeerTookOver, news, runOptions{seq: seq, exact: true, text: fmt.Sprintf("the S-VOL was taken over at %s", peer)})
}

// mayLose refuses an exchange that would overwrite what this side alone has, unless that is asked for; then it is kept aside first.
func (g *group) mayLose(ctx context.Context, pairs []*pair, m *quicwire.SwapPairs) error {
	me := g.site.cfg.Name
	for _, p := range pairs {
		if n := p.att.bits.bytes(); n > 0 && m.Lose != quicwire.LosePVOL {
			return refuse(KindBusy, "pair %s: %s; resync discard=here at %s gives that up (it is kept aside there first), discard=there at %s goes on from %s instead", p.name, g.histories(p, n, -1), me, me, me)
		}
	}
	return g.keepLost(ctx, pairs, "the roles were exchanged behind a takeover")
}
