package replica

import (
	"cmp"
	"context"
	"log/slog"
	"math"
	"time"

	"pairfs/journal"
)

// The control records that bound what is replicated: a start, from whose number on updates are, and a suspend record, up to whose number they are.

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
		p.drainBy, p.drainSeq = time.Now().Add(math.MaxInt64), g.peerRestore // it is looked at from now on; the peer's time begins when the record is durable
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
