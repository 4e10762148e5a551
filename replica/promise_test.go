package replica

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"golang.org/x/sys/unix"

	"pairfs/journal"
	"pairfs/journal/journaltest"
)

// gateFS is the operating system's files with a gate before every flush of a journal volume.
type gateFS struct {
	journal.FS
	mu     sync.Mutex
	closed chan struct{} // flushes wait until it is closed; nil lets them pass
	waits  atomic.Int64  // flushes that came to a closed gate
	syncs  atomic.Int64
	reads  atomic.Int64
}

type gateFile struct {
	journal.File
	fs *gateFS
}

func (f *gateFS) Open(name string, write bool) (journal.File, error) {
	file, err := f.FS.Open(name, write)
	if err != nil {
		return nil, err
	}
	return &gateFile{file, f}, nil
}

func (f *gateFile) ReadAt(p []byte, off int64) (int, error) {
	f.fs.reads.Add(1)
	return f.File.ReadAt(p, off)
}

func (f *gateFile) Sync() error {
	f.fs.syncs.Add(1)
	f.fs.mu.Lock()
	gate := f.fs.closed
	f.fs.mu.Unlock()
	if gate != nil {
		f.fs.waits.Add(1)
		<-gate
	}
	return f.File.Sync()
}

// shut holds flushes back until the function that it returns is called.
func (f *gateFS) shut() (open func()) {
	gate := make(chan struct{})
	f.mu.Lock()
	f.closed = gate
	f.mu.Unlock()
	return func() {
		f.mu.Lock()
		f.closed = nil
		f.mu.Unlock()
		close(gate)
	}
}

// TestWriteWaitsForNobody writes while the link is down and no flush of the journal comes back: what is not synced is acknowledged all the
// same, and what is synced is not.
func TestWriteWaitsForNobody(t *testing.T) {
	t.Parallel()
	gate := &gateFS{FS: journal.OS}
	d := newDuo(t, withJournal("tokyo", gate))
	v := d.a.volume("x")
	d.a.group("g")
	d.a.pair("g", "x")
	d.cut()
	open := gate.shut()
	p := make([]byte, 64<<10)
	for i := range int64(32) { // 2 MiB, a fraction of the ring
		if _, err := v.WriteAt(context.Background(), p, i*int64(len(p)), false); err != nil {
			t.Fatal(err)
		}
	}
	d.wait("a flush is held back", func() bool { return gate.waits.Load() > 0 })
	for i := range int64(32) {
		if _, err := v.WriteAt(context.Background(), p, i*int64(len(p)), false); err != nil {
			t.Fatal(err)
		}
	}
	done := make(chan error, 1)
	go func() { done <- v.Sync(context.Background()) }()
	select {
	case err := <-done:
		t.Errorf("an fsync returned while no flush had come back: %v", err)
	default:
	}
	open()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

// TestFsyncIsOneFlush counts what an fsync of a paired volume costs: one flush of the journal for all who wait, none when nothing is new,
// no read of the journal, and never a flush of the store.
func TestFsyncIsOneFlush(t *testing.T) {
	t.Parallel()
	gate := &gateFS{FS: journal.OS}
	stores := &countedStores{}
	d := newDuo(t, withJournal("tokyo", gate), withStores("tokyo", stores.wrap))
	v := d.a.volume("x")
	d.a.group("g")
	d.a.pair("g", "x")
	d.a.suspend("g", SuspendOptions{}, "x") // nobody else reads or flushes
	ctx := context.Background()
	if err := v.Sync(ctx); err != nil {
		t.Fatal(err)
	}
	g := d.a.site.groupByName("g")
	defer g.stopRestore()() // a checkpoint flushes stores and looks into the journal
	before, reads, flushed := gate.syncs.Load(), gate.reads.Load(), stores.syncs.Load()
	if err := v.Sync(ctx); err != nil {
		t.Fatal(err)
	}
	if n := gate.syncs.Load() - before; n != 0 {
		t.Errorf("an fsync with nothing new flushed the journal %d times", n)
	}

	// Sixteen writers come while a flush is held back: they all ride on the next one.
	open := gate.shut()
	if _, err := v.WriteAt(ctx, make([]byte, 4096), 0, false); err != nil {
		t.Fatal(err)
	}
	d.wait("a flush is held back", func() bool { return gate.waits.Load() > 0 })
	before = gate.syncs.Load()
	var wg sync.WaitGroup
	for i := range int64(16) {
		if _, err := v.WriteAt(ctx, make([]byte, 4096), i*4096, false); err != nil {
			t.Fatal(err)
		}
		wg.Go(func() {
			if err := v.Sync(ctx); err != nil {
				t.Error(err)
			}
		})
	}
	open()
	wg.Wait()
	if n := gate.syncs.Load() - before; n > 2 {
		t.Errorf("16 fsyncs at once cost %d flushes of the journal", n)
	}
	if n := gate.reads.Load() - reads; n != 0 {
		t.Errorf("writes and fsyncs read the journal %d times", n)
	}
	if n := stores.syncs.Load() - flushed; n != 0 {
		t.Errorf("fsyncs flushed the store %d times", n)
	}
}

// countedStores counts the flushes of stores.
type countedStores struct{ syncs atomic.Int64 }

type countedStore struct {
	storeFile
	syncs *atomic.Int64
}

func (c *countedStores) wrap(_ string, f storeFile) storeFile { return countedStore{f, &c.syncs} }

func (f countedStore) Sync() error {
	f.syncs.Add(1)
	return f.storeFile.Sync()
}

// TestFlushWithoutARecordEnds: a daemon that ends when it has stored that a pair is being suspended, and could not journal the record at which that
// ends, suspends it when it is back, although the mirror is alive.
func TestFlushWithoutARecordEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1)
		tokyo, osaka := w.sites[0], w.sites[1]
		w.until("the peer has told what it has", func() bool { return tokyo.site.Status().Groups[0].PeerRestored > 0 })
		tokyo.disks.change(func(d *simDisks) {
			d.journal = &journalFault{kinds: []journaltest.OpKind{journaltest.OpWrite}, lasting: true, err: unix.ENOSPC}
		})
		must(t, tokyo.site.SuspendPair(context.Background(), "x", SuspendOptions{}))
		tokyo.die(nil)
		tokyo.disks.change((*simDisks).anew)
		tokyo.start()
		if s := tokyo.status("x").Status; s != Suspending {
			t.Fatalf("the pair is %s at the start", s)
		}
		w.until("the pair is split", func() bool { return tokyo.status("x").Status == PSUS && osaka.status("x").Status == PSUS })
		w.finish()
	})
}

// TestFlushBehindASlowRecord: the suspend record of a flush takes its time to become durable. That is none of the peer's time to take what is there.
func TestFlushBehindASlowRecord(t *testing.T) {
	t.Parallel()
	disk := &gateFS{FS: journal.OS}
	d, w, rng := differ(t, withJournal("tokyo", disk))
	g := d.a.site.groupByName("g")
	w.some(rng, 20)
	d.wait("the peer has all", func() bool { return d.a.groupStatus("g").LagSeq == 0 })
	g.mu.Lock()
	for _, p := range g.pairs {
		p.drainSeq = g.peerRestore // as behind a flush, or a start, since when the peer has confirmed nothing more
	}
	g.mu.Unlock()
	open := disk.shut()
	split := begin(func() error { return d.a.site.SuspendGroup(t.Context(), "g", SuspendOptions{}) })
	err := waitFor(func() bool { return split.ended() || split.in("(*group).drain(") && split.in("(*Journal).Sync(") })
	g.watchPairs()
	open()
	must(t, errors.Join(err, <-split.end))
	d.a.awaitBoth(PSUS, "x", "y")
	if n := d.a.tells("pair/x", "in time"); n > 0 {
		t.Error("the flush was given up")
	}
	w.check(d.b, everyAck)
}
