package quicwire

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
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
		{"another algorithm", []tls.Certificate{ecdsaCert(t)}, Fingerprint{}, "not Ed25519"},
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
	if err := stranger(t, s, func(c *tls.Config) { c.NextProtos = []string{"h3"} }, known.cert); err == nil {
		t.Error("h3 is let in")
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
