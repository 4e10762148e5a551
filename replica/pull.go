package replica

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"pairfs/crashpoint"
	"pairfs/journal"
	"pairfs/quicwire"
)

// pullSession is the secondary's side of one mirror session: it asks the primary for records, puts them into the restore journal in the
// order of the batches' ordinals, and reports what is durable and restored.
type pullSession struct {
	g      *group
	stream *quicwire.MirrorStream
	id     uint64            // of the session
	knows  quicwire.Features // of both sides
	ctx    context.Context
	cancel context.CancelFunc
	wake   chan struct{}
	waits  atomic.Bool // for the primary, and not for this side's journal

	mu                sync.Mutex
	told              bool   // states were asked to be sent
	taken             uint64 // bytes of batches that are in the journal
	window            int64  // how many bytes more may be sent
	arrived           []arrival
	durable, restored uint64 // ordinals
	durableSeq        journal.Seq
	replies           replyMeter

	gateMu   sync.Mutex                 // outside of mu
	ordinal  uint64                     // guarded by gateMu: last batch that was let pass
	passing  uint64                     // guarded by gateMu: the one that is being stored, 0 for none
	unpacked []byte                     // of who stores it
	early    map[uint64]*quicwire.Batch // guarded by gateMu: batches before their turn; the window bounds them
	held     int64                      // guarded by gateMu: bytes of these
	storer   bool                       // guarded by gateMu: storeEarly takes them
	passed   chan struct{}              // wakes who waits for a turn
	due      chan struct{}              // wakes storeEarly

	paths  pullPaths
	failed atomic.Pointer[error] // why the session was ended by one of its goroutines
}

// arrival says where the records of a batch end in the restore journal.
type arrival struct {
	ordinal uint64
	end     journal.Position
	seq     journal.Seq
}

// pullLoop keeps a mirror session open while the group is a restore group.
func (g *group) pullLoop() {
	delay := pullRetryMin
	for g.ctx.Err() == nil {
		if !g.wantsPull() {
			select {
			case <-g.pullReq:
			case <-g.ctx.Done():
			}
			continue
		}
		began := time.Now()
		err := g.pullOnce()
		if g.ctx.Err() != nil {
			return
		}
		g.mirrorEnded(err)
		if time.Since(began) > time.Second {
			delay = pullRetryMin
		}
		select {
		case <-g.pullReq:
			delay = pullRetryMin
		case <-time.After(delay):
			delay = min(2*delay, pullRetryMax)
		case <-g.ctx.Done():
		}
	}
}

func (g *group) wantsPull() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.role == Secondary && len(g.pairs) > 0 && g.failed == "" && g.pullHeld == 0
}

// mirrorEnded remembers why a session ended and says so once.
func (g *group) mirrorEnded(err error) {
	text := ""
	if err != nil {
		text = err.Error()
	}
	g.mu.Lock()
	fresh := text != "" && text != g.mirrorError && !errors.Is(err, quicwire.ErrUnreachable) && !errors.Is(err, context.Canceled) && !errors.Is(err, io.EOF)
	g.mirrorError = text
	g.pulling = nil
	g.setLinked(false)
	peer := g.rec.Peer
	g.mu.Unlock()
	if fresh {
		g.site.log.Info("mirror session ended", "group", g.name, "peer", peer, "reason", err)
	}
}

// pullOnce runs one mirror session that [group.holdPull] can end.
func (g *group) pullOnce() error {
	ctx, cancel := context.WithCancel(g.ctx)
	done := make(chan struct{})
	g.mu.Lock()
	if g.pullHeld > 0 || g.role != Secondary {
		g.mu.Unlock()
		cancel()
		return nil
	}
	g.pullEnd = func() { cancel(); <-done }
	g.mu.Unlock()
	err := g.pull(ctx)
	cancel()
	g.mu.Lock()
	g.pullEnd, g.pulling = nil, nil
	g.mu.Unlock()
	close(done)
	return err
}

// holdPull ends the mirror session and lets no other begin, until the function that it gives is called: nothing arrives meanwhile. No lock may
// be held, for what arrived last may be waiting for one.
func (g *group) holdPull() (letGo func()) {
	g.mu.Lock()
	g.pullHeld++
	end := g.pullEnd
	g.mu.Unlock()
	if end != nil {
		end()
	}
	return func() {
		g.mu.Lock()
		g.pullHeld--
		g.mu.Unlock()
		kick(g.pullReq)
	}
}

// pull runs one mirror session until it ends.
func (g *group) pull(ctx context.Context) error {
	var id [8]byte
	_, _ = rand.Read(id[:])
	g.mu.Lock()
	peer := g.rec.Peer
	g.mu.Unlock()
	agreed, err := g.site.endpoint.Await(ctx, peer) // what the states say depends on it
	if err != nil {
		return err
	}
	g.mu.Lock()
	open := &quicwire.MirrorOpen{
		Group: g.rec.PeerGroup, Session: binary.LittleEndian.Uint64(id[:]),
		DurableSeq: uint64(g.lastSeq), RestoredSeq: uint64(g.restoredSeq), Pairs: g.wireStates(agreed.Features),
	}
	g.mu.Unlock()
	// What was received is durable before it is named: the numbers above were received, perhaps a moment ago.
	if err := g.journal.Sync(ctx, g.journal.Marks().Reserved); err != nil {
		return err
	}
	stream, err := g.site.endpoint.OpenMirror(ctx, peer, open)
	if err != nil {
		return err
	}
	defer stream.Close()
	p := newPullSession(g)
	p.stream, p.id, p.knows = stream, open.Session, stream.Agreement().Features
	p.ctx, p.cancel = context.WithCancel(ctx)
	defer p.cancel()
	if err := p.accepted(); err != nil {
		return err
	}
	defer context.AfterFunc(stream.Context(), p.lost)()
	done := make(chan struct{}, 2)
	go func() { defer func() { done <- struct{}{} }(); p.request() }()
	go func() { defer func() { done <- struct{}{} }(); p.watchDurable() }()
	err = p.receive()
	if errors.Is(err, context.Canceled) && stream.Context().Err() != nil {
		err = context.Cause(stream.Context()) // what ended the session, not how
	}
	p.cancel()
	<-done
	<-done
	p.endPaths()
	if e := p.failed.Load(); e != nil && errors.Is(err, context.Canceled) {
		err = *e
	}
	return err
}

func newPullSession(g *group) *pullSession {
	return &pullSession{
		g: g, wake: make(chan struct{}, 1), window: pullWindow,
		early: map[uint64]*quicwire.Batch{}, passed: make(chan struct{}, 1), due: make(chan struct{}, 1),
	}
}

// lost says that the mirror is down when its stream is, however long a slow disk keeps what arrived last.
func (p *pullSession) lost() {
	p.cancel()
	p.g.mu.Lock()
	defer p.g.mu.Unlock()
	if p.g.pulling == p {
		p.g.setLinked(false)
	}
}

// accepted waits for the primary's answer and compares the states.
func (p *pullSession) accepted() error {
	wait, cancel := context.WithTimeout(p.ctx, requestTimeout)
	defer cancel()
	fr, err := p.stream.Recv(wait)
	if err != nil {
		return err
	}
	a, ok := fr.(*quicwire.MirrorAccept)
	if !ok {
		return fmt.Errorf("group %s: the primary answered with %s where it should accept the mirror", p.g.name, fr.Type())
	}
	g := p.g
	if a.Code == quicwire.ResultDone {
		if err := g.primaryBack(a.Pairs); err != nil {
			return err
		}
	}
	if a.Code != quicwire.ResultDone {
		g.meetSecondary(p.stream.Peer(), a.Pairs)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if a.Code != quicwire.ResultDone {
		if a.Code == quicwire.ResultNotFound || a.Code == quicwire.ResultBusy {
			g.compare(nil, true) // the primary has no such group, or no pairs in it: they are gone
		}
		return fmt.Errorf("group %s: the primary refused the mirror: %s", g.name, a.Message)
	}
	if g.role != Secondary {
		return fmt.Errorf("group %s: it has lost its last pair", g.name)
	}
	g.compare(a.Pairs, true)
	g.pulling = p
	p.mu.Lock()
	p.told = true // what changed since the request to open was written was told to nobody
	p.mu.Unlock()
	g.lastHeard = time.Now()
	g.opened(false)
	return nil
}

// receive takes batches and states until the stream ends.
func (p *pullSession) receive() error {
	var buf []byte
	alloc := func(n int) []byte {
		if cap(buf) < n {
			buf = make([]byte, n)
		}
		return buf[:n]
	}
	last := uint64(0) // batch of the mirror stream
	for {
		p.waits.Store(true)
		fr, err := p.stream.RecvInto(p.ctx, alloc)
		p.waits.Store(false)
		if err != nil {
			return err
		}
		p.g.mu.Lock()
		if wordOf(fr) {
			p.g.worded()
		} else {
			p.g.spoke()
		}
		p.g.mu.Unlock()
		switch m := fr.(type) {
		case *quicwire.Batch:
			err, last = p.gate(m), m.Ordinal
		case *quicwire.PairStates:
			if err = p.turn(last); err != nil {
				break
			}
			p.g.mu.Lock()
			if p.g.pulling == p {
				p.g.compare(m.Pairs, true)
			}
			p.g.mu.Unlock()
		case *quicwire.MirrorPath:
			err = p.openPath(m)
		case *quicwire.MirrorOptions:
			if d := time.Duration(m.PathWatch) * time.Second; d > 0 {
				p.g.handed.Store(int64(d))
				kick(p.g.watchReq)
			}
		case *quicwire.MirrorSettings:
			p.takeSettings(m)
		case *quicwire.MirrorLag:
			p.g.toldOfLag(m)
		default:
			err = fmt.Errorf("group %s: %s does not belong into a mirror stream", p.g.name, fr.Type())
		}
		if err != nil {
			return err
		}
	}
}

// ack lets the marks be sent; tell the states.
func (p *pullSession) ack() { kick(p.wake) }

func (p *pullSession) tell() {
	p.mu.Lock()
	p.told = true
	p.mu.Unlock()
	kick(p.wake)
}

func (p *pullSession) watchDurable() {
	at := p.g.journal.Marks().Durable
	for {
		next, err := p.g.journal.WaitDurable(p.ctx, at)
		if err != nil {
			return
		}
		at = next
		kick(p.wake)
	}
}

// request sends read-journal requests: one at once, then when a mark moved, at most once in gatherTime.
func (p *pullSession) request() {
	defer p.cancel()
	last := quicwire.ReadJournal{}
	for {
		now, states := p.marks()
		if states != nil {
			if p.stream.Send(p.ctx, &quicwire.PairStates{Pairs: states}) != nil {
				return
			}
		}
		if now != last {
			crashpoint.Hit(crashpoint.ConfirmBefore)
			if p.stream.Send(p.ctx, &now) != nil {
				return
			}
			crashpoint.Hit(crashpoint.ConfirmAfter)
			last = now
			p.asked(now.Budget)
			if pause(p.ctx, gatherTime) != nil {
				return
			}
		}
		select {
		case <-p.wake:
		case <-p.ctx.Done():
			return
		}
	}
}

// marks gathers what the next request says.
func (p *pullSession) marks() (quicwire.ReadJournal, []quicwire.PairState) {
	g := p.g
	g.mu.Lock()
	checked, checkedSeq := g.checkedPos, g.restoredSeq
	states := p.toTell()
	g.mu.Unlock()
	durable := g.journal.Marks().Durable // read last: what is in the stores for good is durable
	p.mu.Lock()
	defer p.mu.Unlock()
	r := quicwire.ReadJournal{RestoredSeq: uint64(checkedSeq)}
	keep := 0
	for _, a := range p.arrived {
		if a.end <= durable {
			p.durable, p.durableSeq = a.ordinal, a.seq
		}
		if a.end <= checked {
			p.restored = a.ordinal
			continue
		}
		p.arrived[keep] = a
		keep++
	}
	p.arrived = p.arrived[:keep]
	r.Budget, r.Durable, r.Restored = p.taken+uint64(p.window), p.durable, p.restored
	r.DurableSeq = uint64(max(p.durableSeq, checkedSeq))
	return r, states
}

// toTell returns the states if they were asked to be sent, else nil. They are of the moment at which the request is taken, so a change that
// asks a moment later is told next. Requires g.mu.
func (p *pullSession) toTell() []quicwire.PairState {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.told {
		return nil
	}
	p.told = false
	return p.g.wireStates(p.knows)
}
