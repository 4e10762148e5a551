package replica

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"slices"
	"time"

	bolt "go.etcd.io/bbolt"

	"pairfs/crashpoint"
	"pairfs/quicwire"
)

// kindOfResult and resultCode translate between the kinds of refusals here and on the wire.
func kindOfResult(c quicwire.ResultCode) Kind {
	if c >= quicwire.ResultInvalid && c <= quicwire.ResultAccess {
		return Kind(c)
	}
	return KindInternal
}

func resultCode(k Kind) quicwire.ResultCode {
	if k == KindInternal {
		return quicwire.ResultInternal
	}
	return quicwire.ResultCode(k)
}

// Serve implements [quicwire.Handler]: it answers one request of a peer. A peer may only name pairs that it has with this site.
func (s *Site) Serve(ctx context.Context, peer string, req quicwire.Frame, send quicwire.SendFunc) quicwire.Frame {
	var err error
	what := req.Type().String()
	switch m := req.(type) {
	case *quicwire.CreatePair:
		what = fmt.Sprintf("create of pair %s with S-VOL %s", m.Pair, m.Volume)
		err = s.serveCreate(ctx, peer, m)
	case *quicwire.DeletePair:
		what = fmt.Sprintf("delete of %s", counted(len(m.Pairs), "pair"))
		if len(m.Pairs) == 1 {
			what = fmt.Sprintf("delete of pair %s", m.Pairs[0].Name)
		}
		err = s.serveDelete(ctx, peer, m)
	case *quicwire.ResyncPairs:
		what = fmt.Sprintf("resync of group %s", m.Group)
		if m.Mode == quicwire.ResyncLook {
			what = fmt.Sprintf("differences of group %s", m.Group)
			err = s.serveLook(peer, m, send)
		} else {
			err = s.serveResync(ctx, peer, m, send)
		}
		if err == nil {
			return nil
		}
	case *quicwire.SwapPairs:
		what = fmt.Sprintf("exchange of the roles of group %s", m.Group)
		var answer quicwire.Frame
		if answer, err = s.serveSwap(ctx, peer, m, send); err == nil {
			return answer
		}
	case *quicwire.SuspendPair:
		what = fmt.Sprintf("end of a resync of %s", counted(len(m.Pairs), "pair"))
		err = s.serveUndo(ctx, peer, m)
	case *quicwire.PowerOff:
		what = fmt.Sprintf("end of the primary of group %s", m.Group)
		err = s.servePowerOff(ctx, peer, m)
	case *quicwire.PairStates:
		return s.serveStates(peer, m)
	default:
		err = refuse(KindInvalid, "site %s does not serve %s", s.cfg.Name, req.Type())
	}
	if err == nil {
		return quicwire.NewResult(quicwire.ResultDone, "")
	}
	s.tellOf(peer, slog.LevelWarn, "peer/"+peer, "", "%s refused: %v", what, err)
	return quicwire.NewResult(resultCode(KindOf(err)), err.Error())
}

// takeSecondary makes the volume an S-VOL in the group.
func (s *Site) takeSecondary(g *group, peer string, v *Volume, m *quicwire.CreatePair) error {
	g.cmd.Lock()
	defer g.cmd.Unlock()
	if err := g.checkSecondary(peer, m); err != nil {
		return err
	}
	v.mode.Lock()
	defer v.mode.Unlock()
	if v.att != nil {
		return refuse(KindBusy, "volume %s of site %s is in a pair already", v.name, s.cfg.Name)
	}
	if v.Size() != int64(m.Size) {
		return refuse(KindBusy, "volume %s of site %s changed its size at this moment: try again", v.name, s.cfg.Name)
	}
	if err := v.store.sync(); err != nil {
		return v.storeError(err, "flushed", 0)
	}
	state := PairState{Role: Secondary, Status: COPY}
	if m.Copy == quicwire.CopyNone {
		state = PairState{Role: Secondary, Status: PAIR, Consistent: true}
	}
	rec := pairRecord{
		State: state, Volume: v.name, RemoteVolume: "", Peer: peer, Group: g.name, Number: m.Number, Generation: m.Generation, Size: int64(m.Size),
		CopyNone: m.Copy == quicwire.CopyNone, StopSeq: noStop, Since: s.wall(),
	}
	if ErrorLevel(m.ErrorLevel) == LevelLU {
		rec.Handed = map[string]string{"error-level": LevelLU.String()}
	}
	p := g.attach(v, m.Pair, rec)
	err := g.commit([]*attachment{p.att}, func(tx *bolt.Tx) error {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.rec.NextPair = max(g.rec.NextPair, m.Number) // should this side become the primary
		return errors.Join(put(tx, bucketPairs, m.Pair, rec), put(tx, bucketGroups, g.name, g.rec))
	})
	if err != nil {
		g.detach(p)
		return fault(KindInternal, err, "pair %s could not be stored at site %s", m.Pair, s.cfg.Name)
	}
	s.mu.Lock()
	s.pairs[m.Pair] = p
	s.mu.Unlock()
	g.announce(p, change{in: EvPeerResync})
	g.tell()
	kick(g.pullReq)
	return nil
}

// peerPair finds a pair that the peer has with this site, in the history that it means.
func (s *Site) peerPair(peer, name string, generation uint64) (*pair, error) {
	p := s.pairByName(name)
	if p == nil {
		return nil, refuse(KindNotFound, "site %s has no pair %s", s.cfg.Name, name)
	}
	p.group.mu.Lock()
	defer p.group.mu.Unlock()
	switch {
	case p.rec.Peer != peer:
		return nil, refuse(KindAccess, "pair %s of site %s is not a pair with %s", name, s.cfg.Name, peer)
	case p.rec.Generation != generation:
		return nil, refuse(KindNotFound, "pair %s of site %s has another history than the one meant: it was created anew", name, s.cfg.Name)
	}
	return p, nil
}

// servedPair is peerPair for a request that changes the pair, or looks into it: its group must not be held.
func (s *Site) servedPair(peer, name string, generation uint64) (*pair, error) {
	p, err := s.peerPair(peer, name, generation)
	if err == nil {
		err = p.group.serves()
	}
	return p, err
}

// serveDelete deletes the secondary's side of pairs in one step, so that their S-VOLs stay what they were at one sequence number. Pairs that
// are not here are deleted already; it is KindNotFound if none is. A primary that is asked, because the secondary undoes something, is only
// suspended.
func (s *Site) serveDelete(ctx context.Context, peer string, m *quicwire.DeletePair) error {
	var pairs []*pair
	missing := error(refuse(KindInvalid, "no pair is named"))
	for _, ref := range m.Pairs {
		p, err := s.servedPair(peer, ref.Name, ref.Generation)
		switch {
		case err != nil && KindOf(err) == KindNotFound:
			missing = err
		case err != nil:
			return err
		case slices.Contains(pairs, p):
		case len(pairs) > 0 && p.group != pairs[0].group:
			return refuse(KindInvalid, "pairs %s and %s of site %s are not of one group", pairs[0].name, p.name, s.cfg.Name)
		default:
			pairs = append(pairs, p)
		}
	}
	if len(pairs) == 0 {
		return missing
	}
	g := pairs[0].group
	g.cmd.Lock()
	defer g.cmd.Unlock()
	pairs = slices.DeleteFunc(pairs, func(p *pair) bool { return s.pairByName(p.name) != p })
	if g.role == Primary {
		return g.run(ctx, EvPeerDeleted, pairs, runOptions{text: fmt.Sprintf("the pair was deleted at %s: delete it here too", peer)})
	}
	return g.run(s.ctx, EvPeerDelete, pairs, runOptions{})
}

// serveUndo splits pairs again whose resync was granted here and could not begin at the primary.
func (s *Site) serveUndo(ctx context.Context, peer string, m *quicwire.SuspendPair) error {
	for _, ref := range m.Pairs {
		p, err := s.servedPair(peer, ref.Name, ref.Generation)
		if err != nil {
			return err
		}
		if err := p.group.undoStart(ctx, p); err != nil {
			return err
		}
	}
	return nil
}

// undoStart splits one again. Who asks may have given up, and begun anew what is to be undone.
func (g *group) undoStart(ctx context.Context, p *pair) error {
	if err := g.lockServed(ctx); err != nil {
		return err
	}
	defer g.cmd.Unlock()
	g.mu.Lock()
	granted := p.rec.State.Role == Secondary && p.rec.Starting
	g.mu.Unlock()
	if !granted {
		return nil
	}
	return g.run(g.ctx, EvPeerSplit, []*pair{p}, runOptions{text: "the primary could not begin the resync: see its events, then resync there again"})
}

// restoreGroup finds the group that follows a group of the peer, nil if there is none.
func (s *Site) restoreGroup(peer, master string) *group {
	s.mu.RLock()
	all := slices.Collect(maps.Values(s.groups))
	s.mu.RUnlock()
	for _, g := range all {
		g.mu.Lock()
		mine := g.role == Secondary && g.rec.Peer == peer && g.rec.PeerGroup == master
		g.mu.Unlock()
		if mine {
			return g
		}
	}
	return nil
}

// serveResync takes pairs of a restore group up again and sends their bitmaps: what hosts wrote here since the split.
func (s *Site) serveResync(ctx context.Context, peer string, m *quicwire.ResyncPairs, send quicwire.SendFunc) error {
	g := s.restoreGroup(peer, m.Group)
	if g == nil {
		return refuse(KindNotFound, "site %s has no restore group for %s: delete the pair and create it again", s.cfg.Name, m.Group)
	}
	if m.Mode != quicwire.ResyncSame && m.Mode != quicwire.ResyncLose || len(m.Pairs) == 0 {
		return refuse(KindInvalid, "site %s does not know this kind of resync", s.cfg.Name)
	}
	pairs, ready, err := g.takeUp(ctx, peer, m)
	if err != nil {
		return err
	}
	for _, p := range pairs {
		p.tellOverwritten(p.att.bits.bytes())
	}
	return sendMaps(ready, pairs, send)
}

// sendMaps answers with the bitmaps of pairs that were taken up. No lock is held while the peer reads. The maps do not change: hosts cannot
// write an S-VOL in COPY.
func sendMaps(ready *quicwire.ResyncReady, pairs []*pair, send quicwire.SendFunc) error {
	if err := send(ready); err != nil {
		return err
	}
	for _, p := range pairs {
		for b := range quicwire.Bitmaps(p.name, regionSize, uint64(p.att.bits.regions), p.att.bits.spans) {
			if err := send(b); err != nil {
				return err
			}
		}
	}
	return nil
}

// takeUp brings pairs of a restore group back to COPY, with everything received in their stores.
func (g *group) takeUp(ctx context.Context, peer string, m *quicwire.ResyncPairs) ([]*pair, *quicwire.ResyncReady, error) {
	s := g.site
	if err := g.lockServed(ctx); err != nil {
		return nil, nil, err
	}
	defer g.cmd.Unlock()
	var pairs []*pair
	for _, ref := range m.Pairs {
		p, err := s.servedPair(peer, ref.Name, ref.Generation)
		if err != nil {
			return nil, nil, err
		}
		if p.group != g {
			return nil, nil, refuse(KindInvalid, "pair %s of site %s is not in group %s", ref.Name, s.cfg.Name, g.name)
		}
		if slices.Contains(pairs, p) {
			return nil, nil, refuse(KindInvalid, "pair %s is named twice", ref.Name)
		}
		pairs = append(pairs, p)
	}
	g.mu.Lock()
	failed := g.failed
	g.mu.Unlock()
	if failed != "" {
		return nil, nil, refuse(KindBusy, "the restore journal of group %s failed at site %s (%s): mend its disk and restart pairfs there, then resync", g.name, s.cfg.Name, failed)
	}
	if e := g.storeErr.Load(); e != nil {
		return nil, nil, fault(KindBusy, *e, "site %s cannot take pairs of group %s up again", s.cfg.Name, g.name)
	}
	in := EvPeerResync
	if m.Mode == quicwire.ResyncLose {
		in = EvPeerDiscard
		if _, _, err := g.stepAll(in, pairs); err != nil {
			return nil, nil, err
		}
		letGo := g.holdHosts(pairs)
		defer letGo()
		if err := g.keepLost(ctx, pairs, "the primary goes on, and what was written here is given up"); err != nil {
			return nil, nil, err
		}
	}
	if err := g.run(ctx, in, pairs, runOptions{}); err != nil {
		return nil, nil, err
	}
	crashpoint.Hit(crashpoint.ResyncGranted)
	g.mu.Lock()
	defer g.mu.Unlock()
	ready := &quicwire.ResyncReady{LastSeq: uint64(g.restoredSeq)}
	for _, p := range pairs {
		ready.Pairs = append(ready.Pairs, p.wire())
	}
	return pairs, ready, nil
}

// firstIn reports whether what is named was not asked for during the time before: what somebody tries for ever is told now and then.
func (s *Site) firstIn(d time.Duration, what string) bool {
	s.refusedMu.Lock()
	defer s.refusedMu.Unlock()
	now := time.Now()
	if now.Sub(s.told[what]) < d {
		return false
	}
	if len(s.told) >= eventsMax {
		clear(s.told)
	}
	s.told[what] = now
	return true
}

// Refused implements [quicwire.Handler]: somebody was not let in. The same key is an event once a minute, all of them one a second at most:
// whoever tries for ever must not push other events out.
func (s *Site) Refused(addr net.Addr, fp quicwire.Fingerprint, reason string) {
	if !s.firstIn(time.Second, "key") || !s.firstIn(time.Minute, "key "+fp.String()) {
		return
	}
	key := "no key"
	if !fp.IsZero() {
		key = "key " + fp.String()
	}
	s.events.add(slog.LevelWarn, "site", "a connection from %s with %s was refused: %s", addr, key, reason)
}
