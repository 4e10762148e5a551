package quicwire

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/quic-go/quic-go"
)

// MirrorStream is the stream of one mirror session. One goroutine may send while another receives; concurrent Sends are
// serialised, and so are concurrent Recvs. After an error other than ErrTooLong or ErrInvalidField it is of no more use than to be closed.
type MirrorStream struct {
	conn *conn
	qs   *quic.Stream

	sendMu sync.Mutex
	fw     *frameWriter

	recvMu sync.Mutex
	fr     *frameReader

	closeOnce sync.Once
	closed    chan struct{}
}

func newMirrorStream(c *conn, qs *quic.Stream, fr *frameReader, fw *frameWriter) *MirrorStream {
	return &MirrorStream{conn: c, qs: qs, fr: fr, fw: fw, closed: make(chan struct{})}
}

// OpenMirror opens a mirror stream toward the peer, the primary, and sends open on it. The next frame to receive is a MirrorAccept.
// ctx bounds the opening only. Errors are those of Request.
func (e *Endpoint) OpenMirror(ctx context.Context, peer string, open *MirrorOpen) (*MirrorStream, error) {
	c, qs, err := e.openStream(ctx, peer)
	if err != nil {
		return nil, fmt.Errorf("open mirror: %w", err)
	}
	s := newMirrorStream(c, qs, newFrameReader(qs, c.maxFrame()), &frameWriter{w: qs, max: c.maxFrame()})
	if err := s.Send(ctx, open); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// Peer gives the name of the peer at the other end.
func (s *MirrorStream) Peer() string { return s.conn.peer.name }

// Agreement gives what the two sites have in common.
func (s *MirrorStream) Agreement() Agreement { return s.conn.agreed }

// Send sends f and returns when all of it is handed to QUIC; it blocks while the peer does not receive. The fields and data of f
// may be used again afterwards. If ctx ends meanwhile, the whole stream ends, because half a frame may have been sent.
func (s *MirrorStream) Send(ctx context.Context, f Frame) error {
	s.sendMu.Lock()
	defer s.sendMu.Unlock()
	defer context.AfterFunc(ctx, s.abort)()
	if err := s.fw.write(f); err != nil {
		return s.fault(ctx, "send "+f.Type().String(), err)
	}
	return nil
}

// Recv gives the next frame, io.EOF once the peer has closed its side. If ctx ends meanwhile, the whole stream ends.
func (s *MirrorStream) Recv(ctx context.Context) (Frame, error) { return s.RecvInto(ctx, nil) }

// RecvInto is Recv with the data of a Batch received into a slice that alloc gives: its length must be n, 1…MaxBatchData. The slice
// belongs to the caller, in case of an error too.
func (s *MirrorStream) RecvInto(ctx context.Context, alloc func(n int) []byte) (Frame, error) {
	s.recvMu.Lock()
	defer s.recvMu.Unlock()
	defer context.AfterFunc(ctx, s.abort)()
	f, err := s.fr.read(alloc)
	if err == nil && (f.Type() == TypeHello || f.Type() == TypeMirrorOpen) {
		err = &ProtocolError{Code: CloseUnexpectedFrame, Frame: f.Type(), Message: "inside a mirror stream"}
	}
	switch {
	case err == nil:
		return f, nil
	case err == io.EOF && ctx.Err() == nil:
		return nil, io.EOF
	}
	return nil, s.fault(ctx, "receive", err)
}

// Context ends when the stream can send no more: the peer has stopped receiving, the connection is lost, or Close was called.
func (s *MirrorStream) Context() context.Context { return s.qs.Context() }

// Close ends the stream: the peer receives what was sent and then io.EOF; what it still sends is dropped. It never fails and may be
// called again, and concurrently with everything else.
func (s *MirrorStream) Close() error {
	s.closeOnce.Do(func() {
		close(s.closed)
		s.qs.CancelRead(streamDone)
		if s.sendMu.TryLock() {
			defer s.sendMu.Unlock()
			s.qs.Close()
			return
		}
		s.qs.CancelWrite(streamCancelled) // a Send is under way: half a frame must not look like a proper end
	})
	return nil
}

// abort ends the stream at once in both directions.
func (s *MirrorStream) abort() {
	s.qs.CancelRead(streamCancelled)
	s.qs.CancelWrite(streamCancelled)
}

// fault names what went wrong, and ends the connection if the peer broke the protocol, else the stream if it cannot go on.
func (s *MirrorStream) fault(ctx context.Context, doing string, err error) error {
	select {
	case <-s.closed:
		return fmt.Errorf("%s: mirror stream with %s: %w", doing, s.Peer(), ErrClosed)
	default:
	}
	if !errors.Is(err, ErrTooLong) && !errors.Is(err, ErrInvalidField) {
		s.abort()
	}
	return fmt.Errorf("%s: mirror stream: %w", doing, s.conn.fault(ctx, err))
}
