package quicwire

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quic-go/quic-go"

	"pairfs/quicwire/wiretest"
)

// pathSite is a site that offers paths and serves a mirror and its paths: what it is given at the far ends is handed out.
type pathSite struct {
	*site
	mirrors, paths chan *MirrorStream
	asked          chan MirrorPath
	over           chan struct{}
}

func newPathSite(t *testing.T, name string, cfg Config) *pathSite {
	t.Helper()
	cfg.Features |= FeaturePaths
	s := &pathSite{mirrors: make(chan *MirrorStream, 10), paths: make(chan *MirrorStream, 100), asked: make(chan MirrorPath, 100), over: make(chan struct{})}
	s.site = listen(t, name, cfg)
	s.onRequest(answerDone)
	s.onMirror(func(ctx context.Context, _ string, _ *MirrorOpen, m *MirrorStream) {
		if m.Send(ctx, &MirrorAccept{}) != nil {
			return
		}
		s.mirrors <- m
		s.await(ctx)
	})
	s.onPath(func(ctx context.Context, _ string, open *MirrorPath, m *MirrorStream) {
		s.asked <- *open
		s.paths <- m
		s.await(ctx)
	})
	t.Cleanup(func() { close(s.over) })
	return s
}

func (s *pathSite) await(ctx context.Context) {
	select {
	case <-ctx.Done():
	case <-s.over:
	}
}

// quickPaths is a site on loopback.
func quickPaths(t *testing.T, name string) *pathSite {
	return newPathSite(t, name, Config{Listen: "127.0.0.1:0", timing: &quick})
}

// session opens a mirror from a to b.
func session(t *testing.T, a, b *pathSite) (ours, theirs *MirrorStream) {
	t.Helper()
	ours, err := a.OpenMirror(until(t), b.name, &MirrorOpen{Session: 7})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ours.Close() })
	if _, err := ours.Recv(until(t)); err != nil {
		t.Fatal(err)
	}
	return ours, receive(t, "mirror", b.mirrors)
}

// openPath opens a further path of the session.
func openPath(t *testing.T, s *MirrorStream, n uint8) *MirrorStream {
	t.Helper()
	w, err := s.OpenPath(until(t), &MirrorPath{Session: 7, Path: n})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.Close() })
	return w
}

// pathsOf gives the path connections that a site has with another one.
func (s *pathSite) pathsOf(peer string) []*conn {
	p := s.peerByName(peer)
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]*conn(nil), p.paths...)
}

// TestPaths: a secondary opens paths on connections of their own, whichever side dialled the connection of the mirror, batches come over each, and
// a path that the primary ends is over behind what was sent. The ordinary connection does not notice.
func TestPaths(t *testing.T) {
	for _, dialler := range []string{"secondary", "primary"} {
		t.Run("dialled_by_the_"+dialler, func(t *testing.T) {
			a, b := quickPaths(t, "tokyo"), quickPaths(t, "osaka") // osaka is the primary
			if dialler == "secondary" {
				set(t, b.site, a.site, "")
				set(t, a.site, b.site, b.Addr().String())
			} else {
				set(t, a.site, b.site, "")
				set(t, b.site, a.site, a.Addr().String())
			}
			ours, theirs := session(t, a, b)
			since, _ := a.Connected("osaka")
			const n = 3
			theirs.Provide(n) // of no effect where the other side dials
			for i := uint8(1); i <= n; i++ {
				if err := theirs.Send(until(t), &MirrorPath{Session: 7, Path: i}); err != nil {
					t.Fatal(err)
				}
			}
			from := map[string]bool{}
			for i := uint8(1); i <= n; i++ {
				f, err := ours.Recv(until(t))
				if err != nil || *f.(*MirrorPath) != (MirrorPath{7, i}) {
					t.Fatalf("asked for path %d by %v, %v", i, f, err)
				}
				w := openPath(t, ours, i)
				if got := receive(t, "path", b.asked); got != (MirrorPath{7, i}) {
					t.Errorf("path %d came as %+v", i, got)
				}
				far := receive(t, "path", b.paths)
				data := bytes.Repeat([]byte{i}, 300<<10)
				if err := far.Send(until(t), &Batch{Ordinal: uint64(i), RawLen: uint32(len(data)), Data: data}); err != nil {
					t.Fatal(err)
				}
				got, err := w.Recv(until(t))
				if err != nil || got.(*Batch).Ordinal != uint64(i) || !bytes.Equal(got.(*Batch).Data, data) {
					t.Fatalf("path %d: received %v", i, err)
				}
				if w.Agreement() != ours.Agreement() {
					t.Errorf("path %d: %+v was agreed, %+v for the mirror", i, w.Agreement(), ours.Agreement())
				}
				far.Close()
				if f, err := w.Recv(until(t)); err != io.EOF {
					t.Errorf("path %d behind its end: %v, %v", i, f, err)
				}
				from[fmt.Sprint(w.conn.qc.LocalAddr(), w.conn.qc.RemoteAddr())] = true
			}
			if len(from) != n || len(a.pathsOf("osaka")) != n {
				t.Errorf("%d paths between %d pairs of sockets, want %d", len(a.pathsOf("osaka")), len(from), n)
			}
			if now, ok := a.Connected("osaka"); !ok || now != since {
				t.Error("the connection was replaced")
			}
			if _, err := b.Request(until(t), "tokyo", &DeletePair{}); err != nil {
				t.Error(err)
			}
			if q := b.peerByName("tokyo"); len(q.conns) != 1 {
				t.Errorf("%d connections beside the paths", len(q.conns))
			}
		})
	}
}

// TestPathsAreBounded: a session has MaxPaths paths and no more, and a peer that dials more path connections than that is turned away.
func TestPathsAreBounded(t *testing.T) {
	a, b := quickPaths(t, "tokyo"), quickPaths(t, "osaka")
	set(t, b.site, a.site, "")
	set(t, a.site, b.site, b.Addr().String())
	ours, _ := session(t, a, b)
	for i := uint8(1); i <= MaxPaths; i++ {
		openPath(t, ours, i)
	}
	if w, err := ours.OpenPath(until(t), &MirrorPath{Session: 7, Path: 1}); !errors.Is(err, ErrUnreachable) {
		t.Errorf("path %d: %v, %v", MaxPaths+1, w, err)
	}
	c, err := a.peerByName("osaka").dialPath(ours.conn)
	if err != nil {
		t.Fatal(err)
	}
	defer c.own.close()
	receive(t, "end of the connection", c.qc.Context().Done())
	if err := c.ended(); !errors.Is(err, &ProtocolError{Code: CloseBusy}) {
		t.Errorf("connection %d: %v", MaxPaths+1, err)
	}
	if n := len(b.pathsOf("tokyo")); n != MaxPaths {
		t.Errorf("osaka has %d path connections", n)
	}
	if ours.Context().Err() != nil {
		t.Errorf("the mirror ended: %v", context.Cause(ours.Context()))
	}
}

// TestPathsNeedAConnection: a path connection is let in beside an ordinary one that agreed on paths alone, and goes with it.
func TestPathsNeedAConnection(t *testing.T) {
	a, b := quickPaths(t, "tokyo"), quickPaths(t, "osaka")
	set(t, b.site, a.site, "")
	dial := func() *quic.Conn {
		t.Helper()
		qc, err := quic.DialAddr(until(t), b.Addr().String(), a.clientTLS(b.Addr(), b.Fingerprint(), alpnPath), a.quicConfig())
		if err != nil {
			t.Fatal(err)
		}
		return qc
	}
	refused := func(why string) {
		t.Helper()
		qc := dial()
		receive(t, "end of the connection", qc.Context().Done())
		app := new(quic.ApplicationError)
		if err := context.Cause(qc.Context()); !errors.As(err, &app) || app.ErrorCode != quic.ApplicationErrorCode(CloseBusy) {
			t.Errorf("%s: %v", why, err)
		}
	}
	refused("without a connection")
	set(t, a.site, b.site, b.Addr().String())
	ours, _ := session(t, a, b)
	w := openPath(t, ours, 1)
	for _, c := range a.peerByName("osaka").conns {
		c.close(&ProtocolError{Code: CloseNormal})
	}
	if f, err := w.Recv(until(t)); !errors.Is(err, ErrConnectionLost) {
		t.Errorf("the path goes on without its connection: %v, %v", f, err)
	}

	old := newSite(t, "nara")
	set(t, b.site, old, "")
	set(t, old, b.site, b.Addr().String())
	receive(t, "PeerUp", old.up)
	a.cfg.Identity = old.cfg.Identity // nara's, which offers no paths
	refused("a peer that did not agree on paths")
}

// TestPathsCarryBatchesOnly: whatever else goes over a path connection ends it, and the ordinary connection goes on.
func TestPathsCarryBatchesOnly(t *testing.T) {
	a, b := quickPaths(t, "tokyo"), quickPaths(t, "osaka")
	set(t, b.site, a.site, "")
	set(t, a.site, b.site, b.Addr().String())
	ours, _ := session(t, a, b)
	for _, f := range examples() {
		if f.Type() == TypeMirrorPath {
			continue
		}
		w := openPath(t, ours, 1)
		far := receive(t, "path", b.paths)
		for _, s := range []*MirrorStream{w, far} {
			want := f.Type() == TypeBatch && s == far
			if err := s.Send(until(t), f); errors.Is(err, ErrInvalidField) == want {
				t.Errorf("%s, from the secondary %v: %v", f.Type(), s == w, err)
			}
		}
		qs, err := w.conn.openStream(until(t)) // and as the first frame
		if err != nil {
			t.Fatal(err)
		}
		if _, err := qs.Write(encode(t, f)); err != nil {
			t.Fatal(err)
		}
		receive(t, "end of the connection", w.conn.qc.Context().Done())
		if err := w.conn.ended(); !errors.Is(err, &ProtocolError{Code: CloseUnexpectedFrame}) {
			t.Errorf("%s at the begin of a path: %v", f.Type(), err)
		}
		w.Close()
		far.Close()
	}
	w := openPath(t, ours, 1)
	far := receive(t, "path", b.paths)
	if err := far.send(until(t), &PairStates{}); err != nil {
		t.Fatal(err)
	}
	if f, err := w.Recv(until(t)); !errors.Is(err, &ProtocolError{Code: CloseUnexpectedFrame}) {
		t.Errorf("states over a path: %v, %v", f, err)
	}
	if err := ours.Context().Err(); err != nil {
		t.Errorf("the mirror ended: %v", context.Cause(ours.Context()))
	}
}

// TestPathDialFails: who waits for a path that cannot be dialled is told why, and however often a path is wanted no more are dialled than a peer lets in.
func TestPathDialFails(t *testing.T) {
	broken := errors.New("no socket")
	var dials atomic.Int64
	socket := func() (net.PacketConn, error) { dials.Add(1); return nil, broken }
	a, b := newPathSite(t, "tokyo", Config{Listen: "127.0.0.1:0", timing: &quick, PathConn: socket}), quickPaths(t, "osaka")
	set(t, b.site, a.site, "")
	set(t, a.site, b.site, b.Addr().String())
	ours, _ := session(t, a, b)
	departures := a.peerByName("osaka").departures
	if departures.Limit() != arrivalRate || departures.Burst() != arrivalBurst {
		t.Fatalf("%v a second and %d at once may be dialled", departures.Limit(), departures.Burst())
	}
	departures.SetLimit(0) // so that the test is not slower than the pause
	for n := range 2 * arrivalBurst {
		w, err := ours.OpenPath(until(t), &MirrorPath{Session: 7, Path: 1})
		if !errors.Is(err, ErrUnreachable) || n == 0 && !errors.Is(err, broken) {
			t.Fatalf("path %d: %v, %v", n, w, err)
		}
	}
	if n := dials.Load(); n != arrivalBurst {
		t.Errorf("%d were dialled", n)
	}
}

// TestPathsLinger: a path connection without a stream is closed by itself, not before its time and not while it is used.
func TestPathsLinger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := wiretest.NewNetwork(1, 10*time.Millisecond)
		start := func(name, addr string, seed byte) *pathSite {
			host, err := network.Host(addr)
			if err != nil {
				t.Fatal(err)
			}
			return newPathSite(t, name, Config{Identity: identityOf(t, seed), PacketConn: host})
		}
		a, b := start("tokyo", "10.0.0.1:7000", 1), start("osaka", "10.0.0.2:7000", 2)
		pin(t, a.site, b.site)
		ours, theirs := session(t, a, b)
		theirs.Provide(2) // both sites dial, so either may have dialled its connection
		counts := func(want int, when string) {
			t.Helper()
			synctest.Wait()
			if n, m := len(a.pathsOf("osaka")), len(b.pathsOf("tokyo")); n != want || m != want {
				t.Errorf("%s: %d and %d path connections, want %d", when, n, m, want)
			}
		}
		w, v := openPath(t, ours, 1), openPath(t, ours, 2)
		time.Sleep(3 * PathLinger)
		counts(2, "while both are used")
		w.Close()
		time.Sleep(PathLinger / 2)
		counts(2, "half the time behind the end of one")
		w = openPath(t, ours, 1)
		counts(2, "it is used again")
		time.Sleep(PathLinger)
		w.Close()
		time.Sleep(PathLinger + time.Second)
		counts(1, "the time is over")
		v.Close()
		ours.Close()
		time.Sleep(PathLinger + time.Second)
		counts(0, "the session has ended")
		if _, ok := a.Connected("osaka"); !ok {
			t.Error("the ordinary connection went too")
		}
		a.shut(t)
		b.shut(t)
	})
}

// TestProvideLeavesThePeerAlone: whoever asks for path connections holds no lock of the peer when it takes that of the endpoint, which SetPeer holds
// when it takes that of the peer.
func TestProvideLeavesThePeerAlone(t *testing.T) {
	a, b := quickPaths(t, "tokyo"), quickPaths(t, "osaka")
	set(t, b.site, a.site, "")
	set(t, a.site, b.site, b.Addr().String())
	ours, _ := session(t, a, b)
	p := a.peerByName("osaka")
	a.Endpoint.mu.Lock()
	go ours.Provide(1)
	dials := 0
	for end := time.Now().Add(within); dials == 0 && time.Now().Before(end); time.Sleep(time.Millisecond) {
		if p.mu.TryLock() {
			dials = p.pathDials
			p.mu.Unlock()
		}
	}
	a.Endpoint.mu.Unlock()
	if dials != 1 {
		t.Error("the peer is locked by who waits for the endpoint")
	}
	openPath(t, ours, 1)
}
