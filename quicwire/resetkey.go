package quicwire

import (
	"crypto/rand"
	"fmt"

	"github.com/quic-go/quic-go"
)

// loadResetKey reads the 32 bytes from which stateless resets are made, or makes them on first use. Because the file outlives the
// daemon, the peers of a daemon that was killed learn of it with their next packet instead of after the idle timeout.
func loadResetKey(path string) (*quic.StatelessResetKey, error) {
	var key quic.StatelessResetKey
	b, err := loadOrCreate(path, func() ([]byte, error) {
		fresh := make([]byte, len(key))
		_, err := rand.Read(fresh)
		return fresh, err
	})
	if err != nil {
		return nil, err
	}
	if len(b) != len(key) {
		return nil, fmt.Errorf("reset key file %s has %d bytes, not %d; remove it, a new one is made at the next start", path, len(b), len(key))
	}
	copy(key[:], b)
	return &key, nil
}
