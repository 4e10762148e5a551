package quicwire

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"math/big"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
)

// stranger dials s as something that is no endpoint, with the certificates given, and gives the error that ends the connection.
func stranger(t *testing.T, s *site, change func(*tls.Config), certs ...tls.Certificate) error {
	t.Helper()
	_, err := strangerConn(t, s, change, certs...)
	return err
}

func strangerConn(t *testing.T, s *site, change func(*tls.Config), certs ...tls.Certificate) (*quic.Conn, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), within)
	t.Cleanup(cancel)
	conf := &tls.Config{Certificates: certs, NextProtos: []string{alpn}, InsecureSkipVerify: true, ServerName: "x"}
	if change != nil {
		change(conf)
	}
	qc, err := quic.DialAddr(ctx, s.Addr().String(), conf, nil)
	if err != nil {
		return nil, err
	}
	t.Cleanup(func() { qc.CloseWithError(0, "") })
	// The dialler is through before the other side has seen its certificate: a refusal comes with the first answer.
	_, err = qc.AcceptStream(ctx)
	return qc, err
}

func ecdsaCert(t *testing.T) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return selfSigned(t, key)
}

func rsaCert(t *testing.T) tls.Certificate {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return selfSigned(t, key)
}

func selfSigned(t *testing.T, key crypto.Signer) tls.Certificate {
	t.Helper()
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func TestStrangersAreRefused(t *testing.T) {
	known, unknown := identityOf(t, 1), identityOf(t, 2)
	s := newSite(t, "tokyo")
	if err := s.SetPeer("osaka", "", known.Fingerprint()); err != nil {
		t.Fatal(err)
	}
	double := known.cert
	double.Certificate = append([][]byte{}, known.cert.Certificate[0], unknown.cert.Certificate[0])
	for _, c := range []struct {
		why    string
		certs  []tls.Certificate
		key    Fingerprint
		reason string
	}{
		{"an unknown key", []tls.Certificate{unknown.cert}, unknown.Fingerprint(), "unknown key"},
		{"no certificate", nil, Fingerprint{}, "no certificate"},
		{"a key of ECDSA", []tls.Certificate{ecdsaCert(t)}, Fingerprint{}, "not Ed25519"},
		{"a key of RSA", []tls.Certificate{rsaCert(t)}, Fingerprint{}, "not Ed25519"},
		{"two certificates", []tls.Certificate{double}, Fingerprint{}, "more than one"},
	} {
		var transport *quic.TransportError
		if err := stranger(t, s, nil, c.certs...); !errors.As(err, &transport) || !transport.Remote || !transport.ErrorCode.IsCryptoError() {
			t.Errorf("%s: the connection ends with %v", c.why, err)
		}
		got := receive(t, "refusal", s.refused)
		if got.key != c.key || !strings.Contains(got.reason, c.reason) {
			t.Errorf("%s: refused %s because of %q", c.why, got.key, got.reason)
		}
		if addr, ok := got.addr.(*net.UDPAddr); !ok || addr.Port == 0 {
			t.Errorf("%s: refused at %v", c.why, got.addr)
		}
	}
	if _, ok := s.Connected("osaka"); ok {
		t.Error("a stranger counts as the peer")
	}
}

// A certificate can be copied by whoever has seen it; without the key it is worth nothing.
func TestCopiedCertificateIsRefused(t *testing.T) {
	known, unknown := identityOf(t, 1), identityOf(t, 2)
	s := newSite(t, "tokyo")
	if err := s.SetPeer("osaka", "", known.Fingerprint()); err != nil {
		t.Fatal(err)
	}
	copied := tls.Certificate{Certificate: known.cert.Certificate, PrivateKey: unknown.cert.PrivateKey}
	if err := stranger(t, s, nil, copied); err == nil {
		t.Error("it is let in")
	}
	if _, ok := s.Connected("osaka"); ok {
		t.Error("it counts as the peer")
	}
}

func TestOtherProtocolsAreRefused(t *testing.T) {
	known := identityOf(t, 1)
	s := newSite(t, "tokyo")
	if err := s.SetPeer("osaka", "", known.Fingerprint()); err != nil {
		t.Fatal(err)
	}
	for _, protocols := range [][]string{{"h3"}, {"pairfs/2"}, nil} {
		err := stranger(t, s, func(c *tls.Config) { c.NextProtos = protocols }, known.cert)
		var transport *quic.TransportError
		if !errors.As(err, &transport) || !transport.Remote || !transport.ErrorCode.IsCryptoError() {
			t.Errorf("%q: the connection ends with %v", protocols, err)
		}
	}
	if _, ok := s.Connected("osaka"); ok {
		t.Error("it counts as the peer")
	}
}

// A peer is its key. What else a certificate says is looked at by nobody: a date that has passed keeps no peer out, and a date that holds lets
// nobody in.
func TestCertificateIsItsKey(t *testing.T) {
	known, unknown := identityOf(t, 1), identityOf(t, 2)
	for name, change := range map[string]func(*x509.Certificate){
		"as a site makes it": func(*x509.Certificate) {},
		"expired":            func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Hour) },
		"not yet valid":      func(c *x509.Certificate) { c.NotBefore = time.Now().Add(time.Hour) },
		"of an authority":    func(c *x509.Certificate) { c.IsCA, c.BasicConstraintsValid = true, true },
		"for servers alone":  func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} },
		"for clients of another name": func(c *x509.Certificate) {
			c.DNSNames, c.ExtKeyUsage = []string{"berlin"}, []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
		},
		"not for signatures": func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageCRLSign },
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, "tokyo")
			if err := s.SetPeer("osaka", "", known.Fingerprint()); err != nil {
				t.Fatal(err)
			}
			if err := stranger(t, s, nil, certOf(t, unknown, change)); err == nil {
				t.Error("a foreign key is let in with it")
			}
			if got := receive(t, "refusal", s.refused); got.key != unknown.Fingerprint() || got.reason != "unknown key" {
				t.Errorf("refused %s because of %q", got.key, got.reason)
			}
			if _, ok := s.Connected("osaka"); ok {
				t.Error("a stranger counts as the peer")
			}
			greetAs(t, s, certOf(t, known, change))
			if _, ok := s.Connected("osaka"); !ok {
				t.Error("the right key is not let in with it")
			}
		})
	}
}

// certOf makes a certificate of the identity's key.
func certOf(t *testing.T, id *Identity, change func(*x509.Certificate)) tls.Certificate {
	t.Helper()
	template := &x509.Certificate{SerialNumber: big.NewInt(7), NotBefore: time.Now().Add(-24 * time.Hour), NotAfter: time.Now().Add(24 * time.Hour)}
	change(template)
	key := id.cert.PrivateKey.(crypto.Signer)
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// greetAs dials s with a certificate and exchanges Hello, as a peer does that is no endpoint.
func greetAs(t *testing.T, s *site, cert tls.Certificate) {
	t.Helper()
	if err := greet(t, s, cert); err != nil {
		t.Fatal(err)
	}
	receive(t, "peer up", s.up)
}

func greet(t *testing.T, s *site, cert tls.Certificate) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	qc, err := quic.DialAddr(ctx, s.Addr().String(), &tls.Config{Certificates: []tls.Certificate{cert}, NextProtos: []string{alpn}, InsecureSkipVerify: true, ServerName: "x"}, nil)
	if err != nil {
		return err
	}
	t.Cleanup(func() { qc.CloseWithError(0, "") })
	qs, err := qc.OpenStreamSync(ctx)
	if err != nil {
		return err
	}
	_, err = qs.Write(encode(t, &Hello{MinVersion: 1, MaxVersion: 1, Site: "osaka", MaxFrame: MaxFrame, Nonce: 1}))
	if err = errors.Join(err, qs.Close()); err != nil {
		return err
	}
	f, err := newFrameReader(qs, maxHelloFrame).read(nil)
	if err == nil && f.Type() != TypeHello {
		t.Errorf("hello is answered by %s", f.Type())
	}
	return err
}

// TestArrivalsAreBounded: who has a key that is known and dials without end is turned away before anything is exchanged, and let in again later.
func TestArrivalsAreBounded(t *testing.T) {
	known := identityOf(t, 1)
	s := newSite(t, "tokyo")
	if err := s.SetPeer("osaka", "", known.Fingerprint()); err != nil {
		t.Fatal(err)
	}
	arrivals := s.peerByName("osaka").arrivals
	if arrivals.Limit() != arrivalRate || arrivals.Burst() != arrivalBurst {
		t.Fatalf("%v a second and %d at once may come", arrivals.Limit(), arrivals.Burst())
	}
	arrivals.SetLimit(0) // so that the test is not slower than the pause
	for range arrivalBurst {
		if err := greet(t, s, known.cert); err != nil {
			t.Fatal(err)
		}
	}
	var app *quic.ApplicationError
	if err := greet(t, s, known.cert); !errors.As(err, &app) || CloseCode(app.ErrorCode) != CloseBusy {
		t.Errorf("one too many: %v", err)
	}
	arrivals.SetLimit(1000)
	for end := time.Now().Add(within); arrivals.Tokens() < 1; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it may never come again")
		}
	}
	if err := greet(t, s, known.cert); err != nil {
		t.Errorf("later: %v", err)
	}
}

// The dialler is as careful: whoever answers at the peer's address without the pinned key gets nothing.
func TestWrongKeyAtThePeersAddress(t *testing.T) {
	a, imposter := newSite(t, "tokyo"), newSite(t, "osaka")
	wanted := identityOf(t, 1)
	set(t, imposter, a, "")
	if err := a.SetPeer("osaka", imposter.Addr().String(), wanted.Fingerprint()); err != nil {
		t.Fatal(err)
	}
	got := receive(t, "refusal", a.refused)
	if got.key != imposter.Fingerprint() || !strings.Contains(got.reason, "not the one pinned") || got.addr.String() != imposter.Addr().String() {
		t.Errorf("refused %+v", got)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := a.Request(ctx, "osaka", &DeletePair{}); !errors.Is(err, ErrUnreachable) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("request: %v", err)
	}
}

// A peer that does not know this site's key is named as the reason, so that the operator knows on which side to act.
func TestRefusedByThePeer(t *testing.T) {
	a, b := newSite(t, "tokyo"), newSite(t, "osaka")
	set(t, a, b, b.Addr().String())
	receive(t, "refusal", b.refused)
	receive(t, "refusal", b.refused) // by then the first dial's error is known
	p := a.peerByName("osaka")
	if err := p.why(); !strings.Contains(err.Error(), "osaka does not accept this site's key: add it there (pairfs peer add") {
		t.Errorf("reason: %v", err)
	}
}

// A peer of the right key that does not speak the protocol is cut off, with the code that says why.
func TestBadHello(t *testing.T) {
	good := Hello{MinVersion: 1, MaxVersion: 1, Site: "osaka", MaxFrame: MaxFrame, Nonce: 1}
	old, small := good, good
	old.MinVersion, old.MaxVersion = 7, 9
	small.MaxFrame = 1000
	for _, c := range []struct {
		why   string
		bytes []byte
		code  CloseCode
	}{
		{"no common version", encode(t, &old), CloseVersion},
		{"frames too small", encode(t, &small), CloseVersion},
		{"another frame first", encode(t, &DeletePair{Pairs: []PairRef{{Name: "pair0"}}}), CloseUnexpectedFrame},
		{"something behind it", append(encode(t, &good), encode(t, &good)...), CloseUnexpectedFrame},
		{"an unknown frame", []byte{200, 0, 0, 0, 0}, CloseUnknownFrame},
		{"a huge frame", []byte{byte(TypeHello), 0, 0, 0, 1}, CloseTooLarge},
		{"half a frame", encode(t, &good)[:9], CloseMalformed},
		{"no frame", nil, CloseMalformed},
	} {
		known := identityOf(t, 1)
		s := newSite(t, "tokyo")
		if err := s.SetPeer("osaka", "", known.Fingerprint()); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), within)
		conf := &tls.Config{Certificates: []tls.Certificate{known.cert}, NextProtos: []string{alpn}, InsecureSkipVerify: true, ServerName: "x"}
		qc, err := quic.DialAddr(ctx, s.Addr().String(), conf, nil)
		if err != nil {
			t.Fatal(err)
		}
		qs, err := qc.OpenStreamSync(ctx)
		if err != nil {
			t.Fatal(err)
		}
		qs.Write(c.bytes)
		qs.Close()
		_, err = qc.AcceptStream(ctx)
		var app *quic.ApplicationError
		if !errors.As(err, &app) || !app.Remote || CloseCode(app.ErrorCode) != c.code {
			t.Errorf("%s: the connection ends with %v, want %s", c.why, err, c.code)
		}
		if c.code == CloseVersion {
			if got := receive(t, "refusal", s.refused); got.key != known.Fingerprint() {
				t.Errorf("%s: refused %+v", c.why, got)
			}
		}
		if _, ok := s.Connected("osaka"); ok {
			t.Errorf("%s: it counts as connected", c.why)
		}
		cancel()
		s.shut(t)
	}
}
