package quicwire

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// pair gives two sites that know each other, the second with a handler for requests.
func pair(t *testing.T, serve serveFunc) (a, b *site) {
	t.Helper()
	a, b = newSite(t, "tokyo"), newSite(t, "osaka")
	b.onRequest(serve)
	pin(t, a, b)
	return a, b
}

// until gives a context that no working test outlives.
func until(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), within)
	t.Cleanup(cancel)
	return ctx
}

func TestRequestsOfEveryKind(t *testing.T) {
	a, b := pair(t, nil)
	got := make(chan Frame, 1)
	b.onRequest(func(_ context.Context, peer string, req Frame, _ SendFunc) Frame {
		if peer != "tokyo" {
			t.Errorf("a request from %q", peer)
		}
		got <- req
		return &Result{Message: "done by osaka", Detail: []byte{1, 2, 3}}
	})
	for _, f := range examples() {
		answer, err := a.Request(until(t), "osaka", f)
		if !frames[f.Type()].request {
			if !errors.Is(err, ErrInvalidField) {
				t.Errorf("%s is sent as a request: %v", f.Type(), err)
			}
			continue
		}
		if err != nil {
			t.Fatalf("%s: %v", f.Type(), err)
		}
		if diff := cmp.Diff(f, <-got); diff != "" {
			t.Errorf("%s came as (-want +got):\n%s", f.Type(), diff)
		}
		if diff := cmp.Diff(&Result{Message: "done by osaka", Detail: []byte{1, 2, 3}}, answer); diff != "" {
			t.Errorf("%s: the answer came as (-want +got):\n%s", f.Type(), diff)
		}
	}
}

// Either side asks the other, over the same connection, whoever dialled it.
func TestRequestsInBothDirections(t *testing.T) {
	a, b := newSite(t, "tokyo"), newSite(t, "osaka")
	set(t, a, b, b.Addr().String())
	set(t, b, a, "") // it cannot be dialled, only awaited
	for _, s := range []*site{a, b} {
		s.onRequest(func(_ context.Context, peer string, _ Frame, _ SendFunc) Frame {
			return NewResult(ResultDone, peer+" asked "+s.name)
		})
	}
	for _, c := range []struct {
		from *site
		to   string
	}{{a, "osaka"}, {b, "tokyo"}} {
		answer, err := c.from.Request(until(t), c.to, &DeletePair{})
		if err != nil {
			t.Fatal(err)
		}
		if got, want := answer.(*Result).Message, c.from.name+" asked "+c.to; got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestRefusalIsARemoteError(t *testing.T) {
	a, _ := pair(t, func(context.Context, string, Frame, SendFunc) Frame {
		return &Result{Code: ResultBusy, Message: "pair0 is in COPY; wait for PAIR", Detail: []byte("d")}
	})
	_, err := a.Request(until(t), "osaka", &DeletePair{Pairs: []PairRef{{Name: "pair0"}}})
	var remote *RemoteError
	if !errors.As(err, &remote) || !errors.Is(err, &RemoteError{Code: ResultBusy}) || errors.Is(err, &RemoteError{Code: ResultAccess}) {
		t.Fatalf("error %v", err)
	}
	if diff := cmp.Diff(&RemoteError{Peer: "osaka", Code: ResultBusy, Message: "pair0 is in COPY; wait for PAIR", Detail: []byte("d")}, remote); diff != "" {
		t.Error(diff)
	}
}

// An answer of many frames, together larger than any window that is open at first, comes complete, in order and then to an end.
func TestAnswerOfManyFrames(t *testing.T) {
	const count = 80
	runs := unitRuns(MaxRunBytes / 2)
	a, _ := pair(t, func(_ context.Context, _ string, req Frame, send SendFunc) Frame {
		if err := send(&ResyncReady{LastSeq: 42}); err != nil {
			t.Error(err)
		}
		for i := range count {
			if err := send(&Bitmap{Pair: fmt.Sprint(i), Regions: MaxRunBytes, Runs: runs}); err != nil {
				t.Error(err)
			}
		}
		return nil
	})
	x, err := a.RequestStream(until(t), "osaka", &ResyncPairs{Group: "default"})
	if err != nil {
		t.Fatal(err)
	}
	defer x.Close()
	first, err := x.Recv()
	if err != nil || first.(*ResyncReady).LastSeq != 42 {
		t.Fatalf("first frame %v, %v", first, err)
	}
	for i := range count {
		f, err := x.Recv()
		if err != nil {
			t.Fatal(err)
		}
		if b := f.(*Bitmap); b.Pair != fmt.Sprint(i) || len(b.Runs) != len(runs) {
			t.Fatalf("frame %d is of %s with %d runs", i, b.Pair, len(b.Runs))
		}
	}
	if f, err := x.Recv(); err != io.EOF {
		t.Fatalf("behind the last frame: %v, %v", f, err)
	}
}

// A requester that has seen enough stops the answer.
func TestAbandonedAnswerEnds(t *testing.T) {
	ended := make(chan error, 1)
	a, _ := pair(t, func(ctx context.Context, _ string, _ Frame, send SendFunc) Frame {
		for {
			if err := send(&Bitmap{Regions: MaxRunBytes, Runs: unitRuns(MaxRunBytes / 2)}); err != nil {
				<-ctx.Done()
				ended <- err
				return nil
			}
		}
	})
	x, err := a.RequestStream(until(t), "osaka", &ResyncPairs{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := x.Recv(); err != nil {
		t.Fatal(err)
	}
	x.Close()
	if err := receive(t, "end of the answer", ended); err == nil {
		t.Error("sending goes on without an error")
	}
}

func TestAnswersThatMakeNoSense(t *testing.T) {
	a, b := pair(t, nil)
	b.onRequest(func(context.Context, string, Frame, SendFunc) Frame { return nil })
	if _, err := a.Request(until(t), "osaka", &DeletePair{}); !errors.Is(err, &RemoteError{Code: ResultInternal}) {
		t.Errorf("no answer: %v", err)
	}
	b.onRequest(func(context.Context, string, Frame, SendFunc) Frame {
		return &PairStates{Pairs: make([]PairState, MaxPairs+1)}
	})
	if _, err := a.Request(until(t), "osaka", &DeletePair{}); !errors.Is(err, &RemoteError{Code: ResultInternal}) {
		t.Errorf("an answer over its limits: %v", err)
	}
}

func TestRequestGivesUpWithItsContext(t *testing.T) {
	gone := make(chan struct{})
	started := make(chan struct{})
	a, _ := pair(t, func(ctx context.Context, _ string, _ Frame, _ SendFunc) Frame {
		close(started)
		<-ctx.Done()
		close(gone)
		return NewResult(ResultDone, "too late")
	})
	ctx, cancel := context.WithCancel(until(t))
	go func() { <-started; cancel() }()
	if _, err := a.Request(ctx, "osaka", &DeletePair{}); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	receive(t, "end of the handler's context", gone)
}

func TestUnreachable(t *testing.T) {
	a := newSite(t, "tokyo")
	if _, err := a.Request(until(t), "osaka", &DeletePair{}); !errors.Is(err, ErrUnknownPeer) {
		t.Errorf("a peer never set: %v", err)
	}
	if err := a.SetPeer("osaka", "", identityOf(t, 1).Fingerprint()); err != nil {
		t.Fatal(err)
	}
	a.timing.connectWait = 10 * time.Millisecond
	if _, err := a.Request(until(t), "osaka", &DeletePair{}); !errors.Is(err, ErrUnreachable) {
		t.Errorf("a peer that never came: %v", err)
	}
	if _, err := a.OpenMirror(until(t), "osaka", &MirrorOpen{}); !errors.Is(err, ErrUnreachable) {
		t.Errorf("a mirror with it: %v", err)
	}
}

// However many requests come, no more than maxRequests of a peer are served at a time, the rest wait, and all are answered.
func TestSlowHandlerIsBounded(t *testing.T) {
	const count = 4 * maxRequests
	var running, most atomic.Int32
	full := make(chan struct{})
	release := make(chan struct{})
	a, _ := pair(t, func(context.Context, string, Frame, SendFunc) Frame {
		n := running.Add(1)
		defer running.Add(-1)
		for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
		}
		if n == maxRequests {
			select {
			case <-full:
			default:
				close(full)
			}
		}
		<-release
		return NewResult(ResultDone, "")
	})
	errs := make(chan error, count)
	for range count {
		go func() {
			_, err := a.Request(until(t), "osaka", &DeletePair{})
			errs <- err
		}()
	}
	receive(t, "full house", full)
	close(release)
	for range count {
		if err := receive(t, "answer", errs); err != nil {
			t.Error(err)
		}
	}
	if n := most.Load(); n > maxRequests {
		t.Errorf("%d at a time", n)
	}
}
