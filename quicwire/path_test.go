package quicwire

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pairfs/quicwire/wiretest"
)

// mtu1280 is the longest packet, without the headers of IPv4 and UDP, that passes where the MTU is 1280.
const mtu1280 = 1280 - 28

// stream opens a mirror from a to b over which b sends batches of 1 MiB, each when next is asked for.
func stream(t *testing.T, a, b *site) (next func(context.Context) error) {
	t.Helper()
	asked := make(chan struct{}, 100)
	b.onMirror(func(ctx context.Context, _ string, _ *MirrorOpen, s *MirrorStream) {
		if s.Send(ctx, &MirrorAccept{}) != nil {
			return
		}
		for i := uint64(1); ; i++ {
			select {
			case <-asked:
			case <-ctx.Done():
				return
			}
			if s.Send(ctx, &Batch{Ordinal: i, RawLen: 1 << 20, Data: make([]byte, 1<<20)}) != nil {
				return
			}
		}
	})
	s, err := a.OpenMirror(until(t), "osaka", &MirrorOpen{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	if _, err := s.Recv(until(t)); err != nil {
		t.Fatal(err)
	}
	return func(ctx context.Context) error {
		before := s.Received()
		asked <- struct{}{}
		_, err := s.Recv(ctx)
		if err == nil && s.Received()-before < 1<<20 {
			t.Errorf("a batch of 1 MiB came in %d bytes", s.Received()-before)
		}
		return err
	}
}

// A path that loses all packets which are longer than an MTU of 1280 lets through, and says nothing, carries a connection from its first packet on.
func TestNarrowPath(t *testing.T) {
	a, b := newSite(t, "tokyo"), newSite(t, "osaka")
	proxy := proxyTo(t, b, 1)
	proxy.Narrow(wiretest.Both, mtu1280)
	set(t, b, a, "")
	set(t, a, b, proxy.Addr())
	receive(t, "PeerUp at tokyo", a.up)
	next := stream(t, a, b)
	for range 3 {
		if err := next(until(t)); err != nil {
			t.Fatal(err)
		}
	}
	if proxy.Stats(wiretest.ToClient).Lost == 0 {
		t.Error("nobody tried how much the path carries")
	}
}

// A path that becomes narrower stops what is under way: the small packets that keep the connection alive pass. Renew gets it going again.
func TestRenew(t *testing.T) {
	a, b := newSite(t, "tokyo"), newSite(t, "osaka")
	proxy := proxyTo(t, b, 1)
	set(t, b, a, "")
	set(t, a, b, proxy.Addr())
	receive(t, "PeerUp at tokyo", a.up)
	next := stream(t, a, b)
	for range 3 { // so that it is known that the path carries more
		if err := next(until(t)); err != nil {
			t.Fatal(err)
		}
	}
	proxy.Narrow(wiretest.Both, mtu1280)
	stopped := make(chan error, 1)
	go func() { stopped <- next(until(t)) }()
	lost := proxy.Stats(wiretest.ToClient).Lost
	for end := time.Now().Add(within); proxy.Stats(wiretest.ToClient).Lost < lost+10; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("no long packet was sent")
		}
	}
	b.Renew("tokyo", "nothing gets through")
	if err := receive(t, "end of the stream", stopped); !errors.Is(err, ErrConnectionLost) {
		t.Errorf("the stream ended with %v", err)
	}
	if err := receive(t, "PeerDown at tokyo", a.down); !strings.Contains(err.Error(), "nothing gets through") {
		t.Errorf("down because of %v", err)
	}
	receive(t, "PeerUp at tokyo", a.up)
	next = stream(t, a, b)
	for range 3 {
		if err := next(until(t)); err != nil {
			t.Fatal(err)
		}
	}
	b.Renew("nobody", "")
}

// A site whose address changes in the middle of a stream, as behind a router that forgot its translations, goes on with it.
func TestAddressChanges(t *testing.T) {
	for _, dials := range []string{"tokyo", "osaka"} {
		t.Run(dials+"_moves", func(t *testing.T) {
			a, b := newSite(t, "tokyo"), newSite(t, "osaka")
			to, from := b, a
			if dials == "osaka" {
				to, from = a, b
			}
			proxy := proxyTo(t, to, 1)
			set(t, to, from, "")
			set(t, from, to, proxy.Addr())
			receive(t, "PeerUp at tokyo", a.up)
			receive(t, "PeerUp at osaka", b.up)
			next := stream(t, a, b)
			for range 5 {
				if err := next(until(t)); err != nil {
					t.Fatal(err)
				}
				proxy.Rebind()
			}
			select {
			case err := <-a.down:
				t.Errorf("the connection was lost: %v", err)
			default:
			}
		})
	}
}

// dialCount counts the dials that came to nothing.
type dialCount struct {
	slog.Handler
	n atomic.Int64
}

func (*dialCount) Enabled(context.Context, slog.Level) bool { return true }
func (c *dialCount) Handle(_ context.Context, r slog.Record) error {
	if r.Message == "dial failed" {
		c.n.Add(1)
	}
	return nil
}
func (c *dialCount) WithAttrs([]slog.Attr) slog.Handler { return c }

// In the dark each site dials a few times a minute, however long that lasts, and sends nothing else.
func TestDialsInTheDark(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := wiretest.NewNetwork(1, 10*time.Millisecond)
		var count dialCount
		start := func(name, addr string, seed byte) *site {
			host, err := network.Host(addr)
			if err != nil {
				t.Fatal(err)
			}
			return listen(t, name, Config{Identity: identityOf(t, seed), PacketConn: host, Logger: slog.New(&count)})
		}
		a, b := start("tokyo", "10.0.0.1:7000", 1), start("osaka", "10.0.0.2:7000", 2)
		pin(t, a, b)
		receive(t, "PeerUp", a.up)
		network.Blackhole(true)
		time.Sleep(time.Minute)
		for _, d := range []time.Duration{time.Minute, 10 * time.Minute, time.Hour} {
			dials, packets := count.n.Load(), network.Packets()
			time.Sleep(d)
			dials, packets = count.n.Load()-dials, network.Packets()-packets
			// Two sites, and a dial takes handshakeTimeout and the pause behind it three quarters of maxDelay at least.
			if most := 2 * int64(d/(handshakeTimeout+maxDelay*3/4)+1); dials == 0 || dials > most {
				t.Errorf("%d dials in %v, at most %d", dials, d, most)
			}
			if packets > 16*uint64(dials+2) {
				t.Errorf("%d packets for %d dials", packets, dials)
			}
			t.Logf("%v: %d dials, %d packets", d, dials, packets)
		}
		a.shut(t)
		b.shut(t)
	})
}
