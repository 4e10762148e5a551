package replica

import (
	"context"
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"time"

	"pairfs/journal"
	"pairfs/quicwire"
)

// Side names one side of a pair, as seen from the site that is given a command.
type Side string

// The sides. Neither is the zero value.
const (
	SideNone  Side = ""
	SideHere  Side = "here"
	SideThere Side = "there"
)

// ResyncOptions says how to resync.
type ResyncOptions struct {
	// Swap exchanges the roles behind a takeover: the side that was taken over becomes the primary. It may be given at either side.
	Swap bool
	// Discard names the side whose writes are given up where both sides have what the other lacks: the other one is the primary afterwards.
	// What is given up is kept aside there first. It may be given at either side.
	Discard Side
}

// resyncWay is what a resync with options comes to.
type resyncWay int

const (
	resyncPlain   resyncWay = iota // from the P-VOL
	resyncLose                     // from the P-VOL, over what was written at the S-VOL
	resyncTurn                     // from the S-VOL that was taken over, exchanging the roles
	resyncAskTurn                  // the same, begun by the other side
	resyncAskLose                  // the same as resyncLose, begun by the other side
	resyncWrong                    // the options contradict each other
)

// decideResync finds the way of a resync and what may be lost by it. Who wins becomes the primary: the P-VOL of now, or the S-VOL that was
// taken over. It is a pure function.
//
//	given at        options                     way             may be lost
//	P-VOL           -                           resyncPlain
//	P-VOL           swap                        resyncAskTurn   nothing
//	P-VOL           discard=there               resyncLose      S-VOL
//	P-VOL           discard=here, ± swap        resyncAskTurn   P-VOL
//	S-VOL           -                           resyncPlain     (refused)
//	S-VOL           swap                        resyncTurn      nothing
//	S-VOL           discard=there, ± swap       resyncTurn      P-VOL
//	S-VOL           discard=here                resyncAskLose   S-VOL
//	either          swap, and it would lose     resyncWrong
func decideResync(role Role, o ResyncOptions) (way resyncWay, lose uint8) {
	here := role == Primary // the side of the P-VOL
	switch {
	case o == ResyncOptions{}:
		return resyncPlain, quicwire.LoseNothing
	case o.Discard == SideNone && here:
		return resyncAskTurn, quicwire.LoseNothing
	case o.Discard == SideNone:
		return resyncTurn, quicwire.LoseNothing
	case here && o.Discard == SideHere:
		return resyncAskTurn, quicwire.LosePVOL
	case !here && o.Discard == SideThere:
		return resyncTurn, quicwire.LosePVOL
	case o.Swap:
		return resyncWrong, quicwire.LoseNothing
	case here:
		return resyncLose, quicwire.LoseSVOL
	}
	return resyncAskLose, quicwire.LoseSVOL
}

// ResyncPairWith is [Site.ResyncPair] with options. An exchange of the roles is one of a whole group, so it is refused for one of several pairs.
func (s *Site) ResyncPairWith(ctx context.Context, name string, o ResyncOptions) error {
	if o == (ResyncOptions{}) {
		return s.ResyncPair(ctx, name)
	}
	p := s.pairByName(name)
	if p == nil {
		return refuse(KindNotFound, "there is no pair %s: `pairfs pair list` shows the pairs of this site", name)
	}
	return s.remember(p, p.group.resyncWith(ctx, func() []*pair { return []*pair{p} }, o))
}

// ResyncGroupWith is [Site.ResyncGroup] with options.
func (s *Site) ResyncGroupWith(ctx context.Context, name string, o ResyncOptions) error {
	if o == (ResyncOptions{}) {
		return s.ResyncGroup(ctx, name)
	}
	g := s.groupByName(name)
	if g == nil {
		return refuse(KindNotFound, "there is no group %s: `pairfs group list` shows the groups of this site", name)
	}
	return g.resyncWith(ctx, g.allPairs, o)
}

func (g *group) resyncWith(ctx context.Context, which func() []*pair, o ResyncOptions) error {
	if err := g.serves(); err != nil {
		return err
	}
	g.mu.Lock()
	role := g.role
	g.mu.Unlock()
	pairs := which()
	if len(pairs) == 0 {
		return refuse(KindBusy, "group %s has no pairs", g.name)
	}
	way, lose := decideResync(role, o)
	switch way {
	case resyncTurn:
		return g.turnResync(ctx, pairs, lose)
	case resyncLose:
		g.cmd.Lock()
		defer g.cmd.Unlock()
		return g.resyncBy(ctx, CmdDiscard, pairs)
	case resyncAskTurn, resyncAskLose:
		req := &quicwire.SwapPairs{Group: g.peerGroup(), Phase: quicwire.SwapAsk, Lose: lose}
		if err := g.wholeGroup(pairs, "resync the group"); err != nil {
			return err
		}
		return g.inHistory(pairs, func(refs []quicwire.PairRef) error {
			req.Pairs = refs
			return g.site.ask(ctx, g.rec.Peer, req, keepTimeout)
		})
	}
	return wrongOptions(o)
}

// peerGroup is what the peer calls the group.
func (g *group) peerGroup() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.rec.PeerGroup
}

// inHistory asks something of the peer about pairs in their history, and if the peer does not know that one, in the history before it: where
// this side gave its role up and nothing came of it, the peer may not have heard.
func (g *group) inHistory(pairs []*pair, ask func([]quicwire.PairRef) error) error {
	err := ask(g.refs(pairs))
	if KindOf(err) != KindNotFound {
		return err
	}
	before := g.refs(pairs)
	g.mu.Lock()
	for i, p := range pairs {
		if !p.rec.Starting || p.rec.Parent == 0 {
			g.mu.Unlock()
			return err
		}
		before[i].Generation = p.rec.Parent
	}
	g.mu.Unlock()
	return ask(before)
}

// turnResync makes this side, which was taken over, the primary, and the old primary the secondary; what differs is copied there.
func (g *group) turnResync(ctx context.Context, pairs []*pair, lose uint8) error {
	end, err := g.beginTaking()
	if err != nil {
		return err
	}
	defer end()
	if err := g.wholeGroup(pairs, "resync the group"); err != nil {
		return err
	}
	letGo := g.holdPull()
	defer letGo()
	g.cmd.Lock()
	defer g.cmd.Unlock()
	x := &exchange{generation: g.nextHistory(pairs)}
	x.ask = func(ctx context.Context, pairs []*pair) error { return g.askTurn(ctx, pairs, lose, x) }
	if err := g.turn(ctx, CmdSwap, x); err != nil {
		if x.last != 0 {
			g.undoTurn(pairs, x.generation)
		}
		return err
	}
	return nil
}

// nextHistory names the history that begins when this side, which was taken over, becomes the primary. It follows from the histories that end and
// from the side, so an exchange that is given again, because its answer was lost, names the same one: its request may still be on its way, and
// come when the other one was granted and has not begun. It would grant the same once more. Nothing of a history is ever sent before it
// has begun, and then there is no second one that begins from the same.
func (g *group) nextHistory(pairs []*pair) uint64 {
	h := fnv.New64a()
	g.mu.Lock()
	defer g.mu.Unlock()
	_, _ = h.Write(binary.LittleEndian.AppendUint64(nil, epochOf(pairs)))
	_, _ = h.Write([]byte(g.site.identity.Fingerprint().String()))
	return h.Sum64() | 1
}

// askTurn asks the old primary to become the secondary; what it marks is merged into the maps here.
func (g *group) askTurn(ctx context.Context, pairs []*pair, lose uint8, x *exchange) error {
	g.mu.Lock()
	seq := g.lastSeq
	for _, p := range pairs {
		if p.rec.StopSeq != noStop {
			seq = min(seq, p.rec.StopSeq)
		}
	}
	g.mu.Unlock()
	limit := requestTimeout
	if lose != quicwire.LoseNothing {
		limit = keepTimeout
	}
	req := &quicwire.SwapPairs{Group: g.rec.PeerGroup, Phase: quicwire.SwapResync, Generation: x.generation, Seq: uint64(seq), Lose: lose}
	return g.inHistory(pairs, func(refs []quicwire.PairRef) error {
		req.Pairs = refs
		ready, err := g.askMaps(ctx, limit, req, pairs, func(p *pair, b *quicwire.Bitmap) {
			for first, n := range b.Spans() {
				p.att.bits.setRegions(int64(first), int64(first+n))
			}
		})
		if ready != nil {
			x.last = max(1, journal.Seq(ready.LastSeq))
			fillIfLost(ready, seq, pairs)
		}
		return err
	})
}

// fillIfLost marks whole volumes where the side that is to follow lost what it had: it is behind the number at which this side was taken over,
// or its volume is no image of one moment.
func fillIfLost(ready *quicwire.ResyncReady, seq journal.Seq, pairs []*pair) {
	image := map[string]bool{}
	for _, t := range ready.Pairs {
		image[t.Name] = t.Consistent
	}
	for _, p := range pairs {
		if journal.Seq(ready.LastSeq) < seq || !image[p.name] {
			p.att.bits.fill()
		}
	}
}

// undoTurn tells a peer that gave its role up that this side could not take it: it is split again, and the exchange may be given again.
func (g *group) undoTurn(pairs []*pair, generation uint64) {
	req := &quicwire.SuspendPair{}
	for _, p := range pairs {
		req.Pairs = append(req.Pairs, quicwire.PairRef{Name: p.name, Generation: generation})
	}
	_ = g.site.ask(g.ctx, g.rec.Peer, req, askInterval)
}

// serveAsk begins here what the other side's operator asked for there.
func (g *group) serveAsk(ctx context.Context, peer string, pairs []*pair, m *quicwire.SwapPairs) error {
	ctx = WithCaller(ctx, Caller{Peer: peer})
	g.mu.Lock()
	role := g.role
	g.mu.Unlock()
	switch {
	case role == Secondary && m.Lose != quicwire.LoseSVOL:
		return g.turnResync(ctx, pairs, m.Lose)
	case role == Secondary: // so is the side that asks: both were taken over
		return g.turnResync(ctx, pairs, quicwire.LosePVOL)
	case role == Primary && m.Lose == quicwire.LoseSVOL:
		if err := g.lockServed(ctx); err != nil {
			return err
		}
		defer g.cmd.Unlock()
		return g.resyncBy(ctx, CmdDiscard, pairs)
	}
	return refuse(KindBusy, "group %s of site %s is not on the side that has to begin that", g.name, g.site.cfg.Name)
}

// keepLost keeps aside what the maps of pairs say this side alone has. cmd is held, and hosts do not write.
func (g *group) keepLost(ctx context.Context, pairs []*pair, why string) error {
	var all []lost
	for _, p := range pairs {
		if p.att.bits.any() {
			all = append(all, lost{pair: p, regions: p.att.bits.snapshot()})
		}
	}
	if len(all) == 0 {
		return nil
	}
	sets, err := g.site.keepAside(ctx, all, keepOptions{why: why})
	for _, k := range sets {
		Remark(ctx, fmt.Sprintf("pair %s: what is given up was kept aside as %s", k.Pair, k.Name))
	}
	return err
}

// tellConflict is called when a primary has learned of a takeover: what it has that the S-VOL lacks makes two histories of one. cmd is held.
func (g *group) tellConflict(pairs []*pair) {
	var differ []*pair
	for _, p := range pairs {
		if p.takenOver() && p.att.bits.any() {
			differ = append(differ, p)
		}
	}
	if len(differ) == 0 {
		return
	}
	there := map[*pair]int64{}
	for _, p := range differ {
		there[p] = -1
	}
	ctx, cancel := context.WithTimeout(g.ctx, historyWait)
	defer cancel()
	got := map[*pair]int64{}
	_, _ = g.askBitmaps(ctx, quicwire.ResyncLook, differ, func(p *pair, b *quicwire.Bitmap) {
		for first, n := range b.Spans() {
			got[p] += min(int64(first+n)*regionSize, p.att.bits.size) - int64(first)*regionSize
		}
		if b.Last {
			there[p] = got[p]
		}
	})
	for _, p := range differ {
		text := "both sides have what the other lacks, and nothing was chosen: " + g.histories(p, p.att.bits.bytes(), there[p]) +
			"; resync discard=here goes on from " + g.rec.Peer + ", discard=there from here; what is given up is kept aside"
		_ = g.run(g.ctx, EvConflict, []*pair{p}, runOptions{text: text})
	}
}

// keepTimeout bounds a request before whose answer the peer may have to keep regions aside.
const keepTimeout = 30 * time.Minute
