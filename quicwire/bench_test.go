package quicwire

import (
	"context"
	"testing"
)

// BenchmarkMirror measures batches over loopback, both ends in this process.
func BenchmarkMirror(b *testing.B) {
	for _, c := range []struct {
		name string
		size int
	}{{"64KiB", 64 << 10}, {"1MiB", 1 << 20}, {"2MiB", 2 << 20}} {
		b.Run(c.name, func(b *testing.B) {
			from, to := newSite(b, "tokyo"), newSite(b, "osaka")
			data := make([]byte, c.size)
			count := b.N
			from.onMirror(func(ctx context.Context, _ string, _ *MirrorOpen, s *MirrorStream) {
				if err := s.Send(ctx, &MirrorAccept{}); err != nil {
					b.Error(err)
				}
				for range count {
					if err := s.Send(ctx, &Batch{RawLen: uint32(len(data)), Data: data}); err != nil {
						b.Error(err)
						return
					}
				}
			})
			pin(b, from, to)
			s, err := to.OpenMirror(until(b), "tokyo", &MirrorOpen{})
			if err != nil {
				b.Fatal(err)
			}
			defer s.Close()
			if _, err := s.Recv(b.Context()); err != nil {
				b.Fatal(err)
			}
			pool := make([]byte, MaxBatchData)
			b.SetBytes(int64(c.size))
			b.ReportAllocs()
			b.ResetTimer()
			for range b.N {
				if _, err := s.RecvInto(b.Context(), func(n int) []byte { return pool[:n] }); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkRequest measures one request and its answer at a time.
func BenchmarkRequest(b *testing.B) {
	from, to := newSite(b, "tokyo"), newSite(b, "osaka")
	to.onRequest(answerDone)
	pin(b, from, to)
	if _, err := from.Request(until(b), "osaka", &DeletePair{}); err != nil {
		b.Fatal(err)
	}
	b.ResetTimer()
	for range b.N {
		if _, err := from.Request(b.Context(), "osaka", &DeletePair{Pairs: []PairRef{{Name: "pair0"}}}); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkFrame appends and parses one frame of each type, as in the tests of their bytes.
func BenchmarkFrame(b *testing.B) {
	for _, f := range examples() {
		b.Run(f.Type().String(), func(b *testing.B) {
			var buf []byte
			b.ReportAllocs()
			for b.Loop() {
				var err error
				if buf, err = AppendFrame(buf[:0], f); err != nil {
					b.Fatal(err)
				}
				if _, _, err = ParseFrame(buf); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
