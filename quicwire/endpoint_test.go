package quicwire

import (
	"context"
	"errors"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"
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
		} else if strings.Count(err.Error(), s.Addr().String()) > 1 {
			t.Errorf("%s: %q says the address more than once", why, err)
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
		{"a path on an ordinary connection", encode(t, &MirrorPath{Session: 1, Path: 1}), CloseUnexpectedFrame},
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
		c, err := p.dial(p.address(), 0)
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
