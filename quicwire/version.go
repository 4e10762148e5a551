package quicwire

import "fmt"

// Versions of the protocol that this package speaks. They change only together with the ALPN name or behind Hello.
const (
	MinVersion uint16 = 1
	MaxVersion uint16 = 1
)

// Features is a set of optional abilities; both sides must have one for it to be used. Never reuse a bit.
type Features uint64

// Feature bits.
const (
	FeatureS2       Features = 1 << 0 // batches packed with s2
	FeatureZstd     Features = 1 << 1 // batches packed with zstd
	FeaturePaths    Features = 1 << 2 // MirrorPath is understood, and path connections: one mirror session over several of them
	FeatureDelta    Features = 1 << 3 // reserved: delta resync between two secondaries
	FeatureSwap     Features = 1 << 4 // SwapPairs is served: takeover with a reachable primary, and resync with exchanged roles
	FeatureLag      Features = 1 << 5 // MirrorLag is understood
	FeatureMark     Features = 1 << 6 // markers among the control records; who lacks it gets a skip of the same number instead
	FeatureSettings Features = 1 << 7 // MirrorSettings is understood
	FeaturePowerOff Features = 1 << 8 // PowerOff is served
	FeaturePathLost Features = 1 << 9 // SuspendPathLost in the suspend type of a state is understood
)

// Agreement is what two sites have in common. It holds for one connection.
type Agreement struct {
	Version  uint16   // the newest version both speak
	Features Features // the features both have
	MaxFrame uint32   // longest frame body in bytes that both accept, MaxControlFrame…MaxFrame
}

// MaxBatch gives the most bytes of data a Batch may carry on this connection.
func (a Agreement) MaxBatch() int { return int(a.MaxFrame) - BatchOverhead }

// negotiate finds what two Hellos have in common. It is symmetric, so both sides come to the same result.
// An error is a *ProtocolError with CloseVersion.
func negotiate(a, b Hello) (Agreement, error) {
	for _, h := range []Hello{a, b} {
		if h.MinVersion > h.MaxVersion || h.MinVersion == 0 {
			return Agreement{}, mismatch("site %q offers versions %d to %d, which is no range", h.Site, h.MinVersion, h.MaxVersion)
		}
		if h.MaxFrame < MaxControlFrame {
			return Agreement{}, mismatch("site %q accepts frames of %d bytes, at least %d are needed", h.Site, h.MaxFrame, MaxControlFrame)
		}
	}
	version := min(a.MaxVersion, b.MaxVersion)
	if version < max(a.MinVersion, b.MinVersion) {
		return Agreement{}, mismatch("site %q speaks versions %d to %d, site %q %d to %d; upgrade the older one",
			a.Site, a.MinVersion, a.MaxVersion, b.Site, b.MinVersion, b.MaxVersion)
	}
	return Agreement{
		Version:  version,
		Features: a.Features & b.Features,
		MaxFrame: min(a.MaxFrame, b.MaxFrame, MaxFrame),
	}, nil
}

func mismatch(format string, args ...any) error {
	return &ProtocolError{Code: CloseVersion, Frame: TypeHello, Message: fmt.Sprintf(format, args...)}
}
