package quicwire

import (
	"errors"
	"fmt"
)

var (
	// ErrUnreachable: there is no live connection with the peer and none came up in time. Nothing was sent.
	ErrUnreachable = errors.New("peer unreachable")
	// ErrConnectionLost: the connection ended after the request was sent, so whether the peer acted on it is unknown.
	// Ask again, or ask for the state, once the peer is back.
	ErrConnectionLost = errors.New("connection lost")
	// ErrUnknownPeer: no peer of that name was set.
	ErrUnknownPeer = errors.New("unknown peer")
	// ErrPeerKey: the key belongs to this site itself or to another peer already.
	ErrPeerKey = errors.New("key already in use")
	// ErrClosed: the endpoint, exchange or mirror stream was closed on this side.
	ErrClosed = errors.New("closed")
	// ErrTooLong: a field is longer or larger than the protocol allows. Returned to the sender before anything is sent.
	ErrTooLong = errors.New("field over its limit")
	// ErrInvalidField: a field of a frame to be sent has a value that the protocol does not know.
	ErrInvalidField = errors.New("field has no valid value")
	// ErrIncomplete: the bytes end before the frame does.
	ErrIncomplete = errors.New("frame incomplete")
)

// CloseCode says why a connection was closed. It is the QUIC application error code. Never change a number, only add.
type CloseCode uint32

// Reasons for closing a connection.
const (
	CloseNormal          CloseCode = 0 // the site is shutting down
	CloseVersion         CloseCode = 1 // no common protocol version or limits
	CloseMalformed       CloseCode = 2 // a frame that does not follow its layout
	CloseUnknownFrame    CloseCode = 3 // a frame type that the agreed version does not have
	CloseUnexpectedFrame CloseCode = 4 // a known frame in a place where it may not be
	CloseTooLarge        CloseCode = 5 // a frame longer than agreed
	CloseRemoved         CloseCode = 6 // the peer was removed, or its key changed
	CloseReplaced        CloseCode = 7 // a newer connection or incarnation of the peer takes the place of this one, or is to: see [Endpoint.Renew]
	CloseTimeout         CloseCode = 8 // Hello did not come in time
	CloseBusy            CloseCode = 9 // too many connections
)

var closeNames = map[CloseCode]string{
	CloseNormal:          "shutting down",
	CloseVersion:         "no common version",
	CloseMalformed:       "malformed frame",
	CloseUnknownFrame:    "unknown frame",
	CloseUnexpectedFrame: "unexpected frame",
	CloseTooLarge:        "frame too large",
	CloseRemoved:         "peer removed",
	CloseReplaced:        "connection replaced",
	CloseTimeout:         "hello timed out",
	CloseBusy:            "too many connections",
}

// String gives the reason in words.
func (c CloseCode) String() string {
	if s, ok := closeNames[c]; ok {
		return s
	}
	return fmt.Sprintf("close code %d", uint32(c))
}

// ProtocolError is a breach of the protocol by one side. It ends the connection with its Code.
// errors.Is matches another *ProtocolError of the same Code.
type ProtocolError struct {
	Code    CloseCode
	Frame   Type // the frame concerned, 0 if none
	Message string
	Remote  bool // the other side found it and closed the connection
}

// Error gives code, frame and message.
func (e *ProtocolError) Error() string {
	s := e.Code.String()
	if e.Frame != 0 {
		s += " " + e.Frame.String()
	}
	if e.Message != "" {
		s += ": " + e.Message
	}
	if e.Remote {
		s = "the peer closed the connection: " + s
	}
	return s
}

// Is reports whether target is a *ProtocolError with the same Code.
func (e *ProtocolError) Is(target error) bool {
	t, ok := target.(*ProtocolError)
	return ok && t.Code == e.Code
}

// RemoteError is a refusal by the peer: a Result whose Code is not ResultDone.
// errors.Is matches another *RemoteError of the same Code.
type RemoteError struct {
	Peer    string
	Code    ResultCode
	Message string
	Detail  []byte
}

// Error gives the peer, its code and its sentence.
func (e *RemoteError) Error() string {
	return fmt.Sprintf("peer %s: %s: %s", e.Peer, e.Code, e.Message)
}

// Is reports whether target is a *RemoteError with the same Code.
func (e *RemoteError) Is(target error) bool {
	t, ok := target.(*RemoteError)
	return ok && t.Code == e.Code
}
