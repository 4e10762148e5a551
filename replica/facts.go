package replica

import (
	"log/slog"
	"slices"
	"time"

	"pairfs/journal"
)

// fact is something that happened to a pair, to be stepped by the group's worker. Who reports it of several pairs holds mu meanwhile.
type fact struct {
	pair  *pair
	round uint64 // of the pair when that was seen, set by report
	input Input
	seq   journal.Seq // number that the other side names, 0 if none
	text  string      // what to tell the operator
	fill  bool        // nothing is known any more: mark the whole volume
	typ   SuspendType // that the other side names, where it matters here
	torn  bool        // the S-VOL is no image of one moment any more
}

// reportFailure reports what failed at one pair's volume: of that pair alone, or of all pairs of the group, as its error level says. The
// reference: a failure at the secondary suspends the pairs of the group or the affected one.
func (g *group) reportFailure(p *pair, in Input, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, q := range g.pairs {
		if q == p || p.opts.ErrorLevel == LevelGroup {
			g.report(fact{pair: q, input: in, text: err.Error()})
		}
	}
}

// report queues a fact for the worker. It may be called with any lock held. A full queue drops the fact: every fact that matters is
// found again, by the next exchange of states or the next tick.
func (g *group) report(f fact) {
	f.round = f.pair.round.Load()
	select {
	case g.facts <- f:
	default:
	}
}

// work steps facts and watches times, one after the other.
func (g *group) work() {
	tick := time.NewTicker(250 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-g.ctx.Done():
			return
		case f := <-g.facts:
			g.obeyFact(f)
		case <-g.watchReq:
			g.watch()
		case <-tick.C:
			g.watch()
		}
	}
}

// obeyFact steps the pairs that a fact is about. What is reported of several pairs at once, under g.mu, is one step of all of them, at one
// sequence number: a group that is suspended by a failure is one prefix too.
func (g *group) obeyFact(f fact) {
	g.cmd.Lock()
	defer g.cmd.Unlock()
	for _, f := range g.gather(f) {
		if g.ctx.Err() != nil || len(f.pairs) == 0 {
			continue
		}
		err := g.run(g.ctx, f.input, f.pairs, runOptions{seq: f.seq, text: f.text, fill: f.fill, typ: f.typ, torn: f.torn})
		if err != nil && g.ctx.Err() == nil {
			g.site.events.add(slog.LevelError, g.object(), "%s could not be dealt with: %v", f.input, err)
		}
	}
}

// factGroup is what was reported of several pairs.
type factGroup struct {
	fact
	pairs []*pair
}

// stale reports whether a fact was seen of a pair that is not there any more, or was taken up again since, while the worker waited for a
// command. What failed here holds all the same. Requires mu.
func (g *group) stale(f fact) bool {
	p := f.pair
	switch {
	case g.pairs[p.name] != p:
		return true // another one may have its name
	case f.input == EvFailure || f.input == EvRestoreFailed && !f.torn || f.round == p.round.Load():
		return false
	}
	if p.rec.State.Role == Primary {
		g.asked = time.Time{} // if the other side said it: what does it say now?
	}
	return true
}

// gather takes all facts that are queued together with the first and joins those of one kind and number.
func (g *group) gather(first fact) (all []factGroup) {
	g.mu.Lock() // who reports several does it under this lock, so they are all there now
	defer g.mu.Unlock()
	add := func(f fact) {
		p := f.pair
		if g.stale(f) {
			return
		}
		for i := range all {
			if h := &all[i]; h.input == f.input && h.fill == f.fill && h.typ == f.typ && h.torn == f.torn && h.seq == f.seq {
				if !slices.Contains(h.pairs, p) {
					h.pairs = append(h.pairs, p)
				}
				return
			}
		}
		all = append(all, factGroup{f, []*pair{p}})
	}
	for add(first); ; {
		select {
		case f := <-g.facts:
			add(f)
		default:
			return all
		}
	}
}
