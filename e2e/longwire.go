package e2e

import "pairfs/e2e/wan"

// NewLongWire makes a [Wire] that is a long link of package wan instead of a cable: ab from A to B, ba back. Its rate cannot be changed.
func NewLongWire(t T, ab, ba wan.Line, seed uint64) *Wire {
	t.Helper()
	return newWire(t, func(w *Wire) {
		var err error
		if w.Relay, err = wan.NewRelay(wireDev, netnsDir+w.a, netnsDir+w.b, ab, ba, seed); err != nil {
			t.Fatalf("make a long link: %v", err)
		}
		t.Cleanup(w.Relay.Close)
	})
}

// TwoFarApart is [TwoApart] over a long link, the same in both directions.
func TwoFarApart(t T, line wan.Line, opts Options) (*Sites, *Wire) {
	t.Helper()
	seed := Seed(t)
	w := NewLongWire(t, line, line, seed)
	return twoAt(t, w, seed, opts), w
}
