package quicwire

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"time"

	"github.com/quic-go/quic-go"
)

// A path connection carries paths of mirror sessions beside an ordinary connection of the same two sites: what one of them loses holds up no other,
// and each has a congestion window of its own. It is told apart by its ALPN name, so that it is never taken for a connection that the peer dialled
// because it had lost the others. It has no Hello, for it counts only as long as an ordinary connection lives: what was agreed there holds.
//
// The side that dialled the connection of a mirror dials its path connections, from a socket of its own each: that way is known to be open. The
// secondary opens the streams, as it opens mirrors.

// Provide sees to it that there are n path connections with the peer, MaxPaths at most, if it is for this side to dial them: if it dialled the
// connection of the stream. It returns at once.
func (s *MirrorStream) Provide(n int) {
	p := s.conn.peer
	if !s.conn.dialled {
		return
	}
	p.mu.Lock()
	missing := max(min(n, MaxPaths)-len(p.paths)-p.pathDials, 0)
	p.pathDials += missing
	p.mu.Unlock() // start takes Endpoint.mu, which is outside of it
	for range missing {
		if !p.e.start(func() { p.dialledPath(s.conn) }) {
			return // nobody dials any more
		}
	}
}

// dialledPath dials one path connection and serves it.
func (p *peer) dialledPath(beside *conn) {
	c, err := p.dialPath(beside)
	p.mu.Lock()
	p.pathDials--
	if err == nil {
		err = p.addPath(c)
	}
	if err != nil {
		p.pathErr, p.pathFails = err, p.pathFails+1
		p.pathsMoved()
	}
	p.mu.Unlock()
	if err != nil {
		p.e.cfg.Logger.Debug("dial of a path failed", "peer", p.name, "err", err)
		if c != nil {
			c.close(&ProtocolError{Code: CloseNormal})
			c.own.close()
		}
		return
	}
	c.serve()
}

// dialPath dials the address at which the other end of an ordinary connection is.
func (p *peer) dialPath(beside *conn) (*conn, error) {
	ctx, cancel := context.WithTimeout(p.ctx, 2*p.e.timing.handshake)
	defer cancel()
	to := beside.qc.RemoteAddr()
	if err := p.departures.Wait(ctx); err != nil {
		return nil, fmt.Errorf("dial a path to %s: more were dialled of late than a peer lets in: %w", to, err)
	}
	own, err := p.e.pathSocket()
	if err != nil {
		return nil, fmt.Errorf("dial a path to %s: %w", to, err)
	}
	conf := p.e.quicConfig()
	conf.MaxConnectionReceiveWindow = pathWindow
	qc, err := own.tr.Dial(ctx, to, p.e.clientTLS(to, p.key, alpnPath), conf)
	if err != nil {
		own.close()
		return nil, fmt.Errorf("dial a path to %s: %w", to, p.describe(err))
	}
	return &conn{peer: p, qc: qc, path: true, dialled: true, agreed: beside.agreed, own: own}, nil
}

// ownSocket is what a path connection was dialled from. shared is the endpoint's, which stays.
type ownSocket struct {
	tr     *quic.Transport
	shared bool
}

// close lets go of it.
func (o *ownSocket) close() {
	if o != nil && !o.shared {
		_ = errors.Join(o.tr.Close(), o.tr.Conn.Close()) // nothing is under way that matters
	}
}

// pathSocket gives a socket to dial a path connection from. Several sockets spread over the queues of an interface, and over links that are
// bundled; where sockets are simulated and no further ones are made it is the endpoint's.
func (e *Endpoint) pathSocket() (*ownSocket, error) {
	pc, err := net.PacketConn(nil), error(nil)
	switch {
	case e.cfg.PathConn != nil:
		pc, err = e.cfg.PathConn()
	case e.cfg.PacketConn != nil:
		return &ownSocket{e.tr, true}, nil
	default:
		at := &net.UDPAddr{}
		if local, ok := e.Addr().(*net.UDPAddr); ok {
			at.IP, at.Zone = local.IP, local.Zone
		}
		pc, err = net.ListenUDP("udp", at)
	}
	if err != nil {
		return nil, err
	}
	return &ownSocket{tr: &quic.Transport{Conn: pc}}, nil
}

// welcomePath takes in a path connection that a peer has dialled.
func (e *Endpoint) welcomePath(p *peer, qc *quic.Conn) {
	e.narrow.Store(qc, true)
	defer e.narrow.Delete(qc)
	c := &conn{peer: p, qc: qc, path: true}
	p.mu.Lock()
	err := p.addPath(c)
	p.mu.Unlock()
	if err != nil {
		e.cfg.Logger.Warn("a peer's path came to nothing", "peer", p.name, "addr", qc.RemoteAddr(), "err", err)
		qc.CloseWithError(quic.ApplicationErrorCode(CloseBusy), err.Error())
		return
	}
	c.serve()
}

// mayWiden is asked by QUIC whether the window of a connection may grow. It must not call the connection.
func (e *Endpoint) mayWiden(qc *quic.Conn, _ uint64) bool {
	_, narrow := e.narrow.Load(qc)
	return !narrow
}

// addPath takes in a path connection. Requires mu.
func (p *peer) addPath(c *conn) error {
	switch {
	case p.ctx.Err() != nil:
		return context.Cause(p.ctx)
	case len(p.conns) == 0 || p.conns[0].agreed.Features&FeaturePaths == 0:
		return errors.New("there is no connection that agreed on paths")
	case len(p.paths) >= MaxPaths:
		return fmt.Errorf("there are %d paths, which is the most", len(p.paths))
	}
	c.agreed, c.began = p.conns[0].agreed, time.Now()
	c.idle = time.AfterFunc(PathLinger, c.lingered)
	p.paths = append(p.paths, c)
	p.pathsMoved()
	return nil
}

// removePath takes out a path connection that has ended.
func (p *peer) removePath(c *conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if i := slices.Index(p.paths, c); i >= 0 {
		p.paths = slices.Delete(p.paths, i, i+1)
		p.leave(c)
		c.idle.Stop()
	}
}

// dropPaths closes all path connections: the last ordinary connection is gone. Requires mu.
func (p *peer) dropPaths(why *ProtocolError) {
	for _, c := range p.paths {
		p.e.wg.Go(func() { c.close(why) })
	}
}

// pathsMoved wakes those who wait for a path connection. Requires mu.
func (p *peer) pathsMoved() {
	close(p.pathsChanged)
	p.pathsChanged = make(chan struct{})
}

// lingered closes a path connection that nobody uses.
func (c *conn) lingered() {
	c.peer.mu.Lock()
	i := slices.Index(c.peer.paths, c)
	unused := c.streams == 0 && i >= 0
	if unused {
		c.peer.paths = slices.Delete(c.peer.paths, i, i+1) // so that nobody takes it from here on
		c.peer.leave(c)
	}
	c.peer.mu.Unlock()
	if unused {
		c.close(&ProtocolError{Code: CloseNormal, Message: "the path is not used any more"})
	}
}

// takePath counts a stream on a path connection. Requires peer.mu.
func (c *conn) takePath() bool {
	if c.streams == maxPathStreams {
		return false
	}
	c.streams++
	c.idle.Stop()
	return true
}

// leavePath is its end.
func (c *conn) leavePath() {
	c.peer.mu.Lock()
	defer c.peer.mu.Unlock()
	if c.streams--; c.streams == 0 && slices.Contains(c.peer.paths, c) {
		c.idle.Reset(PathLinger)
	}
}

// OpenPath opens a further path of the session of s, which this side, the secondary, has opened: a stream that only receives, and that the caller
// must close. It waits for a path connection which carries none of the session yet, and dials one if it is for this side to do that.
func (s *MirrorStream) OpenPath(ctx context.Context, open *MirrorPath) (*MirrorStream, error) {
	var c *conn
	var qs *quic.Stream
	for tries := 1; ; tries++ {
		var err error
		if c, err = s.pathConn(ctx); err != nil {
			return nil, fmt.Errorf("open a path: peer %s: %w", s.Peer(), err)
		}
		if qs, err = c.openStream(ctx); err == nil {
			break
		}
		s.freePath(c)
		if tries == MaxPaths || c.qc.Context().Err() == nil {
			return nil, fmt.Errorf("open a path: %w", err)
		}
		c.peer.removePath(c) // it has just ended: there may be another one
	}
	w := newMirrorStream(c, qs, newFrameReader(qs, s.conn.maxFrame()), &frameWriter{w: qs, max: s.conn.maxFrame()})
	w.opener, w.path, w.closing = true, true, func() { s.freePath(c) }
	if err := w.send(ctx, open); err != nil {
		w.Close()
		return nil, err
	}
	return w, nil
}

// pathConn takes a path connection for a further path of the session of s.
func (s *MirrorStream) pathConn(ctx context.Context) (*conn, error) {
	p := s.conn.peer
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(s.paths)+s.pathWaits >= MaxPaths {
		return nil, fmt.Errorf("%w: the session has %d paths, which is the most", ErrUnreachable, MaxPaths)
	}
	s.pathWaits++
	defer func() { s.pathWaits-- }()
	fails := p.pathFails
	for {
		for _, c := range p.paths {
			if !slices.Contains(s.paths, c) && c.takePath() {
				s.paths = append(s.paths, c)
				return c, nil
			}
		}
		if p.pathFails != fails {
			return nil, fmt.Errorf("%w: %w", ErrUnreachable, p.pathErr)
		}
		wanted, changed := len(s.paths)+s.pathWaits, p.pathsChanged
		p.mu.Unlock()
		s.Provide(wanted)
		var err error
		select {
		case <-changed:
		case <-ctx.Done():
			err = context.Cause(ctx)
		case <-s.ctx.Done():
			err = context.Cause(s.ctx)
		}
		p.mu.Lock()
		if err != nil {
			return nil, fmt.Errorf("%w: no path came about: %w", ErrUnreachable, err)
		}
	}
}

// freePath gives a path connection back.
func (s *MirrorStream) freePath(c *conn) {
	p := s.conn.peer
	p.mu.Lock()
	if i := slices.Index(s.paths, c); i >= 0 {
		s.paths = slices.Delete(s.paths, i, i+1)
	}
	p.mu.Unlock()
	c.leavePath()
}

// servePath hands a stream on a path connection to the handler.
func (c *conn) servePath(qs *quic.Stream, fr *frameReader) {
	c.peer.mu.Lock()
	room := c.takePath()
	c.peer.mu.Unlock()
	if !room {
		c.drop(qs, errors.New("too many paths"))
		return
	}
	defer c.leavePath()
	f, err := fr.read(nil)
	if err != nil {
		c.drop(qs, err)
		return
	}
	qs.SetReadDeadline(time.Time{})
	s := newMirrorStream(c, qs, fr, &frameWriter{w: qs, max: c.maxFrame()})
	s.path = true
	defer s.Close()
	c.peer.e.cfg.Handler.ServePath(s.ctx, c.peer.name, f.(*MirrorPath), s)
}
