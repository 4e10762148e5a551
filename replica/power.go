package replica

import (
	"context"
	"errors"
	"time"

	"pairfs/journal"
	"pairfs/quicwire"
)

// A primary that is switched off in good order says so in the group's order, behind everything else. The secondary shows PSUE with MCU P/S
// OFF: it has all there was, and nothing has to be copied. When the primary is back, with the pair still in PAIR, the pair goes on by itself.

// switchOff tells the secondaries of this site's pairs that it ends, and waits for them to have it, behind all that they lack, as long as
// they take that. Host I/O has ended.
func (s *Site) switchOff(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, switchedOffMost)
	defer cancel()
	s.mu.RLock()
	var told []*group
	for _, g := range s.groups {
		told = append(told, g)
	}
	s.mu.RUnlock()
	last := map[*group]journal.Seq{}
	for _, g := range told {
		if seq := g.sayOff(ctx); seq != 0 {
			last[g] = seq
		}
	}
	for g, seq := range last {
		g.awaitOff(ctx, seq)
	}
}

// sayOff appends the record, if there is somebody to hear it, and returns its number.
func (g *group) sayOff(ctx context.Context) journal.Seq {
	g.mu.Lock()
	c := &control{}
	for _, p := range g.pairs {
		if p.rec.State.Role == Primary && p.rec.State.Status == PAIR && g.linked && g.failed == "" {
			c.numbers = append(c.numbers, p.rec.Number)
		}
	}
	g.mu.Unlock()
	if len(c.numbers) == 0 {
		return 0
	}
	r, err := g.appendControl(ctx, controlOff, c, 0, nil)
	if err != nil || g.journal.Sync(ctx, r.End) != nil {
		return 0
	}
	return r.Seq
}

// awaitOff waits until the peer has the record, or takes nothing any more.
func (g *group) awaitOff(ctx context.Context, seq journal.Seq) {
	taken, since := journal.Seq(0), time.Now()
	for {
		g.mu.Lock()
		durable, linked := g.peerDurable, g.linked
		g.mu.Unlock()
		if durable > taken {
			taken, since = durable, time.Now()
		}
		if !linked || durable >= seq || time.Since(since) > switchedOff || pause(ctx, 5*time.Millisecond) != nil {
			return
		}
	}
}

// sayOn moves the sequence number behind a record that said the primary is switched off.
func (g *group) sayOn() error {
	g.mu.Lock()
	says := g.role == Primary && g.active()
	g.mu.Unlock()
	if !says {
		return nil
	}
	_, err := g.appendControl(g.ctx, controlAlive, nil, 0, nil)
	if errors.Is(err, journal.ErrFull) {
		return nil // what fills it is behind that record too
	}
	return err
}

// primaryBack takes the pairs up again that wait for a primary which was switched off. It comes before the first record of the session.
func (g *group) primaryBack(theirs []quicwire.PairState) error {
	g.cmd.Lock()
	defer g.cmd.Unlock()
	g.mu.Lock()
	var back []*pair
	for _, t := range theirs {
		p := g.pairs[t.Name]
		if p != nil && p.rec.Generation == t.Generation && p.rec.State.Suspend == MCUPowerOff && Status(t.Status).active() {
			back = append(back, p)
		}
	}
	g.mu.Unlock()
	if len(back) == 0 {
		return nil
	}
	return g.run(g.ctx, EvPeerBack, back, runOptions{})
}

// keepAlive lets the sequence number move on while hosts are quiet, so that the secondary can tell silence from lag.
func (g *group) keepAlive() {
	now, seq := time.Now(), g.journal.Marks().LastSeq
	g.mu.Lock()
	if seq != g.aliveSeq || !g.linked || g.role != Primary || !g.active() || g.fence.Load() != nil {
		g.aliveSeq, g.aliveAt = seq, now
	}
	due := now.Sub(g.aliveAt) >= keepAlive
	g.mu.Unlock()
	if !due || g.journal.Err() != nil {
		return
	}
	r, err := g.appendControl(g.ctx, controlAlive, nil, 0, nil)
	if err != nil || r.Seq != seq+1 {
		return // no room is no harm: then it is not quiet
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.idleTo != seq {
		g.idleFrom = seq
	}
	g.idleTo = r.Seq
}

// heldByPeer is what the peer holds as far as hosts are concerned: keep-alive records that it lacks are no lag. Requires mu.
func (g *group) heldByPeer() journal.Seq {
	if g.peerDurable >= g.idleFrom {
		return max(g.peerDurable, g.idleTo)
	}
	return g.peerDurable
}
