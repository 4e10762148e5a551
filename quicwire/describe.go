package quicwire

import (
	"errors"
	"fmt"
	"net"
	"strings"

	"github.com/quic-go/quic-go"
)

// tlsAlertBadCertificate is the QUIC error code of the TLS alert that a peer sends when it does not accept a key (RFC 9001, 4.8).
const tlsAlertBadCertificate = quic.TransportErrorCode(0x100 + 42)

// describe puts an error of QUIC that was met with the peer into words of this package.
func (p *peer) describe(err error) error {
	var app *quic.ApplicationError
	var transport *quic.TransportError
	var idle *quic.IdleTimeoutError
	var reset *quic.StatelessResetError
	var handshake *quic.HandshakeTimeoutError
	if text := sendRefused(err); text != "" {
		return reworded{text, err}
	}
	switch {
	case errors.Is(err, errNotPinned):
		return fmt.Errorf("the site there has another key than the one given for this peer; compare with `pairfs key` there: %w", err)
	case errors.As(err, &app):
		return &ProtocolError{Code: CloseCode(app.ErrorCode), Message: app.ErrorMessage, Remote: app.Remote}
	case errors.As(err, &transport) && transport.Remote && transport.ErrorCode == tlsAlertBadCertificate:
		return reworded{p.name + " does not accept this site's key: add it there (pairfs peer add …)", err}
	case errors.As(err, &idle):
		return fmt.Errorf("nothing was heard from the peer for %s: %w", idleTimeout, err)
	case errors.As(err, &reset):
		return reworded{"the peer was restarted, or its own network was down for a moment", err} // it does not know the connection any more
	case errors.As(err, &handshake):
		return fmt.Errorf("no answer: %w", err)
	}
	return err
}

// reworded is an error that is told in other words.
type reworded struct {
	text string
	err  error
}

// Error gives the words alone.
func (e reworded) Error() string { return e.text }

// Unwrap gives what it was.
func (e reworded) Unwrap() error { return e.err }

// sendRefused makes a sentence of an error with which this host's network would not take a packet, "" of any other. QUIC gives it as it
// is, or as the text of an internal error: "write udp FROM->TO: sendmsg: REASON".
func sendRefused(err error) string {
	var op *net.OpError
	var internal *quic.TransportError
	text := ""
	switch {
	case errors.As(err, &op) && op.Op == "write":
		text = op.Error()
	case errors.As(err, &internal) && !internal.Remote && internal.ErrorCode == quic.InternalError:
		text = internal.ErrorMessage
	}
	way, reason, ok := strings.Cut(strings.TrimPrefix(text, "write udp "), ": ")
	if text == "" || !ok || !strings.HasPrefix(text, "write udp ") {
		return ""
	}
	if _, to, ok := strings.Cut(way, "->"); ok {
		way = to
	}
	return fmt.Sprintf("the network refused to send to %s: %s", way, strings.TrimPrefix(reason, "sendmsg: "))
}
