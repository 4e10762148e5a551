package replica

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"

	bolt "go.etcd.io/bbolt"

	"pairfs/quicwire"
)

// PeerSpec says what another site is.
type PeerSpec struct {
	Name, Address, Fingerprint string
	Quota                      int64 // bytes of S-VOLs that it may create here, 0 for none
	KeepQuota                  bool  // leave the quota of a peer that is known as it is
}

// AddPeer makes another site known, or changes its address, key or quota while it has no pairs that the key protects.
func (s *Site) AddPeer(_ context.Context, spec PeerSpec) error {
	s.cmd.Lock()
	defer s.cmd.Unlock()
	if err := checkName("peer", spec.Name); err != nil {
		return err
	}
	fp, err := quicwire.ParseFingerprint(spec.Fingerprint)
	if err != nil {
		return fault(KindInvalid, err, "peer %s cannot be added", spec.Name)
	}
	if err := checkAddress(spec.Address); err != nil {
		return fault(KindInvalid, err, "peer %s cannot be added", spec.Name)
	}
	if err := s.checkOwner(spec.Name, fp); err != nil {
		return err
	}
	if spec.Quota < 0 {
		return refuse(KindInvalid, "peer %s cannot be added: create=%d is no size", spec.Name, spec.Quota)
	}
	s.mu.RLock()
	old := s.peers[spec.Name]
	s.mu.RUnlock()
	if old != nil && old.rec.Fingerprint != spec.Fingerprint && s.pairsWith(spec.Name) > 0 {
		return refuse(KindBusy, "peer %s has another key and %s here: a changed key is a changed site; delete its pairs first, or give its true key %s", spec.Name, counted(s.pairsWith(spec.Name), "pair"), old.rec.Fingerprint)
	}
	if spec.KeepQuota {
		spec.Quota = 0
		if old != nil {
			spec.Quota = old.rec.Quota
		}
	}
	rec := peerRecord{Address: spec.Address, Fingerprint: spec.Fingerprint, Quota: spec.Quota}
	if err := s.endpoint.SetPeer(spec.Name, spec.Address, fp); err != nil {
		return fault(KindInvalid, err, "peer %s cannot be added", spec.Name)
	}
	if err := s.db.update(func(tx *bolt.Tx) error { return put(tx, bucketPeers, spec.Name, rec) }); err != nil {
		return fault(KindInternal, err, "peer %s cannot be stored", spec.Name)
	}
	s.mu.Lock()
	if p := s.peers[spec.Name]; p != nil {
		p.rec = rec
	} else {
		s.peers[spec.Name] = &peer{rec: rec, changed: s.wall()}
	}
	s.mu.Unlock()
	s.events.add(slog.LevelInfo, "peer/"+spec.Name, "added: %s at %s, may create %s of S-VOLs", spec.Fingerprint, spec.Address, iec(spec.Quota))
	return nil
}

func checkAddress(addr string) error {
	host, port, err := net.SplitHostPort(addr)
	n, e := strconv.Atoi(port)
	switch {
	case err != nil || host == "" || e != nil && !errors.Is(e, strconv.ErrRange):
		return refuse(KindInvalid, "address %q is not HOST:PORT", addr)
	case e != nil || n < 1 || n > 65535:
		return refuse(KindInvalid, "port %s of address %q is out of range: 1 to 65535", port, addr)
	}
	return nil
}

// checkOwner refuses the name and the key of this site, and a key that another peer has.
func (s *Site) checkOwner(name string, key quicwire.Fingerprint) error {
	if name == s.cfg.Name {
		return refuse(KindInvalid, "peer %s cannot be added: that is the name of this site", name)
	}
	if key == s.identity.Fingerprint() {
		return refuse(KindInvalid, "peer %s cannot be added: this is the key of this site itself; `pairfs key` prints the other one at %s", name, name)
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	for other, p := range s.peers {
		if other != name && p.rec.Fingerprint == key.String() {
			return refuse(KindInvalid, "peer %s cannot be added: this key belongs to peer %s already", name, other)
		}
	}
	return nil
}

func (s *Site) pairsWith(peer string) int {
	s.mu.RLock()
	defer s.mu.RUnlock()
	n := 0
	for _, p := range s.pairs {
		if p.rec.Peer == peer { // never changes
			n++
		}
	}
	return n
}

// RemovePeer forgets another site that has no pairs here.
func (s *Site) RemovePeer(_ context.Context, name string) error {
	s.cmd.Lock()
	defer s.cmd.Unlock()
	s.mu.RLock()
	known := s.peers[name] != nil
	s.mu.RUnlock()
	if !known {
		return refuse(KindNotFound, "there is no peer %s: `pairfs peer list` shows the peers of this site", name)
	}
	if n := s.pairsWith(name); n > 0 {
		return refuse(KindBusy, "peer %s has %s here: delete what it has first", name, counted(n, "pair"))
	}
	if err := s.db.update(func(tx *bolt.Tx) error { return remove(tx, bucketPeers, name) }); err != nil {
		return fault(KindInternal, err, "peer %s cannot be removed", name)
	}
	s.endpoint.RemovePeer(name)
	s.mu.Lock()
	delete(s.peers, name)
	s.mu.Unlock()
	s.events.add(slog.LevelInfo, "peer/"+name, "removed")
	return nil
}

// PeerUp implements [quicwire.Handler].
func (s *Site) PeerUp(peer string, _ quicwire.Hello) {
	s.tellOf(peer, slog.LevelInfo, "peer/"+peer, "", "connected")
	s.notePeer(peer, "")
	s.mu.RLock()
	defer s.mu.RUnlock()
	for _, g := range s.groups {
		kick(g.pullReq)
	}
}

// PeerDown implements [quicwire.Handler].
func (s *Site) PeerDown(peer string, err error) {
	if s.ctx.Err() != nil {
		return
	}
	s.tellOf(peer, slog.LevelWarn, "peer/"+peer, "", "connection lost: %v", err)
	s.notePeer(peer, fmt.Sprint(err))
}

func (s *Site) notePeer(peer, lastError string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p := s.peers[peer]; p != nil {
		p.changed = s.wall()
		p.lastError = lastError
	}
}
