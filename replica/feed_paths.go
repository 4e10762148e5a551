package replica

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"pairfs/quicwire"
)

// The further paths of a mirror, on the primary. While there are two or more, the sending goroutine hands each batch to whichever path is free, and the
// mirror stream carries everything else, which so never waits behind a batch. Without them it sends the batches itself, over the mirror stream.
//
// The order of batches is that of their ordinals, however they travel. The states of pairs have a place in that order too, which the
// batches before and behind them in the mirror stream mark: the first one behind them goes there, and before them, if need be, one without records.
//
// A path that breaks ends the session: what was handed to its connection is nowhere else any more. The next session begins behind what is durable
// at the peer, so nothing is lost and nothing comes twice. A path that is let go ends behind what was sent over it, and breaks nothing.

// feedPaths are the further paths of a feed session.
type feedPaths struct {
	// Owned by the sending goroutine.
	plan   pathPlan
	option int           // of the group, when it was looked at last
	due    time.Time     // when the paths are looked at again
	mark   pathMark      // what the next sample begins with
	since  time.Time     // when paths were asked for last
	again  time.Time     // they are not asked for before
	busy   time.Duration // that the link held the sender up, in all
	away   bool          // a batch went over a further path since the last one over the mirror stream
	told   bool          // states went over the mirror stream since the last batch there
	held   int64         // bytes of the parcels that are out
	spare  []*parcel     // that are not

	memory atomic.Int64 // share of the site's, 0 before the first path was asked for

	work   chan *parcel  // to the path that is free
	back   chan *parcel  // from it
	retire chan struct{} // lets one of them go

	ready atomic.Int32 // paths that take batches

	mu      sync.Mutex
	closed  bool
	want    int // further paths that may be
	asked   int // that were asked for and are not here
	leaving int // that are let go and are still here
	streams []*quicwire.MirrorStream
	gone    uint64 // bytes sent over those that have left
	wg      sync.WaitGroup
}

// parcel is a batch that owns its data.
type parcel struct {
	batch quicwire.Batch
	buf   []byte
}

// flight is a batch that the peer has not confirmed.
type flight struct {
	ordinal uint64
	bytes   int64
}

func (p *feedPaths) begin(known int) {
	p.plan = newPathPlan(known)
	p.option = -1
	p.work, p.back, p.retire = make(chan *parcel), make(chan *parcel, 2*quicwire.MaxPaths), make(chan struct{}, quicwire.MaxPaths)
}

// end waits for the paths, whose session has ended, and gives their memory back.
func (p *feedPaths) end(s *Site) {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.wg.Wait()
	s.paths.give(p.memory.Swap(0))
}

// ServePath implements [quicwire.Handler]: a secondary opens a further path of a mirror.
func (s *Site) ServePath(_ context.Context, peer string, open *quicwire.MirrorPath, stream *quicwire.MirrorStream) {
	if f := s.feeding(peer, open.Session); f != nil {
		f.serve(stream)
	}
}

// feeding gives the session of that number, if it is one with that peer.
func (s *Site) feeding(peer string, id uint64) *feedSession {
	s.mu.RLock()
	groups := slices.Collect(maps.Values(s.groups))
	s.mu.RUnlock()
	for _, g := range groups {
		g.mu.Lock()
		f := g.session
		g.mu.Unlock()
		if f != nil && f.peer == peer && f.id == id {
			return f
		}
	}
	return nil
}

// serve sends over a further path what it is handed, until it is let go or the session ends.
func (f *feedSession) serve(stream *quicwire.MirrorStream) {
	p := &f.paths
	if !p.join(stream) {
		return
	}
	defer p.leave(stream)
	for {
		select {
		case c := <-p.work:
			if err := stream.Send(f.ctx, &c.batch); err != nil {
				f.broken(err)
				return
			}
			select {
			case p.back <- c:
			case <-f.ctx.Done():
				return
			}
		case <-p.retire:
			return
		case <-stream.Context().Done():
			f.broken(context.Cause(stream.Context()))
			return
		case <-f.ctx.Done():
			return
		}
	}
}

// join takes a path in, if it was asked for.
func (p *feedPaths) join(stream *quicwire.MirrorStream) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || len(p.streams)-p.leaving >= p.want || len(p.streams) == quicwire.MaxPaths {
		return false
	}
	p.asked = max(p.asked-1, 0)
	p.streams = append(p.streams, stream)
	p.ready.Add(1)
	p.wg.Add(1)
	return true
}

func (p *feedPaths) leave(stream *quicwire.MirrorStream) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.streams = slices.DeleteFunc(p.streams, func(s *quicwire.MirrorStream) bool { return s == stream })
	p.gone += stream.Sent()
	p.leaving = max(p.leaving-1, 0) // else the session is over
	p.wg.Done()
}

// sent is how many bytes QUIC has taken over all further paths, and how many paths there are.
func (p *feedPaths) sent() (n uint64, paths int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	n = p.gone
	for _, s := range p.streams {
		n += s.Sent()
	}
	return n, len(p.streams)
}

// broken ends the session because a path did, unless it has ended.
func (f *feedSession) broken(err error) {
	if f.ctx.Err() == nil {
		err = fmt.Errorf("group %s: a path broke: %w", f.g.name, err)
		f.failed.CompareAndSwap(nil, &err)
		f.cancel()
	}
}

// spreads reports whether batches go over further paths.
func (f *feedSession) spreads() bool { return f.paths.ready.Load() >= 2 }

// hand gives a batch, whose data is in out, to the path that is free first.
func (f *feedSession) hand(b *quicwire.Batch) error {
	p := &f.paths
	if err := f.awaitParcels(int64(len(b.Data))); err != nil {
		return err
	}
	c := &parcel{}
	if n := len(p.spare); n > 0 {
		c, p.spare = p.spare[n-1], p.spare[:n-1]
	}
	c.batch = *b
	f.out, c.buf = c.buf[:0], f.out
	p.held += int64(len(b.Data))
	p.away = true
	select {
	case p.work <- c:
		return nil
	case <-f.ctx.Done():
		return f.ctx.Err()
	}
}

// awaitParcels waits until a batch of n bytes may be out beside those that are.
func (f *feedSession) awaitParcels(n int64) error {
	p := &f.paths
	for {
		select {
		case c := <-p.back:
			p.put(c)
			continue
		default:
		}
		if p.held == 0 || p.held+n <= p.memory.Load()/2 {
			return nil
		}
		select {
		case c := <-p.back:
			p.put(c)
		case <-f.ctx.Done():
			return f.ctx.Err()
		}
	}
}

// put takes a parcel back. The memory of a large one is not kept.
func (p *feedPaths) put(c *parcel) {
	p.held -= int64(len(c.batch.Data))
	c.batch = quicwire.Batch{}
	if cap(c.buf) > 2*pathBatch {
		c.buf = nil
	}
	p.spare = append(p.spare, c)
}

// divide puts a batch without records into the mirror stream: what is behind it there has its turn behind all batches so far.
func (f *feedSession) divide() error {
	f.paths.away = false
	f.ordinal++
	f.begun.Store(f.ordinal)
	f.flies(0)
	m := f.g.journal.Marks()
	return f.stream.Send(f.ctx, &quicwire.Batch{
		Ordinal: f.ordinal, First: 1, NewestSeq: uint64(m.AppendedSeq), NewestTime: uint64(f.g.site.wall().UnixNano()),
	})
}

// flies takes note of a batch of n bytes that is about to be sent, once there are further paths.
func (f *feedSession) flies(n int) {
	if f.paths.memory.Load() == 0 {
		return
	}
	f.g.mu.Lock()
	defer f.g.mu.Unlock()
	f.flights = append(f.flights, flight{f.ordinal, int64(n)})
	f.flying += int64(n)
}

// landed takes the batches off that the peer has confirmed. Requires g.mu.
func (f *feedSession) landed() {
	n := 0
	for ; n < len(f.flights) && f.flights[n].ordinal <= f.confirmed; n++ {
		f.flying -= f.flights[n].bytes
	}
	f.flights = f.flights[n:]
}

// ahead reports whether as much is under way as this side may hold for further paths, but for the batch without records that [feedSession.divide] may
// have to send. Requires g.mu.
func (f *feedSession) ahead() bool {
	return len(f.flights) >= pathAhead-1 || len(f.flights) > 0 && f.flying >= pullWindow+f.paths.memory.Load()/2
}

// pathsNow is how many connections carry the mirror's batches, 0 without a mirror. Requires mu.
func (g *group) pathsNow() int {
	n := 0
	switch {
	case g.session != nil:
		n = int(g.session.paths.ready.Load())
	case g.pulling != nil:
		g.pulling.paths.mu.Lock()
		n = len(g.pulling.paths.streams)
		g.pulling.paths.mu.Unlock()
	default:
		return 0
	}
	if n < 2 {
		return 1 // the mirror stream
	}
	return n
}
