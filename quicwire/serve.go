package quicwire

import (
	"errors"
	"fmt"
	"time"

	"github.com/quic-go/quic-go"
)

// serveStream serves one stream that the peer has opened: its first frame says what it is for.
func (c *conn) serveStream(qs *quic.Stream) {
	fr := newFrameReader(qs, c.maxFrame())
	patience(qs)
	t, err := fr.peek()
	switch {
	case err != nil:
		c.drop(qs, err)
	case c.path && t == TypeMirrorPath:
		c.servePath(qs, fr)
	case c.path:
		c.drop(qs, &ProtocolError{Code: CloseUnexpectedFrame, Frame: t, Message: "at the begin of a path"})
	case t == TypeMirrorOpen:
		c.serveMirror(qs, fr)
	case frames[t].request:
		c.serveRequest(qs, fr)
	default:
		c.drop(qs, &ProtocolError{Code: CloseUnexpectedFrame, Frame: t, Message: "at the begin of a stream"})
	}
}

// drop gives a stream up. A breach of the protocol ends the connection.
func (c *conn) drop(qs *quic.Stream, err error) {
	var breach *ProtocolError
	if errors.As(err, &breach) {
		c.peer.e.cfg.Logger.Warn("the peer breaks the protocol, connection closed", "peer", c.peer.name, "err", err)
		c.close(breach)
		return
	}
	qs.CancelRead(streamCancelled)
	qs.CancelWrite(streamCancelled)
}

// serveRequest answers one request. The request is read only once its turn has come, so that those which wait hold no memory.
func (c *conn) serveRequest(qs *quic.Stream, fr *frameReader) {
	ctx := qs.Context()
	select {
	case c.peer.requests <- struct{}{}:
		defer func() { <-c.peer.requests }()
	case <-ctx.Done():
		c.drop(qs, ctx.Err())
		return
	}
	patience(qs)
	req, err := fr.read(nil)
	if err == nil {
		err = fr.end()
	}
	if err != nil {
		c.drop(qs, err)
		return
	}
	r := &responder{conn: c, fw: &frameWriter{w: qs, max: c.maxFrame()}}
	if last := c.peer.e.cfg.Handler.Serve(ctx, c.peer.name, req, r.send); last != nil {
		r.send(last) // an error is kept in r
	} else if r.sent == 0 {
		r.send(NewResult(ResultInternal, fmt.Sprintf("the request %s has no answer", req.Type())))
	}
	if r.lost {
		c.drop(qs, r.err)
		return
	}
	qs.Close()
}

// responder sends the frames of one answer.
type responder struct {
	conn *conn
	fw   *frameWriter
	sent int   // frames
	err  error // why no further frame can be sent
	lost bool  // the requester does not get a whole answer
}

// send is the SendFunc of a request. A frame that cannot be encoded is a fault of this side; the requester is told, and the answer is over.
func (r *responder) send(f Frame) error {
	if r.err != nil {
		return r.err
	}
	r.sent++
	err := r.fw.write(f)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, ErrTooLong), errors.Is(err, ErrInvalidField):
		r.conn.peer.e.cfg.Logger.Error("an answer cannot be sent; report this as a bug", "peer", r.conn.peer.name, "err", err)
		r.lost = r.fw.write(NewResult(ResultInternal, err.Error())) != nil
	default:
		r.lost = true
	}
	r.err = fmt.Errorf("answer to %s: %w", r.conn.peer.name, err)
	return r.err
}

// serveMirror hands a mirror stream to the handler.
func (c *conn) serveMirror(qs *quic.Stream, fr *frameReader) {
	fw := &frameWriter{w: qs, max: c.maxFrame()}
	select {
	case c.peer.mirrors <- struct{}{}:
		defer func() { <-c.peer.mirrors }()
	default:
		_ = fw.write(&MirrorAccept{Code: ResultInternal, Message: fmt.Sprintf("more than %d mirror streams are open", maxMirrors)})
		qs.CancelRead(streamCancelled)
		qs.Close()
		return
	}
	f, err := c.readOpen(qs, fr)
	if err != nil {
		c.drop(qs, err)
		return
	}
	qs.SetReadDeadline(time.Time{})
	s := newMirrorStream(c, qs, fr, fw)
	defer s.Close()
	c.peer.e.cfg.Handler.ServeMirror(s.ctx, c.peer.name, f.(*MirrorOpen), s)
}

// readOpen reads the first frame of a mirror stream once its turn has come, as those of requests are.
func (c *conn) readOpen(qs *quic.Stream, fr *frameReader) (Frame, error) {
	select {
	case c.peer.opening <- struct{}{}:
		defer func() { <-c.peer.opening }()
	case <-qs.Context().Done():
		return nil, qs.Context().Err()
	}
	patience(qs)
	return fr.read(nil)
}
