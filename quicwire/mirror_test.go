package quicwire

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"
)

// The two directions of a mirror stream run at once: batches of all sizes one way, bounded by the budget that read-journals
// grant the other way. What arrives is what was sent, in order.
func TestMirrorStream(t *testing.T) {
	const seed, window = 1, 4 * MaxBatchData
	sizes := []int{0, 1, 63, 4096, writePiece - headerSize - BatchOverhead, writePiece, writePiece + 1, 1 << 20, MaxBatchData}
	var batches []*Batch
	rng := rand.New(rand.NewPCG(seed, 0))
	for i := range 60 {
		data := make([]byte, sizes[i%len(sizes)])
		for j := range data {
			data[j] = byte(rng.Uint32())
		}
		batches = append(batches, &Batch{Ordinal: uint64(i + 1), RawLen: uint32(len(data)), Data: data})
	}
	a, b := pair(t, nil)
	b.onMirror(func(ctx context.Context, peer string, open *MirrorOpen, s *MirrorStream) {
		if peer != "tokyo" || s.Peer() != "tokyo" || open.Group != "default" {
			t.Errorf("opened by %s and %s for %s", peer, s.Peer(), open.Group)
		}
		if err := s.Send(ctx, &MirrorAccept{Session: open.Session}); err != nil {
			t.Error(err)
		}
		feed(t, ctx, s, batches)
	})
	s, err := a.OpenMirror(until(t), "osaka", &MirrorOpen{Group: "default", Session: 9})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if f, err := s.Recv(until(t)); err != nil || f.(*MirrorAccept).Session != 9 {
		t.Fatalf("answer %v, %v", f, err)
	}
	if got := s.Agreement(); got.Version != 1 || got.MaxBatch() != MaxBatchData {
		t.Errorf("agreement %+v", got)
	}
	budget := uint64(window)
	grant := func() {
		// Near the end the primary has sent all and closed; what is under way must arrive all the same.
		if err := s.Send(until(t), &ReadJournal{Budget: budget}); err != nil && !errors.Is(err, ErrConnectionLost) {
			t.Fatal(err)
		}
	}
	grant()
	pool := make([]byte, MaxBatchData)
	for _, want := range batches {
		f, err := s.RecvInto(until(t), func(n int) []byte { return pool[:n] })
		if err != nil {
			t.Fatalf("batch %d: %v", want.Ordinal, err)
		}
		got := f.(*Batch)
		if got.Ordinal != want.Ordinal || !bytes.Equal(got.Data, want.Data) {
			t.Fatalf("batch %d came as batch %d of %d bytes, seed %d", want.Ordinal, got.Ordinal, len(got.Data), seed)
		}
		budget += uint64(len(got.Data))
		grant()
	}
	if f, err := s.Recv(until(t)); err != io.EOF {
		t.Errorf("behind the last batch: %v, %v", f, err)
	}
}

// feed sends the batches as the budget allows.
func feed(t *testing.T, ctx context.Context, s *MirrorStream, batches []*Batch) {
	var mu sync.Mutex
	granted := sync.NewCond(&mu)
	var budget, sent uint64
	over := false
	go func() {
		for {
			f, err := s.Recv(ctx)
			mu.Lock()
			if err == nil {
				budget = f.(*ReadJournal).Budget
			}
			over = err != nil
			granted.Broadcast()
			mu.Unlock()
			if err != nil {
				return
			}
		}
	}()
	for _, b := range batches {
		mu.Lock()
		for sent+uint64(len(b.Data)) > budget && !over {
			granted.Wait()
		}
		sent += uint64(len(b.Data))
		mu.Unlock()
		if err := s.Send(ctx, b); err != nil {
			t.Errorf("batch %d: %v", b.Ordinal, err)
			return
		}
	}
}

// opened gives both ends of a mirror stream.
func opened(t *testing.T) (ours, theirs *MirrorStream) {
	t.Helper()
	a, b := pair(t, nil)
	ends := make(chan *MirrorStream, 1)
	over := make(chan struct{})
	b.onMirror(func(ctx context.Context, _ string, _ *MirrorOpen, s *MirrorStream) {
		if err := s.Send(ctx, &MirrorAccept{}); err != nil {
			t.Error(err)
		}
		ends <- s
		<-over
	})
	ours, err := a.OpenMirror(until(t), "osaka", &MirrorOpen{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { close(over) })
	if _, err := ours.Recv(until(t)); err != nil {
		t.Fatal(err)
	}
	return ours, receive(t, "mirror stream", ends)
}

func TestMirrorStreamEndsForBothWhenOneCloses(t *testing.T) {
	ours, theirs := opened(t)
	if err := theirs.Send(until(t), &Batch{Ordinal: 7}); err != nil {
		t.Fatal(err)
	}
	theirs.Close()
	theirs.Close()
	if f, err := ours.Recv(until(t)); err != nil || f.(*Batch).Ordinal != 7 {
		t.Errorf("what was sent before is lost: %v, %v", f, err)
	}
	if _, err := ours.Recv(until(t)); err != io.EOF {
		t.Errorf("receive: %v", err)
	}
	receive(t, "end of the stream", ours.Context().Done())
	if err := ours.Send(until(t), &ReadJournal{}); !errors.Is(err, ErrConnectionLost) {
		t.Errorf("send to a closed stream: %v", err)
	}
	if err := theirs.Send(until(t), &Batch{}); !errors.Is(err, ErrClosed) {
		t.Errorf("send on a closed stream: %v", err)
	}
	if _, err := theirs.Recv(until(t)); !errors.Is(err, ErrClosed) {
		t.Errorf("receive on a closed stream: %v", err)
	}
}

// A context that ends while Recv or Send waits ends the stream for both sides.
func TestMirrorStreamEndsWithItsContext(t *testing.T) {
	ours, theirs := opened(t)
	ctx, cancel := context.WithTimeout(until(t), 10*time.Millisecond)
	defer cancel()
	if _, err := ours.Recv(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("receive: %v", err)
	}
	if _, err := theirs.Recv(until(t)); !errors.Is(err, ErrConnectionLost) {
		t.Errorf("the other side: %v", err)
	}

	ours, theirs = opened(t)
	ctx, cancel = context.WithTimeout(until(t), 200*time.Millisecond)
	defer cancel()
	var err error
	for err == nil { // nobody receives, so it must block at last
		err = theirs.Send(ctx, &Batch{RawLen: MaxBatchData, Data: make([]byte, MaxBatchData)})
	}
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("send: %v", err)
	}
	for err = nil; err == nil; {
		_, err = ours.Recv(until(t))
	}
	if !errors.Is(err, ErrConnectionLost) {
		t.Errorf("the other side: %v", err)
	}
}

// Close unblocks a Send under way, and the half frame is not taken for a proper end.
func TestMirrorStreamClosedDuringSend(t *testing.T) {
	ours, theirs := opened(t)
	failed := make(chan error, 1)
	go func() {
		var err error
		for err == nil {
			err = theirs.Send(until(t), &Batch{RawLen: MaxBatchData, Data: make([]byte, MaxBatchData)})
		}
		failed <- err
	}()
	if _, err := ours.Recv(until(t)); err != nil {
		t.Fatal(err)
	}
	theirs.Close()
	if err := receive(t, "failed send", failed); !errors.Is(err, ErrClosed) {
		t.Errorf("send: %v", err)
	}
	var err error
	for err == nil {
		_, err = ours.Recv(until(t))
	}
	if err == io.EOF {
		// Close may have come between two frames.
		t.Log("the stream was closed between two frames")
	} else if !errors.Is(err, ErrConnectionLost) {
		t.Errorf("the other side: %v", err)
	}
}

// A frame over a limit is refused before anything is sent, and the stream goes on.
func TestMirrorStreamSurvivesAFrameOverALimit(t *testing.T) {
	ours, theirs := opened(t)
	if err := theirs.Send(until(t), &Batch{RawLen: 1, Flags: PackS2, Data: make([]byte, MaxBatchData+1)}); !errors.Is(err, ErrTooLong) {
		t.Errorf("too much data: %v", err)
	}
	if err := theirs.Send(until(t), &Batch{RawLen: 2, Data: []byte("x")}); !errors.Is(err, ErrInvalidField) {
		t.Errorf("a wrong length: %v", err)
	}
	if err := theirs.Send(until(t), &PairStates{}); err != nil {
		t.Fatal(err)
	}
	if f, err := ours.Recv(until(t)); err != nil || f.Type() != TypePairStates {
		t.Errorf("received %v, %v", f, err)
	}
}

// Frames that do not go over a mirror stream, or not this way, are kept back by the sender and end the connection at the receiver.
func TestMirrorStreamCarriesItsFramesOnly(t *testing.T) {
	wanted := map[bool][]Type{
		true:  {TypeReadJournal, TypePairStates},                                                                                   // from the secondary
		false: {TypeMirrorAccept, TypeBatch, TypePairStates, TypeMirrorPath, TypeMirrorOptions, TypeMirrorLag, TypeMirrorSettings}, // from the primary; the accept once only
	}
	ours, theirs := opened(t)
	for _, f := range examples() {
		for _, s := range []*MirrorStream{ours, theirs} {
			want := slices.Contains(wanted[s.opener], f.Type())
			if err := s.Send(until(t), f); errors.Is(err, ErrInvalidField) == want {
				t.Errorf("%s, from the secondary %v: %v", f.Type(), s.opener, err)
			}
		}
	}
	for _, f := range examples() {
		for _, fromSecondary := range []bool{true, false} {
			if fromSecondary && slices.Contains(wanted[true], f.Type()) || !fromSecondary && slices.Contains(wanted[false][1:], f.Type()) {
				continue
			}
			from, to := opened(t)
			if !fromSecondary {
				from, to = to, from
			}
			if err := from.send(until(t), f); err != nil {
				t.Fatal(err)
			}
			if got, err := to.Recv(until(t)); !errors.Is(err, &ProtocolError{Code: CloseUnexpectedFrame}) {
				t.Errorf("%s, from the secondary %v: received %v, %v", f.Type(), fromSecondary, got, err)
			}
			receive(t, "end of the connection", from.conn.qc.Context().Done())
		}
	}
}

func TestMirrorStreamsAreBounded(t *testing.T) {
	a, b := pair(t, nil)
	release := make(chan struct{})
	b.onMirror(func(ctx context.Context, _ string, _ *MirrorOpen, s *MirrorStream) {
		if err := s.Send(ctx, &MirrorAccept{}); err != nil {
			t.Error(err)
		}
		<-release
	})
	defer close(release)
	for i := range maxMirrors + 1 {
		s, err := a.OpenMirror(until(t), "osaka", &MirrorOpen{})
		if err != nil {
			t.Fatal(err)
		}
		f, err := s.Recv(until(t))
		if err != nil {
			t.Fatal(err)
		}
		want := ResultDone
		if i == maxMirrors {
			want = ResultInternal
		}
		if got := f.(*MirrorAccept).Code; got != want {
			t.Fatalf("mirror %d: %s, want %s", i+1, got, want)
		}
	}
}

// TestMirrorThatIsNotRead: a mirror whose reader stands still fills its own window and no more: other streams of the connection go on.
func TestMirrorThatIsNotRead(t *testing.T) {
	a, b := listen(t, "tokyo", Config{Listen: "127.0.0.1:0"}), listen(t, "osaka", Config{Listen: "127.0.0.1:0"})
	b.onRequest(answerDone)
	pin(t, a, b)
	full := make(chan *MirrorStream, 1)
	b.onMirror(func(ctx context.Context, _ string, open *MirrorOpen, s *MirrorStream) {
		full <- s
		data := make([]byte, MaxBatchData)
		for n := uint64(1); s.Send(ctx, &Batch{Ordinal: n, RawLen: MaxBatchData, Data: data}) == nil; n++ {
		}
	})
	s, err := a.OpenMirror(until(t), "osaka", &MirrorOpen{Group: "default"})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	sent := receive(t, "mirror", full)
	for end := time.Now().Add(within); sent.Sent() < initialStreamWindow-writePiece; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d bytes were taken", sent.Sent())
		}
	}
	if _, err := a.Request(until(t), "osaka", &DeletePair{}); err != nil {
		t.Errorf("a request beside it: %v", err)
	}
}
