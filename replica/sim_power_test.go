package replica

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"pairfs/journal"
)

// TestSimPowerCut: the power cut of a simulated run takes what was acknowledged and not flushed, or it would prove nothing; what a failed flush
// of a store lost is gone when the store is opened anew.
func TestSimPowerCut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1)
		g, tokyo := w.groups[0], w.sites[0]
		lost := 0
		for n := range uint64(4) {
			must(t, g.w.write(context.Background(), 0, int64(n), 1, true))
			for i := range int64(8) {
				must(t, g.w.write(context.Background(), 1, 100*int64(n)+8*i, 8, false))
			}
			tokyo.losePower(n)
			tokyo.start()
			images := g.w.images(tokyo.node)
			w.verify("what was flushed", g.w.h.check(images, everySynced))
			if g.w.h.check(images, everyAck) != nil {
				lost++
			}
			g.w.forgetLost(tokyo.node)
		}
		if lost == 0 {
			t.Error("nothing was lost by four power cuts")
		}
		w.finish()
	})
}

// TestSimLostFlush: what a flush of a store that failed has lost is gone for who opens the store anew without its journal.
func TestSimLostFlush(t *testing.T) {
	dir := t.TempDir()
	stores := newMortalStores()
	open := func(create bool) storeFile {
		st, err := openStore(dir+"/v", create)
		must(t, err)
		return stores.wrap("v", st.file)
	}
	block := make([]byte, 64*blockSize)
	f := open(true)
	must(t, f.Truncate(int64(len(block))))
	for i := range block {
		block[i] = 7
	}
	_, err := f.WriteAt(block, 0)
	must(t, err)
	f = open(false) // a daemon that was killed
	stores.lose("v")
	left := func() (n int) {
		_, err := f.ReadAt(block, 0)
		must(t, err)
		for i := range int64(64) {
			if block[i*blockSize] == 7 {
				n++
			}
		}
		return n
	}
	if n := left(); n != 64 {
		t.Errorf("%d blocks of 64 are left before the store is opened anew", n)
	}
	f = open(false)
	if n := left(); n == 0 || n == 64 {
		t.Errorf("%d blocks of 64 are left", n)
	}
}

// TestStatesNameWhatIsDurable: a pair that is stored with the number of its start, its stop or the end of its copy can be cut off from power
// at once: no other record gets that number.
func TestStatesNameWhatIsDurable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1)
		ctx, g, tokyo := context.Background(), w.groups[0], w.sites[0]
		tokyo.disks.flushes.Store(int64(50 * time.Millisecond))
		follow := func(want Status, do func() error) {
			t.Helper()
			done := make(chan error, 1)
			go func() { done <- do() }()
			for ended := false; !ended || tokyo.status("x").Status != want; time.Sleep(time.Millisecond) {
				synctest.Wait()
				w.verify("states", numbersDurable(g.at(tokyo, "g")))
				select {
				case err := <-done:
					must(t, err)
					ended = true
				default:
				}
			}
		}
		for _, purge := range []bool{false, true} {
			follow(PSUS, func() error { return tokyo.site.SuspendGroup(ctx, "g", SuspendOptions{Purge: purge}) })
			must(t, g.w.write(ctx, 0, 3, 5, false))
			follow(PAIR, func() error { return tokyo.site.ResyncGroup(ctx, "g") })
		}
		must(t, g.w.write(ctx, 0, 9, 5, false))
		must(t, tokyo.site.SuspendGroup(ctx, "g", SuspendOptions{Purge: true}))
		p := tokyo.site.pairByName("x")
		again := make(chan error, 1)
		go func() { again <- tokyo.site.ResyncGroup(ctx, "g") }()
		w.until("the end of the copy is stored", func() bool {
			p.group.mu.Lock()
			defer p.group.mu.Unlock()
			return p.rec.PairSeq != 0
		})
		must(t, <-again)
		tokyo.losePower(1)
		tokyo.start()
		w.until("both sides follow", func() bool { return tokyo.status("x").Status == PAIR && w.peerOf(tokyo).status("x").Status == PAIR })
		w.finish()
	})
}

// TestStopNamesWhatIsDurable: a secondary that stores where its S-VOLs stopped, or up to where they have everything behind a takeover, has all of
// that whatever a power cut takes: the primary does not mark what it is told to be there.
func TestStopNamesWhatIsDurable(t *testing.T) {
	for name, stop := range map[string]func(*Site) error{
		"split":    func(s *Site) error { return s.SuspendGroup(context.Background(), "g@tokyo", SuspendOptions{}) },
		"takeover": func(s *Site) error { return s.TakeoverGroup(context.Background(), "g@tokyo", TakeoverOptions{}) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, 1)
				ctx, g, tokyo, osaka := context.Background(), w.groups[0], w.sites[0], w.sites[1]
				osaka.disks.flushes.Store(int64(time.Minute))
				must(t, g.w.write(ctx, 0, 8, 8, true))
				must(t, g.w.write(ctx, 1, 8, 8, true))
				own, last := g.at(osaka, g.restored()), g.at(tokyo, "g").journal.Marks().LastSeq
				w.until("it has arrived", func() bool { return osaka.lastSeq("g@tokyo") >= last })
				tokyo.die(nil)
				stopped := begin(func() error { return stop(osaka.site) })
				for ; osaka.storedStop("x") == noStop; time.Sleep(100 * time.Millisecond) {
					if stopped.ended() {
						t.Fatalf("it ended with %v", <-stopped.end)
					}
				}
				if at, durable := osaka.storedStop("x"), own.journal.Marks().DurableSeq; at < last || at > durable {
					t.Errorf("it stopped at number %d, %d was received and %d is durable", at, last, durable)
				}
				osaka.losePower(1)
				must(t, <-stopped.end)
				osaka.disks.flushes.Store(0)
				tokyo.start()
				osaka.start()
				w.settle()
				w.look()
				w.turns = name == "takeover"
				w.finish()
			})
		})
	}
}

// storedStop is where a pair stopped as the database of the site says.
func (n *node) storedStop(name string) journal.Seq {
	n.t.Helper()
	all, err := load[pairRecord](n.site.db, bucketPairs)
	must(n.t, err)
	return all[name].StopSeq
}

// TestI4ReplacedIsDurable: a checkpoint passes over a record whose bytes a later one has replaced before they were in the store. The later one has
// to be durable by then: only its replay would bring the place back to a prefix.
func TestI4ReplacedIsDurable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1)
		ctx, g, tokyo := context.Background(), w.groups[0], w.sites[0]
		for n := range uint64(4) {
			tokyo.disks.flushes.Store(int64(10 * time.Second))
			must(t, g.w.write(ctx, 0, 8, 8, true))
			must(t, g.w.write(ctx, 0, 8, 8, false))
			own := g.at(tokyo, "g")
			must(t, own.restorePass())
			must(t, own.doCheckpoint(ctx))
			tokyo.losePower(n)
			tokyo.disks.flushes.Store(0)
			tokyo.start()
			w.verify("what was flushed", g.w.h.check(g.w.images(tokyo.node), everySynced))
			g.w.forgetLost(tokyo.node)
		}
		w.finish()
	})
}

// TestFlushBehindASlowDisk: the journal's disk takes longer for the suspend record than a flush waits for a peer that takes nothing. The peer's time
// begins when the record is durable, and it gets everything.
func TestFlushBehindASlowDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1)
		g, tokyo := w.groups[0], w.sites[0]
		tokyo.disks.flushes.Store(int64(drainTimeout + 10*time.Second))
		must(t, g.w.write(context.Background(), 0, 3, 5, false))
		must(t, tokyo.site.SuspendGroup(context.Background(), "g", SuspendOptions{}))
		tokyo.disks.flushes.Store(0)
		w.awaitStatus(g, PSUS)
		if why := tokyo.status("x").LastError; why != "" {
			t.Errorf("the flush has ended so: %s", why)
		}
		w.look()
		g.w.check(g.away().node, everyAck)
		w.wantEqual(g.w.names...)
		w.finish()
	})
}
