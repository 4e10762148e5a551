package replica

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"pairfs/journal"
	"pairfs/quicwire"
)

// feedSession answers the read-journal requests of one mirror session, on the primary. It sends what is durable here and nothing else:
// a peer must never hold what a power cut could take from this side.
type feedSession struct {
	g      *group
	peer   string
	stream *quicwire.MirrorStream
	ctx    context.Context
	cancel context.CancelFunc
	wake   chan struct{}

	// Owned by the sending goroutine.
	ordinal uint64
	sent    uint64      // bytes of batch data in this session
	lastSeq journal.Seq // written under g.mu too
	cursor  *journal.Cursor
	buf     []byte
	out     []byte

	budget uint64 // guarded by g.mu
	bases  []base // guarded by g.mu: base records not restored by the peer yet, oldest first
	states []quicwire.PairState
}

// ServeMirror implements [quicwire.Handler]: a secondary opens a mirror toward this site.
func (s *Site) ServeMirror(ctx context.Context, peer string, open *quicwire.MirrorOpen, stream *quicwire.MirrorStream) {
	g, err := s.mirrorGroup(peer, open)
	if err != nil {
		if KindOf(err) != KindBusy && s.firstIn(time.Minute, "mirror "+peer+" "+open.Group) {
			s.events.add(slog.LevelWarn, "peer/"+peer, "mirror of group %q refused: %v", open.Group, err)
		}
		_ = stream.Send(ctx, &quicwire.MirrorAccept{Code: resultCode(KindOf(err)), Message: err.Error(), Session: open.Session})
		return
	}
	f := &feedSession{g: g, peer: peer, stream: stream, wake: make(chan struct{}, 1)}
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
			p.copier = nil
		}
	}
	g.mu.Unlock()
	if mine && err != nil && g.ctx.Err() == nil && !errors.Is(err, context.Canceled) {
		s.log.Info("mirror session ended", "group", g.name, "peer", peer, "reason", err)
	}
}

// mirrorGroup finds the master group that the peer means and may have.
func (s *Site) mirrorGroup(peer string, open *quicwire.MirrorOpen) (*group, error) {
	g := s.groupByName(open.Group)
	if g == nil {
		return nil, refuse(KindNotFound, "site %s has no group %s", s.cfg.Name, open.Group)
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

// watchAnew lets path watch time begin now if the mirror is down: until now there may have been no pair that missed it. Requires mu.
func (g *group) watchAnew() {
	if !g.linked {
		g.linkChange = time.Now()
	}
}

// run carries the session until it ends.
func (f *feedSession) run(accept *quicwire.MirrorAccept) error {
	if err := f.stream.Send(f.ctx, accept); err != nil {
		return err
	}
	done := make(chan struct{}, 2)
	go func() { defer func() { done <- struct{}{} }(); f.receive() }()
	go func() { defer func() { done <- struct{}{} }(); f.watchDurable() }()
	err := f.send()
	f.cancel()
	<-done
	<-done
	return err
}

// begin takes the place of an older session, compares both sides' states and finds where to go on.
func (f *feedSession) begin(open *quicwire.MirrorOpen) (*quicwire.MirrorAccept, error) {
	g := f.g
	g.mu.Lock()
	if err := g.checkAhead(journal.Seq(open.DurableSeq)); err != nil {
		g.mu.Unlock()
		return nil, err
	}
	if g.session != nil {
		g.session.cancel()
	}
	g.session = f
	g.peerDurable = max(g.peerDurable, journal.Seq(open.DurableSeq))
	for _, p := range g.pairs {
		p.copier = nil
	}
	g.compare(open.Pairs, false)
	f.lastSeq = journal.Seq(open.DurableSeq)
	g.setLinked(true)
	accept := &quicwire.MirrorAccept{Session: open.Session, Pairs: g.wireStates()}
	f.states = accept.Pairs
	behind := journal.Seq(open.DurableSeq) < g.peerRestore && g.active() && !g.startsAfter(journal.Seq(open.DurableSeq))
	g.mu.Unlock()
	if behind {
		return nil, f.peerLostJournal(journal.Seq(open.DurableSeq))
	}
	accept.JournalTime = uint64(time.Now().UnixNano())
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
		f.g.report(fact{pair: p.name, input: EvPeerError, fill: true,
			text: fmt.Sprintf("the secondary is at sequence number %d, behind what it had confirmed: it lost its journal or its database; the whole volume is marked, resync copies it", seq)})
	}
	return fmt.Errorf("group %s: the secondary is behind what it had confirmed", f.g.name)
}

// tell sends this side's states on the session, if there is one; without one the next session begins with them.
func (g *group) tell() {
	g.mu.Lock()
	feed, pull := g.session, g.pulling
	g.mu.Unlock()
	if feed != nil {
		kick(feed.wake)
	}
	if pull != nil {
		pull.tell()
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
			f.request(m)
		case *quicwire.PairStates:
			f.g.mu.Lock()
			f.g.compare(m.Pairs, false)
			f.g.mu.Unlock()
		default:
			return
		}
		kick(f.wake)
	}
}

// request takes the budget and the marks of one read-journal request.
func (f *feedSession) request(m *quicwire.ReadJournal) {
	g := f.g
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.session != f {
		return
	}
	f.budget = max(f.budget, m.Budget)
	g.peerDurable = max(g.peerDurable, min(journal.Seq(m.DurableSeq), f.lastSeq)) // it cannot have more than it was sent
	before := g.peerRestore
	g.peerRestore = max(g.peerRestore, min(journal.Seq(m.RestoredSeq), f.lastSeq))
	if g.peerRestore > before && g.journal.Usage().Used > g.journal.Usage().Capacity/2 {
		g.kickCheckpoint()
	}
	f.settleBases(m.Durable, m.Restored)
	kick(g.watchReq) // a flush or a copy may be complete now
}

// watchDurable wakes the sender when there is more to send.
func (f *feedSession) watchDurable() {
	at := f.g.journal.Marks().Durable
	for {
		next, err := f.g.journal.WaitDurable(f.ctx, at)
		if err != nil {
			return
		}
		at = next
		kick(f.wake)
	}
}

// send is the session's loop: updates first, base records between them, states when they change.
func (f *feedSession) send() error {
	f.buf = make([]byte, batchMax)
	updates := 0
	for {
		if err := f.sendStates(); err != nil {
			return err
		}
		sent := false
		if f.mayFeed() && f.room() {
			var err error
			wantBase := f.baseWaiting()
			if !wantBase || updates < updatesPerBase {
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
		select {
		case <-f.wake:
		case <-f.ctx.Done():
			return f.ctx.Err()
		}
	}
}

func (f *feedSession) room() bool {
	f.g.mu.Lock()
	defer f.g.mu.Unlock()
	return f.sent < f.budget
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
	pos, ok := g.journal.Locate(max(first, f.lastSeq+1))
	if !ok {
		return false
	}
	f.cursor = g.journal.NewCursor(pos)
	return true
}

// sendUpdates sends the next records of the journal, and reports whether there were any.
func (f *feedSession) sendUpdates() (bool, error) {
	n, _, err := f.cursor.Read(f.buf, batchMax)
	if err != nil {
		err = fmt.Errorf("read the journal of group %s behind sequence number %d: %w", f.g.name, f.lastSeq, err)
		if !errors.Is(err, journal.ErrFreed) && !errors.Is(err, journal.ErrClosed) {
			f.g.journalFailed(err)
		}
		return false, err
	}
	if n == 0 {
		return false, nil
	}
	first, last, count, err := f.filter(f.buf[:n])
	if err != nil {
		f.g.journalFailed(err)
		return false, err
	}
	if count == 0 {
		return true, nil
	}
	return true, f.batch(first, last, count)
}

// filter copies into out what the peer is to get: records of pairs that are replicated at their number as they are, of others a skip
// with the same number, so that numbers stay dense; records of this side alone not at all.
func (f *feedSession) filter(b []byte) (first, last journal.Seq, count int, err error) {
	f.out = f.out[:0]
	first = 1
	for len(b) > 0 {
		rec, size, err := journal.Parse(b)
		if err != nil {
			return 0, 0, 0, fmt.Errorf("a record of group %s behind sequence number %d is damaged in its journal: %w", f.g.name, f.lastSeq, err)
		}
		raw := b[:size]
		b = b[size:]
		if !rec.Advances() {
			continue
		}
		if rec.Kind != journal.KindControl && rec.Kind != journal.KindSkip && !f.g.sends(&rec) {
			skip := journal.Record{Kind: journal.KindSkip, Seq: rec.Seq, Time: rec.Time}
			f.out, err = journal.EncodeRecord(f.out, &skip)
			if err != nil {
				return 0, 0, 0, err
			}
		} else {
			f.out = append(f.out, raw...)
		}
		if count == 0 {
			first = rec.Seq
		}
		last = rec.Seq
		count++
	}
	return first, last, count, nil
}

// sends reports whether the record goes to the peer with its data.
func (g *group) sends(rec *journal.Record) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	a := g.members[rec.Volume]
	return a != nil && a.replicated(rec.Seq)
}

// batch sends what is in out.
func (f *feedSession) batch(first, last journal.Seq, count int) error {
	f.ordinal++
	f.sent += uint64(len(f.out))
	f.g.sent.Add(uint64(len(f.out)))
	if last >= first {
		f.g.mu.Lock()
		f.lastSeq = last
		f.g.mu.Unlock()
	}
	m := f.g.journal.Marks()
	return f.stream.Send(f.ctx, &quicwire.Batch{
		Ordinal: f.ordinal, First: uint64(first), Last: uint64(last), Count: uint32(count),
		NewestSeq: uint64(m.AppendedSeq), NewestTime: uint64(time.Now().UnixNano()), RawLen: uint32(len(f.out)), Data: f.out,
	})
}
