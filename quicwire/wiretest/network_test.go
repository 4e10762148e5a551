package wiretest

import (
	"net"
	"testing"
	"testing/synctest"
	"time"
)

func host(t *testing.T, n *Network, addr string) *Host {
	t.Helper()
	h, err := n.Host(addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.Close() })
	return h
}

func TestNetwork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := NewNetwork(1, 10*time.Millisecond)
		a, b := host(t, n, "10.0.0.1:4000"), host(t, n, "10.0.0.2:4000")
		// heard sends a packet from a to b and gives the time it takes, 0 if it is lost.
		heard := func(from, to *Host) time.Duration {
			start := time.Now()
			addr := to.LocalAddr().(*net.UDPAddr)
			if _, err := from.WriteTo([]byte("x"), &net.UDPAddr{IP: addr.IP.To16(), Port: addr.Port}); err != nil {
				t.Fatal(err)
			}
			to.SetReadDeadline(start.Add(time.Minute))
			if _, _, err := to.ReadFrom(make([]byte, 10)); err != nil {
				return 0
			}
			return time.Since(start)
		}
		if d := heard(a, b); d != 10*time.Millisecond {
			t.Errorf("took %v", d)
		}
		n.Latency(50 * time.Millisecond)
		if d := heard(b, a); d != 50*time.Millisecond {
			t.Errorf("took %v", d)
		}
		n.Far("10.0.0.2:4000", 20*time.Millisecond)
		if there, back := heard(a, b), heard(b, a); there != 70*time.Millisecond || back != there {
			t.Errorf("far away it took %v and %v", there, back)
		}
		n.Far("10.0.0.2:4000", 0)
		n.Blackhole(true)
		if heard(a, b) != 0 || heard(b, a) != 0 {
			t.Error("heard through a black hole")
		}
		n.Blackhole(false)
		n.Cut("10.0.0.1:4000", "10.0.0.2:4000", true)
		if heard(a, b) != 0 {
			t.Error("heard through a cut")
		}
		if heard(b, a) == 0 {
			t.Error("the other direction is cut too")
		}
		n.Cut("10.0.0.1:4000", "10.0.0.2:4000", false)
		n.Drop(1)
		if heard(a, b) != 0 {
			t.Error("heard although all is dropped")
		}
		n.Drop(0)
		n.Duplicate(1)
		for _, want := range []string{"all packets come twice", "no packet does any more"} {
			if heard(a, b) == 0 {
				t.Error("not heard")
			}
			b.SetReadDeadline(time.Now().Add(time.Minute))
			_, _, err := b.ReadFrom(make([]byte, 10))
			if again := err == nil; again != (want == "all packets come twice") {
				t.Errorf("%s: came again is %v", want, again)
			}
			n.Duplicate(0)
		}
		b.Close()
		if restarted := host(t, n, "10.0.0.2:4000"); heard(a, restarted) == 0 {
			t.Error("a socket in the place of another is not heard")
		}
	})
}
