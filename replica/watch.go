package replica

import (
	"context"
	"fmt"
	"time"

	"pairfs/journal"
	"pairfs/quicwire"
)

// watch looks at what only time brings about: path watch time, the end of a flush, copies that are complete, deletes that did not come
// to their end; and at what the primary handed on.
func (g *group) watch() {
	g.heed()
	g.followPathWatch()
	g.storeLearned()
	g.watchPairs()
	g.releaseRest()
	g.keepAlive()
	if g.askDue() {
		g.wg.Go(g.askStates)
	}
}

// watchPairs reports what is due.
func (g *group) watchPairs() {
	now := time.Now()
	g.mu.Lock()
	defer g.mu.Unlock()
	pathWatch := g.opts.Load().PathWatch
	lost := !g.linked && now.Sub(g.linkChange) > pathWatch
	for _, p := range g.pairs {
		st := p.rec.State
		switch {
		case p.orphan(now):
			g.report(fact{pair: p, input: EvPeerDeleted, text: fmt.Sprintf("%s has no such pair: its create failed there; create it there again, or delete it here", g.rec.Peer)})
		case st.Role == Secondary && st.Status == COPY && p.rec.Starting && !p.granted() && g.pulling != nil && now.Sub(g.asked) > requestTimeout:
			g.asked = now
			g.pulling.cancel() // the start record does not come: a new session compares the states
		case p.isGivenUp(): // its suspension could not be stored then
			g.report(fact{pair: p, input: EvRestoreFailed, torn: true,
				text: fmt.Sprintf("volume %s cannot be restored to; its pair is suspended alone (error-level=lu); mend its store, then resync", p.att.vol.name)})
		case lost && st.Status.active():
			g.report(fact{pair: p, input: EvPathLost, text: fmt.Sprintf("the mirror with %s was down longer than path watch time (%v)", g.rec.Peer, timeWords(pathWatch))})
		case st.Role == Primary && st.Status == Suspending && p.rec.StopSeq != noStop && g.peerRestore >= p.rec.StopSeq:
			g.report(fact{pair: p, input: EvDrained})
		case st.Role == Primary && st.Status == Suspending && p.drainGivenUp(now):
			text := "the peer did not take all records in time: the rest is marked in the bitmap"
			if !g.linked {
				text = fmt.Sprintf("the mirror with %s is down: what the peer has not had is marked in the bitmap", g.rec.Peer)
			}
			g.report(fact{pair: p, input: EvDrainTimeout, text: text})
		case st.Role == Primary && st.Status == COPY && p.rec.PairSeq != 0 && g.peerRestore >= p.rec.PairSeq:
			g.report(fact{pair: p, input: EvCopied})
		}
	}
}

// drainGivenUp reports whether a flush has to end without the peer: it takes nothing for a while, or cannot be reached. As long as it
// takes records a flush goes on, however much there is; the status tells the time that is left. One that has no record at which it ends, because
// the daemon ended before that was journaled, would go on for ever with what keeps a mirror alive. Requires mu.
func (p *pair) drainGivenUp(now time.Time) bool {
	g := p.group
	if g.peerRestore > p.drainSeq && p.rec.StopSeq != noStop {
		p.drainSeq, p.drainBy = g.peerRestore, now.Add(drainTimeout)
	}
	return now.After(p.drainBy) || (!g.linked && now.Sub(g.linkChange) > drainNoLink)
}

// watchAnew lets path watch time begin now if the mirror is down: until now there may have been no pair that missed it. Requires mu.
func (g *group) watchAnew() {
	if !g.linked {
		g.linkChange = time.Now()
	}
}

// askDue reports whether a primary should ask the peer for its states beside the mirror: the peer is connected, but no mirror was opened
// for a while, or a list of states had no word of a pair. So a pair that was deleted there while the link was down is found out, also one that
// was suspended then.
func (g *group) askDue() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.role != Primary || len(g.pairs) == 0 || time.Since(g.asked) < askInterval {
		return false
	}
	if !g.asked.IsZero() && (g.linked || !g.wonders() || time.Since(g.linkChange) < askInterval) {
		return false
	}
	if _, up := g.site.endpoint.Connected(g.rec.Peer); !up {
		return false
	}
	g.asked = time.Now()
	return true
}

// wonders reports whether there is a pair that the peer may have, as far as it is known here. Requires mu.
func (g *group) wonders() bool {
	for _, p := range g.pairs {
		if !p.gone && p.rec.State.Suspend != DeletePairToRCU {
			return true
		}
	}
	return false
}

// askStates asks the peer for the states of this group's pairs and compares them.
func (g *group) askStates() {
	ctx, cancel := context.WithTimeout(g.ctx, requestTimeout)
	defer cancel()
	g.cmd.Lock()
	g.mu.Lock()
	req, peer := &quicwire.PairStates{Pairs: g.wireStates(0)}, g.rec.Peer // it only looks at their names
	type moment struct {
		start      journal.Seq
		generation uint64
	}
	asked := map[string]moment{}
	for name, p := range g.pairs {
		asked[name] = moment{p.rec.StartSeq, p.rec.Generation}
	}
	g.mu.Unlock()
	g.cmd.Unlock()
	answer, err := g.site.endpoint.Request(ctx, peer, req)
	states, ok := answer.(*quicwire.PairStates)
	if err != nil || !ok {
		return // the next time it is due
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	for name, p := range g.pairs {
		if asked[name] != (moment{p.rec.StartSeq, p.rec.Generation}) {
			g.asked = time.Time{}
			return // a pair came meanwhile, was taken up again, or has another role
		}
	}
	g.compare(states.Pairs, true)
}
