package quicwire

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"strings"
)

// Fingerprint is the SHA-256 of a site's public key in the wire form of ssh. It is how a peer is known; the zero value is no key.
type Fingerprint [sha256.Size]byte

const fingerprintPrefix = "SHA256:"

// KeyFingerprint gives the fingerprint of a public key, the same that `ssh-keygen -l` prints for it.
func KeyFingerprint(key ed25519.PublicKey) Fingerprint {
	const name = "ssh-ed25519"
	b := binary.BigEndian.AppendUint32(nil, uint32(len(name)))
	b = append(b, name...)
	b = binary.BigEndian.AppendUint32(b, uint32(len(key)))
	return sha256.Sum256(append(b, key...))
}

// String gives SHA256: and 43 characters of unpadded base64, as ssh does.
func (f Fingerprint) String() string {
	return fingerprintPrefix + base64.RawStdEncoding.EncodeToString(f[:])
}

// IsZero reports whether f is no key.
func (f Fingerprint) IsZero() bool { return f == Fingerprint{} }

// ParseFingerprint reads what String prints and nothing else.
func ParseFingerprint(s string) (Fingerprint, error) {
	var f Fingerprint
	rest, ok := strings.CutPrefix(s, fingerprintPrefix)
	if !ok {
		return f, fmt.Errorf("key %q does not begin with %s; copy it from `pairfs key` of the other site", s, fingerprintPrefix)
	}
	b, err := base64.RawStdEncoding.Strict().DecodeString(rest)
	if err != nil || len(b) != len(f) || strings.ContainsAny(rest, "\r\n") {
		return f, fmt.Errorf("key %q is not %s and 43 characters of base64; copy it from `pairfs key` of the other site", s, fingerprintPrefix)
	}
	copy(f[:], b)
	return f, nil
}
