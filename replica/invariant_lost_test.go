package replica

import (
	"context"
	"errors"
	"os"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"
)

// What is lost, or cannot be read, differs (I5): nothing else says where.

// marked is how many of the pair's regions are marked at the site, and of how many.
func (n *node) marked(pair string) (count, all int64) {
	bits := n.site.pairByName(pair).att.bits
	return bits.count(), bits.regions
}

// wantWhole ends the test unless every region of the pairs is marked at the site.
func (n *node) wantWhole(pairs ...string) {
	n.t.Helper()
	for _, p := range pairs {
		if count, all := n.marked(p); count != all {
			n.t.Fatalf("%s: %d regions of pair %s are marked, and all %d may differ", n.cfg.Name, count, p, all)
		}
	}
}

// TestI5UnreadableJournal: where a purge cannot read what the peer lacks whole volumes are marked.
func TestI5UnreadableJournal(t *testing.T) {
	t.Parallel()
	d, w, _ := differ(t)
	d.cut()
	g := d.a.site.groupByName("g")
	goOn := g.stopRestore() // it would find the damage too, and give the journal up
	defer goOn()
	must(t, w.write(t.Context(), 0, 3, 1, true))
	must(t, w.write(t.Context(), 1, 99, 1, true))
	lastPayload(t, g)[1000] ^= 4
	must(t, d.a.site.SuspendGroup(t.Context(), "g", SuspendOptions{Purge: true}))
	d.a.wantWhole("x", "y")
	goOn()
	d.a.discard() // it finds the damage now
}

// TestI5JournalGone: a side whose journal is not there any more when it starts has lost what stood in it, and the marks that were not stored: so
// has a P-VOL, and an S-VOL that hosts wrote.
func TestI5JournalGone(t *testing.T) {
	t.Parallel()
	d, w, _ := differ(t)
	d.a.suspend("g", SuspendOptions{SVOLWrite: true}, "x", "y")
	s := &writer{t: t, node: d.b, names: w.names, h: newHistory()}
	for n, w := range map[*node]*writer{d.a: w, d.b: s} {
		must(t, w.write(t.Context(), 0, 3, 1, true))
		g := n.site.allGroups()[0]
		dir, ring := g.dir(), g.ringPath()
		n.crash(func() { must(t, os.RemoveAll(dir)) })
		must(t, os.RemoveAll(ring))
		n.cfg.WithoutRing = true
		n.open()
		n.wantWhole("x", "y")
	}
}

func (s *Site) allGroups() (all []*group) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for _, g := range s.groups {
		all = append(all, g)
	}
	return all
}

// TestI5PeerLostAll: a secondary that is behind what it had confirmed has lost more than its journal says: whole volumes are marked.
func TestI5PeerLostAll(t *testing.T) {
	t.Parallel()
	d, _, _ := differ(t)
	g := d.a.site.groupByName("g")
	if (&feedSession{g: g}).peerLostJournal(1) == nil {
		t.Error("the mirror goes on")
	}
	d.a.await(PSUE, "x", "y")
	d.a.wantWhole("x", "y")
}

// TestI5GivenUp: what was not restored to an S-VOL that was given up is marked there, for the secondary goes on and confirms the numbers of it to a
// primary that may hear of it late. What a flush that failed has lost is not known.
func TestI5GivenUp(t *testing.T) {
	t.Parallel()
	for _, fails := range []string{"write", "sync"} {
		t.Run(fails, func(t *testing.T) {
			t.Parallel()
			var sick atomic.Bool
			d, w, rng := differ(t, withStores("osaka", probe(func(volume, what string, _ []byte, _ int64) error {
				if sick.Load() && volume == "x" && (what == "sync") == (fails == "sync") {
					return unix.EIO
				}
				return nil
			})))
			must(t, d.b.site.SetPair(t.Context(), "x", map[string]string{"error-level": "lu"}))
			d.b.restoreAll("g@tokyo")
			g, there := d.a.site.groupByName("g"), d.b.site.groupByName("g@tokyo")
			g.cmd.Lock()     // the primary does not come to what it hears
			there.cmd.Lock() // and the secondary not to suspend the pair before it has everything
			sick.Store(true)
			w.some(rng, 30)
			err := w.write(t.Context(), 0, 5, 1, true)
			last := g.journal.Marks().LastSeq
			err = errors.Join(err, waitFor(func() bool { return d.b.lastSeq("g@tokyo") >= last && there.givingUp() != nil }))
			there.cmd.Unlock()
			err = errors.Join(err, waitFor(func() bool {
				g.mu.Lock()
				defer g.mu.Unlock()
				return g.peerRestore >= last
			}))
			g.cmd.Unlock()
			must(t, err)
			d.b.await(PSUE, "x")
			d.a.await(PSUE, "x")
			if fails == "sync" {
				d.b.wantWhole("x")
			}
			d.wantCovered("x")
			d.b.discard() // its store stays failed
		})
	}
}

// TestI2FsyncIsOfTheGroup: an fsync of a volume of which everything is in its store flushes what was written to the others of its group before.
func TestI2FsyncIsOfTheGroup(t *testing.T) {
	t.Parallel()
	d, w, _ := differ(t)
	g := d.a.site.groupByName("g")
	d.a.restoreAll("g")
	if n := d.a.site.pairByName("y").att.overlay.len(); n != 0 {
		t.Fatalf("%d extents of the volume are not in its store", n)
	}
	for n := range int64(20) {
		must(t, w.write(context.Background(), 0, n, 1, false))
		last := g.journal.Marks().LastSeq
		must(t, w.sync(context.Background(), 1))
		if at := g.journal.Marks().DurableSeq; at < last {
			t.Fatalf("an fsync ended when %d was durable, and %d was acknowledged before", at, last)
		}
	}
}
