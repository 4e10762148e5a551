package replica

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"pairfs/quicwire"
	"time"

	bolt "go.etcd.io/bbolt"
)

// PairSpec says what pair to create.
type PairSpec struct {
	Name, Volume, Peer string
	RemoteVolume       string            // "" = the same name as Volume
	Group              string            // "" = "default"
	Options            map[string]string // options of the pair, by name; see [OptionNames]
	CopyNone           bool              // the volumes are equal already: no initial copy
}

// CreatePair makes a pair of a local volume, the P-VOL, and one on the peer, the S-VOL. It returns when both sides have it durably; the
// initial copy goes on in the background. It has the time that the peer needs to write its journal, whatever the deadline of ctx. On an error this side does not have it; should the answer of the peer have been lost, the peer's
// side has it and makes room for the next attempt.
func (s *Site) CreatePair(ctx context.Context, spec PairSpec) error {
	if spec.RemoteVolume == "" {
		spec.RemoteVolume = spec.Volume
	}
	if spec.Group == "" {
		spec.Group = defaultGroup
	}
	if len(spec.Options) > 0 {
		o, err := withOptions(pairOptions, defaultPairOptions(), "pair "+spec.Name, spec.Options)
		if err != nil {
			return err
		}
		spec.Options = mergeOptions(pairOptions, nil, o, spec.Options)
	}
	v, g, made, err := s.claim(spec)
	if err != nil {
		return err
	}
	defer s.unclaim(spec)
	err = s.createIn(ctx, g, v, spec)
	if err != nil && made {
		s.wg.Go(func() { s.dropGroup(g) }) // it was made for this pair
	}
	return err
}

// createIn makes the pair in its group.
func (s *Site) createIn(ctx context.Context, g *group, v *Volume, spec PairSpec) error {
	g.cmd.Lock()
	defer g.cmd.Unlock()
	if s.groupByName(g.name) != g {
		return refuse(KindNotFound, "group %s was deleted meanwhile", g.name)
	}
	if err := errors.Join(g.serves(), g.checkJoin(spec)); err != nil {
		return err
	}
	return s.createPair(ctx, g, v, spec)
}

// claim checks a create and keeps pair name and volume for it; no lock is held while the peer is asked.
func (s *Site) claim(spec PairSpec) (v *Volume, g *group, made bool, err error) {
	s.cmd.Lock()
	defer s.cmd.Unlock()
	s.awaitMade(spec.Group)
	v, err = s.checkCreate(spec)
	if err != nil {
		return nil, nil, false, err
	}
	s.claimed["pair "+spec.Name], s.claimed["volume "+spec.Volume] = true, true
	defer func() {
		if err != nil {
			s.letName(spec)
		}
	}()
	g = s.groupByName(spec.Group)
	if g == nil {
		if spec.Group != defaultGroup {
			return nil, nil, false, refuse(KindNotFound, "there is no group %s: create it (pairfs group create %s), or leave the group out to use %s", spec.Group, spec.Group, defaultGroup)
		}
		if g, err = s.addGroup(defaultGroup, groupRecord{Role: RoleNone}); err != nil {
			return nil, nil, false, err
		}
		made = true
	}
	return v, g, made, nil
}

func (s *Site) unclaim(spec PairSpec) {
	s.cmd.Lock()
	defer s.cmd.Unlock()
	s.letName(spec)
}

// letName lets go of what a create claimed. Site.cmd is held.
func (s *Site) letName(spec PairSpec) {
	delete(s.claimed, "pair "+spec.Name)
	delete(s.claimed, "volume "+spec.Volume)
}

// checkCreate refuses what cannot be paired, before anything is done.
func (s *Site) checkCreate(spec PairSpec) (*Volume, error) {
	if err := checkName("pair", spec.Name); err != nil {
		return nil, err
	}
	if reservedNames[spec.Name] {
		return nil, refuse(KindInvalid, "pair name %q is the name of a control file: choose another", spec.Name)
	}
	if err := checkName("volume", spec.RemoteVolume); err != nil {
		return nil, err
	}
	paired := s.pairOf(spec.Volume)
	s.mu.RLock()
	defer s.mu.RUnlock()
	if p := s.pairs[spec.Name]; p != nil {
		return nil, refuse(KindExists, "pair %s exists already, on volume %s: choose another name, or delete it first", spec.Name, p.rec.Volume)
	}
	if s.claimed["pair "+spec.Name] || s.claimed["volume "+spec.Volume] {
		return nil, refuse(KindBusy, "pair %s or a pair of volume %s is being created at this moment", spec.Name, spec.Volume)
	}
	v := s.volumes[spec.Volume]
	if v == nil {
		return nil, refuse(KindNotFound, "there is no volume %s: make it first (truncate -s SIZE, or cp a disk image into the mount)", spec.Volume)
	}
	if paired != "" {
		return nil, refuse(KindBusy, "volume %s is in pair %s already: a volume is in one pair at most", spec.Volume, paired)
	}
	if v.reserved != "" {
		return nil, refuse(KindBusy, "volume %s is set aside as an S-VOL for peer %s: release it first (pairfs volume release %s)", spec.Volume, v.reserved, spec.Volume)
	}
	if v.Size() == 0 {
		return nil, refuse(KindInvalid, "volume %s has no size: give it one first (truncate -s SIZE)", spec.Volume)
	}
	if s.peers[spec.Peer] == nil {
		return nil, refuse(KindNotFound, "there is no peer %q: add it first (pairfs peer add %s HOST:PORT KEY)", spec.Peer, spec.Peer)
	}
	if len(s.pairs) >= pairsMax {
		return nil, refuse(KindNoSpace, "the site has %d pairs, which is the most", len(s.pairs))
	}
	return v, nil
}

// checkJoin refuses a pair that does not fit to the group's mirror.
func (g *group) checkJoin(spec PairSpec) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case g.failed != "":
		return refuse(KindBusy, "the journal of group %s failed: restart pairfs when its disk is mended, or use another group", g.name)
	case g.role == Secondary:
		return refuse(KindBusy, "group %s is a restore group of peer %s: use another group", g.name, g.rec.Peer)
	case len(g.pairs) > 0 && g.rec.Peer != spec.Peer:
		return refuse(KindBusy, "group %s is mirrored to peer %s and a group has one mirror: use another group for peer %s", g.name, g.rec.Peer, spec.Peer)
	case len(g.pairs) >= pairsGroup:
		return refuse(KindNoSpace, "group %s has %d pairs, which is the most", g.name, len(g.pairs))
	}
	return nil
}

func (s *Site) createPair(ctx context.Context, g *group, v *Volume, spec PairSpec) error {
	in := CmdCreateFull
	if spec.CopyNone {
		in = CmdCreateNone
	}
	out := Step(PairState{}, in)
	var gen [8]byte
	_, _ = rand.Read(gen[:])
	g.mu.Lock()
	rec := pairRecord{
		State: out.State, Volume: spec.Volume, RemoteVolume: spec.RemoteVolume, Peer: spec.Peer, Group: g.name, CopyNone: spec.CopyNone,
		Number: g.rec.NextPair + 1, Generation: binary.LittleEndian.Uint64(gen[:]) | 1, Size: v.Size(), StopSeq: noStop, Since: s.wall(), Options: spec.Options,
	}
	g.mu.Unlock()
	req := &quicwire.CreatePair{
		Pair: spec.Name, Group: g.name, Volume: spec.RemoteVolume, Number: rec.Number, Size: uint64(rec.Size), Generation: rec.Generation,
		JournalSize: uint64(g.journalSize()),
	}
	if spec.CopyNone {
		req.Copy = quicwire.CopyNone
	}
	o, _ := stored(pairOptions, defaultPairOptions(), spec.Options)
	req.ErrorLevel = uint8(o.ErrorLevel)
	if err := v.store.sync(); err != nil { // most of it now, so that hosts wait less below
		return v.storeError(err, "flushed", 0)
	}
	// The peer may have to write a journal first, which takes longer than any other command may.
	limit := createTimeout(int64(req.JournalSize))
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), limit+requestTimeout)
	defer cancel()
	if err := s.ask(ctx, spec.Peer, req, limit); err != nil {
		if k := KindOf(err); k == KindTimeout || k == KindUnreachable {
			s.wg.Go(func() { s.undoCreate(spec, rec.Generation) }) // it may be on its way there
		}
		return err
	}
	err := s.joinPair(ctx, g, v, spec.Name, rec)
	if err != nil {
		if e := s.askUndo(spec, rec.Generation); e != nil {
			err = fmt.Errorf("%w; the S-VOL's side could not be told: delete pair %s at %s too", err, spec.Name, spec.Peer)
		}
	}
	return err
}

// undoCreate takes back what a create whose answer was lost may have made at the peer. What it cannot reach is replaced by the next create
// of the pair, or deleted there.
func (s *Site) undoCreate(spec PairSpec, generation uint64) { _ = s.askUndo(spec, generation) }

// askUndo asks the peer to delete its side of a pair that is not made here.
func (s *Site) askUndo(spec PairSpec, generation uint64) error {
	undo := &quicwire.DeletePair{Pairs: []quicwire.PairRef{{Name: spec.Name, Generation: generation}}}
	return s.ask(s.ctx, spec.Peer, undo, requestTimeout)
}

// createTimeout leaves the peer time to make a journal of that size.
func createTimeout(journal int64) time.Duration {
	return requestTimeout + time.Duration(journal>>26)*time.Second
}

// joinPair takes the volume into the group, with hosts waiting: what was written before is in the store and flushed, what comes behind
// the start record is replicated, and the pair is in the database before the first write is journaled.
func (s *Site) joinPair(ctx context.Context, g *group, v *Volume, name string, rec pairRecord) error {
	v.mode.Lock()
	defer v.mode.Unlock()
	if v.att != nil || v.Size() != rec.Size {
		return refuse(KindBusy, "volume %s changed while pair %s was being created: try again", v.name, name)
	}
	if err := v.store.truncate(rec.Size); err != nil {
		return v.storeError(err, "set to its size", rec.Size)
	}
	if err := v.store.sync(); err != nil {
		return v.storeError(err, "flushed", 0)
	}
	g.mu.Lock()
	first := len(g.pairs) == 0
	if first {
		g.role, g.rec.Role, g.rec.Peer = Primary, Primary, rec.Peer
		g.rec.PeerGroup = g.name + "@" + s.cfg.Name
	}
	g.rec.NextPair = rec.Number
	g.mu.Unlock()
	state := rec.State
	rec.State = PairState{Role: Primary} // no session looks at it before it has started
	p := g.attach(v, name, rec)
	fail := func(err error) error {
		g.detach(p)
		return err
	}
	if !rec.CopyNone {
		p.att.bits.fill()
	}
	defer g.letGo()
	r, err := g.startPairs(ctx, []*pair{p})
	if err != nil {
		return fail(err)
	}
	g.mu.Lock()
	p.rec.State = state
	p.copyStart = time.Now()
	g.mu.Unlock()
	err = g.commit([]*attachment{p.att}, func(tx *bolt.Tx) error {
		g.mu.Lock()
		defer g.mu.Unlock()
		return errors.Join(put(tx, bucketPairs, name, p.rec), put(tx, bucketGroups, g.name, g.rec))
	})
	if err != nil {
		return fail(fault(KindInternal, err, "pair %s could not be stored", name))
	}
	g.mu.Lock()
	p.applyAccess()
	g.mu.Unlock()
	s.mu.Lock()
	s.pairs[name] = p
	s.mu.Unlock()
	g.setting.Add(1)
	g.afterStart(ctx, r, []*pair{p})
	g.announce(p, change{in: CmdCreateFull, by: callerOf(ctx)})
	g.tell()
	return nil
}
