package quicwire

import (
	"context"
	"crypto/ed25519"
	"net"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// within bounds every wait of a test; reaching it is a failure, whatever the machine.
const within = 30 * time.Second

// quick are times for tests over real sockets.
var quick = timing{keepAlive: 200 * time.Millisecond, idle: time.Second, handshake: time.Second, connectWait: 5 * time.Second, maxDelay: 500 * time.Millisecond}

// refusal is one call of Refused.
type refusal struct {
	addr   net.Addr
	key    Fingerprint
	reason string
}

// site is an endpoint whose handler is made of functions.
type site struct {
	*Endpoint
	name    string
	refused chan refusal
	up      chan Hello
	down    chan error

	killed bool

	mu     sync.Mutex
	calls  []string // of PeerUp and PeerDown
	serve  serveFunc
	mirror mirrorFunc
	path   pathFunc
}

type (
	serveFunc  func(context.Context, string, Frame, SendFunc) Frame
	mirrorFunc func(context.Context, string, *MirrorOpen, *MirrorStream)
	pathFunc   func(context.Context, string, *MirrorPath, *MirrorStream)
)

// onRequest says what answers requests from now on.
func (s *site) onRequest(serve serveFunc) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.serve = serve
}

// onMirror says what serves mirror streams from now on.
func (s *site) onMirror(mirror mirrorFunc) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mirror = mirror
}

func (s *site) Serve(ctx context.Context, peer string, req Frame, send SendFunc) Frame {
	s.mu.Lock()
	serve := s.serve
	s.mu.Unlock()
	return serve(ctx, peer, req, send)
}

func (s *site) ServeMirror(ctx context.Context, peer string, open *MirrorOpen, m *MirrorStream) {
	s.mu.Lock()
	mirror := s.mirror
	s.mu.Unlock()
	mirror(ctx, peer, open, m)
}

// onPath says what serves further paths from now on.
func (s *site) onPath(path pathFunc) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.path = path
}

func (s *site) ServePath(ctx context.Context, peer string, open *MirrorPath, m *MirrorStream) {
	s.mu.Lock()
	path := s.path
	s.mu.Unlock()
	path(ctx, peer, open, m)
}

func (s *site) Refused(addr net.Addr, key Fingerprint, reason string) {
	select {
	case s.refused <- refusal{addr, key, reason}:
	default:
	}
}

func (s *site) PeerUp(peer string, hello Hello) {
	s.note("up " + peer)
	select {
	case s.up <- hello:
	default:
	}
}

func (s *site) PeerDown(peer string, err error) {
	s.note("down " + peer)
	select {
	case s.down <- err:
	default:
	}
}

func (s *site) note(call string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls = append(s.calls, call)
}

// newSite listens on loopback with a key of its own and is closed with the test.
func newSite(t testing.TB, name string) *site {
	t.Helper()
	return listen(t, name, Config{Listen: "127.0.0.1:0", timing: &quick})
}

// listen completes cfg where it says nothing.
func listen(t testing.TB, name string, cfg Config) *site {
	t.Helper()
	s := &site{name: name, refused: make(chan refusal, 100), up: make(chan Hello, 100), down: make(chan error, 100)}
	if cfg.Identity == nil {
		cfg.Identity = freshIdentity(t)
	}
	cfg.Site = name
	cfg.Handler = s
	e, err := Listen(cfg)
	if err != nil {
		t.Fatal(err)
	}
	s.Endpoint = e
	t.Cleanup(func() { s.shut(t) })
	return s
}

// shut closes the endpoint and expects every handler to have returned.
func (s *site) shut(t testing.TB) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	if err := s.Close(ctx); err != nil && !s.killed {
		t.Errorf("close %s: %v", s.name, err)
	}
}

// kill ends the endpoint as kill -9 ends a daemon: nothing of it gets out any more. The socket's port is free afterwards.
func (s *site) kill() {
	s.killed = true
	s.tr.Conn.Close()
}

func freshIdentity(t testing.TB) *Identity {
	t.Helper()
	id, err := LoadIdentity(filepath.Join(t.TempDir(), "key.pem"))
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// identityOf makes an identity from a seed, for keys that must be the same in every run.
func identityOf(t testing.TB, seed byte) *Identity {
	t.Helper()
	b := make([]byte, ed25519.SeedSize)
	b[0] = seed
	id, err := newIdentity(ed25519.NewKeyFromSeed(b))
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// pin makes two sites known to each other under their names.
func pin(t testing.TB, a, b *site) {
	t.Helper()
	set(t, a, b, b.Addr().String())
	set(t, b, a, a.Addr().String())
}

func set(t testing.TB, s, peer *site, addr string) {
	t.Helper()
	if err := s.SetPeer(peer.name, addr, peer.Fingerprint()); err != nil {
		t.Fatal(err)
	}
}

// receive waits for the next value of ch.
func receive[T any](t testing.TB, what string, ch <-chan T) T {
	t.Helper()
	select {
	case v := <-ch:
		return v
	case <-time.After(within):
		t.Fatalf("no %s within %v", what, within)
		panic("unreachable")
	}
}
