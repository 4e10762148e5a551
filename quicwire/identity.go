package quicwire

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"time"
)

// Identity is the key of a site and the certificate made from it. It does not change and may be used concurrently.
type Identity struct {
	cert        tls.Certificate
	fingerprint Fingerprint
}

const pemType = "PRIVATE KEY" // PKCS #8

// LoadIdentity reads the Ed25519 key in the PEM file at path, or makes one there on first use. It refuses a file that others may
// read or write, that is a symbolic link, or that belongs to another user.
func LoadIdentity(path string) (*Identity, error) {
	b, err := loadOrCreate(path, newKey)
	if err != nil {
		return nil, err
	}
	key, err := parseKey(b)
	if err != nil {
		return nil, fmt.Errorf("key file %s: %w; restore it from a backup, or remove it to get a new key, which every peer must then be told", path, err)
	}
	return newIdentity(key)
}

// Fingerprint gives the name by which peers know this site.
func (id *Identity) Fingerprint() Fingerprint { return id.fingerprint }

func newKey() ([]byte, error) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make a key: %w", err)
	}
	b, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("encode the key: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: pemType, Bytes: b}), nil
}

func parseKey(b []byte) (ed25519.PrivateKey, error) {
	block, rest := pem.Decode(b)
	if block == nil || block.Type != pemType || len(rest) > 0 {
		return nil, fmt.Errorf("not exactly one PEM block %q", pemType)
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("parse PKCS #8: %w", err)
	}
	key, ok := parsed.(ed25519.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("key is %T, not Ed25519", parsed)
	}
	return key, nil
}

// newIdentity makes a certificate that says nothing but the key: a peer looks at nothing else in it, so it never expires.
func newIdentity(key ed25519.PrivateKey) (*Identity, error) {
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		Subject:      pkix.Name{CommonName: "pairfs"},
		NotBefore:    time.Unix(0, 0),
		NotAfter:     time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC),
	}
	public := key.Public().(ed25519.PublicKey)
	der, err := x509.CreateCertificate(rand.Reader, template, template, public, key)
	if err != nil {
		return nil, fmt.Errorf("make the certificate: %w", err)
	}
	return &Identity{
		cert:        tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key},
		fingerprint: KeyFingerprint(public),
	}, nil
}
