package replica

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"time"

	bolt "go.etcd.io/bbolt"

	"pairfs/journal"
	"pairfs/quicwire"
)

// PairSpec says what pair to create.
type PairSpec struct {
	Name, Volume, Peer string
	RemoteVolume       string // "" = the same name as Volume
	Group              string // "" = "default"
	CopyNone           bool   // the volumes are equal already: no initial copy
}

// SuspendOptions says how to suspend.
type SuspendOptions struct {
	Purge     bool // at once; what the peer has not restored is marked instead of sent
	SVOLWrite bool // hosts may write the S-VOL afterwards
}

// DeleteOptions says how to delete.
type DeleteOptions struct {
	Force bool // this side only, whatever the other says
}

// defaultGroup is the group of pairs that name none.
const defaultGroup = "default"

// reservedNames are the fixed names of the control files.
var reservedNames = map[string]bool{"site": true, "pairs": true, "events": true, "metrics": true, "groups": true, "peers": true, "volumes": true}

// checkName refuses names that are no safe file names. what is the word for the thing. A group that was made on demand has an @ in it.
func checkName(what, name string) error {
	ok := name != "" && len(name) <= nameMax && name[0] != '.'
	for _, r := range name {
		ok = ok && (r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("._-", r) || what == "group" && r == '@')
	}
	if !ok {
		return refuse(KindInvalid, "%s name %q: 1 to %d letters, digits, '.', '_' or '-', not beginning with '.'", what, name, nameMax)
	}
	return nil
}

// CreatePair makes a pair of a local volume, the P-VOL, and one on the peer, the S-VOL. It returns when both sides have it durably; the
// initial copy goes on in the background. On an error this side does not have it; should the answer of the peer have been lost, the peer's
// side has it and makes room for the next attempt.
func (s *Site) CreatePair(ctx context.Context, spec PairSpec) error {
	if spec.RemoteVolume == "" {
		spec.RemoteVolume = spec.Volume
	}
	if spec.Group == "" {
		spec.Group = defaultGroup
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
	if err := g.checkJoin(spec); err != nil {
		return err
	}
	return s.createPair(ctx, g, v, spec)
}

// claim checks a create and keeps pair name and volume for it; no lock is held while the peer is asked.
func (s *Site) claim(spec PairSpec) (v *Volume, g *group, made bool, err error) {
	s.cmd.Lock()
	defer s.cmd.Unlock()
	v, err = s.checkCreate(spec)
	if err != nil {
		return nil, nil, false, err
	}
	g = s.groupByName(spec.Group)
	if g == nil {
		if spec.Group != defaultGroup {
			return nil, nil, false, refuse(KindNotFound, "there is no group %s: create it (pairfs group create %s), or leave the group out to use %s", spec.Group, spec.Group, defaultGroup)
		}
		if g, err = s.addGroup(defaultGroup, RoleNone, 0, 0); err != nil {
			return nil, nil, false, err
		}
		made = true
	}
	s.claimed["pair "+spec.Name], s.claimed["volume "+spec.Volume] = true, true
	return v, g, made, nil
}

func (s *Site) unclaim(spec PairSpec) {
	s.cmd.Lock()
	defer s.cmd.Unlock()
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
		return nil, refuse(KindBusy, "volume %s is set aside as an S-VOL for peer %s: release it first (echo release > .ctl/volumes/%s)", spec.Volume, v.reserved, spec.Volume)
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

// pairOf gives the name of the pair that the volume of that name is in, "" if there is none.
func (s *Site) pairOf(volume string) string {
	v, err := s.Volume(volume)
	if err != nil {
		return ""
	}
	v.mode.RLock()
	defer v.mode.RUnlock()
	if v.att == nil {
		return ""
	}
	return v.att.pair.name
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
		Number: g.rec.NextPair + 1, Generation: binary.LittleEndian.Uint64(gen[:]) | 1, Size: v.Size(), StopSeq: noStop, Since: time.Now(),
	}
	g.mu.Unlock()
	req := &quicwire.CreatePair{
		Pair: spec.Name, Group: g.name, Volume: spec.RemoteVolume, Number: rec.Number, Size: uint64(rec.Size), Generation: rec.Generation,
		JournalSize: uint64(g.rec.Size * int64(g.rec.Volumes)),
	}
	if spec.CopyNone {
		req.Copy = quicwire.CopyNone
	}
	if err := v.store.sync(); err != nil { // most of it now, so that hosts wait less below
		return v.storeError(err, "flushed", 0)
	}
	if err := s.ask(ctx, spec.Peer, req, createTimeout(int64(req.JournalSize))); err != nil {
		if k := KindOf(err); k == KindTimeout || k == KindUnreachable {
			s.wg.Go(func() { s.undoCreate(spec, rec.Generation) }) // it may be on its way there
		}
		return err
	}
	err := s.joinPair(ctx, g, v, spec.Name, rec)
	if err != nil {
		undo := &quicwire.DeletePair{Pair: spec.Name, Generation: rec.Generation}
		if e := s.ask(s.ctx, spec.Peer, undo, requestTimeout); e != nil {
			err = fmt.Errorf("%w; the S-VOL's side could not be told: delete pair %s at %s too", err, spec.Name, spec.Peer)
		}
	}
	return err
}

// undoCreate takes back what a create whose answer was lost may have made at the peer. What it cannot reach is replaced by the next create
// of the pair, or deleted there.
func (s *Site) undoCreate(spec PairSpec, generation uint64) {
	_ = s.ask(s.ctx, spec.Peer, &quicwire.DeletePair{Pair: spec.Name, Generation: generation}, requestTimeout)
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
	g.afterStart(ctx, r, []*pair{p})
	g.announce(p, "")
	g.tell()
	return nil
}

// ask makes a request whose answer is a plain result.
func (s *Site) ask(ctx context.Context, peer string, req quicwire.Frame, limit time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	_, err := s.endpoint.Request(ctx, peer, req)
	return s.remoteError(peer, err)
}

// remoteError translates what a request to a peer came back with.
func (s *Site) remoteError(peer string, err error) error {
	var remote *quicwire.RemoteError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &remote):
		return refuse(kindOfResult(remote.Code), "%s refused: %s", peer, remote.Message)
	case errors.Is(err, quicwire.ErrUnreachable), errors.Is(err, quicwire.ErrConnectionLost):
		return fault(KindUnreachable, err, "peer %s cannot be reached; nothing was changed here", peer)
	case errors.Is(err, context.DeadlineExceeded):
		return fault(KindTimeout, err, "peer %s did not answer in time; nothing was changed here", peer)
	case errors.Is(err, context.Canceled):
		return err
	}
	return fault(KindInternal, err, "the request to peer %s failed; nothing was changed here", peer)
}

// SuspendPair splits one pair; [Site.SuspendGroup] splits all of a group at one sequence number.
func (s *Site) SuspendPair(ctx context.Context, name string, o SuspendOptions) error {
	return s.onPairs(name, func(g *group, pairs []*pair) error { return g.suspend(ctx, pairs, o) })
}

// SuspendGroup splits all pairs of a group at one sequence number.
func (s *Site) SuspendGroup(ctx context.Context, name string, o SuspendOptions) error {
	return s.onGroup(name, func(g *group, pairs []*pair) error { return g.suspend(ctx, pairs, o) })
}

func (g *group) suspend(ctx context.Context, pairs []*pair, o SuspendOptions) error {
	in, opt := CmdSuspend, runOptions{typ: PVOLByOperator, writable: o.SVOLWrite}
	if o.Purge {
		in = CmdPurge
	}
	if g.role == Secondary {
		opt.typ = SVOLByOperator
		if err := g.allowWrites(pairs, o); err != nil {
			return err
		}
	} else if o.Purge && o.SVOLWrite {
		return refuse(KindInvalid, "svol-write=enable goes with a flush, or is given at the secondary: leave mode=purge out")
	}
	return g.run(ctx, in, pairs, opt)
}

// allowWrites changes svol-write of S-VOLs that are split already. The primary may be out of reach; what hosts write here is marked here
// and is overwritten by the next resync.
func (g *group) allowWrites(pairs []*pair, o SuspendOptions) error {
	if !o.SVOLWrite {
		return nil
	}
	for _, p := range pairs {
		g.mu.Lock()
		split := p.rec.State.Status.suspended()
		if split {
			p.rec.State.SVOLWrite = true
			p.applyAccess()
		}
		g.mu.Unlock()
		if split {
			if err := g.persist(p); err != nil {
				return fault(KindInternal, err, "pair %s: svol-write could not be stored", p.name)
			}
		}
	}
	return nil
}

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

// DeletePair ends a pair: on the primary both sides go back to SMPL, on the secondary this side does and the primary is suspended. With
// Force this side goes whatever the other does.
func (s *Site) DeletePair(ctx context.Context, name string, o DeleteOptions) error {
	return s.onPairs(name, func(g *group, pairs []*pair) error { return g.deletePairs(ctx, pairs, o) })
}

func (g *group) deletePairs(ctx context.Context, pairs []*pair, o DeleteOptions) error {
	in := CmdDelete
	if o.Force {
		in = CmdForceDelete
	}
	return g.run(ctx, in, pairs, runOptions{ask: g.askDelete})
}

// askDelete asks the peer to delete pairs. One that it does not have is deleted there already.
func (g *group) askDelete(ctx context.Context, pairs []*pair) error {
	for _, p := range pairs {
		g.mu.Lock()
		req := &quicwire.DeletePair{Pair: p.name, Generation: p.rec.Generation}
		peer := p.rec.Peer
		g.mu.Unlock()
		err := g.site.ask(ctx, peer, req, requestTimeout)
		if err != nil && KindOf(err) != KindNotFound {
			return fmt.Errorf("%w; to delete this side alone use mode=force", err)
		}
	}
	return nil
}

// onPairs runs a command on the pair of that name, onGroup on all pairs of a group, with the group's command lock held.
func (s *Site) onPairs(name string, fn func(*group, []*pair) error) error {
	p := s.pairByName(name)
	if p != nil {
		p.group.cmd.Lock()
		defer p.group.cmd.Unlock()
	}
	if p == nil || s.pairByName(name) != p {
		return refuse(KindNotFound, "there is no pair %s: `pairfs pair list` shows the pairs of this site", name)
	}
	return s.remember(p, fn(p.group, []*pair{p}))
}

func (s *Site) onGroup(name string, fn func(*group, []*pair) error) error {
	g := s.groupByName(name)
	if g == nil {
		return refuse(KindNotFound, "there is no group %s: `pairfs group list` shows the groups of this site", name)
	}
	g.cmd.Lock()
	defer g.cmd.Unlock()
	pairs := g.allPairs()
	if len(pairs) == 0 {
		return refuse(KindBusy, "group %s has no pairs", name)
	}
	return fn(g, pairs)
}

// remember keeps a refusal as the pair's last error.
func (s *Site) remember(p *pair, err error) error {
	p.group.mu.Lock()
	defer p.group.mu.Unlock()
	switch {
	case err != nil:
		p.rec.LastError = err.Error()
	case !p.rec.State.Status.suspended():
		p.rec.LastError = "" // what a suspended pair has says why it is
	}
	return err
}
