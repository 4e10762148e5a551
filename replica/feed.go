package replica

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"pairfs/journal"
	"pairfs/quicwire"
)

// feedSession answers the read-journal requests of one mirror session, on the primary. It sends what is durable here and nothing else:
// a peer must never hold what a power cut could take from this side.
type feedSession struct {
	g      *group
	peer   string
	id     uint64 // of the session, as the peer chose it
	stream *quicwire.MirrorStream
	ctx    context.Context
	cancel context.CancelFunc
	wake   chan struct{}
	marks  bool              // the peer knows of markers
	knows  quicwire.Features // of both sides

	// Owned by the sending goroutine.
	ordinal uint64
	sent    atomic.Uint64 // bytes of batch data in this session; read by who receives
	lastSeq journal.Seq   // written under g.mu too
	cursor  *journal.Cursor
	baseAt  time.Time // the copy leaves the store alone until then
	buf     []byte
	out     []byte
	packer  packer
	scratch []byte      // for packing
	parts   []sentPart  // what out has of each volume
	counted journal.Seq // records up to here were counted in a session before

	paths  feedPaths
	failed atomic.Pointer[error] // why the session was ended by one of its goroutines

	begun     atomic.Uint64 // ordinal of the last batch that was begun to be sent
	confirmed uint64        // guarded by g.mu: that of the last batch that is durable at the peer

	budget  uint64   // guarded by g.mu
	flights []flight // guarded by g.mu: batches that are not confirmed, oldest first, since there are further paths
	flying  int64    // guarded by g.mu: bytes of these
	bases   []base   // guarded by g.mu: base records not restored by the peer yet, oldest first
	states  []quicwire.PairState
	options quicwire.MirrorOptions // that the peer was told
	setting uint64                 // the count of group.setting at which it was told what is set
	handed  map[uint32]*quicwire.MirrorSettings
	lag     *quicwire.MirrorLag // that the peer is to be told, guarded by g.mu
	lagged  bool                // it was told of some lag last, guarded by g.mu
}

// ServeMirror implements [quicwire.Handler]: a secondary opens a mirror toward this site.
func (s *Site) ServeMirror(ctx context.Context, peer string, open *quicwire.MirrorOpen, stream *quicwire.MirrorStream) {
	turning := s.turning(open.Group) // before the roles are looked at: it may end at any moment
	g, err := s.mirrorGroup(peer, open)
	if err != nil {
		switch {
		case turning: // the peer gave its role up and opens the mirror before this side has taken the role
			s.log.Debug("mirror refused while the roles are exchanged", "group", open.Group, "peer", peer, "reason", err)
		case KindOf(err) != KindBusy && s.firstIn(time.Minute, "mirror "+peer+" "+open.Group):
			s.tellOf(peer, slog.LevelWarn, "peer/"+peer, "", "mirror of group %q refused: %v", open.Group, err)
		}
		refusal := &quicwire.MirrorAccept{Code: resultCode(KindOf(err)), Message: err.Error(), Session: open.Session}
		if g := s.groupByName(open.Group); g != nil && g.held.Load() == nil {
			refusal.Pairs = g.meetSecondary(peer, open.Pairs)
		}
		_ = stream.Send(ctx, refusal)
		return
	}
	f := &feedSession{g: g, peer: peer, id: open.Session, stream: stream, wake: make(chan struct{}, 1), knows: stream.Agreement().Features}
	f.marks = f.knows&quicwire.FeatureMark != 0
	f.ctx, f.cancel = context.WithCancel(ctx)
	defer f.cancel()
	stop := context.AfterFunc(g.ctx, f.cancel)
	defer stop()
	g.cmd.Lock() // no transition is half done when the sides compare their states
	accept, err := f.begin(open)
	g.cmd.Unlock()
	if err == nil {
		err = f.run(accept)
	}
	g.mu.Lock()
	mine := g.session == f
	if mine {
		g.session = nil
		g.setLinked(false)
		for _, p := range g.pairs {
			p.endCopy()
		}
	}
	g.mu.Unlock()
	if mine && err != nil && g.ctx.Err() == nil && !errors.Is(err, context.Canceled) {
		s.log.Info("mirror session ended", "group", g.name, "peer", peer, "reason", err)
	}
}

// turning reports whether a takeover of the group of that name, or an exchange of its roles, is under way at this side.
func (s *Site) turning(name string) bool {
	g := s.groupByName(name)
	if g == nil {
		return false
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.taking
}

// mirrorGroup finds the master group that the peer means and may have.
func (s *Site) mirrorGroup(peer string, open *quicwire.MirrorOpen) (*group, error) {
	g := s.groupByName(open.Group)
	if g == nil {
		return nil, refuse(KindNotFound, "site %s has no group %s", s.cfg.Name, open.Group)
	}
	if e := g.held.Load(); e != nil {
		return nil, refuse(KindInternal, "%v", e) // neither busy nor not found, which say that the pairs are gone
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.pairs) == 0 && (g.role == RoleNone || g.role == Primary) {
		return nil, refuse(KindBusy, "group %s of site %s has no pairs yet", open.Group, s.cfg.Name)
	}
	if g.role != Primary || g.rec.Peer != peer {
		return nil, refuse(KindAccess, "group %s of site %s is not replicated to site %s", g.name, s.cfg.Name, peer)
	}
	return g, nil
}

// run carries the session until it ends.
func (f *feedSession) run(accept *quicwire.MirrorAccept) error {
	if err := f.stream.Send(f.ctx, accept); err != nil {
		return err
	}
	f.g.mu.Lock()
	known := f.g.pathsGood
	f.g.mu.Unlock()
	f.paths.begin(known)
	done := make(chan struct{}, 2)
	go func() { defer func() { done <- struct{}{} }(); f.receive() }()
	go func() { defer func() { done <- struct{}{} }(); f.watchDurable() }()
	err := f.send()
	f.cancel()
	<-done
	<-done
	f.paths.end(f.g.site)
	if e := f.failed.Load(); e != nil && errors.Is(err, context.Canceled) {
		err = *e
	}
	return err
}

// begin takes the place of an older session, compares both sides' states and finds where to go on.
func (f *feedSession) begin(open *quicwire.MirrorOpen) (*quicwire.MirrorAccept, error) {
	g := f.g
	g.mu.Lock()
	if g.role != Primary || g.rec.Peer != f.peer { // the roles were exchanged while this waited for cmd
		g.mu.Unlock()
		return nil, refuse(KindAccess, "group %s of site %s is not replicated to site %s any more", g.name, g.site.cfg.Name, f.peer)
	}
	if g.site.ending.Load() { // the peer may have heard of that, and would take this for the site being back
		g.mu.Unlock()
		return nil, refuse(KindInternal, "site %s is being switched off", g.site.cfg.Name)
	}
	if err := g.checkAhead(journal.Seq(open.DurableSeq)); err != nil {
		g.mu.Unlock()
		return nil, err
	}
	if g.session != nil {
		g.session.cancel()
	}
	g.session = f
	known := g.peerDurable
	g.cutSent(journal.Seq(open.DurableSeq))
	g.peerDurable = max(g.peerDurable, journal.Seq(open.DurableSeq))
	for _, p := range g.pairs {
		p.endCopy()
		p.att.passed = journal.Seq(open.DurableSeq) // what an older session sent is there by now or never
	}
	g.compare(open.Pairs, false)
	f.lastSeq = journal.Seq(open.DurableSeq)
	g.opened(f.lastSeq > known || f.lastSeq >= g.journal.Marks().DurableSeq)
	accept := &quicwire.MirrorAccept{Session: open.Session, Pairs: g.wireStates(f.knows)}
	f.states = accept.Pairs
	behind := journal.Seq(open.DurableSeq) < g.peerRestore && g.active() && !g.startsAfter(journal.Seq(open.DurableSeq))
	g.mu.Unlock()
	if behind {
		return nil, f.peerLostJournal(journal.Seq(open.DurableSeq))
	}
	if err := g.payJournal(f.ctx, journal.Seq(open.DurableSeq)); err != nil {
		return nil, err
	}
	f.counted = g.paidUpTo()
	accept.JournalTime = uint64(g.site.wall().UnixNano())
	return accept, nil
}

// checkAhead refuses a secondary that names a number which was never given here: its restore journal belongs to another history of a group
// of this name, and what it says of numbers would free records and end copies that it never saw. Requires mu.
func (g *group) checkAhead(seq journal.Seq) error {
	last := g.journal.Marks().LastSeq
	if seq <= last {
		return nil
	}
	err := fmt.Errorf("the restore group at %s is at sequence number %d, this group only at %d: it belongs to another group of this name; delete its pairs there, then these, and create them again", g.rec.Peer, seq, last)
	if text := err.Error(); text != g.mirrorError {
		g.mirrorError = text
		g.site.events.add(slog.LevelError, g.object(), "the mirror is refused: %s", text)
	}
	return err
}

// startsAfter reports whether every replicated pair begins behind seq. Requires mu.
func (g *group) startsAfter(seq journal.Seq) bool {
	for _, p := range g.pairs {
		if p.rec.State.Status.active() && p.rec.StartSeq <= seq+1 {
			return false
		}
	}
	return true
}

// peerLostJournal deals with a secondary that does not hold any more what it said it had: nothing is known, so everything is marked.
func (f *feedSession) peerLostJournal(seq journal.Seq) error {
	for _, p := range f.g.allPairs() {
		f.g.report(fact{pair: p, input: EvPeerError, fill: true,
			text: fmt.Sprintf("the secondary is at sequence number %d, behind what it had confirmed: it lost its journal or its database; the whole volume is marked, resync copies it", seq)})
	}
	return fmt.Errorf("group %s: the secondary is behind what it had confirmed", f.g.name)
}

// tell sends this side's states on the session, if there is one; without one the next session begins with them.
func (g *group) tell() {
	g.mu.Lock()
	feed, pull := g.session, g.pulling
	g.moves()
	g.mu.Unlock()
	if feed != nil {
		kick(feed.wake)
	}
	if pull != nil {
		pull.tell()
	}
}

// tellFirst lets the next thing that a secondary sends be its states: they say of a pair that what the marks behind them pass over is not
// restored to its volume. Requires mu.
func (g *group) tellFirst() {
	if g.pulling != nil {
		g.pulling.tell()
	}
}

// receive takes the secondary's requests, marks and states.
func (f *feedSession) receive() {
	defer f.cancel()
	for {
		fr, err := f.stream.Recv(f.ctx)
		if err != nil {
			return
		}
		switch m := fr.(type) {
		case *quicwire.ReadJournal:
			if !f.request(m) {
				continue
			}
		case *quicwire.PairStates:
			f.g.mu.Lock()
			if f.g.session == f { // else it may be about roles that were exchanged since
				f.g.spoke()
				f.g.compare(m.Pairs, false)
			}
			f.g.mu.Unlock()
		default:
			return
		}
		kick(f.wake)
	}
}

// request takes the budget and the marks of one read-journal request, and reports whether the sender may have waited for it: for room, or for the
// end of a copy. What becomes durable wakes it otherwise, see watchDurable.
func (f *feedSession) request(m *quicwire.ReadJournal) (awaited bool) {
	g := f.g
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.session != f {
		return false
	}
	awaited = f.sent.Load() >= f.budget || len(f.bases) > 0 || f.ahead()
	f.budget = max(f.budget, m.Budget)
	g.peerDurable = max(g.peerDurable, min(journal.Seq(m.DurableSeq), f.lastSeq)) // it cannot have more than it was sent
	if m.Durable > f.confirmed && m.Durable <= f.begun.Load() {
		f.confirmed = m.Durable
		f.landed()
		g.worded()
	}
	before := g.peerRestore
	g.peerRestore = max(g.peerRestore, min(journal.Seq(m.RestoredSeq), f.lastSeq))
	g.countHeld()
	g.moves()
	if g.peerRestore > before && g.journal.Usage().Used > g.journal.Usage().Capacity/2 {
		g.kickCheckpoint()
	}
	g.paySent()
	f.settleBases(m.Durable, m.Restored)
	g.usage.asked(g.peerDurable)
	kick(g.watchReq) // a flush or a copy may be complete now
	return awaited
}

// watchDurable wakes the sender when there is more to send, at most once in gatherTime.
func (f *feedSession) watchDurable() {
	at := f.g.journal.Marks().Durable
	for {
		next, err := f.g.journal.WaitDurable(f.ctx, at)
		if err != nil {
			return
		}
		at = next
		f.g.timeReply()
		kick(f.wake)
		if pause(f.ctx, gatherTime) != nil {
			return
		}
	}
}

// send is the session's loop: updates first, base records between them, states when they change.
func (f *feedSession) send() error {
	f.buf = make([]byte, batchMax)
	updates := 0
	for {
		if err := errors.Join(f.sendStates(), f.steer()); err != nil {
			return err
		}
		sent, held := false, false
		var later <-chan time.Time
		if may := f.mayFeed(); may && !f.room() {
			held = true
		} else if may {
			var err error
			wantBase := f.baseWaiting()
			if wantBase && time.Until(f.baseAt) > 0 {
				later, wantBase = time.After(time.Until(f.baseAt)), false
			}
			if !wantBase || updates < paceShares[f.g.opts.Load().CopyPace].updates {
				if sent, err = f.sendUpdates(); err != nil {
					return err
				}
				updates++
			}
			if !sent && wantBase {
				if sent, err = f.sendBase(); err != nil {
					return err
				}
				updates = 0
			}
		}
		if sent {
			continue
		}
		began := time.Now()
		select {
		case <-f.wake:
		case <-later:
		case <-f.ctx.Done():
			return f.ctx.Err()
		}
		if held {
			f.paths.busy += time.Since(began)
		}
	}
}

func (f *feedSession) room() bool {
	f.g.mu.Lock()
	defer f.g.mu.Unlock()
	return f.sent.Load() < f.budget && !f.ahead()
}

// mayFeed reports whether there is a pair that wants records, and finds the place in the journal to go on from: where the peer stopped, or
// the start record behind it when nothing in between is wanted.
func (f *feedSession) mayFeed() bool {
	g := f.g
	g.mu.Lock()
	first := noStop
	for _, p := range g.pairs {
		if p.rec.State.Status.active() && p.rec.StartSeq != 0 && p.rec.StopSeq > f.lastSeq {
			first = min(first, p.rec.StartSeq)
		}
	}
	g.mu.Unlock()
	if first == noStop || first > f.lastSeq+1 {
		f.cursor = nil
	}
	if first == noStop || f.cursor != nil {
		return first != noStop
	}
	pos, err := g.journal.Find(max(first, f.lastSeq+1))
	if err != nil {
		g.unreadable(err)
		return false
	}
	f.cursor = g.journal.NewCursor(pos)
	return true
}
