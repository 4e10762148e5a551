package replica

import (
	"context"
	"log/slog"
	"time"

	"pairfs/journal"
	"pairfs/quicwire"
)

// ResyncPair copies the differences of a suspended pair, from P-VOL to S-VOL. It returns once both sides are in COPY.
func (s *Site) ResyncPair(ctx context.Context, name string) error {
	return s.onServedPair(name, func(g *group, pairs []*pair) error { return g.resyncBy(ctx, CmdResync, pairs) })
}

// ResyncGroup does so for all suspended pairs of a group.
func (s *Site) ResyncGroup(ctx context.Context, name string) error {
	return s.onGroup(name, func(g *group, pairs []*pair) error { return g.resyncBy(ctx, CmdResync, pairs) })
}

// resyncBy resyncs pairs by [CmdResync], or by [CmdDiscard] over what was written at S-VOLs that were taken over. cmd is held.
func (g *group) resyncBy(ctx context.Context, in Input, pairs []*pair) error {
	g.mu.Lock()
	failed := g.failed
	g.mu.Unlock()
	if failed != "" && g.role != Secondary {
		return refuse(KindBusy, "the journal of group %s failed (%s): mend its disk and restart pairfs, then resync", g.name, failed)
	}
	written := map[*pair]int64{}
	mode := quicwire.ResyncSame
	if in == CmdDiscard {
		mode = quicwire.ResyncLose
	}
	err := g.run(ctx, in, pairs, runOptions{ask: func(ctx context.Context, pairs []*pair) error { return g.askResync(ctx, mode, pairs, written) }})
	if err == nil {
		for p, n := range written {
			p.tellOverwritten(n)
		}
	}
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

// askResync asks the peer to take pairs up again; its bitmaps are merged into ours. written gets how many bytes they mark.
func (g *group) askResync(ctx context.Context, mode uint8, pairs []*pair, written map[*pair]int64) error {
	ready, err := g.askBitmaps(ctx, mode, pairs, func(p *pair, b *quicwire.Bitmap) {
		bits := p.att.bits
		for first, n := range b.Spans() {
			bits.setRegions(int64(first), int64(first+n))
			written[p] += min(int64(first+n)*regionSize, bits.size) - int64(first)*regionSize
		}
	})
	if err != nil {
		return err
	}
	return g.fillIfBehind(journal.Seq(ready.LastSeq), pairs)
}

// askBitmaps asks the peer for its bitmaps of pairs, to resync them or only to look, and gives each piece to take. ready is nil if that was
// refused or nothing came; it is given with an error when not all pieces came.
func (g *group) askBitmaps(ctx context.Context, mode uint8, pairs []*pair, take func(*pair, *quicwire.Bitmap)) (*quicwire.ResyncReady, error) {
	limit := requestTimeout
	if mode == quicwire.ResyncLose {
		limit = keepTimeout
	}
	g.mu.Lock()
	req := &quicwire.ResyncPairs{Group: g.name, Mode: mode}
	if g.role == Secondary {
		req.Group = g.rec.PeerGroup
	}
	g.mu.Unlock()
	req.Pairs = g.refs(pairs)
	return g.askMaps(ctx, limit, req, pairs, take)
}

// askMaps makes a request that is answered by ResyncReady and the bitmaps of pairs, as askBitmaps says.
func (g *group) askMaps(ctx context.Context, limit time.Duration, req quicwire.Frame, pairs []*pair, take func(*pair, *quicwire.Bitmap)) (*quicwire.ResyncReady, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	peer, left := g.rec.Peer, map[string]*pair{}
	for _, p := range pairs {
		left[p.name] = p
	}
	x, err := g.site.endpoint.RequestStream(ctx, peer, req)
	if err != nil {
		return nil, g.site.remoteError(peer, err)
	}
	defer x.Close()
	first, err := x.Recv()
	if err != nil {
		return nil, g.site.remoteError(peer, err)
	}
	ready, ok := first.(*quicwire.ResyncReady)
	if !ok {
		return nil, refuse(KindInternal, "peer %s answered a resync with %s", peer, first.Type())
	}
	for len(left) > 0 {
		fr, err := x.Recv()
		if err != nil {
			return ready, g.site.remoteError(peer, err)
		}
		b, ok := fr.(*quicwire.Bitmap)
		if !ok || left[b.Pair] == nil {
			return ready, refuse(KindInternal, "peer %s answered a resync with %s", peer, fr.Type())
		}
		p := left[b.Pair]
		if err := p.fits(b); err != nil {
			return ready, err
		}
		if take(p, b); b.Last {
			delete(left, b.Pair)
		}
	}
	return ready, nil
}

// fillIfBehind marks whole volumes when the secondary is behind what it had confirmed as restored.
func (g *group) fillIfBehind(last journal.Seq, pairs []*pair) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, p := range pairs {
		if behind(last, p.rec.StopSeq, g.peerRestore) {
			p.att.bits.fill()
		}
	}
	return nil
}

// behind reports whether a secondary that has restored last and stopped at stop has lost what it had confirmed as restored.
func behind(last, stop, confirmed journal.Seq) bool {
	return stop != noStop && last < min(stop, confirmed)
}

// fits refuses a bitmap that is not of the pair's volume.
func (p *pair) fits(b *quicwire.Bitmap) error {
	if b.Region != regionSize || b.Regions != uint64(p.att.bits.regions) {
		return refuse(KindInternal, "pair %s: the peer's bitmap has %d regions of %d bytes, ours %d of %d", p.name, b.Regions, b.Region, p.att.bits.regions, regionSize)
	}
	return nil
}

// tellOverwritten is the event of a resync that overwrites what hosts wrote at the S-VOL; nothing is told where they wrote nothing.
func (p *pair) tellOverwritten(n int64) {
	if n > 0 {
		p.group.site.events.add(slog.LevelWarn, p.object(), "the resync overwrites %s in regions that hosts wrote at the S-VOL since the split", iec(n))
	}
}
