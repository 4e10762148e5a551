package journal_test

import (
	"context"
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"pairfs/journal"
)

// benchJournal makes a journal of 1 GiB on the disk under the test's folder, with its ring on tmpfs where there is one.
func benchJournal(b *testing.B) *journal.Journal {
	b.Helper()
	dir := filepath.Join(b.TempDir(), "journal")
	o := journal.Options{Dir: dir, RingPath: ringPath(b)}
	if err := journal.Create(o, 1<<30); err != nil {
		b.Fatal(err)
	}
	j, _, err := journal.Open(o, journal.Head{}, 0, nil)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := j.Close(); err != nil {
			b.Error(err)
		}
	})
	return j
}

// freer releases and frees everything durable whenever the journal is half full.
func freer(b *testing.B, j *journal.Journal, end journal.Position, half *atomic.Uint64) {
	j.Release(end)
	if h := half.Load(); uint64(end) < h || !half.CompareAndSwap(h, uint64(end)+512<<20) {
		return
	}
	h, err := j.FreeHead(j.Marks().Durable)
	if err == nil {
		err = j.Free(h)
	}
	if err != nil {
		b.Error(err)
	}
}

// appendOnce is what a host write does.
func appendOnce(b *testing.B, j *journal.Journal, data []byte, off uint64) journal.Position {
	r, err := j.Reserve(context.Background(), journal.Header{Kind: journal.KindUpdate, Volume: 1, Offset: off, Length: uint64(len(data)), Time: 1})
	if err != nil {
		b.Error(err)
		return 0
	}
	copy(r.Payload, data)
	j.Publish(r, r.Checksum())
	return r.End
}

// BenchmarkAppend is the path of an acknowledged write, disk in the background; one record per operation.
func BenchmarkAppend(b *testing.B) {
	for _, size := range []int{512, 4096, 64 << 10, 1 << 20} {
		for _, writers := range []int{1, 16} {
			b.Run(fmt.Sprintf("size=%d/writers=%d", size, writers), func(b *testing.B) {
				j := benchJournal(b)
				runWriters(b, writers, size, func(data []byte, half *atomic.Uint64) {
					if end := appendOnce(b, j, data, 0); end > 0 {
						freer(b, j, end, half)
					}
				})
			})
		}
	}
}

// BenchmarkAppendSync is a write and an fsync per operation.
func BenchmarkAppendSync(b *testing.B) {
	for _, writers := range []int{1, 4, 16, 64} {
		b.Run(fmt.Sprintf("writers=%d", writers), func(b *testing.B) {
			j := benchJournal(b)
			runWriters(b, writers, 4096, func(data []byte, half *atomic.Uint64) {
				end := appendOnce(b, j, data, 0)
				if err := j.Sync(context.Background(), end); err != nil {
					b.Error(err)
					return
				}
				freer(b, j, end, half)
			})
			u := j.Usage()
			b.ReportMetric(float64(b.N)/float64(max(u.Flushes, 1)), "records/flush")
		})
	}
}

// runWriters splits b.N calls of op over goroutines.
func runWriters(b *testing.B, writers, size int, op func(data []byte, half *atomic.Uint64)) {
	var half, left atomic.Uint64
	half.Store(512 << 20)
	left.Store(uint64(b.N))
	b.SetBytes(int64(size))
	b.ReportAllocs()
	b.ResetTimer()
	var wg sync.WaitGroup
	for range writers {
		wg.Go(func() {
			data := make([]byte, size)
			for int64(left.Add(^uint64(0))) >= 0 && !b.Failed() {
				op(data, &half)
			}
		})
	}
	wg.Wait()
	b.StopTimer()
}

// BenchmarkCursor reads 4 KiB records; one Read of up to 1 MiB per operation.
func BenchmarkCursor(b *testing.B) {
	for _, from := range []string{"ring", "disk"} {
		b.Run(from, func(b *testing.B) {
			j := benchJournal(b)
			data := make([]byte, 4096)
			total := 32 << 20
			if from == "disk" {
				total = 256 << 20
			}
			var end journal.Position
			for n := 0; n < total; n += len(data) {
				end = appendOnce(b, j, data, uint64(n))
				j.Release(end)
			}
			if err := j.Sync(context.Background(), end); err != nil {
				b.Fatal(err)
			}
			stop := end
			if from == "disk" {
				stop = 128 << 20
			}
			c, buf := j.NewCursor(0), make([]byte, 2<<20)
			b.SetBytes(1 << 20)
			b.ResetTimer()
			for range b.N {
				n, info, err := c.Read(buf, 1<<20)
				if err != nil {
					b.Fatal(err)
				}
				if n == 0 || info.Next >= stop {
					c = j.NewCursor(0)
				}
			}
		})
	}
}

// BenchmarkEncode makes one record in memory that exists, checksum included.
func BenchmarkEncode(b *testing.B) {
	for _, size := range []int{512, 4096, 64 << 10, 1 << 20} {
		b.Run(fmt.Sprintf("size=%d", size), func(b *testing.B) {
			rec := journal.Record{Kind: journal.KindUpdate, Volume: 1, Seq: 1, Length: uint64(size), Payload: make([]byte, size)}
			buf := make([]byte, 0, journal.MaxRecord)
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				var err error
				if buf, err = journal.EncodeRecord(buf[:0], &rec); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkParse checks one record and takes it apart.
func BenchmarkParse(b *testing.B) {
	for _, size := range []int{512, 4096, 64 << 10, 1 << 20} {
		b.Run(fmt.Sprintf("size=%d", size), func(b *testing.B) {
			buf, err := journal.EncodeRecord(nil, &journal.Record{Kind: journal.KindUpdate, Volume: 1, Seq: 1, Length: uint64(size), Payload: make([]byte, size)})
			if err != nil {
				b.Fatal(err)
			}
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				if _, _, err := journal.Parse(buf); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
