package quicwire

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// peer is one other site: its key, its address and its live connections.
type peer struct {
	e    *Endpoint
	name string
	key  Fingerprint

	requests   chan struct{} // one token for each request being served
	mirrors    chan struct{} // one token for each mirror stream being served
	opening    chan struct{} // one token for each of these whose first frame is being read
	arrivals   *rate.Limiter // of connections that it dials
	departures *rate.Limiter // of path connections that this side dials

	ctx     context.Context // ends when the peer is removed or the endpoint closes
	cancel  context.CancelCauseFunc
	after   <-chan struct{} // closed once PeerDown was called for the peer that had this name before, nil if none had
	told    chan struct{}   // closed once PeerDown was called for this one
	changed chan struct{}   // wakes notify: the live connections have changed
	lost    chan struct{}   // wakes keep: there is no live connection any more
	moved   chan struct{}   // wakes keep: the address has changed

	mu      sync.Mutex
	addr    string
	conns   []*conn       // live, oldest first
	up      chan struct{} // closed while there is a live connection
	epoch   uint64        // counts the times that up was closed
	since   time.Time     // when up was last closed
	lived   time.Duration // how long the last epoch was
	downErr error         // why the last epoch ended
	dialErr error         // why the last dial failed, nil after a success
	packets uint64        // that came over connections which were live once, see Pulse

	paths        []*conn       // live path connections
	pathDials    int           // of these under way
	pathErr      error         // why the last one failed
	pathFails    int           // how many did
	pathsChanged chan struct{} // closed and replaced when a path connection came about or could not
}

// SetPeer makes a site known under a name, or changes its address or key. While it has no live connection it is dialled at addr,
// HOST:PORT, or only awaited if addr is "". A changed key closes its connections. The error is ErrPeerKey or ErrClosed.
func (e *Endpoint) SetPeer(name, addr string, key Fingerprint) error {
	if key == e.Fingerprint() {
		return fmt.Errorf("set peer %s: %w: it is this site's own", name, ErrPeerKey)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return fmt.Errorf("set peer %s: %w", name, ErrClosed)
	}
	if p := e.keys[key]; p != nil && p.name != name {
		return fmt.Errorf("set peer %s: %w: it is the key of peer %s", name, ErrPeerKey, p.name)
	}
	if p := e.peers[name]; p != nil {
		if p.key == key {
			p.move(addr)
			return nil
		}
		e.forget(p)
	}
	p := &peer{
		e: e, name: name, key: key, addr: addr,
		requests:     make(chan struct{}, maxRequests),
		mirrors:      make(chan struct{}, maxMirrors),
		opening:      make(chan struct{}, maxOpening),
		arrivals:     rate.NewLimiter(arrivalRate, arrivalBurst),
		departures:   rate.NewLimiter(arrivalRate, arrivalBurst),
		changed:      make(chan struct{}, 1),
		lost:         make(chan struct{}, 1),
		moved:        make(chan struct{}, 1),
		up:           make(chan struct{}),
		told:         make(chan struct{}),
		pathsChanged: make(chan struct{}),
		after:        e.fading[name],
	}
	p.ctx, p.cancel = context.WithCancelCause(e.ctx)
	e.peers[name] = p
	e.keys[key] = p
	e.wg.Go(p.keep)
	e.wg.Go(p.notify)
	return nil
}

// RemovePeer forgets a peer and closes its connections. Its handshakes fail from now on. Calls of the Handler for it may
// still be running when RemovePeer returns, their contexts ended; the last one is PeerDown.
func (e *Endpoint) RemovePeer(name string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if p := e.peers[name]; p != nil && !e.closed {
		e.forget(p)
	}
}

// forget removes p. Requires mu.
func (e *Endpoint) forget(p *peer) {
	delete(e.peers, p.name)
	delete(e.keys, p.key)
	e.fading[p.name] = p.told
	p.cancel(&ProtocolError{Code: CloseRemoved}) // from here on no new connection is taken in
	e.wg.Go(func() { p.close(CloseRemoved, nil) })
}

// Renew closes the connections with a peer that says nothing, or hears nothing, although they live: the path may have come to lose all packets of
// the size that it used to carry, which only a new connection finds out. why is told to both sides. The peer is dialled again at once.
func (e *Endpoint) Renew(name, why string) {
	p := e.peerByName(name)
	if p == nil {
		return
	}
	p.mu.Lock()
	conns := slices.Clone(p.conns)
	p.mu.Unlock()
	for _, c := range conns {
		c.close(&ProtocolError{Code: CloseReplaced, Message: why})
	}
}

// Connected tells whether the peer has a live connection, and since when it has had one without interruption.
func (e *Endpoint) Connected(name string) (since time.Time, ok bool) {
	p := e.peerByName(name)
	if p == nil {
		return time.Time{}, false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.conns) == 0 {
		return time.Time{}, false
	}
	return p.since, true
}

// Agreed gives what this site and the peer have in common, as of the connection that requests use now; false while there is none.
func (e *Endpoint) Agreed(name string) (Agreement, bool) {
	p := e.peerByName(name)
	if p == nil {
		return Agreement{}, false
	}
	if c, _ := p.oldest(); c != nil {
		return c.agreed, true
	}
	return Agreement{}, false
}

// Await is Agreed, but waits a short time for a connection, as a request does. The error is that of Request without one.
func (e *Endpoint) Await(ctx context.Context, name string) (Agreement, error) {
	c, err := e.live(ctx, name)
	if err != nil {
		return Agreement{}, err
	}
	return c.agreed, nil
}

// Trouble says why the peer has no live connection: what the last dial or the end of the last connection came to. It is nil while there
// is one, and for a peer that was never set.
func (e *Endpoint) Trouble(name string) error {
	p := e.peerByName(name)
	if p == nil {
		return nil
	}
	if c, _ := p.oldest(); c != nil {
		return nil
	}
	return p.why()
}

func (e *Endpoint) peerByName(name string) *peer {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.peers[name]
}

func (e *Endpoint) peerByKey(key Fingerprint) *peer {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.keys[key]
}

// live gives a connection of the named peer, the oldest one, so that both sides tend to use the same. It waits a short time for one.
func (e *Endpoint) live(ctx context.Context, name string) (*conn, error) {
	p := e.peerByName(name)
	if p == nil {
		return nil, fmt.Errorf("peer %s: %w", name, ErrUnknownPeer)
	}
	timer := time.NewTimer(e.timing.connectWait)
	defer timer.Stop()
	for {
		c, up := p.oldest()
		if c != nil {
			return c, nil
		}
		select {
		case <-up:
		case <-timer.C:
			return nil, fmt.Errorf("peer %s: %w: %w", name, ErrUnreachable, p.why())
		case <-ctx.Done():
			return nil, fmt.Errorf("peer %s: %w: %w", name, ErrUnreachable, context.Cause(ctx))
		case <-p.ctx.Done():
			return nil, fmt.Errorf("peer %s: %w: %w", name, ErrUnreachable, context.Cause(p.ctx))
		}
	}
}

// oldest gives the oldest live connection, or nil and a channel that is closed when there is one.
func (p *peer) oldest() (*conn, <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.conns) > 0 {
		return p.conns[0], nil
	}
	return nil, p.up
}

// why says why there is no live connection.
func (p *peer) why() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.dialErr != nil:
		return p.dialErr
	case p.downErr != nil:
		return p.downErr
	case p.addr == "":
		return fmt.Errorf("it has not connected, and no address is known to dial")
	}
	return fmt.Errorf("no answer from %s yet", p.addr)
}

// add takes in a connection. Connections of an earlier incarnation of the peer, and those that the peer gave up, are dead and make way; so does the oldest of too many.
func (p *peer) add(c *conn) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ctx.Err() != nil {
		return context.Cause(p.ctx)
	}
	c.began = time.Now()
	replaced := &ProtocolError{Code: CloseReplaced, Message: "the peer was restarted"}
	var dead []*conn
	p.conns = slices.DeleteFunc(p.conns, func(old *conn) bool {
		stale := old.hello.Nonce != c.hello.Nonce
		if !stale && c.outlived(old) {
			stale, replaced.Message = true, "the peer had given it up"
		}
		if stale {
			dead = append(dead, old)
		}
		return stale
	})
	if len(dead) > 0 && len(p.conns) == 0 {
		p.endEpoch(replaced)
	}
	if len(p.conns) >= maxConnections {
		dead = append(dead, p.conns[0])
		p.conns = slices.Delete(p.conns, 0, 1)
	}
	p.leave(dead...)
	for _, old := range dead {
		p.e.wg.Go(func() { old.close(replaced) })
	}
	if p.conns = append(p.conns, c); len(p.conns) == 1 {
		p.epoch++
		p.since = time.Now()
		p.dialErr = nil
		close(p.up)
	}
	wake(p.changed)
	return nil
}

// outlived reports whether the peer has given the older connection up, as the one that it dialled now tells: it dials only while it knows
// of none that is live. One that is younger than a dial may take says nothing, for both sides dial at the same time when they start.
func (c *conn) outlived(old *conn) bool {
	return !c.dialled && c.began.Sub(old.began) > 2*(c.peer.e.timing.handshake+helloTimeout)
}

// remove takes out a connection that has ended.
func (p *peer) remove(c *conn, err error) {
	if c.path {
		p.removePath(c)
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	i := slices.Index(p.conns, c)
	if i < 0 {
		return
	}
	p.leave(c)
	if p.conns = slices.Delete(p.conns, i, i+1); len(p.conns) == 0 {
		p.endEpoch(err)
		wake(p.lost)
	}
	wake(p.changed)
}

// endEpoch records that the last live connection is gone; the path connections beside it go too. Requires mu.
func (p *peer) endEpoch(err error) {
	p.downErr = err
	p.lived = time.Since(p.since)
	p.up = make(chan struct{})
	p.dropPaths(&ProtocolError{Code: CloseReplaced, Message: "the connection beside it is gone"})
}

// close ends all connections and goroutines of the peer.
func (p *peer) close(code CloseCode, cause error) {
	p.cancel(cause)
	p.mu.Lock()
	conns := slices.Concat(p.conns, p.paths)
	p.mu.Unlock()
	for _, c := range conns {
		c.close(&ProtocolError{Code: code})
	}
}

// notify calls PeerUp and PeerDown, in turn and without a lock.
func (p *peer) notify() {
	defer p.faded()
	if p.after != nil {
		<-p.after
	}
	var told uint64 // the epoch that PeerUp was called for, 0 if PeerDown was called since
	for {
		var cause error
		select {
		case <-p.ctx.Done():
			cause = context.Cause(p.ctx)
		case <-p.changed:
		}
		p.mu.Lock()
		live, epoch, downErr := len(p.conns) > 0, p.epoch, p.downErr
		var hello Hello
		if live {
			hello = p.conns[0].hello
		}
		p.mu.Unlock()
		if cause != nil {
			live, downErr = false, cause
		}
		if told != 0 && (!live || told != epoch) {
			told = 0
			p.e.cfg.Handler.PeerDown(p.name, downErr)
		}
		if live && told == 0 {
			told = epoch
			p.e.cfg.Handler.PeerUp(p.name, hello)
		}
		if cause != nil {
			return
		}
	}
}

// faded lets the next peer of this name be reported.
func (p *peer) faded() {
	close(p.told)
	p.e.mu.Lock()
	defer p.e.mu.Unlock()
	if p.e.fading[p.name] == p.told {
		delete(p.e.fading, p.name)
	}
}

// wake leaves a token for a goroutine that looks again; one is as good as many.
func wake(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}
