package quicwire

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/quic-go/quic-go"
)

// Exchange is a request whose answer may be several frames. Not for concurrent use, except Close.
type Exchange struct {
	conn *conn
	qs   *quic.Stream
	fr   *frameReader
	ctx  context.Context
	stop func() bool
}

// Request sends f, a request, to the peer and gives the first frame of its answer. Errors:
// *RemoteError if the peer refuses; ErrUnreachable if there is no connection, nothing was sent; ErrConnectionLost if the
// connection ended before the answer came, so that the outcome is unknown; *ProtocolError if the answer makes no sense;
// ctx's error if it ends first, the outcome being unknown then too, unless it is ErrUnreachable as well.
func (e *Endpoint) Request(ctx context.Context, peer string, f Frame) (Frame, error) {
	x, err := e.RequestStream(ctx, peer, f)
	if err != nil {
		return nil, err
	}
	defer x.Close()
	answer, err := x.Recv()
	if errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%s: peer %s: %w: it gave no answer", f.Type(), peer, ErrConnectionLost)
	}
	return answer, err
}

// RequestStream is Request for an answer of several frames. ctx bounds the whole exchange. The caller must call Close.
func (e *Endpoint) RequestStream(ctx context.Context, peer string, f Frame) (*Exchange, error) {
	if !frames[f.Type()].request {
		return nil, fmt.Errorf("%s is not a request: %w", f.Type(), ErrInvalidField)
	}
	c, qs, err := e.openStream(ctx, peer)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", f.Type(), err)
	}
	x := &Exchange{conn: c, qs: qs, fr: newFrameReader(qs, c.maxFrame()), ctx: ctx}
	x.stop = context.AfterFunc(ctx, x.abort)
	fw := frameWriter{w: qs, max: c.maxFrame()}
	if err := fw.write(f); err != nil {
		x.Close()
		return nil, fmt.Errorf("%s: %w", f.Type(), c.fault(ctx, err))
	}
	qs.Close()
	return x, nil
}

// openStream opens a stream on a live connection of the peer; if that one dies meanwhile, on the next.
func (e *Endpoint) openStream(ctx context.Context, peer string) (*conn, *quic.Stream, error) {
	for tries := 1; ; tries++ {
		c, err := e.live(ctx, peer)
		if err != nil {
			return nil, nil, err
		}
		qs, err := c.openStream(ctx)
		if err == nil {
			return c, qs, nil
		}
		if tries == maxConnections || !errors.Is(err, ErrUnreachable) {
			return nil, nil, err
		}
		c.peer.remove(c, c.ended())
	}
}

// Recv gives the next frame of the answer, io.EOF behind the last. A refusal is a *RemoteError. Other errors are those of Request.
func (x *Exchange) Recv() (Frame, error) {
	f, err := x.fr.read(nil)
	if errors.Is(err, io.EOF) && x.ctx.Err() == nil {
		return nil, io.EOF
	}
	if err != nil {
		return nil, fmt.Errorf("answer: %w", x.conn.fault(x.ctx, err))
	}
	if r, ok := f.(*Result); ok && r.Code != ResultDone {
		return nil, &RemoteError{Peer: x.conn.peer.name, Code: r.Code, Message: r.Message, Detail: r.Detail}
	}
	return f, nil
}

// Close ends the exchange. If the answer is not complete the peer is told that it is no longer wanted.
func (x *Exchange) Close() error {
	x.stop()
	x.abort()
	return nil
}

func (x *Exchange) abort() {
	x.qs.CancelRead(streamCancelled)
	x.qs.CancelWrite(streamCancelled)
}
