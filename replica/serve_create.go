package replica

import (
	"context"
	"errors"
	"pairfs/quicwire"
)

// serveCreate makes the secondary's side of a pair.
func (s *Site) serveCreate(_ context.Context, peer string, m *quicwire.CreatePair) error {
	s.cmd.Lock()
	defer s.cmd.Unlock()
	if err := errors.Join(checkName("pair", m.Pair), checkName("volume", m.Volume), checkName("group", m.Group)); err != nil {
		return err
	}
	if reservedNames[m.Pair] || m.Number == 0 || m.Generation == 0 || m.Size == 0 || m.Size > volumeMax || m.JournalSize > volumeMax || m.Copy > quicwire.CopyNone {
		return refuse(KindInvalid, "the request to create pair %s is not valid", m.Pair)
	}
	s.awaitMade(m.Group + "@" + peer)
	if s.claimed["pair "+m.Pair] || s.claimed["volume "+m.Volume] {
		return refuse(KindBusy, "site %s is creating pair %s or a pair of volume %s at this moment: try again", s.cfg.Name, m.Pair, m.Volume)
	}
	if err := s.replaceOrphan(peer, m); err != nil {
		return err
	}
	v, made, err := s.secondaryVolume(peer, m)
	if err != nil {
		return err
	}
	err = s.joinSecondary(peer, v, m)
	if err != nil && made {
		err = errors.Join(err, s.removeVolume(v))
	}
	return err
}

// replaceOrphan deals with a pair of the name that exists already: one that never began, left by a create that failed half way on the
// other side, makes room.
func (s *Site) replaceOrphan(peer string, m *quicwire.CreatePair) error {
	p := s.pairByName(m.Pair)
	if p == nil {
		return nil
	}
	g := p.group
	g.mu.Lock()
	orphan := p.rec.Peer == peer && p.rec.State.Role == Secondary && p.rec.StartSeq == 0 && p.rec.Generation != m.Generation
	g.mu.Unlock()
	if !orphan {
		return refuse(KindExists, "site %s has a pair %s already: choose another name, or delete it there first", s.cfg.Name, m.Pair)
	}
	g.cmd.Lock()
	defer g.cmd.Unlock()
	return g.run(s.ctx, EvPeerDelete, []*pair{p}, runOptions{})
}

// secondaryVolume finds or makes the volume for an S-VOL, within what the peer may have here.
func (s *Site) secondaryVolume(peer string, m *quicwire.CreatePair) (*Volume, bool, error) {
	paired := s.pairOf(m.Volume) != ""
	s.mu.RLock()
	v := s.volumes[m.Volume]
	pr := s.peers[peer]
	quota := int64(0)
	if pr != nil {
		quota = pr.rec.Quota
	}
	reserved := ""
	if v != nil {
		reserved = v.reserved
	}
	s.mu.RUnlock()
	if v == nil && m.Copy == quicwire.CopyNone {
		return nil, false, refuse(KindNotFound, "volume %s does not exist at %s, so it cannot be equal: leave out copy=none, or bring it there and set it aside (volume reserve)", m.Volume, s.cfg.Name)
	}
	if v == nil {
		used := s.quotaUsed(peer)
		if used+int64(m.Size) > quota {
			size := sizes(quota, used, int64(m.Size))
			return nil, false, refuse(KindNoSpace, "site %s lets %s create %s of S-VOLs, of which %s are used: %s more do not fit; raise it there (pairfs peer add … --create=SIZE)", s.cfg.Name, peer, size[0], size[1], size[2])
		}
		v, err := s.makeVolume(m.Volume, int64(m.Size), peer)
		return v, true, err
	}
	switch {
	case paired:
		return nil, false, refuse(KindBusy, "volume %s of site %s is in a pair already", m.Volume, s.cfg.Name)
	case reserved != peer && (v.madeBy != peer || !v.handed.Load()):
		return nil, false, refuse(KindAccess, "volume %s exists at site %s and was not set aside for %s (or hosts there wrote to it since): set it aside there (pairfs volume reserve %s --peer=%s), or choose another name with --remote (remote=)", m.Volume, s.cfg.Name, peer, m.Volume, peer)
	case v.Size() != int64(m.Size):
		return nil, false, refuse(KindInvalid, "volume %s of site %s has %d bytes, the P-VOL has %d: they must be equal", m.Volume, s.cfg.Name, v.Size(), m.Size)
	case v.writers.Load() > 0:
		return nil, false, refuse(KindBusy, "volume %s of site %s is open for writing there: close it first", m.Volume, s.cfg.Name)
	}
	return v, false, nil
}

// quota is what S-VOLs the peer may create here, in bytes. A restore journal may be as large, or of the default size: the journal of a
// peer is not to take the whole disk either.
func (s *Site) quota(peer string) int64 {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if p := s.peers[peer]; p != nil {
		return p.rec.Quota
	}
	return 0
}

// joinSecondary takes the volume into the restore group of the peer's group, which is made on demand. Site.cmd is held.
func (s *Site) joinSecondary(peer string, v *Volume, m *quicwire.CreatePair) error {
	name := m.Group + "@" + peer
	g := s.groupByName(name)
	if r := s.restoreGroup(peer, m.Group); r != nil { // after an exchange of the roles it has another name
		g, name = r, r.name
	}
	if g != nil && len(g.allPairs()) == 0 {
		// Its history has ended, and the peer's group may be another one by now, whose numbers begin anew.
		if err := s.removeGroup(g); err != nil {
			return fault(KindInternal, err, "group %s of site %s, which has no pairs left, cannot make room", name, s.cfg.Name)
		}
		g = nil
	}
	if g != nil {
		if err := g.serves(); err != nil {
			return err
		}
	}
	made := g == nil
	if made {
		var err error
		size := min(max(int64(m.JournalSize), journalMin), max(journalDefault, s.quota(peer)))
		s.claimed["pair "+m.Pair], s.claimed["volume "+m.Volume] = true, true
		g, err = s.addGroup(name, groupRecord{Role: Secondary, Peer: peer, PeerGroup: m.Group, Size: size, Volumes: 1})
		delete(s.claimed, "pair "+m.Pair)
		delete(s.claimed, "volume "+m.Volume)
		if err != nil {
			return err
		}
	}
	err := s.stillMay(peer, m)
	if err == nil {
		err = s.takeSecondary(g, peer, v, m)
	}
	if err != nil && made {
		err = errors.Join(err, s.removeGroup(g))
	}
	return err
}

// stillMay refuses what became of a peer or a volume while a journal was written. Site.cmd is held.
func (s *Site) stillMay(peer string, m *quicwire.CreatePair) error {
	s.mu.RLock()
	known := s.peers[peer] != nil
	s.mu.RUnlock()
	if !known {
		return refuse(KindAccess, "site %s does not know %s any more", s.cfg.Name, peer)
	}
	_, _, err := s.secondaryVolume(peer, m)
	return err
}

// checkSecondary refuses a pair that does not fit into the restore group.
func (g *group) checkSecondary(peer string, m *quicwire.CreatePair) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case g.role != Secondary || g.rec.Peer != peer:
		return refuse(KindAccess, "group %s of site %s is not a restore group of %s", g.name, g.site.cfg.Name, peer)
	case g.failed != "":
		return refuse(KindBusy, "the restore journal of group %s failed at site %s: restart pairfs there when its disk is mended", g.name, g.site.cfg.Name)
	case g.members[m.Number] != nil:
		return refuse(KindInvalid, "group %s of site %s has a volume of number %d already", g.name, g.site.cfg.Name, m.Number)
	case len(g.pairs) >= pairsGroup:
		return refuse(KindNoSpace, "group %s of site %s has %d pairs, which is the most", g.name, g.site.cfg.Name, len(g.pairs))
	}
	return nil
}
