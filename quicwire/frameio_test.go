package quicwire

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"reflect"
	"runtime"
	"slices"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func TestStreamRoundTrip(t *testing.T) {
	var stream bytes.Buffer
	fw := &frameWriter{w: &stream, max: MaxFrame}
	for _, f := range examples() {
		if err := fw.write(f); err != nil {
			t.Fatal(err)
		}
	}
	for name, r := range map[string]io.Reader{
		"at once":        bytes.NewReader(stream.Bytes()),
		"byte by byte":   iotest.OneByteReader(bytes.NewReader(stream.Bytes())),
		"end with bytes": iotest.DataErrReader(bytes.NewReader(stream.Bytes())),
	} {
		fr := newFrameReader(r, MaxFrame)
		for _, want := range examples() {
			if typ, err := fr.peek(); err != nil || typ != want.Type() {
				t.Fatalf("%s: peek %s, %v", name, typ, err)
			}
			got, err := fr.read(nil)
			if err != nil {
				t.Fatalf("%s: %s: %v", name, want.Type(), err)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s: %s (-want +got):\n%s", name, want.Type(), diff)
			}
		}
		if err := fr.end(); err != nil {
			t.Errorf("%s: end: %v", name, err)
		}
		if _, err := fr.read(nil); err != io.EOF {
			t.Errorf("%s: behind the end: %v", name, err)
		}
	}
}

func TestStreamThatEndsInsideAFrame(t *testing.T) {
	for _, f := range examples() {
		b := encode(t, f)
		for n := 1; n < len(b); n++ {
			_, err := newFrameReader(bytes.NewReader(b[:n]), MaxFrame).read(nil)
			if !errors.Is(err, &ProtocolError{Code: CloseMalformed}) {
				t.Errorf("%s cut at %d: %v", f.Type(), n, err)
			}
		}
	}
}

func TestStreamErrorIsPassedOn(t *testing.T) {
	cause := errors.New("cable cut")
	for _, f := range examples() {
		b := encode(t, f)
		r := io.MultiReader(bytes.NewReader(b[:len(b)-1]), iotest.ErrReader(cause))
		if _, err := newFrameReader(r, MaxFrame).read(nil); !errors.Is(err, cause) {
			t.Errorf("%s: %v", f.Type(), err)
		}
	}
}

// A length beyond a limit costs no memory: neither the body's nor a batch's buffer is asked for.
func TestOverlongFrameAllocatesNothing(t *testing.T) {
	for typ, spec := range frames {
		head := binary.LittleEndian.AppendUint32([]byte{byte(typ)}, uint32(spec.max)+1)
		fr := newFrameReader(nil, MaxFrame)
		alloc := func(n int) []byte { t.Errorf("%s: %d bytes asked for", typ, n); return make([]byte, n) }
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		fr.r.Reset(bytes.NewReader(head))
		_, err := fr.read(alloc)
		runtime.ReadMemStats(&after)
		if !errors.Is(err, &ProtocolError{Code: CloseTooLarge}) {
			t.Errorf("%s: %v", typ, err)
		}
		if n := after.TotalAlloc - before.TotalAlloc; n > 16<<10 {
			t.Errorf("%s: %d bytes were allocated", typ, n)
		}
	}
}

func TestBatchGoesIntoTheBufferGiven(t *testing.T) {
	want := &Batch{Ordinal: 1, RawLen: 300 << 10, Data: bytes.Repeat([]byte("abc"), 100<<10)}
	b := encode(t, want)
	pool := make([]byte, MaxBatchData)
	got, err := newFrameReader(bytes.NewReader(b), MaxFrame).read(func(n int) []byte { return pool[:n] })
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(want, got) {
		t.Error("the batch comes back as another")
	}
	if &got.(*Batch).Data[0] != &pool[0] {
		t.Error("the data is not in the buffer that was given")
	}
	_, err = newFrameReader(bytes.NewReader(b), MaxFrame).read(func(n int) []byte { return pool[:n-1] })
	if !errors.Is(err, ErrInvalidField) {
		t.Errorf("a buffer of the wrong length: %v", err)
	}
}

// Large batches go out in pieces of the size that was measured best, and only the first of them is a copy.
func TestBatchIsWrittenInPieces(t *testing.T) {
	f := &Batch{RawLen: MaxBatchData, Data: make([]byte, MaxBatchData)}
	w := &pieces{}
	if err := (&frameWriter{w: w, max: MaxFrame}).write(f); err != nil {
		t.Fatal(err)
	}
	total := 0
	for i, p := range w.all {
		if len(p) > writePiece || (i < len(w.all)-1 && len(p) < writePiece) {
			t.Errorf("piece %d of %d has %d bytes", i, len(w.all), len(p))
		}
		if i > 0 && &p[0] != &f.Data[total-headerSize-BatchOverhead] {
			t.Errorf("piece %d is a copy", i)
		}
		total += len(p)
	}
	if total != headerSize+MaxFrame {
		t.Errorf("%d bytes in all", total)
	}
}

type pieces struct{ all [][]byte }

func (w *pieces) Write(p []byte) (int, error) {
	w.all = append(w.all, p)
	return len(p), nil
}

func TestFrameOverTheAgreedMaximumIsNotSent(t *testing.T) {
	w := &pieces{}
	fw := &frameWriter{w: w, max: 1000}
	if err := fw.write(&Batch{RawLen: 1000, Data: make([]byte, 1000)}); !errors.Is(err, ErrTooLong) {
		t.Errorf("batch: %v", err)
	}
	if err := fw.write(&PairStates{Pairs: make([]PairState, 100)}); !errors.Is(err, ErrTooLong) {
		t.Errorf("pair states: %v", err)
	}
	if len(w.all) > 0 {
		t.Errorf("%d pieces were written", len(w.all))
	}
}

// Any spans, cut into frames of any number, sent and joined, are the spans they were.
func TestBitmapsRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		gap := rapid.SampledFrom([]uint64{2, 200, 1 << 20, 1 << 50}).Draw(t, "gap")
		n := rapid.SampledFrom([]int{0, 1, 50, 20_000}).Draw(t, "n")
		var want, got [][2]uint64
		var at uint64
		seed := rapid.Uint64().Draw(t, "seed")
		for range n {
			seed = seed*6364136223846793005 + 1442695040888963407
			first := at + 1 + (seed>>33)%gap
			if at == 0 && seed&1 == 0 {
				first = 0
			}
			want = append(want, [2]uint64{first, 1 + (seed>>20)%3})
			at = first + want[len(want)-1][1]
			if at > 1<<62 {
				break
			}
		}
		spans := func(yield func(uint64, uint64) bool) {
			for _, s := range want {
				if !yield(s[0], s[1]) {
					return
				}
			}
		}
		last := false
		for f := range Bitmaps("pair0", 64<<10, 1<<63, spans) {
			if last {
				t.Fatal("a frame behind the last")
			}
			b, err := AppendFrame(nil, f)
			if err != nil {
				t.Fatal(err)
			}
			back, _, err := ParseFrame(b)
			if err != nil {
				t.Fatal(err)
			}
			last = back.(*Bitmap).Last
			for first, n := range back.(*Bitmap).Spans() {
				got = append(got, [2]uint64{first, n})
			}
		}
		if !last {
			t.Fatal("no frame is marked as the last")
		}
		if !slices.Equal(want, got) {
			t.Fatalf("%d spans became %d, or others", len(want), len(got))
		}
	})
}
