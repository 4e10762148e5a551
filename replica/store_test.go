package replica

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"
)

// newTestStore makes a store of size bytes in a directory of the test.
func newTestStore(t testing.TB, size int64) *store {
	t.Helper()
	s, err := openStore(filepath.Join(t.TempDir(), "vol"), true)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.close() })
	if err := s.truncate(size); err != nil {
		t.Fatal(err)
	}
	return s
}

// faultyFile is a storeFile whose calls can be made to fail, be cut short or be interrupted.
type faultyFile struct {
	storeFile
	calls     int    // so far
	failAt    int    // this call fails (1 is the first), 0: none
	err       error  // with this error
	failAlso  bool   // and so does every later one
	interrupt bool   // every other call ends with EINTR
	short     int    // most bytes of one read or write, 0: all
	noHoles   bool   // Fallocate is not supported
	blocks    bool   // Fallocate takes whole pages only, as a block device
	broken    string // a rule of the store that was broken
	punched   int64  // bytes given to Fallocate
}

func (f *faultyFile) step() error {
	f.calls++
	if f.interrupt && f.calls%2 == 1 {
		return unix.EINTR
	}
	if f.failAt > 0 && (f.calls == f.failAt || f.failAlso && f.calls > f.failAt) {
		return f.err
	}
	return nil
}

func (f *faultyFile) cut(p []byte) []byte {
	if f.short > 0 && len(p) > f.short {
		return p[:f.short]
	}
	return p
}

func (f *faultyFile) ReadAt(p []byte, off int64) (int, error) {
	if err := f.step(); err != nil {
		return 0, err
	}
	return f.storeFile.ReadAt(f.cut(p), off)
}

// piece checks that a write of n bytes at off is a piece as storePiece says.
func (f *faultyFile) piece(off, n int64) {
	if n == 0 || off/storePiece != (off+n-1)/storePiece {
		f.broken = fmt.Sprintf("a write of %d bytes at %d", n, off)
	}
}

func (f *faultyFile) WriteAt(p []byte, off int64) (int, error) {
	f.piece(off, int64(len(p)))
	if err := f.step(); err != nil {
		return 0, err
	}
	return f.storeFile.WriteAt(f.cut(p), off)
}

func (f *faultyFile) Writev(bufs [][]byte, off int64) (int, error) {
	f.piece(off, int64(total(bufs)))
	if len(bufs) > storeVector {
		f.broken = fmt.Sprintf("%d buffers in one write", len(bufs))
	}
	if err := f.step(); err != nil {
		return 0, err
	}
	if f.short > 0 {
		return f.storeFile.WriteAt(f.cut(bytes.Join(bufs, nil)), off)
	}
	return f.storeFile.Writev(bufs, off)
}

func (f *faultyFile) Fallocate(mode uint32, off, n int64) error {
	if err := f.step(); err != nil {
		return err
	}
	switch {
	case f.noHoles:
		return unix.EOPNOTSUPP
	case f.blocks && (off%4096 != 0 || n%4096 != 0):
		return unix.EINVAL
	}
	f.punched += n
	return f.storeFile.Fallocate(mode, off, n)
}

func (f *faultyFile) Sync() error {
	if err := f.step(); err != nil {
		return err
	}
	return f.storeFile.Sync()
}

func (f *faultyFile) Stat() (int64, int64, error) {
	if err := f.step(); err != nil {
		return 0, 0, err
	}
	return f.storeFile.Stat()
}

func (f *faultyFile) Truncate(size int64) error {
	if err := f.step(); err != nil {
		return err
	}
	return f.storeFile.Truncate(size)
}

func (f *faultyFile) Seek(off int64, whence int) (int64, error) {
	if err := f.step(); err != nil {
		return 0, err
	}
	return f.storeFile.Seek(off, whence)
}

func wantKind(t *testing.T, err error, k Kind, words ...string) {
	t.Helper()
	if err == nil || KindOf(err) != k {
		t.Errorf("error %v is of kind %v, want %v", err, KindOf(err), k)
		return
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("error %q does not say %q", err, w)
		}
	}
}

func TestOpenStore(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "vol")
	_, err := openStore(path, false)
	wantKind(t, err, KindNotFound, path)
	s, err := openStore(path, true)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode() != 0o600 {
		t.Errorf("mode %v, error %v", info.Mode(), err)
	}
	if _, err := s.writeAt([]byte("data"), 0); err != nil {
		t.Fatal(err)
	}
	_, err = openStore(path, true)
	wantKind(t, err, KindExists, path)
	if err := s.close(); err != nil {
		t.Error(err)
	}
	_, err = s.readAt(make([]byte, 1), 0)
	wantKind(t, err, KindInternal, path, "offset 0", "closed")

	if s, err = openStore(path, false); err != nil {
		t.Fatal(err)
	}
	p := make([]byte, 10)
	if n, err := s.readAt(p, 0); n != 4 || err != nil || string(p[:4]) != "data" {
		t.Errorf("read %q, error %v: the second create destroyed it", p[:n], err)
	}
	s.close()

	link, fifo := filepath.Join(dir, "link"), filepath.Join(dir, "fifo")
	if err := errors.Join(os.Symlink(path, link), unix.Mkfifo(fifo, 0o600)); err != nil {
		t.Fatal(err)
	}
	for _, p := range []string{link, fifo, dir, "/dev/null"} {
		_, err := openStore(p, false)
		wantKind(t, err, KindInvalid, p)
		_, err = openStore(p, true)
		wantKind(t, err, KindExists, p)
	}
	_, err = openStore(filepath.Join(dir, "none", "vol"), true)
	wantKind(t, err, KindNotFound)
}

// TestStoreModel holds the store against a slice of bytes, on every kind of file: one that does all at once, one that interrupts, cuts
// short, has no holes, or takes whole blocks only.
func TestStoreModel(t *testing.T) {
	const size = 200_000
	for name, fault := range map[string]faultyFile{
		"plain": {}, "interrupted": {interrupt: true}, "short": {short: 1000}, "no holes": {noHoles: true}, "blocks": {blocks: true},
	} {
		t.Run(name, func(t *testing.T) {
			s := newTestStore(t, size)
			real := s.file
			rapid.Check(t, func(t *rapid.T) {
				f := fault
				f.storeFile = real
				s.file, s.block = real, false
				if err := errors.Join(s.truncate(0), s.truncate(size)); err != nil {
					t.Fatal(err)
				}
				s.file, s.block = &f, f.blocks
				model := make([]byte, size)
				place := func(t *rapid.T) (off, n int64) {
					off = rapid.Int64Range(0, size-1).Draw(t, "off")
					if rapid.Bool().Draw(t, "aligned") {
						off &^= 4095
					}
					n = rapid.SampledFrom([]int64{0, 1, 511, 4096, 4097, 65536, 65537, 140_000}).Draw(t, "n")
					return off, min(n, size-off)
				}
				fill := func(t *rapid.T, n int64) []byte {
					return bytes.Repeat([]byte{rapid.Byte().Draw(t, "byte")}, int(n))
				}
				hollow := func(call func(off, n int64) error) func(t *rapid.T) {
					return func(t *rapid.T) {
						off, n := place(t)
						if err := call(off, n); err != nil {
							t.Fatal(err)
						}
						clear(model[off : off+n])
					}
				}
				t.Repeat(map[string]func(*rapid.T){
					"writeAt": func(t *rapid.T) {
						off, n := place(t)
						p := fill(t, n)
						if m, err := s.writeAt(p, off); m != len(p) || err != nil {
							t.Fatal(m, err)
						}
						copy(model[off:], p)
					},
					"writev": func(t *rapid.T) {
						off, n := place(t)
						p := fill(t, n)
						copy(model[off:], p)
						var bufs [][]byte
						step := rapid.SampledFrom([]int{3, 512, 4096, 70_000}).Draw(t, "step")
						for step = max(step, len(p)/3000); len(p) > 0; p = p[min(step, len(p)):] {
							bufs = append(bufs, p[:min(step, len(p))], nil)
						}
						if m, err := s.writev(off, bufs); m != n || err != nil {
							t.Fatal(m, err)
						}
					},
					"punch": hollow(s.punch),
					"zero":  hollow(s.zero),
					"": func(t *rapid.T) {
						if f.broken != "" {
							t.Fatal(f.broken)
						}
					},
					"readAt": func(t *rapid.T) {
						p := bytes.Repeat([]byte{0xEE}, size+10)
						if n, err := s.readAt(p, 0); n != size || err != nil {
							t.Fatal(n, err)
						}
						if !bytes.Equal(model, p[:size]) {
							i := firstDifference(model, p)
							t.Fatalf("byte %d is %d, want %d", i, p[i], model[i])
						}
					},
				})
			})
		})
	}
}

// TestStoreFailsAtEveryCall lets the n-th call fail, for n = 1, 2, 3 … until all succeed: the error comes back, with its kind, the path
// and an offset.
func TestStoreFailsAtEveryCall(t *testing.T) {
	for _, c := range []struct {
		errno error
		kind  Kind
	}{{unix.EIO, KindInternal}, {unix.ENOSPC, KindNoSpace}, {unix.EDQUOT, KindNoSpace}} {
		for _, noHoles := range []bool{false, true} {
			done := false
			for n := 1; !done; n++ {
				s := newTestStore(t, 1<<20)
				f := &faultyFile{storeFile: s.file, failAt: n, err: c.errno, noHoles: noHoles}
				s.file = f
				err := exercise(s)
				if done = err == nil; done {
					if f.calls >= n || n < 10 {
						t.Fatalf("call %d of %d failed unseen", n, f.calls)
					}
					continue
				}
				if !errors.Is(err, c.errno) || f.calls != n {
					t.Errorf("call %d: error %v after %d calls", n, err, f.calls)
				}
				wantKind(t, err, c.kind, s.path)
			}
		}
	}
}

// exercise calls every method that can fail once.
func exercise(s *store) error {
	p := make([]byte, 150_000)
	if _, err := s.writeAt(p, 1000); err != nil {
		return err
	}
	if _, err := s.writev(5000, [][]byte{p[:70_000], p[:1]}); err != nil {
		return err
	}
	if err := s.punch(8192, 100_000); err != nil {
		return err
	}
	if err := s.zero(8192, 10_000); err != nil {
		return err
	}
	if _, err := s.readAt(p, 0); err != nil {
		return err
	}
	if _, err := s.size(); err != nil {
		return err
	}
	if _, err := s.allocated(); err != nil {
		return err
	}
	if _, err := s.seekData(0); err != nil {
		return err
	}
	if _, err := s.seekHole(0); err != nil {
		return err
	}
	if err := s.truncate(2 << 20); err != nil {
		return err
	}
	return s.sync()
}

// TestStoreWriteSaysHowFar: what a failed write says it has written is in the store, up to a cut inside a piece.
func TestStoreWriteSaysHowFar(t *testing.T) {
	p := bytes.Repeat([]byte{7}, 5*storePiece)
	for n := 1; n <= 5; n++ {
		s := newTestStore(t, 1<<20)
		s.file = &faultyFile{storeFile: s.file, failAt: n, failAlso: true, err: unix.ENOSPC}
		m, err := s.writeAt(p, storePiece)
		wantKind(t, err, KindNoSpace, "write store "+s.path, fmt.Sprintf("offset %d", n*storePiece))
		s.file = &faultyFile{storeFile: s.file.(*faultyFile).storeFile, failAt: n, failAlso: true, err: unix.EIO}
		v, err := s.writev(storePiece, [][]byte{p[:100], p[100:]})
		wantKind(t, err, KindInternal, fmt.Sprintf("offset %d", n*storePiece))
		if want := (n - 1) * storePiece; m != want || v != int64(want) {
			t.Errorf("call %d failed after %d and %d bytes, want %d", n, m, v, want)
		}
	}
}

// taken is a file that takes everything.
type taken struct{ storeFile }

func (taken) Writev(bufs [][]byte, _ int64) (int, error) { return total(bufs), nil }

// TestStoreWritevTakesNoMemory: buffers that go into one write are passed on as they are.
func TestStoreWritevTakesNoMemory(t *testing.T) {
	s := newTestStore(t, 1<<20)
	s.file = taken{s.file}
	bufs := [][]byte{make([]byte, 100), make([]byte, 4096)}
	if n := testing.AllocsPerRun(1000, func() { _, _ = s.writev(storePiece, bufs) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// nothing is a file that reads and writes nothing and says that this is well.
type nothing struct{ storeFile }

func (nothing) WriteAt([]byte, int64) (int, error)  { return 0, nil }
func (nothing) Writev([][]byte, int64) (int, error) { return 0, nil }
func (nothing) ReadAt([]byte, int64) (int, error)   { return 0, nil }

// TestStoreNeverHangs: a call that makes no progress, or is interrupted for ever, ends with an error.
func TestStoreNeverHangs(t *testing.T) {
	s := newTestStore(t, 1<<20)
	real := s.file
	p := make([]byte, 100)
	s.file = nothing{real}
	if n, err := s.writeAt(p, 0); n != 0 || !errors.Is(err, io.ErrShortWrite) {
		t.Errorf("wrote %d: %v", n, err)
	}
	if n, err := s.writev(0, [][]byte{p}); n != 0 || !errors.Is(err, io.ErrShortWrite) {
		t.Errorf("wrote %d: %v", n, err)
	}
	if n, err := s.readAt(p, 0); n != 0 || err != nil {
		t.Errorf("read %d: %v", n, err)
	}
	s.file = &faultyFile{storeFile: real, failAt: 1, failAlso: true, err: unix.EINTR}
	if err := exercise(s); !errors.Is(err, unix.EINTR) {
		t.Errorf("write: %v", err)
	}
	if err := s.punch(0, 10); !errors.Is(err, unix.EINTR) {
		t.Errorf("punch: %v", err)
	}
	if _, err := s.readAt(p, 0); !errors.Is(err, unix.EINTR) {
		t.Errorf("read: %v", err)
	}
}

// TestStoreSyncFailureIsFinal: after one failed sync none succeeds, also those that run at the same time.
func TestStoreSyncFailureIsFinal(t *testing.T) {
	s := newTestStore(t, 4096)
	s.file = &faultyFile{storeFile: s.file, failAt: 1, err: unix.EIO}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if err := s.sync(); !errors.Is(err, unix.EIO) || !strings.Contains(err.Error(), s.path) {
				t.Errorf("sync: %v", err)
			}
		})
	}
	wg.Wait()
	again, err := openStore(s.path, false)
	if err != nil {
		t.Fatal(err)
	}
	defer again.close()
	if err := again.sync(); err != nil {
		t.Errorf("opened anew: %v", err)
	}
}

// TestStoreSpace: holes, blocks and size on the real file system of the test.
func TestStoreSpace(t *testing.T) {
	const mib = 1 << 20
	s := newTestStore(t, 10*mib)
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	at := func(seek func(int64) (int64, error), off, want int64) {
		t.Helper()
		if got, err := seek(off); got != want || err != nil {
			t.Errorf("from %d: %d, want %d, error %v", off, got, want, err)
		}
	}
	at(s.seekData, 0, 10*mib)
	at(s.seekHole, 0, 0)
	_, err := s.writeAt(bytes.Repeat([]byte{1}, 2*mib), 4*mib)
	must(err)
	must(s.sync())
	at(s.seekData, 0, 4*mib)
	at(s.seekHole, 4*mib, 6*mib)
	at(s.seekData, 6*mib, 10*mib)
	at(s.seekData, 10*mib, 10*mib)
	at(s.seekHole, 10*mib, 10*mib)
	must(s.punch(5*mib, mib))
	at(s.seekHole, 4*mib, 5*mib)
	must(s.punch(9*mib, 5*mib)) // beyond the end
	must(s.zero(9*mib, mib))
	if n, err := s.size(); n != 10*mib || err != nil {
		t.Errorf("size %d, error %v", n, err)
	}
	before, err := s.allocated()
	must(err)
	must(s.allocate(0, mib, true))
	must(s.allocate(11*mib, mib, true))
	after, err := s.allocated()
	must(err)
	if n, _ := s.size(); n != 10*mib || after < before+2*mib {
		t.Errorf("size %d; %d bytes allocated, %d before", n, after, before)
	}
	must(s.allocate(11*mib, mib, false))
	if n, _ := s.size(); n != 12*mib {
		t.Errorf("size %d after an allocation behind the end", n)
	}
	s.block = true
	must(s.truncate(12 * mib))
	must(s.allocate(0, 12*mib, true))
	wantKind(t, s.truncate(mib), KindInvalid, s.path)
	wantKind(t, s.allocate(0, 13*mib, false), KindNoSpace, s.path)
}

// TestStoreBlockPunchesTheMiddle: on a block device whole blocks are punched and only the edges are written.
func TestStoreBlockPunchesTheMiddle(t *testing.T) {
	s := newTestStore(t, 1<<20)
	f := &faultyFile{storeFile: s.file, blocks: true}
	s.file, s.block = f, true
	for _, c := range []struct{ off, n, punched int64 }{{0, 8192, 8192}, {100, 8192, 4096}, {100, 300, 0}, {4095, 2, 0}, {4095, 4098, 4096}, {5, 0, 0}} {
		f.punched = 0
		if err := s.punch(c.off, c.n); err != nil || f.punched != c.punched {
			t.Errorf("punch %d at %d: %d bytes in whole blocks, want %d, error %v", c.n, c.off, f.punched, c.punched, err)
		}
	}
}

func TestIsZero(t *testing.T) {
	for _, n := range []int{0, 1, 7, 8, 4095, 4096, 4097, 8192, 100_000} {
		p := make([]byte, n+1)[1:] // not aligned
		if !isZero(p) {
			t.Errorf("%d zeroes are none", n)
		}
		for _, i := range []int{0, n / 2, n - 1} {
			if i < 0 || i >= n {
				continue
			}
			p[i] = 1
			if isZero(p) {
				t.Errorf("a one at %d of %d was missed", i, n)
			}
			p[i] = 0
		}
	}
}

func BenchmarkIsZero64K(b *testing.B) {
	p := make([]byte, 64<<10)
	b.SetBytes(int64(len(p)))
	for b.Loop() {
		isZero(p)
	}
}

func BenchmarkStoreWriteAt4KRandom(b *testing.B) {
	s := newTestStore(b, 256<<20)
	p, rng := make([]byte, 4096), rand.New(rand.NewPCG(1, 2))
	b.SetBytes(4096)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.writeAt(p, rng.Int64N(1<<16)*4096); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkStoreWritev16x4K(b *testing.B) {
	s := newTestStore(b, 256<<20)
	bufs, rng := make([][]byte, 16), rand.New(rand.NewPCG(1, 2))
	for i := range bufs {
		bufs[i] = make([]byte, 4096)
	}
	b.SetBytes(16 * 4096)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.writev(rng.Int64N(1<<12)*storePiece, bufs); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkStoreReadAt4KRandom(b *testing.B) {
	s := newTestStore(b, 256<<20)
	p, rng := make([]byte, 4096), rand.New(rand.NewPCG(1, 2))
	b.SetBytes(4096)
	for b.Loop() {
		if _, err := s.readAt(p, rng.Int64N(1<<16)*4096); err != nil {
			b.Fatal(err)
		}
	}
}
