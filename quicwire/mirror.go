package quicwire

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/quic-go/quic-go"
)

// MirrorStream is the stream of one mirror session, or a further path of one. One goroutine may send while another receives; concurrent Sends are
// serialised, and so are concurrent Recvs. After an error other than ErrTooLong or ErrInvalidField it is of no more use than to be closed.
type MirrorStream struct {
	conn   *conn
	qs     *quic.Stream
	opener bool // this side is the secondary
	path   bool // it is a further path of a session: it carries batches only

	paths     []*conn // guarded by conn.peer.mu: path connections that the further paths of this session use
	pathWaits int     // guarded by conn.peer.mu: paths that wait for a connection
	closing   func()  // called by the first Close, nil for nothing

	sendMu sync.Mutex
	fw     *frameWriter

	recvMu sync.Mutex
	fr     *frameReader
	begun  bool // a frame was received

	ctx    context.Context // ends when the stream is of no more use, with the reason
	cancel context.CancelCauseFunc

	closeMu sync.Mutex
	closed  bool // by Close
	proper  bool // the sending direction was closed behind a whole frame, and must not be cancelled any more
}

func newMirrorStream(c *conn, qs *quic.Stream, fr *frameReader, fw *frameWriter) *MirrorStream {
	s := &MirrorStream{conn: c, qs: qs, fr: fr, fw: fw}
	s.ctx, s.cancel = context.WithCancelCause(c.qc.Context())
	return s
}

// OpenMirror opens a mirror stream toward the peer, the primary, and sends open on it. The next frame to receive is a MirrorAccept.
// ctx bounds the opening only. Errors are those of Request.
func (e *Endpoint) OpenMirror(ctx context.Context, peer string, open *MirrorOpen) (*MirrorStream, error) {
	c, qs, err := e.openStream(ctx, peer)
	if err != nil {
		return nil, fmt.Errorf("open mirror: %w", err)
	}
	s := newMirrorStream(c, qs, newFrameReader(qs, c.maxFrame()), &frameWriter{w: qs, max: c.maxFrame()})
	s.opener = true
	if err := s.send(ctx, open); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// carries says which frames go over the stream behind the first, in each direction.
func (s *MirrorStream) carries(t Type, fromSecondary bool) bool {
	if s.path {
		return t == TypeBatch && !fromSecondary
	}
	return mirrorCarries(t, fromSecondary)
}

// mirrorCarries is carries for a mirror stream.
func mirrorCarries(t Type, fromSecondary bool) bool {
	switch t {
	case TypePairStates:
		return true
	case TypeReadJournal:
		return fromSecondary
	case TypeBatch, TypeMirrorPath, TypeMirrorOptions, TypeMirrorLag, TypeMirrorSettings:
		return !fromSecondary
	}
	return false
}

// Peer gives the name of the peer at the other end.
func (s *MirrorStream) Peer() string { return s.conn.peer.name }

// Agreement gives what the two sites have in common.
func (s *MirrorStream) Agreement() Agreement { return s.conn.agreed }

// RTT gives the least round trip that was seen on its connection, 0 before the first.
func (s *MirrorStream) RTT() time.Duration { return s.conn.qc.ConnectionStats().MinRTT }

// Sent gives how many bytes of frames QUIC has taken for the peer so far, in pieces of 64 KiB: it takes the next when most of what came before
// is under way, and none while the peer receives nothing. It does not wait.
func (s *MirrorStream) Sent() uint64 { return s.fw.sent.Load() }

// Received gives how many bytes came from the peer so far, of frames that are not whole yet too. It does not wait.
func (s *MirrorStream) Received() uint64 { return s.fr.from.n.Load() }

// Send sends f: ReadJournal or PairStates from the secondary, MirrorAccept, Batch, PairStates, MirrorPath, MirrorOptions, MirrorLag or MirrorSettings from the primary; over a
// further path Batch alone. It returns when all of it is handed to QUIC; it blocks while the peer does not receive. The fields and data of f may be used again afterwards.
// If ctx ends meanwhile, the whole stream ends, because half a frame may have been sent.
func (s *MirrorStream) Send(ctx context.Context, f Frame) error {
	if t := f.Type(); !s.carries(t, s.opener) && (s.opener || s.path || t != TypeMirrorAccept) {
		return fmt.Errorf("send: mirror stream with %s: %s does not go this way: %w", s.Peer(), t, ErrInvalidField)
	}
	return s.send(ctx, f)
}

func (s *MirrorStream) send(ctx context.Context, f Frame) error {
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
	if err == nil {
		err = s.expect(f.Type())
	}
	switch {
	case err == nil:
		return f, nil
	case errors.Is(err, io.EOF) && ctx.Err() == nil:
		s.cancel(io.EOF)
		return nil, io.EOF
	}
	return nil, s.fault(ctx, "receive", err)
}

// expect checks that a frame of type t may come now. Requires recvMu.
func (s *MirrorStream) expect(t Type) error {
	first := s.opener && !s.path && !s.begun
	s.begun = true
	if first && t != TypeMirrorAccept || !first && !s.carries(t, !s.opener) {
		return &ProtocolError{Code: CloseUnexpectedFrame, Frame: t, Message: "inside a mirror stream"}
	}
	return nil
}

// Context ends when the stream is of no more use: the peer has closed it and all it sent was received, a Send or Recv has
// failed, the connection is lost, or Close was called.
func (s *MirrorStream) Context() context.Context { return s.ctx }

// Close ends the stream: the peer receives what was sent and then io.EOF; what it still sends is dropped. It never fails and may be
// called again, and concurrently with everything else; a Send under way fails, and then the peer sees no proper end.
func (s *MirrorStream) Close() error {
	s.closeMu.Lock()
	defer s.closeMu.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	if s.closing != nil {
		defer s.closing()
	}
	if s.sendMu.TryLock() {
		s.qs.Close()
		s.proper = true
		s.sendMu.Unlock()
	} else {
		s.qs.CancelWrite(streamCancelled)
	}
	s.qs.CancelRead(streamDone)
	s.cancel(ErrClosed)
	return nil
}

// abort ends the stream at once in both directions.
func (s *MirrorStream) abort() {
	s.closeMu.Lock()
	defer s.closeMu.Unlock()
	s.qs.CancelRead(streamCancelled)
	if !s.proper {
		s.qs.CancelWrite(streamCancelled)
	}
}

// fault names what went wrong, and ends the connection if the peer broke the protocol, else the stream if it cannot go on.
func (s *MirrorStream) fault(ctx context.Context, doing string, err error) error {
	s.closeMu.Lock()
	closed := s.closed
	s.closeMu.Unlock()
	if closed {
		return fmt.Errorf("%s: mirror stream with %s: %w", doing, s.Peer(), ErrClosed)
	}
	var stopped *quic.StreamError
	local := errors.Is(err, ErrTooLong) || errors.Is(err, ErrInvalidField) // nothing was sent
	half := errors.As(err, &stopped) && stopped.Remote && ctx.Err() == nil // the other direction may still have frames to receive
	err = fmt.Errorf("%s: mirror stream: %w", doing, s.conn.fault(ctx, err))
	if !local && !half {
		s.abort()
		s.cancel(err)
	}
	return err
}
