package quicwire

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pairfs/quicwire/wiretest"
)

func answerDone(context.Context, string, Frame, SendFunc) Frame { return NewResult(ResultDone, "") }

func TestSetPeerRefusesKeysInUse(t *testing.T) {
	s := newSite(t, "tokyo")
	key := identityOf(t, 1).Fingerprint()
	if err := s.SetPeer("osaka", "", key); err != nil {
		t.Fatal(err)
	}
	if err := s.SetPeer("osaka", "", key); err != nil {
		t.Errorf("the same again: %v", err)
	}
	if err := s.SetPeer("kyoto", "", key); !errors.Is(err, ErrPeerKey) {
		t.Errorf("the key of another peer: %v", err)
	}
	if err := s.SetPeer("kyoto", "", s.Fingerprint()); !errors.Is(err, ErrPeerKey) {
		t.Errorf("the site's own key: %v", err)
	}
	s.RemovePeer("osaka")
	s.RemovePeer("osaka")
	if err := s.SetPeer("kyoto", "", key); err != nil {
		t.Errorf("the key of a removed peer: %v", err)
	}
	s.shut(t)
	if err := s.SetPeer("nara", "", identityOf(t, 2).Fingerprint()); !errors.Is(err, ErrClosed) {
		t.Errorf("after close: %v", err)
	}
	s.RemovePeer("kyoto")
	s.shut(t) // again
}

func TestListenErrors(t *testing.T) {
	s := newSite(t, "tokyo")
	id := freshIdentity(t)
	for why, cfg := range map[string]Config{
		"no identity":      {Handler: s, Listen: "127.0.0.1:0"},
		"no handler":       {Identity: id, Listen: "127.0.0.1:0"},
		"no address":       {Identity: id, Handler: s, Listen: "127.0.0.1"},
		"address in use":   {Identity: id, Handler: s, Listen: s.Addr().String()},
		"name too long":    {Identity: id, Handler: s, Listen: "127.0.0.1:0", Site: strings.Repeat("x", MaxName+1)},
		"unusable key dir": {Identity: id, Handler: s, Listen: "127.0.0.1:0", ResetKeyPath: filepath.Join(t.TempDir(), "missing", "reset.key")},
	} {
		if e, err := Listen(cfg); err == nil {
			t.Errorf("%s: it listens", why)
			e.Close(t.Context())
		}
	}
}

func TestConnected(t *testing.T) {
	a, b := newSite(t, "tokyo"), newSite(t, "osaka")
	if _, ok := a.Connected("osaka"); ok {
		t.Error("connected to a peer that was never set")
	}
	before := time.Now()
	pin(t, a, b)
	if hello := receive(t, "PeerUp", a.up); hello.Site != "osaka" || hello.Nonce != b.hello.Nonce {
		t.Errorf("up with %+v", hello)
	}
	if since, ok := a.Connected("osaka"); !ok || since.Before(before) {
		t.Errorf("connected %v since %v", ok, since)
	}
}

// A removed peer is cut off at once, cannot come back, and learns why.
func TestRemovePeer(t *testing.T) {
	cancelled := make(chan struct{})
	started := make(chan struct{})
	a, b := pair(t, func(ctx context.Context, _ string, _ Frame, _ SendFunc) Frame {
		close(started)
		<-ctx.Done()
		close(cancelled)
		return nil
	})
	receive(t, "PeerUp", b.up)
	failed := make(chan error, 1)
	go func() {
		_, err := a.Request(until(t), "osaka", &DeletePair{})
		failed <- err
	}()
	receive(t, "request", started)
	b.RemovePeer("tokyo")
	if err := receive(t, "PeerDown", b.down); !errors.Is(err, &ProtocolError{Code: CloseRemoved}) {
		t.Errorf("down because of %v", err)
	}
	receive(t, "end of the request", cancelled)
	if err := receive(t, "end of the request", failed); !errors.Is(err, ErrConnectionLost) || !errors.Is(err, &ProtocolError{Code: CloseRemoved}) {
		t.Errorf("the request ends with %v", err)
	}
	if got := receive(t, "refusal", b.refused); got.key != a.Fingerprint() {
		t.Errorf("refused %+v", got)
	}
	if _, ok := b.Connected("tokyo"); ok {
		t.Error("still connected")
	}
	if _, err := b.Request(until(t), "tokyo", &DeletePair{}); !errors.Is(err, ErrUnknownPeer) {
		t.Errorf("request to a removed peer: %v", err)
	}
	b.onRequest(answerDone)
	set(t, b, a, a.Addr().String())
	if _, err := a.Request(until(t), "osaka", &DeletePair{}); err != nil {
		t.Errorf("set again: %v", err)
	}
}

// A new key for a name cuts off the holder of the old one.
func TestChangedKeyClosesConnections(t *testing.T) {
	a, b := pair(t, answerDone)
	receive(t, "PeerUp", a.up)
	c := newSite(t, "osaka")
	c.onRequest(func(context.Context, string, Frame, SendFunc) Frame { return NewResult(ResultDone, "the new one") })
	set(t, c, a, "")
	set(t, a, c, c.Addr().String())
	if err := receive(t, "PeerDown", a.down); !errors.Is(err, &ProtocolError{Code: CloseRemoved}) {
		t.Errorf("down because of %v", err)
	}
	answer, err := a.Request(until(t), "osaka", &DeletePair{})
	if err != nil || answer.(*Result).Message != "the new one" {
		t.Errorf("answer %v, %v", answer, err)
	}
	if got := receive(t, "refusal of the old one", a.refused); got.key != b.Fingerprint() {
		t.Errorf("refused %+v", got)
	}
}

// A frame that the protocol does not have where it comes ends the connection with the code that says so; both sides go on with a new one.
func TestBreachOfProtocolEndsTheConnection(t *testing.T) {
	a, b := pair(t, answerDone)
	receive(t, "PeerUp", a.up)
	for _, c := range []struct {
		why   string
		bytes []byte
		code  CloseCode
	}{
		{"an unknown type", []byte{99, 0, 0, 0, 0}, CloseUnknownFrame},
		{"a frame that begins no stream", encode(t, &ReadJournal{}), CloseUnexpectedFrame},
		{"a second hello", encode(t, &Hello{}), CloseUnexpectedFrame},
		{"a frame too large", []byte{byte(TypeDeletePair), 0, 0, 0, 1}, CloseTooLarge},
		{"a malformed request", []byte{byte(TypeDeletePair), 0, 0, 0, 0}, CloseMalformed},
		{"a malformed mirror-open", []byte{byte(TypeMirrorOpen), 0, 0, 0, 0}, CloseMalformed},
		{"a request cut short", encode(t, &DeletePair{})[:10], CloseMalformed},
		{"two requests on one stream", append(encode(t, &DeletePair{}), encode(t, &DeletePair{})...), CloseUnexpectedFrame},
	} {
		conn, qs, err := a.openStream(until(t), "osaka")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := qs.Write(c.bytes); err != nil {
			t.Fatal(err)
		}
		qs.Close()
		receive(t, "end of the connection", conn.qc.Context().Done())
		if err := conn.ended(); !errors.Is(err, &ProtocolError{Code: c.code}) {
			t.Errorf("%s: ended by %v", c.why, err)
		}
	}
	if _, err := a.Request(until(t), "osaka", &DeletePair{}); err != nil {
		t.Errorf("afterwards: %v", err)
	}
	_ = b
}

// An empty stream and one that is reset are no breach: the requester has changed its mind.
func TestAbandonedStreamsAreHarmless(t *testing.T) {
	a, _ := pair(t, answerDone)
	conn, err := a.live(until(t), "osaka")
	if err != nil {
		t.Fatal(err)
	}
	for i := range 3 * maxStreams { // more than could be open at a time
		qs, err := conn.openStream(until(t))
		if err != nil {
			t.Fatal(err)
		}
		switch i % 3 {
		case 0:
			qs.Close()
		case 1:
			qs.Write(encode(t, &DeletePair{})[:7])
			qs.CancelWrite(streamCancelled)
		case 2:
			qs.Write(encode(t, &DeletePair{}))
			qs.CancelWrite(streamCancelled)
		}
		qs.CancelRead(streamCancelled)
	}
	if _, err := a.Request(until(t), "osaka", &DeletePair{}); err != nil {
		t.Error(err)
	}
	if conn.qc.Context().Err() != nil {
		t.Errorf("the connection ended: %v", conn.ended())
	}
}

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
	if err := receive(t, "PeerDown", a.down); !strings.Contains(err.Error(), "restarted") {
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

// Addresses may change while a site runs: the next dial goes to the new one.
func TestMovedPeer(t *testing.T) {
	a, b := newSite(t, "tokyo"), newSite(t, "osaka")
	nobody, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer nobody.Close()
	set(t, b, a, "")
	set(t, a, b, nobody.LocalAddr().String())
	set(t, a, b, b.Addr().String())
	receive(t, "PeerUp", a.up)
}

// The number of connections with one peer is bounded; the oldest makes way.
func TestConnectionsAreBounded(t *testing.T) {
	a, b := newSite(t, "tokyo"), newSite(t, "osaka")
	b.onRequest(answerDone)
	set(t, b, a, "")
	set(t, a, b, b.Addr().String())
	receive(t, "PeerUp", a.up)
	p := a.peerByName("osaka")
	for range 2 * maxConnections {
		c, err := p.dial(0)
		if err != nil {
			t.Fatal(err)
		}
		if !a.start(c.serve) {
			t.Fatal("the endpoint is closed")
		}
	}
	for _, s := range []*site{a, b} {
		for _, p := range s.peers {
			p.mu.Lock()
			if n := len(p.conns); n > maxConnections {
				t.Errorf("%s has %d connections", s.name, n)
			}
			p.mu.Unlock()
		}
	}
	if _, err := a.Request(until(t), "osaka", &DeletePair{}); err != nil {
		t.Error(err)
	}
}

// Close does not wait for ever for a handler that does not return, and says so.
func TestCloseWithAHandlerThatHangs(t *testing.T) {
	started, release := make(chan struct{}), make(chan struct{})
	a, b := pair(t, func(context.Context, string, Frame, SendFunc) Frame {
		close(started)
		<-release
		return nil
	})
	go a.Request(until(t), "osaka", &DeletePair{})
	receive(t, "request", started)
	ctx, cancel := context.WithCancelCause(t.Context())
	patience := errors.New("no more patience")
	cancel(patience)
	if err := b.Close(ctx); !errors.Is(err, patience) {
		t.Errorf("close: %v", err)
	}
	close(release)
	b.shut(t)
}

func TestResolve(t *testing.T) {
	all, err := resolve(t.Context(), "127.0.0.1:7000")
	if err != nil || len(all) != 1 || all[0].String() != "127.0.0.1:7000" {
		t.Errorf("%v, %v", all, err)
	}
	for _, bad := range []string{"", "osaka", "127.0.0.1:", "127.0.0.1:x", "127.0.0.1:70000", "127.0.0.1:-1", ":7000"} {
		if all, err := resolve(t.Context(), bad); err == nil {
			t.Errorf("%q is %v", bad, all)
		}
	}
}
