package quicwire

import (
	"context"
	"testing"
	"time"
)

// TestPulse: packets of a peer that answers no request count all the same, the count goes on over connections that end, and a peer that is gone
// adds none.
func TestPulse(t *testing.T) {
	if u, ok := newSite(t, "kyoto").Pulse("osaka"); ok || u != (Pulse{}) {
		t.Errorf("a peer that was never set has the pulse %+v", u)
	}
	busy := make(chan struct{})
	a, b := pair(t, func(ctx context.Context, _ string, _ Frame, _ SendFunc) Frame {
		select {
		case <-busy:
		case <-ctx.Done():
		}
		return NewResult(ResultDone, "")
	})
	receive(t, "PeerUp", a.up)
	before, ok := a.Pulse("osaka")
	if !ok || before.Packets == 0 || before.Probe < ackDelay {
		t.Fatalf("the pulse of a connected peer is %+v, %v", before, ok)
	}
	ctx, stop := context.WithCancel(until(t))
	defer stop()
	answered := make(chan error, 1)
	go func() {
		_, err := a.Request(ctx, "osaka", &PairStates{})
		answered <- err
	}()
	for u := before; u.Packets == before.Packets; u, _ = a.Pulse("osaka") { // it has acknowledged the request
		if until(t).Err() != nil {
			t.Fatal("nothing came")
		}
		time.Sleep(time.Millisecond)
	}
	close(busy)
	if err := receive(t, "answer", answered); err != nil {
		t.Fatal(err)
	}
	last, _ := a.Pulse("osaka")
	b.shut(t)
	receive(t, "PeerDown", a.down)
	gone, ok := a.Pulse("osaka")
	if !ok || gone.Packets < last.Packets || gone.Probe != 0 {
		t.Errorf("behind the end of the connection the pulse is %+v, before %+v", gone, last)
	}
	if again, _ := a.Pulse("osaka"); again != gone {
		t.Errorf("without a connection the pulse went from %+v to %+v", gone, again)
	}
}
