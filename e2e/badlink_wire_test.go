package e2e

import (
	"fmt"
	"testing"
)

// startBadWire is startBad with the sites on two hosts with a cable between them.
func startBadWire(t *testing.T, opts Options) (*bad, *Wire) {
	t.Helper()
	if why := NoWire(); why != "" {
		t.Skipf("two hosts with a cable between them cannot be made here: %s", why)
	}
	opts.Memory = badMemory
	s, wire := TwoApart(t, wideRate, opts)
	return startBad(t, s, 60), wire
}

// pause stops the hosts until resume is called, or the test has failed.
func (x *bad) pause() (resume func()) {
	resume = x.w.Pause()
	x.t.Cleanup(resume)
	return resume
}

// caughtUp lets hosts write, and waits until all of that has arrived over what the wire is now.
func (x *bad) caughtUp() {
	x.t.Helper()
	more(x.t, x.w, 100)
	resume := x.pause()
	x.A.AwaitDrained(badPair)
	x.image(Always)
	resume()
}

// throughACut cuts the wire for as long as QUIC's idle time, so that what follows are new connections, and expects that all hosts write arrives over
// these, and that the pair was in PAIR all the time.
func (x *bad) throughACut(wire *Wire) {
	x.t.Helper()
	wire.Cut(true)
	x.B.AwaitStill("g@tokyo")
	x.image(0)
	wire.Cut(false)
	x.AwaitMirror("g")
	more(x.t, x.w, 100)
	x.drained()
	x.heldPair()
}

// TestNarrowWire gives a cable an MTU of 1280 in the middle of a stream, and then lets new connections find that out: at both ends, where the hosts are told
// that their packets are too long, or at one, where packets from the other are lost without a word.
func TestNarrowWire(t *testing.T) {
	for _, row := range []struct {
		name   string
		a, b   int
		always bool
	}{
		{"both_ends", 1280, 1280, false},
		{"nobody_is_told_at_the_primary", 1500, 1280, false},
		{"nobody_is_told_at_the_secondary", 1280, 1500, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			if !row.always && !Long() {
				t.Skip("with PAIRFS_LONG=1")
			}
			x, wire := startBadWire(t, Options{})
			more(t, x.w, 100)
			wire.MTU(row.a, row.b)
			x.caughtUp()
			x.throughACut(wire)
		})
	}
}

// TestHostIsRenumbered gives the host of the primary another address in the middle of a stream, and then tells the secondary: nothing is suspended and
// nothing is lost. Tokyo dials osaka from where it is, so the stream goes on before osaka is told.
func TestHostIsRenumbered(t *testing.T) {
	t.Parallel()
	if !Long() {
		t.Skip("with PAIRFS_LONG=1")
	}
	x, wire := startBadWire(t, Options{Listen: "0.0.0.0" + wirePort})
	more(t, x.w, 100)
	wire.Renumber()
	x.caughtUp()
	x.B.Do("peers/tokyo", fmt.Sprintf("add address=%s key=%s create=2TiB", wireNew+wirePort, x.A.Fingerprint()))
	x.throughACut(wire)
}
