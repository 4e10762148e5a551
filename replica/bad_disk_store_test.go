package replica

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// What the disk of the stores does while a pair is in use.

// storeFailer lets the n-th call of one kind to the stores of a site fail, once or from then on. The zero value passes everything on.
type storeFailer struct {
	mu      sync.Mutex
	kind    string // "read", "write", "sync"
	err     error  // nil: half is written, without a word
	skip    int    // so many go well before
	lasting bool
	fired   int
}

// arm lets calls fail from now on.
func (s *storeFailer) arm(kind string, err error, skip int, lasting bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.kind, s.err, s.skip, s.lasting, s.fired = kind, err, skip, lasting, 0
}

func (s *storeFailer) times() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.fired
}

// fails counts a call and says whether it is one that fails.
func (s *storeFailer) fails(kind string) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.kind != kind {
		return false, nil
	}
	if s.skip--; s.skip >= 0 {
		return false, nil
	}
	if !s.lasting {
		s.kind = ""
	}
	s.fired++
	return true, s.err
}

func (s *storeFailer) wrap(_ string, f storeFile) storeFile { return &failingStore{f, s} }

// failingStore is a store's file behind a storeFailer.
type failingStore struct {
	storeFile
	all *storeFailer
}

func (f *failingStore) ReadAt(p []byte, off int64) (int, error) {
	if bad, err := f.all.fails("read"); bad {
		return 0, err
	}
	return f.storeFile.ReadAt(p, off)
}

func (f *failingStore) WriteAt(p []byte, off int64) (int, error) {
	if bad, err := f.all.fails("write"); bad {
		n, _ := f.storeFile.WriteAt(p[:len(p)/2], off)
		return n, err
	}
	return f.storeFile.WriteAt(p, off)
}

func (f *failingStore) Writev(bufs [][]byte, off int64) (int, error) {
	if bad, err := f.all.fails("write"); bad {
		n, _ := f.storeFile.WriteAt(bufs[0][:len(bufs[0])/2], off)
		return n, err
	}
	return f.storeFile.Writev(bufs, off)
}

func (f *failingStore) Sync() error {
	if bad, err := f.all.fails("sync"); bad {
		return err
	}
	return f.storeFile.Sync()
}

// storeFaults are what stores of a pair may do, and what follows. A primary whose store takes nothing goes on: its journal has what hosts write, and the
// peer gets it from there. A secondary suspends, and the primary follows.
var storeFaults = []struct {
	site, kind string
	err        error // nil: a short write, which is gone on with
	lasting    bool
	restart    bool // only a start helps
	long       bool // for make disks alone: TestI8 has the like
}{
	{"tokyo", "write", nil, false, false, true},
	{"osaka", "write", nil, false, false, false},
	{"tokyo", "write", unix.EIO, true, false, false},
	{"tokyo", "write", unix.ENOSPC, true, false, true},
	{"tokyo", "sync", unix.EIO, false, true, false},
	{"osaka", "write", unix.EIO, false, false, true},
	{"osaka", "write", unix.ENOSPC, true, false, false},
	{"osaka", "sync", unix.EIO, false, true, false},
}

// storeAdvice is what is said of a store that takes nothing.
const storeAdvice = "make room or mend the disk"

// TestStoreFaults lets the n-th write or flush of the stores of one side of a pair fail: no write that was acknowledged is lost, hosts of the primary
// go on as long as its journal has room, a secondary that cannot restore suspends and the primary does not, and when the disk is mended, and where a flush was lost
// the site started anew, both sides become the same.
func TestStoreFaults(t *testing.T) {
	t.Parallel()
	most := 1
	if longSweep() {
		most = 25
	}
	for i, row := range storeFaults {
		if row.long && !longSweep() {
			continue
		}
		for n := range most {
			t.Run(fmt.Sprintf("%s_%s_%d_%d", row.site, row.kind, i, n), func(t *testing.T) {
				t.Parallel()
				bad := &storeFailer{}
				d, w, rng := differ(t, withStores(row.site, bad.wrap))
				side, group := d.a, "g"
				if row.site == "osaka" {
					side, group = d.b, "g@tokyo"
				}
				bad.arm(row.kind, row.err, n, row.lasting)
				w.some(rng, 30)
				must(t, w.sync(t.Context(), 0))
				d.wait("it fails", func() bool {
					must(t, w.write(t.Context(), rng.IntN(2), int64(rng.IntN(900)), 1, false))
					side.site.groupByName(group).kickRestore()
					side.site.groupByName(group).kickCheckpoint()
					return bad.times() > 0
				})
				suspended := row.err != nil && side == d.b
				if suspended {
					d.a.awaitBoth(PSUE, "x", "y")
					if p, q := d.a.status("x"), d.b.status("x"); p.Suspend != ByRCU || q.Suspend != SVOLFailure || !strings.Contains(q.LastError, storeAdvice) {
						t.Errorf("the pair is suspended by %s, at the secondary by %s (%s)", p.Suspend, q.Suspend, q.LastError)
					}
				}
				if side == d.a && (row.lasting || row.restart) {
					d.wait("what to do is said", func() bool { return strings.Contains(d.a.groupStatus("g").StoreError, storeAdvice) })
				}
				must(t, w.write(t.Context(), 0, 1, 1, true)) // into the journal
				if !suspended {
					last := d.a.groupStatus("g").AppendedSeq
					d.wait("the secondary has it", func() bool { return d.a.groupStatus("g").PeerDurable >= last })
				}
				bad.arm("", nil, 0, false)
				if row.restart {
					side.discard()
					side.open()
					d.wait("the link is up", d.a.linked)
				}
				d.wait("the stores take writes again", func() bool {
					g := side.site.groupByName(group)
					g.kickRestore()
					return g.storeErr.Load() == nil
				})
				w.check(d.a, everyAck)
				if suspended {
					d.mend()
				} else {
					d.a.awaitBoth(PAIR, "x", "y")
					d.a.suspend("g", SuspendOptions{}, "x", "y")
					d.wantEqual("x", "y")
				}
				w.check(d.b, everyAck)
			})
		}
	}
}

// TestStoreReadFaults: a store that cannot be read is an error of that read, and ends a copy from it: the pair is suspended on both sides as one whose
// copy failed, and says what to do.
func TestStoreReadFaults(t *testing.T) {
	t.Parallel()
	bad := &storeFailer{}
	d, w, _ := differ(t, withStores("tokyo", bad.wrap))
	d.a.restoreAll("g")
	bad.arm("read", unix.EIO, 0, false)
	_, err := d.a.vol("x").ReadAt(make([]byte, duoSize), 0)
	refused(t, err, KindInternal)
	says(t, err, "volume x cannot be read")
	d.a.awaitBoth(PAIR, "x", "y")
	must(t, w.write(t.Context(), 0, 5, 1, true))
	d.a.suspend("g", SuspendOptions{}, "x", "y")
	must(t, w.write(t.Context(), 0, 400, 64, true))
	d.a.restoreAll("g")
	bad.arm("read", unix.EIO, 0, true)
	must(t, d.a.site.ResyncGroup(t.Context(), "g"))
	d.a.await(PSUE, "x")
	d.b.await(PSUE, "x")
	for _, n := range []*node{d.a, d.b} {
		if st := n.status("x"); st.Suspend != InitialCopyFailed || st.LastError == "" {
			t.Errorf("%s: %+v", n.cfg.Name, st)
		}
	}
	bad.arm("", nil, 0, false)
	d.mend()
	w.check(d.b, everyAck)
}
