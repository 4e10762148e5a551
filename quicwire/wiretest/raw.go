package wiretest

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/big"
	"time"

	"github.com/quic-go/quic-go"
)

// Raw is one connection of a peer that is made by hand: it has the key of a peer, and puts whatever bytes it likes into as many streams as it is
// let.
type Raw struct{ *quic.Conn }

// DialRaw dials a site with a key that is pinned there and exchanges Hello: hello are the bytes of that frame, answer those that came back.
func DialRaw(ctx context.Context, addr string, key ed25519.PrivateKey, hello []byte) (r *Raw, answer []byte, err error) {
	if r, err = dialRaw(ctx, addr, key, "pairfs/1"); err != nil {
		return nil, nil, err
	}
	s, err := r.OpenStreamSync(ctx)
	if err == nil {
		_, err = s.Write(hello)
		err = errors.Join(err, s.Close())
	}
	if err == nil {
		answer, err = io.ReadAll(s)
	}
	if err != nil {
		r.Close()
		return nil, nil, err
	}
	return r, answer, nil
}

// DialRawPath dials a path connection, which has no Hello.
func DialRawPath(ctx context.Context, addr string, key ed25519.PrivateKey) (*Raw, error) {
	return dialRaw(ctx, addr, key, "pairfs-path/1")
}

func dialRaw(ctx context.Context, addr string, key ed25519.PrivateKey, name string) (*Raw, error) {
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(24 * time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("make a certificate: %w", err)
	}
	conf := &tls.Config{
		Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}},
		NextProtos:   []string{name}, InsecureSkipVerify: true, ServerName: "x",
	}
	qc, err := quic.DialAddr(ctx, addr, conf, &quic.Config{MaxIncomingStreams: 1000, KeepAlivePeriod: time.Second})
	if err != nil {
		return nil, err
	}
	return &Raw{qc}, nil
}

// Close ends the connection without a complaint.
func (r *Raw) Close() { _ = r.CloseWithError(0, "") }

// Settle waits for the end of the connection if err, met on one of its streams, says that it has ended: streams may know it first. It gives err.
func (r *Raw) Settle(err error) error {
	var app *quic.ApplicationError
	if errors.As(err, &app) {
		<-r.Context().Done()
	}
	return err
}

// Ended waits until the site has ended the connection and gives the application error code; false if ctx ended first, or the code is not the site's.
func (r *Raw) Ended(ctx context.Context) (code uint64, ok bool) {
	select {
	case <-r.Context().Done():
	case <-ctx.Done():
		return 0, false
	}
	var app *quic.ApplicationError
	if !errors.As(context.Cause(r.Context()), &app) || !app.Remote {
		return 0, false
	}
	return uint64(app.ErrorCode), true
}
