package quicwire

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"

	"github.com/quic-go/quic-go"
)

// Codes with which a stream is cancelled. They carry no meaning beyond a trace.
const (
	streamDone      quic.StreamErrorCode = 0 // nothing further is of interest
	streamCancelled quic.StreamErrorCode = 1 // given up half way
)

// conn is one live connection with a peer, Hello exchanged, or a path connection.
type conn struct {
	peer    *peer
	qc      *quic.Conn
	hello   Hello // the peer's
	agreed  Agreement
	dialled bool      // by this side
	began   time.Time // when it became live

	path    bool        // it is a path connection
	own     *ownSocket  // of one that this side dialled
	idle    *time.Timer // of a path connection: ends it when nobody uses it
	streams int         // of a path connection, guarded by peer.mu

	closeOnce sync.Once
	why       error // what close was called with; set before qc is closed
}

// greet exchanges Hello over a new connection and adds it to the peer's live ones. If that fails the connection is closed.
func (p *peer) greet(qc *quic.Conn, dialled bool) (*conn, error) {
	c := &conn{peer: p, qc: qc, dialled: dialled}
	err := c.exchangeHello(dialled)
	if err == nil {
		err = p.add(c)
	}
	if err == nil {
		p.e.cfg.Logger.Info("connected", "peer", p.name, "addr", qc.RemoteAddr(), "dialled", dialled, "version", c.agreed.Version)
		return c, nil
	}
	err = p.describe(err)
	breach := &ProtocolError{Code: CloseNormal}
	errors.As(err, &breach)
	if breach.Code == CloseVersion {
		p.e.refuse(qc.RemoteAddr(), p.key, err.Error())
	}
	c.close(breach)
	return nil, err
}

// exchangeHello uses the connection's first stream, which the dialler opens: its Hello goes first, the answer comes back.
func (c *conn) exchangeHello(dialled bool) error {
	ctx, cancel := context.WithTimeoutCause(c.peer.ctx, helloTimeout, &ProtocolError{Code: CloseTimeout, Frame: TypeHello})
	defer cancel()
	open := c.qc.AcceptStream
	if dialled {
		open = c.qc.OpenStreamSync
	}
	qs, err := open(ctx)
	if err == nil {
		defer context.AfterFunc(ctx, func() { qs.CancelRead(streamCancelled); qs.CancelWrite(streamCancelled) })()
		err = c.talkHello(qs, dialled)
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

func (c *conn) talkHello(qs *quic.Stream, dialled bool) error {
	send := func() error {
		fw := frameWriter{w: qs, max: maxHelloFrame}
		if err := fw.write(&c.peer.e.hello); err != nil {
			return err
		}
		return qs.Close()
	}
	if dialled {
		if err := send(); err != nil {
			return err
		}
	}
	fr := newFrameReader(qs, maxHelloFrame)
	f, err := fr.read(nil)
	if errors.Is(err, io.EOF) {
		err = truncated(TypeHello)
	}
	if err != nil {
		return err
	}
	theirs, ok := f.(*Hello)
	if !ok {
		return &ProtocolError{Code: CloseUnexpectedFrame, Frame: f.Type(), Message: "before hello"}
	}
	if err := fr.end(); err != nil {
		return err
	}
	c.hello = *theirs
	if c.agreed, err = negotiate(c.peer.e.hello, c.hello); err != nil {
		return err
	}
	if !dialled {
		return send()
	}
	return nil
}

// serve takes the streams that the peer opens, until the connection ends.
func (c *conn) serve() {
	for {
		qs, err := c.qc.AcceptStream(c.qc.Context())
		if err != nil {
			break
		}
		c.peer.e.wg.Go(func() { c.serveStream(qs) })
	}
	err := c.ended()
	c.peer.remove(c, err)
	c.own.close()
	level := slog.LevelInfo
	if c.path {
		level = slog.LevelDebug // the session that it belonged to says what is to be said
	}
	c.peer.e.cfg.Logger.Log(context.Background(), level, "disconnected", "peer", c.peer.name, "addr", c.qc.RemoteAddr(), "path", c.path, "why", err)
}

// close ends the connection with the reason given, unless it has ended; the first reason stays.
func (c *conn) close(why *ProtocolError) {
	c.closeOnce.Do(func() { c.why = why })
	c.qc.CloseWithError(quic.ApplicationErrorCode(why.Code), why.Message)
	c.peer.remove(c, why)
}

// ended says why the connection has ended. Only for one that has: its streams may know a moment earlier than its context, so it waits for that.
func (c *conn) ended() error {
	<-c.qc.Context().Done()
	cause := context.Cause(c.qc.Context())
	var app *quic.ApplicationError
	if errors.As(cause, &app) && !app.Remote {
		c.closeOnce.Do(func() {}) // so that why is set and visible
		if c.why != nil {
			return c.why
		}
	}
	return c.peer.describe(cause)
}

// openStream opens a stream. It waits while the peer's limit of open streams is reached.
func (c *conn) openStream(ctx context.Context) (*quic.Stream, error) {
	qs, err := c.qc.OpenStreamSync(ctx)
	switch {
	case err == nil:
		return qs, nil
	case ctx.Err() != nil:
		return nil, fmt.Errorf("peer %s: %w", c.peer.name, context.Cause(ctx))
	}
	return nil, fmt.Errorf("peer %s: %w: %w", c.peer.name, ErrUnreachable, c.peer.describe(err))
}

// maxFrame gives the longest frame body that may be sent and is accepted.
func (c *conn) maxFrame() int { return int(c.agreed.MaxFrame) }

// fault says what err, met while using a stream under ctx, means for the caller. A breach of the protocol by the peer ends the connection.
func (c *conn) fault(ctx context.Context, err error) error {
	name := c.peer.name
	var breach *ProtocolError
	var reset *quic.StreamError
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("peer %s: %w", name, context.Cause(ctx))
	case errors.As(err, &breach):
		c.close(breach)
		return fmt.Errorf("peer %s: %w", name, err)
	case errors.Is(err, ErrTooLong), errors.Is(err, ErrInvalidField):
		return fmt.Errorf("peer %s: %w", name, err)
	case errors.As(err, &reset) && !reset.Remote:
		return fmt.Errorf("peer %s: %w", name, ErrClosed)
	case errors.As(err, &reset):
		return fmt.Errorf("peer %s: %w: the stream was cancelled", name, ErrConnectionLost)
	}
	if c.qc.Context().Err() != nil {
		return fmt.Errorf("peer %s: %w: %w", name, ErrConnectionLost, c.ended())
	}
	return fmt.Errorf("peer %s: %w: %w", name, ErrConnectionLost, c.peer.describe(err))
}

// patience limits how long the peer may take to send the first frame of a stream.
func patience(qs *quic.Stream) { qs.SetReadDeadline(time.Now().Add(firstFrameTimeout)) }
