package replica

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"pairfs/journal"
	"pairfs/quicwire"
)

// A primary that is switched off in good order says so in the group's order, behind everything else. The secondary shows PSUE with MCU P/S
// OFF: it has all there was, and nothing has to be copied. When the primary is back, with the pair still in PAIR or COPY, the pair goes on by
// itself.
//
// That record is behind all that the secondary lacks, which a slow link or a full journal may not take in the time that a stop has. Then the
// mirror ends, and the same is said beside it, with what is missing (power_off.go).

// switchOff tells the secondaries of this site's pairs that it ends, and waits for them to have it, behind all that they lack, as long as
// they take that. Host I/O has ended.
func (s *Site) switchOff(ctx context.Context) {
	s.ending.Store(true) // from here on a mirror sends no base records, and none is opened
	s.mu.RLock()
	all := slices.Collect(maps.Values(s.groups))
	s.mu.RUnlock()
	most := switchedOffMost
	if end, ok := ctx.Deadline(); ok {
		most = min(most, time.Until(end)/2) // the rest is for what follows
	}
	drain, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	last := map[*group]journal.Seq{}
	for _, g := range all {
		if g.heardOff() {
			last[g] = g.sayOff(drain)
		}
	}
	var late sync.WaitGroup
	for g, seq := range last {
		if !g.awaitOff(drain, seq) {
			late.Go(func() { g.tellOff(ctx) })
		}
	}
	late.Wait()
}

// ends reports whether the pair goes on when this site, its primary, is back after it was switched off. Requires group.mu.
func (p *pair) ends() bool {
	st := p.rec.State
	return st.Role == Primary && (st.Status == PAIR || st.Status == COPY)
}

// heardOff reports whether there is somebody to hear that this site is switched off.
func (g *group) heardOff() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.linked || g.failed != "" {
		return false
	}
	for _, p := range g.pairs {
		if p.ends() {
			return true
		}
	}
	return false
}

// sayOff appends the record and returns its number, 0 if there is no room for it.
func (g *group) sayOff(ctx context.Context) journal.Seq {
	g.mu.Lock()
	c := &control{}
	for _, p := range g.pairs {
		if p.ends() {
			c.numbers = append(c.numbers, p.rec.Number)
		}
	}
	g.mu.Unlock()
	r, err := g.appendControl(ctx, controlOff, c, 0, nil)
	if err != nil || g.journal.Sync(ctx, r.End) != nil {
		return 0
	}
	return r.Seq
}

// awaitOff waits until the peer has the record and reports whether it has, or gives up when the peer takes nothing any more. One that is heard
// often takes what is on its way, however slow the link is.
func (g *group) awaitOff(ctx context.Context, seq journal.Seq) bool {
	g.mu.Lock()
	peer := g.rec.Peer
	g.mu.Unlock()
	taken, packets, since := journal.Seq(0), uint64(0), time.Now()
	for {
		g.mu.Lock()
		durable, linked := g.peerDurable, g.linked
		g.mu.Unlock()
		u, _ := g.site.endpoint.Pulse(peer)
		if durable > taken || u.Packets >= packets+switchedOffHeard || g.line.busy() {
			taken, packets, since = durable, u.Packets, time.Now()
		}
		if seq != 0 && durable >= seq {
			return true
		}
		if !linked || time.Since(since) > switchedOff || pause(ctx, 5*time.Millisecond) != nil {
			return false
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
	if seq != g.aliveSeq || !g.linked || g.role != Primary || !g.active() || g.fence.Load() != nil || g.site.ending.Load() { // nothing may come behind the record of an end
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
