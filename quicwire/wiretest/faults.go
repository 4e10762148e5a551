package wiretest

import (
	"math/rand/v2"
	"time"
)

// Direction is the way packets go through a Proxy.
type Direction int

// Directions. Both is for verbs only.
const (
	ToTarget Direction = iota // from the clients
	ToClient                  // from the target
	Both
)

func (d Direction) each() []Direction {
	if d == Both {
		return []Direction{ToTarget, ToClient}
	}
	return []Direction{d}
}

// faults is what happens to the packets of one direction. The zero value is a perfect wire.
type faults struct {
	rng       *rand.Rand
	dark      bool
	narrow    int // bytes of the longest packet that passes, 0 for any
	drop      float64
	duplicate float64
	corrupt   float64
	reorder   float64
	behind    time.Duration // how much later a reordered packet comes
	delay     time.Duration
	jitter    time.Duration
}

func newFaults(seed uint64, d Direction) faults {
	return faults{rng: rand.New(rand.NewPCG(seed, uint64(d)))}
}

// fate decides about one packet: how long each copy of it takes, and where it is to be damaged (a bit's number, -1 for nowhere).
// It always draws the same number of chances, so that one verb does not shift the chances of another.
func (f *faults) fate(size int) (copies []time.Duration, bit int) {
	drop, duplicate, corrupt, reorder := f.rng.Float64(), f.rng.Float64(), f.rng.Float64(), f.rng.Float64()
	jitter, place := f.rng.Float64(), f.rng.Float64()
	if f.dark || drop < f.drop || f.narrow > 0 && size > f.narrow {
		return nil, -1
	}
	d := f.delay + time.Duration(jitter*float64(f.jitter))
	if reorder < f.reorder {
		d += f.behind
	}
	copies = []time.Duration{d}
	if duplicate < f.duplicate {
		copies = append(copies, d)
	}
	if bit = -1; corrupt < f.corrupt && size > 0 {
		bit = int(place * float64(size*8))
	}
	return copies, bit
}
