package e2e

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
	"golang.org/x/time/rate"
)

// Load says how a workload writes. Zero values are replaced by the defaults named.
type Load struct {
	Writers   int     // concurrent writers; 6
	PerSecond float64 // writes a second of all writers together; 300
	Seed      uint64
	NoDiscard bool   // no discards
	Overlap   bool   // overlapping writes do not wait for each other. Without discards
	MaxSize   int64  // of one write in bytes; 1 MiB
	Apart     bool   // each writer has a part of each volume for itself
	Burst     int    // writes, then end by itself; 0: until stopped
	Meter     *Meter // measures the writes; none
	Processes int    // how many of the writers are processes of their own; none. See [ServeWriter]
}

// Workload writes to the volumes of one group from several goroutines until it is stopped: random places (half of them in a small hot
// part, so that most of it is overwritten often), random sizes from one sector to 1 MiB, each request aligned so that the kernel makes
// one of it; some writes O_DSYNC, some buffered, some followed by an fsync, some discards. Overlapping writes wait for each other unless
// [Load] says otherwise, all else is concurrent.
type Workload struct {
	h       *History
	load    Load
	targets []*target
	procs   []*process // by writer, nil for one that is a goroutine alone
	limiter *rate.Limiter
	cancel  context.CancelFunc
	ctx     context.Context
	done    sync.WaitGroup
	closing sync.Once
	gate    sync.RWMutex // held for reading during a write; Pause holds it
	acked   atomic.Int64

	mu  sync.Mutex
	err error
}

// StartWorkload opens the targets and begins to write. Stop it before the mount goes away, unless that is the test.
func StartWorkload(t T, h *History, targets []Target, load Load) *Workload {
	t.Helper()
	w, err := TryWorkload(t, h, targets, load)
	if err != nil {
		t.Fatalf("open a volume to write to: %v", err)
	}
	return w
}

// TryWorkload is [StartWorkload] for volumes that hosts may perhaps not write.
func TryWorkload(t T, h *History, targets []Target, load Load) (*Workload, error) {
	t.Helper()
	if load.Writers == 0 {
		load.Writers = 6
	}
	if load.PerSecond == 0 {
		load.PerSecond = 300
	}
	if load.MaxSize == 0 {
		load.MaxSize = 1 << 20
	}
	w := &Workload{h: h, load: load, limiter: rate.NewLimiter(rate.Limit(load.PerSecond), 64), procs: make([]*process, load.Writers)}
	w.ctx, w.cancel = context.WithCancel(context.Background())
	if err := w.open(targets); err != nil {
		w.close()
		return nil, err
	}
	w.done.Add(load.Writers)
	for i := range load.Writers {
		go w.write(i, rand.New(rand.NewPCG(load.Seed, uint64(i))))
	}
	t.Cleanup(func() { w.Stop() })
	return w, nil
}

// open opens the targets, here and in the processes.
func (w *Workload) open(targets []Target) error {
	for i, tg := range targets {
		t := &target{Target: tg, at: uint8(i)}
		t.free = sync.NewCond(&t.mu)
		w.targets = append(w.targets, t)
		var err error
		if t.files, err = openFiles(tg); err != nil {
			return err
		}
	}
	for i := range min(w.load.Processes, w.load.Writers) {
		var err error
		if w.procs[i], err = startProcess(targets); err != nil {
			return err
		}
	}
	return nil
}

// close ends the processes and closes the targets.
func (w *Workload) close() {
	w.closing.Do(func() {
		for _, p := range w.procs {
			if p != nil {
				p.end()
			}
		}
		for _, t := range w.targets {
			t.files.close()
		}
	})
}

// Acked returns how many writes were acknowledged so far.
func (w *Workload) Acked() int64 { return w.acked.Load() }

// Pause returns when no write is in flight and none will begin before resume is called.
func (w *Workload) Pause() (resume func()) {
	w.gate.Lock()
	return sync.OnceFunc(w.gate.Unlock)
}

// Stop ends the writers, waits for them, closes the volumes and returns the first error of a write. It may be called again.
func (w *Workload) Stop() error {
	w.cancel()
	return w.Wait()
}

// Wait waits until the writers have ended: by error (all end with the first), by their number of writes, or stopped.
func (w *Workload) Wait() error {
	w.done.Wait()
	w.cancel()
	w.close()
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.err
}

// write is one writer.
func (w *Workload) write(id int, rng *rand.Rand) {
	defer w.done.Done()
	buf := AlignedBuffer(int(w.load.MaxSize))
	for n := 0; w.load.Burst == 0 || n < w.load.Burst/w.load.Writers; n++ {
		if w.limiter.Wait(w.ctx) != nil {
			return
		}
		w.gate.RLock()
		err := w.step(id, rng, buf)
		w.gate.RUnlock()
		if err != nil {
			w.mu.Lock()
			w.err = cmpErr(w.err, err)
			w.mu.Unlock()
			w.cancel()
			return
		}
	}
}

// cmpErr keeps the first error.
func cmpErr(first, second error) error {
	if first != nil {
		return first
	}
	return second
}

// step makes one write, discard or sync.
func (w *Workload) step(id int, rng *rand.Rand, buf []byte) error {
	t := w.targets[rng.IntN(len(w.targets))]
	switch dice := rng.IntN(100); {
	case dice < 4:
		return w.sync(id, t)
	case dice < 7 && !w.load.NoDiscard && !w.load.Overlap:
		return w.discard(id, rng, t)
	case dice < 12:
		return w.put(id, rng, t, writeSync, buf)
	case dice < 27:
		return w.put(id, rng, t, writeBuffered, buf)
	}
	return w.put(id, rng, t, writeDirect, buf)
}

// do makes a request, from the writer's process if it has one; p is what a write has to say.
func (w *Workload) do(id int, t *target, d *deed, p []byte) error {
	d.Target = t.at
	if proc := w.procs[id]; proc != nil {
		return proc.do(d)
	}
	return d.do(&t.files, p)
}

// place chooses where and how much: the sizes are those of file systems and databases, the alignment 4 KiB except for small writes.
func (w *Workload) place(id int, rng *rand.Rand, size int64) span {
	if w.load.Apart {
		part := size / int64(w.load.Writers) &^ 4095
		at := w.within(rng, part)
		return span{at.off + int64(id)*part, at.end + int64(id)*part}
	}
	return w.within(rng, size)
}

// within chooses a place of a volume, or part of one, of that size.
func (w *Workload) within(rng *rand.Rand, size int64) span {
	sizes := []int64{Sector, 4096, 4096, 4096, 4096, 8192, 16384, 16384, 65536, 65536 + 4096}
	n := sizes[rng.IntN(len(sizes))]
	if rng.IntN(40) == 0 {
		n = 1 << (18 + rng.IntN(3))
	}
	n = min(n, w.load.MaxSize, size)
	if rng.IntN(8) == 0 {
		n = min(n, Sector*(1+rng.Int64N(64)))
	}
	align := int64(4096)
	if n < 4096 || rng.IntN(8) == 0 {
		align = Sector
	}
	room := size
	if rng.IntN(2) == 0 {
		room = min(size, max(n, size/16))
	}
	off := rng.Int64N((room-n)/align+1) * align
	return span{off, off + n}
}

func (w *Workload) put(id int, rng *rand.Rand, t *target, kind deedKind, buf []byte) error {
	at := w.place(id, rng, t.Size)
	if !w.load.Overlap {
		t.lock(at)
		defer t.unlock(at)
	}
	p := buf[:at.end-at.off]
	c := w.h.Begin(Write{Writer: id, Volume: t.Volume, Off: at.off, Len: int64(len(p)), Sync: kind == writeSync})
	d := deed{Kind: kind, Mark: Mark{Run: w.h.Run(), Counter: c, Writer: uint32(id), Volume: uint32(t.Volume), Offset: at.off, Length: int64(len(p))}}
	if w.procs[id] == nil { // a process fills what it writes itself
		Fill(p, d.Mark)
	}
	begun, issued := w.h.Now(), time.Now()
	if err := w.do(id, t, &d, p); err != nil {
		w.h.Fail(c)
		return fmt.Errorf("write %d: %w", c, err)
	}
	w.h.Ack(c)
	if w.load.Meter != nil {
		w.load.Meter.Wrote(issued, len(p))
	}
	w.acked.Add(1)
	if kind == writeSync {
		w.h.Synced(begun) // the write itself is promised by its being synchronous
	}
	return nil
}

func (w *Workload) discard(id int, rng *rand.Rand, t *target) error {
	at := w.place(id, rng, t.Size)
	t.lock(at)
	defer t.unlock(at)
	c := w.h.Begin(Write{Writer: id, Volume: t.Volume, Off: at.off, Len: at.end - at.off, Zero: true})
	if err := w.do(id, t, &deed{Kind: deedPunch, Mark: Mark{Offset: at.off, Length: at.end - at.off}}, nil); err != nil {
		w.h.Fail(c)
		return fmt.Errorf("discard %d of %s: %w", c, t.Path, err)
	}
	w.h.Ack(c)
	w.acked.Add(1)
	return nil
}

func (w *Workload) sync(id int, t *target) error {
	begun := w.h.Now()
	if err := w.do(id, t, &deed{Kind: deedSync}, nil); err != nil {
		return fmt.Errorf("sync %s: %w", t.Path, err)
	}
	w.h.Synced(begun)
	return nil
}

// Prefill writes all of the volume as writes of the history, one MiB each, so that an initial copy has something to copy.
func Prefill(t T, h *History, tg Target) {
	t.Helper()
	f, err := os.OpenFile(tg.Path, os.O_RDWR|unix.O_DIRECT, 0)
	if err != nil {
		t.Fatalf("%v", err)
	}
	defer f.Close()
	buf := AlignedBuffer(1 << 20)
	for off := int64(0); off < tg.Size; off += int64(len(buf)) {
		p := buf[:min(int64(len(buf)), tg.Size-off)]
		c := h.Begin(Write{Volume: tg.Volume, Off: off, Len: int64(len(p))})
		Fill(p, Mark{Run: h.Run(), Counter: c, Volume: uint32(tg.Volume), Offset: off})
		if _, err := f.WriteAt(p, off); err != nil {
			t.Fatalf("fill %s: %v", tg.Path, err)
		}
		h.Ack(c)
	}
}
