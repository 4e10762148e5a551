package replica

import (
	"log/slog"
	"slices"
	"sync"
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

// report queues a fact for the worker. It may be called with any lock held.
func (g *group) report(f fact) {
	f.round = f.pair.round.Load()
	g.facts.add(f)
}

// factQueue holds what was reported and is not stepped yet. Nothing is dropped, for what is reported of all pairs of a group has to be one step,
// and there is one place for each thing that can happen to each pair, so that what is reported again and again takes no more room. The zero
// value lacks wake.
type factQueue struct {
	wake chan struct{} // holds a token while there is something

	mu   sync.Mutex
	list []fact
	at   map[factKey]int // place in list
}

// factKey is what makes two facts of a pair one, and, without the pair and with the number, facts of several pairs one step.
type factKey struct {
	pair  *pair
	round uint64
	input Input
	seq   journal.Seq
	fill  bool
	typ   SuspendType
	torn  bool
}

// add queues a fact, or joins it to the same one that waits already.
func (q *factQueue) add(f fact) {
	q.mu.Lock()
	defer q.mu.Unlock()
	key := factKey{f.pair, f.round, f.input, 0, f.fill, f.typ, f.torn}
	if i, ok := q.at[key]; ok {
		q.list[i].seq = earlier(q.list[i].seq, f.seq)
		return
	}
	if q.at == nil {
		q.at = map[factKey]int{}
	}
	q.at[key] = len(q.list)
	q.list = append(q.list, f)
	kick(q.wake)
}

// take empties the queue.
func (q *factQueue) take() []fact {
	q.mu.Lock()
	defer q.mu.Unlock()
	list := q.list
	q.list, q.at = nil, nil
	return list
}

// earlier is the lower of two numbers where both are known.
func earlier(a, b journal.Seq) journal.Seq {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}

// work steps facts and watches times, one after the other.
func (g *group) work() {
	tick := time.NewTicker(watchTick)
	defer tick.Stop()
	for {
		select {
		case <-g.ctx.Done():
			return
		case <-g.facts.wake:
			g.obeyFacts()
		case <-g.watchReq:
			g.watch()
		case <-tick.C:
			g.watch()
		}
	}
}

// obeyFacts steps the pairs that facts are about. What is reported of several pairs at once, under g.mu, is one step of all of them, at one
// sequence number: a group that is suspended by a failure is one prefix too.
func (g *group) obeyFacts() {
	g.cmd.Lock()
	defer g.cmd.Unlock()
	for _, f := range g.gather() {
		if g.ctx.Err() != nil {
			return
		}
		err := g.run(g.ctx, f.input, f.pairs, runOptions{seq: f.seq, text: f.text, fill: f.fill, typ: f.typ, torn: f.torn, exact: f.input == EvPeerTookOver})
		if err == nil && f.input == EvPeerTookOver {
			g.tellConflict(f.pairs)
		}
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

// gather takes everything that is queued and joins what is of one kind and number.
func (g *group) gather() (all []*factGroup) {
	g.mu.Lock() // who reports several does it under this lock, so they are all there now
	defer g.mu.Unlock()
	byKind := map[factKey]*factGroup{}
	for _, f := range g.facts.take() {
		if g.stale(f) {
			continue
		}
		kind := factKey{nil, 0, f.input, f.seq, f.fill, f.typ, f.torn}
		h := byKind[kind]
		if h == nil {
			h = &factGroup{fact: f}
			byKind[kind] = h
			all = append(all, h)
		}
		if !slices.Contains(h.pairs, f.pair) {
			h.pairs = append(h.pairs, f.pair)
		}
	}
	return all
}
