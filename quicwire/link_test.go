package quicwire

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quic-go/quic-go"
	"golang.org/x/sys/unix"

	"pairfs/quicwire/wiretest"
)

// A link that goes dark is noticed, and the sites find each other again by themselves when it is back.
func TestReconnectAfterBlackhole(t *testing.T) {
	a, b := newSite(t, "tokyo"), newSite(t, "osaka")
	b.onRequest(answerDone)
	toB, toA := proxyTo(t, b, 1), proxyTo(t, a, 2)
	set(t, a, b, toB.Addr())
	set(t, b, a, toA.Addr())
	for round := range 3 {
		receive(t, "PeerUp at tokyo", a.up)
		receive(t, "PeerUp at osaka", b.up)
		if _, err := a.Request(until(t), "osaka", &DeletePair{}); err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		for _, p := range []*wiretest.Proxy{toA, toB} {
			p.Blackhole(wiretest.Both, true)
		}
		receive(t, "PeerDown at tokyo", a.down)
		receive(t, "PeerDown at osaka", b.down)
		for _, p := range []*wiretest.Proxy{toA, toB} {
			p.Blackhole(wiretest.Both, false)
		}
	}
	receive(t, "PeerUp at tokyo", a.up)
	checkAlternation(t, a, "osaka")
	checkAlternation(t, b, "tokyo")
}

func proxyTo(t *testing.T, s *site, seed uint64) *wiretest.Proxy {
	t.Helper()
	p, err := wiretest.NewProxy("127.0.0.1:0", s.Addr().String(), seed)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p
}

// checkAlternation closes s and expects that every PeerUp was followed by one PeerDown.
func checkAlternation(t *testing.T, s *site, peer string) {
	t.Helper()
	s.shut(t)
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, call := range s.calls {
		if want := []string{"up " + peer, "down " + peer}[i%2]; call != want {
			t.Fatalf("%s: calls %v", s.name, s.calls)
		}
	}
	if len(s.calls)%2 != 0 {
		t.Errorf("%s: the last call is not down: %v", s.name, s.calls)
	}
}

// A lossy, reordering, damaging link costs time, never a frame.
func TestMirrorOverABadLink(t *testing.T) {
	a, b := newSite(t, "tokyo"), newSite(t, "osaka")
	const seed, count = 3, 40
	proxy := proxyTo(t, b, seed)
	t.Logf("seed %d", seed)
	proxy.Drop(wiretest.Both, 0.02)
	proxy.Duplicate(wiretest.Both, 0.02)
	proxy.Corrupt(wiretest.Both, 0.01)
	proxy.Reorder(wiretest.Both, 0.05, 3*time.Millisecond)
	b.onMirror(func(ctx context.Context, _ string, _ *MirrorOpen, s *MirrorStream) {
		if err := s.Send(ctx, &MirrorAccept{}); err != nil {
			t.Error(err)
		}
		for i := range count {
			data := []byte(strings.Repeat(fmt.Sprintf("%8d", i), 8<<10))
			if err := s.Send(ctx, &Batch{Ordinal: uint64(i + 1), RawLen: uint32(len(data)), Data: data}); err != nil {
				t.Error(err)
			}
		}
	})
	set(t, b, a, "")
	set(t, a, b, proxy.Addr())
	s, err := a.OpenMirror(until(t), "osaka", &MirrorOpen{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if _, err := s.Recv(until(t)); err != nil {
		t.Fatal(err)
	}
	for i := range count {
		f, err := s.Recv(until(t))
		if err != nil {
			t.Fatalf("batch %d: %v", i, err)
		}
		if got := f.(*Batch); got.Ordinal != uint64(i+1) || string(got.Data) != strings.Repeat(fmt.Sprintf("%8d", i), 8<<10) {
			t.Fatalf("batch %d came as %d", i+1, got.Ordinal)
		}
	}
	if s := proxy.Stats(wiretest.Both); s.Lost == 0 || s.Damaged == 0 {
		t.Errorf("the link was not bad: %+v", s)
	}
}

// A daemon that was killed and started again is noticed with the first packet that reaches it, by its stateless reset.
func TestRestartIsNoticedByStatelessReset(t *testing.T) {
	dir := t.TempDir()
	idB := identityOf(t, 2)
	start := func(at string) *site {
		return listen(t, "osaka", Config{Identity: idB, Listen: at, ResetKeyPath: filepath.Join(dir, "reset.key"), timing: &quick})
	}
	slow := quick
	slow.idle = time.Hour // so that nothing else can notice
	a := listen(t, "tokyo", Config{Listen: "127.0.0.1:0", timing: &slow})
	b := start("127.0.0.1:0")
	at := b.Addr().String()
	set(t, a, b, at)
	set(t, b, a, "")
	receive(t, "PeerUp", a.up)
	b.kill()
	again := start(at)
	set(t, again, a, "")
	again.onRequest(answerDone)
	if err := receive(t, "PeerDown", a.down); !strings.HasPrefix(err.Error(), "the peer was restarted") {
		t.Errorf("down because of %v", err)
	}
	if hello := receive(t, "PeerUp", a.up); hello.Nonce != again.hello.Nonce {
		t.Error("up with the dead one")
	}
	if _, err := a.Request(until(t), "osaka", &DeletePair{}); err != nil {
		t.Error(err)
	}
}

// A new incarnation that comes in by itself replaces the dead connections of the old one.
func TestRestartIsNoticedByNonce(t *testing.T) {
	idB := identityOf(t, 2)
	slow := quick
	slow.idle = time.Hour
	a := listen(t, "tokyo", Config{Listen: "127.0.0.1:0", timing: &slow})
	start := func() *site {
		b := listen(t, "osaka", Config{Identity: idB, Listen: "127.0.0.1:0", timing: &slow})
		set(t, b, a, a.Addr().String())
		return b
	}
	if err := a.SetPeer("osaka", "", idB.Fingerprint()); err != nil {
		t.Fatal(err)
	}
	b := start()
	receive(t, "PeerUp", a.up)
	b.kill()
	again := start()
	again.onRequest(answerDone)
	if err := receive(t, "PeerDown", a.down); !errors.Is(err, &ProtocolError{Code: CloseReplaced}) {
		t.Errorf("down because of %v", err)
	}
	if hello := receive(t, "PeerUp", a.up); hello.Nonce != again.hello.Nonce {
		t.Error("up with the dead one")
	}
	if _, err := a.Request(until(t), "osaka", &DeletePair{}); err != nil {
		t.Error(err)
	}
	checkAlternation(t, a, "osaka")
}

// Two sites with the times of production, in virtual time: a blackout shorter than the idle timeout is not noticed, a longer one
// is, and once it is over the sites are together again within one dial and one pause.
func TestBlackoutInVirtualTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := wiretest.NewNetwork(1, 10*time.Millisecond)
		start := func(name, addr string, seed byte) *site {
			host, err := network.Host(addr)
			if err != nil {
				t.Fatal(err)
			}
			return listen(t, name, Config{Identity: identityOf(t, seed), PacketConn: host})
		}
		a, b := start("tokyo", "10.0.0.1:7000", 1), start("osaka", "10.0.0.2:7000", 2)
		pin(t, a, b)
		b.onRequest(answerDone)
		ask := func() error {
			_, err := a.Request(until(t), "osaka", &DeletePair{})
			return err
		}
		for range 100 {
			if err := ask(); err != nil {
				t.Fatal(err)
			}
		}
		since, _ := a.Connected("osaka")

		network.Blackhole(true)
		time.Sleep(idleTimeout / 2)
		network.Blackhole(false)
		if err := ask(); err != nil {
			t.Fatal(err)
		}
		if now, ok := a.Connected("osaka"); !ok || now != since {
			t.Error("a short blackout was noticed")
		}

		network.Blackhole(true)
		time.Sleep(time.Minute)
		if _, ok := a.Connected("osaka"); ok {
			t.Error("a long blackout was not noticed")
		}
		asked := time.Now()
		if err := ask(); !errors.Is(err, ErrUnreachable) || time.Since(asked) != connectWait {
			t.Errorf("a request in the dark took %v: %v", time.Since(asked), err)
		}
		network.Blackhole(false)
		time.Sleep(2*handshakeTimeout + maxDelay)
		if _, ok := a.Connected("osaka"); !ok {
			t.Error("the sites do not find each other again")
		}
		if err := ask(); err != nil {
			t.Error(err)
		}
		checkAlternation(t, a, "osaka")
		checkAlternation(t, b, "tokyo")
	})
}

// A blackout that only one side noticed: it dials anew, and that tells the other side, which still believes in the old connection, that
// there is nobody at its end any more. Connections that came about at the same time say nothing of each other.
func TestTheOtherSideGaveItUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := wiretest.NewNetwork(1, 10*time.Millisecond)
		start := func(name, addr string, seed byte) *site {
			host, err := network.Host(addr)
			if err != nil {
				t.Fatal(err)
			}
			return listen(t, name, Config{Identity: identityOf(t, seed), PacketConn: host})
		}
		a, b := start("tokyo", "10.0.0.1:7000", 1), start("osaka", "10.0.0.2:7000", 2)
		set(t, b, a, "")
		set(t, a, b, b.Addr().String())
		receive(t, "PeerUp", b.up)
		p := a.peerByName("osaka")
		again := func() {
			c, err := p.dial(p.address(), 0)
			if err != nil {
				t.Fatal(err)
			}
			a.start(c.serve)
		}
		live := func() int {
			synctest.Wait()
			q := b.peerByName("tokyo")
			q.mu.Lock()
			defer q.mu.Unlock()
			return len(q.conns)
		}
		again()
		if n := live(); n != 2 {
			t.Errorf("%d connections after two dials at one time", n)
		}
		time.Sleep(time.Minute)
		again()
		if n := live(); n != 1 {
			t.Errorf("%d connections are believed in after the peer dialled anew", n)
		}
		if err := receive(t, "PeerDown", b.down); !strings.Contains(err.Error(), "the peer had given it up") {
			t.Errorf("down because of %v", err)
		}
		receive(t, "PeerUp", b.up)
		a.onRequest(answerDone)
		if _, err := b.Request(until(t), "tokyo", &DeletePair{}); err != nil {
			t.Error(err)
		}
	})
}

// What the network of this host says when it takes no packet is told as a sentence.
func TestSendRefused(t *testing.T) {
	p := &peer{name: "osaka"}
	for text, want := range map[string]string{
		"write udp 127.0.0.1:7001->127.0.0.1:7002: sendmsg: operation not permitted": "the network refused to send to 127.0.0.1:7002: operation not permitted",
		"write udp [::]:7001: sendmsg: network is unreachable":                       "the network refused to send to [::]:7001: network is unreachable",
		"something else: entirely":                                                   "INTERNAL_ERROR (local): something else: entirely",
	} {
		err := p.describe(fmt.Errorf("dial: %w", &quic.TransportError{ErrorCode: quic.InternalError, ErrorMessage: text}))
		if !strings.HasSuffix(err.Error(), want) {
			t.Errorf("%q is told as %q", text, err)
		}
	}
	op := &net.OpError{Op: "write", Net: "udp", Source: &net.UDPAddr{Port: 7001}, Addr: &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 7002}, Err: os.NewSyscallError("sendmsg", unix.EPERM)}
	if err := p.describe(op); err.Error() != "the network refused to send to 127.0.0.1:7002: operation not permitted" || !errors.Is(err, unix.EPERM) {
		t.Errorf("it is told as %q", err)
	}
}
