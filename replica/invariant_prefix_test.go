package replica

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"pairfs/journal"
	"pairfs/journal/journaltest"
)

// TestI4LinkCut cuts the link again and again while hosts write; each time the secondary holds a prefix of the group's history, one for
// all volumes, and goes on from there when the link is back.
func TestI4LinkCut(t *testing.T) {
	t.Parallel()
	d := newDuo(t)
	rng := newRand(testSeed(t))
	w := newWriter(d.a, "x", "y", "z")
	d.a.group("g")
	for _, v := range w.names {
		d.a.volume(v)
	}
	d.a.pair("g", w.names...)
	for range 3 {
		w.some(rng, 40)
		d.cut()
		w.some(rng, 40)
		w.check(d.b, whatever)
		d.heal()
		w.some(rng, 20)
	}
	d.a.await(PAIR, w.names...)
	d.a.suspend("g", SuspendOptions{}, w.names...)
	w.check(d.b, everyAck)
	d.wantEqual(w.names...)
	if sent := d.a.groupStatus("g").BaseSent; sent != 0 {
		t.Errorf("%d bytes of base records were sent: a short outage needs no resync", sent)
	}
}

// TestI4KillSecondary kills the secondary's process while records come in. What it holds when it is opened again, with the link dark, is
// a prefix; then it goes on without a resync.
func TestI4KillSecondary(t *testing.T) {
	t.Parallel()
	d := newDuo(t)
	seed := testSeed(t)
	rng := newRand(seed)
	w := newWriter(d.a, "x", "y")
	d.a.group("g")
	d.a.volume("x")
	d.a.volume("y")
	d.a.pair("g", "x", "y")
	for range 2 {
		d.b.close()
		k := d.b.spawn(nil, 0, 0)
		d.wait("the mirror is up", d.a.linked)
		w.some(rng, 150+rng.IntN(150))
		k.kill()
		d.darken()
		d.b.open()
		w.check(d.b, whatever)
		d.lighten()
		d.a.forget()
		d.a.redial()
	}
	d.a.await(PAIR, "x", "y")
	d.a.suspend("g", SuspendOptions{}, "x", "y")
	w.check(d.b, everyAck)
	d.wantEqual("x", "y")
	if sent := d.a.groupStatus("g").BaseSent; sent != 0 {
		t.Errorf("%d bytes of base records were sent: a killed secondary needs no resync", sent)
	}
}

// TestI4PowerCutSecondary is the same for a power cut: parts of stores and journal that were not flushed are gone.
func TestI4PowerCutSecondary(t *testing.T) {
	t.Parallel()
	disk, stores := journaltest.NewFS(), newMortalStores()
	d := newDuo(t, withJournal("osaka", disk), withStores("osaka", stores.wrap))
	rng := newRand(testSeed(t))
	w := newWriter(d.a, "x", "y")
	d.a.group("g")
	d.a.volume("x")
	d.a.volume("y")
	d.a.pair("g", "x", "y")
	must(t, os.MkdirAll(filepath.Join(d.b.cfg.StateDir, "journals", "g@tokyo"), 0o700))
	for range 3 {
		w.some(rng, rng.IntN(200))
		if rng.IntN(2) == 0 {
			must(t, d.b.site.groupByName("g@tokyo").restorePass())
		}
		w.some(rng, rng.IntN(30))
		d.powerCut(d.b, disk, stores, rng.Uint64())
		d.darken()
		d.b.open()
		w.check(d.b, whatever)
		d.lighten()
		d.a.forget()
		d.a.redial()
	}
	d.a.await(PAIR, "x", "y")
	d.a.suspend("g", SuspendOptions{}, "x", "y")
	w.check(d.b, everyAck)
	d.wantEqual("x", "y")
}

// TestI4OneNumber splits a group of three pairs under load, by the primary's and then by the secondary's operator: all of them stop at
// one sequence number, the same on both sides.
func TestI4OneNumber(t *testing.T) {
	t.Parallel()
	d := newDuo(t)
	rng := newRand(testSeed(t))
	w := newWriter(d.a, "x", "y", "z")
	d.a.group("g")
	for _, v := range w.names {
		d.a.volume(v)
	}
	d.a.pair("g", w.names...)
	done := make(chan struct{})
	load := func(seed uint64) {
		defer close(done)
		w.some(newRand(seed), 200)
	}
	go load(rng.Uint64())
	must(t, d.a.site.SuspendGroup(context.Background(), "g", SuspendOptions{}))
	d.a.awaitBoth(PSUS, w.names...)
	<-done
	at := d.a.status("x").SuspendSeq
	for _, v := range w.names {
		if p, s := d.a.status(v).SuspendSeq, d.b.status(v).SuspendSeq; p != at || s != at || at == 0 {
			t.Errorf("pair %s stopped at %d and %d, pair x at %d", v, p, s, at)
		}
	}
	w.check(d.b, whatever)
	d.wantCovered(w.names...)
	d.a.resync("g", w.names...)
	done = make(chan struct{})
	go load(rng.Uint64())
	must(t, d.b.site.SuspendGroup(context.Background(), "g@tokyo", SuspendOptions{}))
	d.a.awaitBoth(PSUS, w.names...)
	<-done
	at = d.b.status("x").SuspendSeq
	for _, v := range w.names {
		if s := d.b.status(v).SuspendSeq; s != at {
			t.Errorf("pair %s stopped at %d, pair x at %d", v, s, at)
		}
	}
	w.check(d.b, whatever)
	d.wantCovered(w.names...)
	d.a.resync("g", w.names...)
	d.a.suspend("g", SuspendOptions{}, w.names...)
	d.wantEqual(w.names...)
}

// TestI4GrantedResync: an S-VOL whose resync was granted and never began is still the image of the moment at which it was split, and says so,
// whatever the other pairs of the group have had since.
func TestI4GrantedResync(t *testing.T) {
	t.Parallel()
	d, w, rng := differ(t)
	must(t, d.a.site.SuspendPair(t.Context(), "x", SuspendOptions{}))
	d.b.await(PSUS, "x")
	split := d.b.status("x").SuspendSeq
	w.some(rng, 20)
	last := d.a.groupStatus("g").AppendedSeq
	d.wait("the other pair goes on", func() bool { return d.b.groupStatus("g@tokyo").AppendedSeq >= last })
	g, p := d.b.site.groupByName("g@tokyo"), d.b.site.pairByName("x")
	for range 2 {
		g.cmd.Lock()
		err := g.run(t.Context(), EvPeerResync, []*pair{p}, runOptions{})
		if err == nil {
			err = g.run(t.Context(), EvPathLost, []*pair{p}, runOptions{})
		}
		g.cmd.Unlock()
		must(t, err)
		if st := d.b.status("x"); !st.Consistent || st.SuspendSeq != split {
			t.Fatalf("consistent %v, split at %d, was split at %d", st.Consistent, st.SuspendSeq, split)
		}
	}
}

// TestI4SplitAtThePrimary: an S-VOL that learns late of a split says that it stopped where the primary did: the numbers that came since had
// nothing for it.
func TestI4SplitAtThePrimary(t *testing.T) {
	t.Parallel()
	d, _, _ := differ(t)
	g, p := d.b.site.groupByName("g@tokyo"), d.b.site.pairByName("x")
	last := d.b.groupStatus("g@tokyo").AppendedSeq
	g.cmd.Lock()
	err := g.run(t.Context(), EvPeerSplit, []*pair{p}, runOptions{seq: journal.Seq(last) - 2})
	g.cmd.Unlock()
	must(t, err)
	if at := d.b.status("x").SuspendSeq; at != last-2 {
		t.Fatalf("split at %d, the primary at %d", at, last-2)
	}
}

// TestI4ResyncOvertakesSplit: a resync that is granted before the split at the primary was heard of is not undone by the word of that split,
// and if it never begins the S-VOL says where it stopped.
func TestI4ResyncOvertakesSplit(t *testing.T) {
	t.Parallel()
	d, _, _ := differ(t)
	g, p := d.b.site.groupByName("g@tokyo"), d.b.site.pairByName("x")
	last := d.b.groupStatus("g@tokyo").AppendedSeq
	heard := fact{pair: p, round: p.round.Load(), input: EvPeerSplit, text: "the pair was split at tokyo"}
	g.cmd.Lock()
	err := g.run(t.Context(), EvPeerResync, []*pair{p}, runOptions{})
	g.cmd.Unlock()
	must(t, err)
	g.facts.add(heard)
	g.obeyFacts()
	if st := d.b.status("x"); st.Status != COPY {
		t.Fatalf("the pair is %s", st.Status)
	}
	g.cmd.Lock()
	err = g.run(t.Context(), EvPathLost, []*pair{p}, runOptions{})
	g.cmd.Unlock()
	must(t, err)
	if st := d.b.status("x"); !st.Consistent || st.SuspendSeq != last {
		t.Errorf("consistent %v, stopped at %d, it has had %d", st.Consistent, st.SuspendSeq, last)
	}
}
