package replica

import (
	"context"
	"pairfs/journal"
	"pairfs/quicwire"
)

// ResyncPair copies the differences of a suspended pair, from P-VOL to S-VOL. It returns once both sides are in COPY.
func (s *Site) ResyncPair(ctx context.Context, name string) error {
	return s.onPairs(name, func(g *group, pairs []*pair) error { return g.resync(ctx, pairs) })
}

// ResyncGroup does so for all suspended pairs of a group.
func (s *Site) ResyncGroup(ctx context.Context, name string) error {
	return s.onGroup(name, func(g *group, pairs []*pair) error { return g.resync(ctx, pairs) })
}

func (g *group) resync(ctx context.Context, pairs []*pair) error {
	g.mu.Lock()
	failed := g.failed
	g.mu.Unlock()
	if failed != "" && g.role != Secondary {
		return refuse(KindBusy, "the journal of group %s failed (%s): mend its disk and restart pairfs, then resync", g.name, failed)
	}
	err := g.run(ctx, CmdResync, pairs, runOptions{ask: g.askResync})
	if k := KindOf(err); err != nil && (k == KindTimeout || k == KindUnreachable || k == KindInternal || k == KindNoSpace) {
		g.undoResync(pairs)
	}
	return err
}

// undoResync tells a peer that may have granted a resync which did not begin here. It cannot overtake another resync: group.cmd is held.
func (g *group) undoResync(pairs []*pair) {
	g.mu.Lock()
	req, peer := &quicwire.SuspendPair{}, g.rec.Peer
	for _, p := range pairs {
		if p.rec.State.Status.suspended() {
			req.Pairs = append(req.Pairs, quicwire.PairRef{Name: p.name, Generation: p.rec.Generation})
		}
	}
	g.mu.Unlock()
	if len(req.Pairs) > 0 {
		_ = g.site.ask(g.ctx, peer, req, askInterval) // out of reach it finds out when the mirror opens again
	}
}

// askResync asks the peer to take pairs up again; its bitmaps are merged into ours.
func (g *group) askResync(ctx context.Context, pairs []*pair) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	g.mu.Lock()
	req := &quicwire.ResyncPairs{Group: g.name}
	byName := map[string]*pair{}
	for _, p := range pairs {
		req.Pairs = append(req.Pairs, quicwire.PairRef{Name: p.name, Generation: p.rec.Generation})
		byName[p.name] = p
	}
	peer := g.rec.Peer
	g.mu.Unlock()
	x, err := g.site.endpoint.RequestStream(ctx, peer, req)
	if err != nil {
		return g.site.remoteError(peer, err)
	}
	defer x.Close()
	first, err := x.Recv()
	if err != nil {
		return g.site.remoteError(peer, err)
	}
	ready, ok := first.(*quicwire.ResyncReady)
	if !ok {
		return refuse(KindInternal, "peer %s answered a resync with %s", peer, first.Type())
	}
	for left := len(pairs); left > 0; {
		fr, err := x.Recv()
		if err != nil {
			return g.site.remoteError(peer, err)
		}
		b, ok := fr.(*quicwire.Bitmap)
		if !ok || byName[b.Pair] == nil {
			return refuse(KindInternal, "peer %s answered a resync with %s", peer, fr.Type())
		}
		if err := byName[b.Pair].merge(b); err != nil {
			return err
		}
		if b.Last {
			left--
		}
	}
	return g.fillIfBehind(journal.Seq(ready.LastSeq), pairs)
}

// fillIfBehind marks whole volumes when the secondary is behind what it had confirmed as restored.
func (g *group) fillIfBehind(last journal.Seq, pairs []*pair) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, p := range pairs {
		if p.rec.StopSeq != noStop && last < min(p.rec.StopSeq, g.peerRestore) && last < p.rec.StopSeq {
			p.att.bits.fill()
		}
	}
	return nil
}

// merge marks what the other side's bitmap marks.
func (p *pair) merge(b *quicwire.Bitmap) error {
	if b.Region != regionSize || b.Regions != uint64(p.att.bits.regions) {
		return refuse(KindInternal, "pair %s: the peer's bitmap has %d regions of %d bytes, ours %d of %d", p.name, b.Regions, b.Region, p.att.bits.regions, regionSize)
	}
	for first, n := range b.Spans() {
		p.att.bits.setRegions(int64(first), int64(first+n))
	}
	return nil
}
