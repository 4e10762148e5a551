package replica

import (
	"bytes"
	"context"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"testing"
	"time"
)

// twoSites opens two sites that know each other, on loopback.
func twoSites(t testing.TB) (a, b *Site) {
	t.Helper()
	open := func(name string) *Site {
		dir := t.TempDir()
		if err := os.Chmod(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		s, err := Open(context.Background(), Config{StateDir: dir, Name: name, Listen: "127.0.0.1:0", RingDir: t.TempDir(),
			Logger: slog.New(slog.NewTextHandler(testWriter{t}, nil)).With("s", name)})
		if err != nil {
			t.Fatalf("open %s: %v", name, err)
		}
		t.Cleanup(func() {
			if err := s.Close(context.Background()); err != nil {
				t.Errorf("close %s: %v", name, err)
			}
		})
		return s
	}
	a, b = open("tokyo"), open("osaka")
	know := func(s, o *Site) {
		err := s.AddPeer(context.Background(), PeerSpec{Name: o.cfg.Name, Address: o.endpoint.Addr().(*net.UDPAddr).String(), Fingerprint: o.identity.Fingerprint().String(), Quota: 1 << 40})
		if err != nil {
			t.Fatal(err)
		}
	}
	know(a, b)
	know(b, a)
	return a, b
}

type testWriter struct{ t testing.TB }

func (w testWriter) Write(p []byte) (int, error) {
	if _, bench := w.t.(*testing.B); bench {
		return len(p), nil
	}
	w.t.Logf("%s", bytes.TrimSpace(p))
	return len(p), nil
}

func waitStatus(t testing.TB, s *Site, pair string, want Status) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	r := s.Subscribe(0)
	for {
		for _, p := range s.Status().Pairs {
			if p.Name == pair && p.Status == want {
				return
			}
		}
		ctx, cancel := context.WithDeadline(context.Background(), deadline)
		_, err := r.Next(ctx)
		cancel()
		if err != nil {
			t.Fatalf("pair %s did not become %s: %+v", pair, want, s.Status())
		}
	}
}

func image(t *testing.T, v *Volume) []byte {
	t.Helper()
	b := make([]byte, v.Size())
	if n, err := v.ReadAt(b, 0); err != nil || n != len(b) {
		t.Fatal(n, err)
	}
	return b
}

func TestPairLifecycle(t *testing.T) {
	a, b := twoSites(t)
	ctx := context.Background()
	v, err := a.CreateVolume("db")
	if err != nil {
		t.Fatal(err)
	}
	const size = 8 << 20
	if err := v.Resize(ctx, size); err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(1, 2))
	write := func(n int) {
		t.Helper()
		p := make([]byte, 4096)
		for range n {
			for i := range p {
				p[i] = byte(rng.Uint32())
			}
			if _, err := v.WriteAt(ctx, p, rng.Int64N(size/4096)*4096, false); err != nil {
				t.Fatal(err)
			}
		}
	}
	write(500)
	if err := a.CreatePair(ctx, PairSpec{Name: "pair0", Volume: "db", Peer: "osaka"}); err != nil {
		t.Fatal(err)
	}
	write(500)
	waitStatus(t, a, "pair0", PAIR)
	write(500)
	if err := a.SuspendPair(ctx, "pair0", SuspendOptions{}); err != nil {
		t.Fatal(err)
	}
	waitStatus(t, a, "pair0", PSUS)
	waitStatus(t, b, "pair0", PSUS)
	w, err := b.Volume("db")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(image(t, v), image(t, w)) {
		t.Fatal("images differ after suspend")
	}
	write(100)
	if bytes.Equal(image(t, v), image(t, w)) {
		t.Fatal("images equal although split")
	}
	if err := a.ResyncPair(ctx, "pair0"); err != nil {
		t.Fatal(err)
	}
	write(100)
	waitStatus(t, a, "pair0", PAIR)
	if err := a.SuspendPair(ctx, "pair0", SuspendOptions{}); err != nil {
		t.Fatal(err)
	}
	waitStatus(t, a, "pair0", PSUS)
	if !bytes.Equal(image(t, v), image(t, w)) {
		t.Fatal("images differ after resync")
	}
	if err := a.DeletePair(ctx, "pair0", DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(image(t, v), image(t, w)) {
		t.Fatal("images differ after delete")
	}
}
