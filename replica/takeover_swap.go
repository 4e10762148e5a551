package replica

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"pairfs/crashpoint"
	"pairfs/journal"
	"pairfs/quicwire"
)

// errPeerLost says that the primary was lost while the roles were being exchanged: whether it gave its role up is not known, and it does not
// matter, for hosts do not write there before it has heard of this side, or has let them go on as a primary that was taken over.
var errPeerLost = errors.New("the primary was lost on the way")

// swapTakeover exchanges the roles while the primary can be reached. First what it still has is taken while its hosts write on; then it
// holds them, and says at which number; when that is here it gives its role up. The primary decides: until it has answered the commit it lets
// hosts go on if this side is not heard of. What waits for the primary has the context of the vigil over it, watched.
func (g *group) swapTakeover(ctx, watched context.Context, pairs []*pair, limit time.Duration) error {
	within, cancel := context.WithTimeout(watched, limit)
	defer cancel()
	g.drainNear(within, limit/2)
	token, generation := randomID(), randomID()
	req := &quicwire.SwapPairs{Group: g.peerGroup(), Pairs: g.refs(pairs), Phase: quicwire.SwapPrepare, Token: token, Wait: uint32(min(limit, fenceMax) / time.Millisecond)}
	began := time.Now()
	ready, err := g.askSwap(within, req)
	if KindOf(err) == KindTimeout {
		g.abortSwap(token, pairs, err) // it may hold them by now
	}
	if err != nil {
		return err
	}
	given, err := g.givenUp(ready, pairs)
	if err != nil {
		g.abortSwap(token, pairs, err)
		return err
	}
	seq := journal.Seq(ready.LastSeq)
	if err := g.awaitSeq(within, seq, pairs); err != nil {
		g.abortSwap(token, pairs, err)
		return err
	}
	letGo := g.holdPull()
	defer letGo()
	if err := g.journal.Sync(ctx, g.journal.Marks().Reserved); err != nil {
		g.abortSwap(token, pairs, err)
		return fault(KindInternal, err, "group %s cannot take over", g.name)
	}
	g.cmd.Lock()
	defer g.cmd.Unlock()
	defer g.keepWhole()()
	if err := g.stillAt(seq, pairs); err != nil {
		g.abortSwap(token, pairs, err)
		return err
	}
	crashpoint.Hit(crashpoint.SwapArrived)
	if given != 0 {
		generation = given
	} else {
		req.Phase, req.Generation, req.Wait = quicwire.SwapCommit, generation, 0
		if err := g.askCommit(watched, req); err != nil {
			return err
		}
	}
	crashpoint.Hit(crashpoint.SwapGranted)
	if err := g.turn(ctx, EvSwapped, &exchange{generation: generation, last: seq}); err != nil {
		return err
	}
	crashpoint.Hit(crashpoint.SwapTaken)
	answer := fmt.Sprintf("%s: the roles are exchanged at sequence number %d, nothing is lost and %s follows; host writes were held for %v", takeoverSwap, seq, g.rec.Peer, time.Since(began).Round(time.Millisecond))
	g.site.events.add(slog.LevelWarn, g.object(), "%s", answer)
	Remark(ctx, answer)
	return nil
}

func randomID() uint64 {
	var b [8]byte
	_, _ = rand.Read(b[:])
	return binary.LittleEndian.Uint64(b[:]) | 1
}

// givenUp returns the history that a primary has begun already which gave its role up and whose answer was lost; 0 if it has not.
func (g *group) givenUp(ready *quicwire.ResyncReady, pairs []*pair) (generation uint64, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	theirs := map[string]uint64{}
	for _, t := range ready.Pairs {
		theirs[t.Name] = t.Generation
	}
	same := 0
	for _, p := range pairs {
		if theirs[p.name] == p.rec.Generation {
			same++
		}
		generation = theirs[p.name]
	}
	if same == len(pairs) {
		return 0, nil
	}
	for _, p := range pairs {
		if same > 0 || theirs[p.name] != generation || generation == 0 {
			return 0, refuse(KindInternal, "group %s: %s speaks of another history of its pairs: please report this", g.name, g.rec.Peer)
		}
	}
	return generation, nil
}

// refs names pairs as the peer knows them.
func (g *group) refs(pairs []*pair) (refs []quicwire.PairRef) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, p := range pairs {
		refs = append(refs, quicwire.PairRef{Name: p.name, Generation: p.rec.Generation})
	}
	return refs
}

// askSwap makes a request that is answered by ResyncReady alone.
func (g *group) askSwap(ctx context.Context, req *quicwire.SwapPairs) (*quicwire.ResyncReady, error) {
	peer, began := g.peerName(), time.Now()
	answer, err := g.site.endpoint.Request(ctx, peer, req)
	if why := silent(ctx); err != nil && why != nil {
		return nil, why
	}
	if err = g.site.remoteError(peer, err); err != nil {
		took := time.Since(began)
		if errors.Is(err, context.DeadlineExceeded) && req.Phase == quicwire.SwapPrepare && took < answerMax {
			return nil, refuse(KindTimeout, "group %s: %s is heard, but did not answer in %v: nothing was changed; give it more time (timeout=), or, if it stands still, suspend the group here and take over again", g.name, peer, took.Round(time.Millisecond))
		}
		if errors.Is(err, context.DeadlineExceeded) {
			return nil, &lostPrimary{fmt.Sprintf("%s is heard, but did not answer for %v, so it counts as lost", peer, took.Round(time.Millisecond))}
		}
		if KindOf(err) == KindUnreachable {
			return nil, fmt.Errorf("%w: %w", errPeerLost, err)
		}
		return nil, err
	}
	ready, ok := answer.(*quicwire.ResyncReady)
	if !ok || len(ready.Pairs) != len(req.Pairs) {
		return nil, refuse(KindInternal, "peer %s answered an exchange of the roles with %s", peer, answer.Type())
	}
	return ready, nil
}

// askCommit asks the primary to give its role up. Everything is here, so the time that the operator gave is not what bounds it.
func (g *group) askCommit(watched context.Context, req *quicwire.SwapPairs) error {
	ctx, cancel := context.WithTimeout(watched, answerMax)
	defer cancel()
	_, err := g.askSwap(ctx, req)
	return err
}

// drainNear waits until little is missing here, for at most d: hosts at the primary are not held for the rest of a long drain.
func (g *group) drainNear(ctx context.Context, d time.Duration) {
	wait, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	for {
		g.mu.Lock()
		near := g.newestSeq <= g.lastSeq+swapNear || !g.linked || !g.active()
		g.mu.Unlock()
		if near || pause(wait, time.Millisecond) != nil {
			return
		}
	}
}

// awaitSeq waits until everything up to a number has arrived. A mirror that is down is opened again while the primary is connected.
func (g *group) awaitSeq(ctx context.Context, seq journal.Seq, pairs []*pair) error {
	for {
		_, up := g.site.endpoint.Connected(g.peerName())
		g.mu.Lock()
		here, linked := g.lastSeq, g.linked || up && time.Since(g.linkChange) < mirrorWait
		err := stillPaired(pairs)
		g.mu.Unlock()
		switch {
		case err != nil:
			return err // the primary sends nothing more
		case here >= seq:
			return nil
		case !linked:
			return fmt.Errorf("group %s: %w at sequence number %d of %d", g.name, errPeerLost, here, seq)
		case pause(ctx, time.Millisecond) == nil:
		case silent(ctx) != nil:
			return silent(ctx)
		default:
			return refuse(KindTimeout, "group %s: of what %s still had to send only sequence number %d of %d arrived in time: nothing was changed; give it more time (timeout=), or slow its hosts down", g.name, g.peerName(), here, seq)
		}
	}
}

// stillAt refuses to go on when a command or a failure changed the pairs meanwhile. cmd is held.
func (g *group) stillAt(seq journal.Seq, pairs []*pair) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if err := stillPaired(pairs); err != nil {
		return err
	}
	if g.lastSeq != seq || len(g.pairs) != len(pairs) {
		return refuse(KindBusy, "group %s changed meanwhile: nothing was changed, try again", g.name)
	}
	return nil
}

// stillPaired refuses to go on with S-VOLs that do not follow any more. Requires mu.
func stillPaired(pairs []*pair) error {
	for _, p := range pairs {
		if p.rec.State.Role != Secondary || p.rec.State.Status != PAIR {
			return refuse(KindBusy, "pair %s became %s meanwhile: nothing was changed; a takeover now goes on without the primary's help", p.name, p.rec.State.Status.On(p.rec.State.Role))
		}
		if !p.rec.State.Consistent {
			return refuse(KindBusy, "pair %s: %s", p.name, noImageRule.why)
		}
	}
	return nil
}

// abortSwap lets the primary's hosts go on. If it cannot be told they do by themselves. One that is lost is not told: this side goes on without it,
// and what its hosts write before it has heard of that is a second history.
func (g *group) abortSwap(token uint64, pairs []*pair, why error) {
	if errors.Is(why, errPeerLost) {
		return
	}
	req := &quicwire.SwapPairs{Group: g.peerGroup(), Pairs: g.refs(pairs), Phase: quicwire.SwapAbort, Token: token}
	_ = g.site.ask(g.ctx, g.peerName(), req, historyWait)
}
