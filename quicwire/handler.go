package quicwire

import (
	"context"
	"net"
)

// SendFunc sends one frame of an answer. It blocks while the requester does not read, and fails once it has gone.
type SendFunc func(Frame) error

// Handler is what an endpoint calls. All methods are called concurrently with each other, Serve, ServeMirror and ServePath also
// with themselves. An endpoint calls none of them any more once Close has returned nil.
type Handler interface {
	// Serve answers one request: CreatePair, DeletePair, SuspendPair, ResyncPairs, SwapPairs, PowerOff or PairStates. The answer is the frames given to
	// send, if any, and then the frame returned, which may be nil if send was used. ctx ends when the requester gives up,
	// the connection is lost or the endpoint closes. At most 16 calls run at a time for one peer; further requests wait.
	Serve(ctx context.Context, peer string, req Frame, send SendFunc) Frame

	// ServeMirror serves a mirror stream that the peer, a secondary, has opened. The first frame it sends is a MirrorAccept. When it returns
	// the stream is closed. ctx is the stream's Context.
	ServeMirror(ctx context.Context, peer string, open *MirrorOpen, s *MirrorStream)

	// ServePath serves a further path of a mirror session, which the peer, the secondary, has opened: batches are sent over it beside s of
	// ServeMirror, whose session open names. When it returns the stream is closed. ctx is the stream's Context. A session that is not there, or is
	// another peer's, has no paths: it returns at once.
	ServePath(ctx context.Context, peer string, open *MirrorPath, s *MirrorStream)

	// Refused reports a connection that was not let in: a key that is not pinned, or no common version. fp is the key as presented,
	// zero if there was none; possession of it is not proven. It may be called as often as somebody tries: limit what it
	// costs, and return at once.
	Refused(addr net.Addr, fp Fingerprint, reason string)

	// PeerUp reports that a peer has its first live connection, PeerDown that it has lost its last, with the reason. For one peer
	// the calls alternate and never overlap; changes faster than the handler are joined, so only the latest state counts.
	// Requests may be served before PeerUp is called.
	PeerUp(peer string, hello Hello)
	PeerDown(peer string, err error)
}
