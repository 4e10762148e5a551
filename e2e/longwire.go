package e2e

import (
	"fmt"
	"os"

	"pairfs/e2e/wan"
)

// NewLongWire makes a [Wire] that is a long link of package wan instead of a cable: ab from A to B, ba back. Its rate cannot be changed.
func NewLongWire(t T, ab, ba wan.Line, seed uint64) *Wire {
	t.Helper()
	name := fmt.Sprintf("%s%d-%d-", wirePrefix, os.Getpid(), wires.Add(1))
	w := &Wire{t: t, a: name + "a", b: name + "b"}
	w.keep()
	t.Cleanup(w.remove)
	for _, ns := range []string{w.a, w.b} {
		Run(t, "ip", "netns", "add", ns)
		Run(t, "ip", "-n", ns, "link", "set", "lo", "up")
	}
	r, err := wan.NewRelay(wireDev, netnsDir+w.a, netnsDir+w.b, ab, ba, seed)
	if err != nil {
		t.Fatalf("make a long link: %v", err)
	}
	t.Cleanup(r.Close)
	w.Relay = r
	for ns, addr := range map[string]string{w.a: wireA, w.b: wireB} {
		Run(t, "ip", "-n", ns, "addr", "add", addr+"/24", "dev", wireDev)
		Run(t, "ip", "-n", ns, "link", "set", wireDev, "up")
	}
	return w
}

// TwoFarApart is [TwoApart] over a long link, the same in both directions.
func TwoFarApart(t T, line wan.Line, opts Options) (*Sites, *Wire) {
	t.Helper()
	seed := Seed(t)
	w := NewLongWire(t, line, line, seed)
	return twoAt(t, w, seed, opts), w
}
