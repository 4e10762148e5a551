package quicwire

import (
	"crypto/ed25519"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
)

// alpn names the protocol in the handshake. It changes only with an incompatible Hello.
const alpn = "pairfs/1"

// alpnPath names a path connection, which carries paths of mirror sessions and nothing else. It has no Hello.
const alpnPath = "pairfs-path/1"

// errNotPinned is what a handshake with the wrong key fails with on this side.
var errNotPinned = errors.New("key not accepted")

// baseTLS is what both directions have in common: TLS 1.3, the site's certificate, and no resumption, so that every
// connection proves possession of its key anew.
func (e *Endpoint) baseTLS() *tls.Config {
	return &tls.Config{
		Certificates:           []tls.Certificate{e.cfg.Identity.cert},
		MinVersion:             tls.VersionTLS13,
		NextProtos:             []string{alpn, alpnPath}, // in the order of preference: a path is dialled with that name alone
		SessionTicketsDisabled: true,
	}
}

// serverTLS accepts any peer that is set. The certificate is asked for but its absence is left to check, so that it is reported.
func (e *Endpoint) serverTLS() *tls.Config {
	base := e.baseTLS()
	base.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		addr := hello.Conn.RemoteAddr()
		conf := e.baseTLS()
		conf.ClientAuth = tls.RequestClientCert
		conf.VerifyConnection = func(cs tls.ConnectionState) error {
			return e.check(addr, cs, func(fp Fingerprint) bool { return e.peerByKey(fp) != nil }, "unknown key")
		}
		return conf, nil
	}
	return base
}

// clientTLS accepts the one key that is pinned for the peer being dialled, for a connection of that ALPN name.
func (e *Endpoint) clientTLS(addr net.Addr, want Fingerprint, name string) *tls.Config {
	conf := e.baseTLS()
	conf.NextProtos = []string{name}
	conf.ServerName = "pairfs" // never looked at; without a name crypto/tls refuses to dial
	conf.InsecureSkipVerify = true
	conf.VerifyConnection = func(cs tls.ConnectionState) error {
		return e.check(addr, cs, func(fp Fingerprint) bool { return fp == want }, "the key is not the one pinned for this peer")
	}
	return conf
}

// check lets a handshake pass only with one Ed25519 certificate whose key is accepted. crypto/tls proves possession of the key.
func (e *Endpoint) check(addr net.Addr, cs tls.ConnectionState, accept func(Fingerprint) bool, otherwise string) error {
	fp, err := connectionKey(cs)
	if err == nil && accept(fp) {
		return nil
	}
	reason := otherwise
	if err != nil {
		reason = err.Error()
	}
	e.refuse(addr, fp, reason)
	return fmt.Errorf("%w: %s %s", errNotPinned, reason, fp)
}

// refuse reports a connection that was not let in. It runs in a goroutine of QUIC, so it sees to it that Close waits for it.
func (e *Endpoint) refuse(addr net.Addr, fp Fingerprint, reason string) {
	e.mu.Lock()
	if e.closed {
		e.mu.Unlock()
		return
	}
	e.wg.Add(1)
	e.mu.Unlock()
	defer e.wg.Done()
	e.cfg.Handler.Refused(addr, fp, reason)
}

// connectionKey gives the fingerprint of the other side's key.
func connectionKey(cs tls.ConnectionState) (Fingerprint, error) {
	switch len(cs.PeerCertificates) {
	case 0:
		return Fingerprint{}, errors.New("no certificate")
	case 1:
	default:
		return Fingerprint{}, errors.New("more than one certificate")
	}
	key, ok := cs.PeerCertificates[0].PublicKey.(ed25519.PublicKey)
	if !ok {
		return Fingerprint{}, fmt.Errorf("the certificate has a key of type %s, not Ed25519", cs.PeerCertificates[0].PublicKeyAlgorithm)
	}
	return KeyFingerprint(key), nil
}
