package replica

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"pairfs/journal"
	"pairfs/quicwire"
)

// TestI5KilledWhilePurging: a primary that is killed between the moment from which on a purge replicates nothing and the transaction that
// stores it comes back in PAIR. The secondary, which still gets what is written to the other pair of the group, must not have passed over
// what was written to this one.
func TestI5KilledWhilePurging(t *testing.T) {
	t.Parallel()
	for _, at := range []bool{false, true} {
		t.Run(map[bool]string{false: "purge", true: "at a marker"}[at], func(t *testing.T) { killedWhileStopping(t, at) })
	}
}

// killedWhileStopping does that for a purge, or for a split at a marker that was placed before.
func killedWhileStopping(t *testing.T, at bool) {
	t.Parallel()
	d, w, _ := differ(t)
	ctx := t.Context()
	o := SuspendOptions{Purge: true}
	if at {
		o = SuspendOptions{At: d.a.marker("x")}
	}
	g, a := d.a.site.groupByName("g"), d.a.site.pairByName("x").att
	a.vol.mode.RLock() // a host's writes are under way, for which the purge waits
	written := sync.OnceFunc(a.vol.mode.RUnlock)
	defer written()
	await := func(what string, ok func() bool) {
		if err := waitFor(ok); err != nil {
			written() // what a site says of itself waits for them too
			d.dump()
			t.Fatalf("%s: %v", what, err)
		}
	}
	ended := make(chan error, 1)
	go func() { ended <- d.a.site.SuspendPair(ctx, "x", o) }()
	await("nothing more is replicated", func() bool { return a.stop.Load() != uint64(noStop) })
	for i := range int64(20) {
		o := w.h.begin(0, 8*i, 1, false, false)
		must(t, a.obtain(ctx, o.payload(), o.block*o.unit, false))
		w.h.Ack(o.n)
	}
	must(t, w.write(ctx, 1, 0, 1, true))
	last := g.journal.Marks().LastSeq
	await("the sender has come to them", func() bool { return d.b.lastSeq("g@tokyo") >= last || g.waitsToPass() })
	d.a.crash(func() {
		over, stop := context.WithCancel(context.Background())
		stop()
		_ = d.a.site.endpoint.Close(over) // nobody hears of what follows
		written()
		if err := <-ended; err == nil {
			t.Error("a purge was stored in a database that was closed")
		}
	})
	d.a.open()
	d.a.awaitBoth(PAIR, "x", "y")
	d.wait("the link is up", d.a.linked) // without one a split marks what the peer has not had
	d.a.suspend("g", SuspendOptions{}, "x", "y")
	w.check(d.b, everyAck)
}

// waitsToPass reports whether the next record of the group must not pass to the peer yet.
func (g *group) waitsToPass() bool {
	g.mu.Lock()
	next := g.session.lastSeq + 1
	g.mu.Unlock()
	waits := false
	_ = records(g, func(rec *journal.Record) error {
		if rec.Seq == next && (rec.Kind == journal.KindUpdate || rec.Kind == journal.KindDiscard) && rec.Advances() {
			_, what := g.passes(rec)
			waits = waits || what == passNot
		}
		return nil
	})
	return waits
}

// lastSeq is the last number that a restore group received.
func (n *node) lastSeq(group string) journal.Seq {
	g := n.site.groupByName(group)
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.lastSeq
}

// TestI4KilledWhileGivingUp: an S-VOL whose store takes nothing is given up alone, and the daemon is killed before that is stored. It must
// not come back as the image of one moment.
func TestI4KilledWhileGivingUp(t *testing.T) {
	t.Parallel()
	var sick atomic.Bool
	fault := func(volume, what string, _ []byte, _ int64) error {
		if sick.Load() && volume == "x" && what != "sync" {
			return unix.EIO
		}
		return nil
	}
	d, w, rng := differ(t, withStores("osaka", probe(fault)))
	must(t, d.b.site.SetPair(t.Context(), "x", map[string]string{"error-level": "lu"}))
	there := d.b.site.groupByName("g@tokyo")
	there.cmd.Lock() // no fact is obeyed
	sick.Store(true)
	w.some(rng, 20)
	last := d.a.site.groupByName("g").journal.Marks().LastSeq
	d.wait("everything is there", func() bool { return d.b.lastSeq("g@tokyo") >= last })
	must(t, there.journal.Sync(t.Context(), there.journal.Marks().Reserved))
	must(t, there.restorePass())
	must(t, there.doCheckpoint(t.Context()))
	d.b.crash(there.cmd.Unlock)
	sick.Store(false)
	d.b.open()
	if st := d.b.status("x"); st.Status == PAIR && st.Consistent {
		w.checkStill(d.b, "g@tokyo", everyAck)
	}
}

// TestGivenUpIsReportedAgain: a volume that was given up while the suspension of its pair could not be stored is reported until it is.
func TestGivenUpIsReportedAgain(t *testing.T) {
	g := &group{role: Secondary, pairs: map[string]*pair{}, facts: factQueue{wake: make(chan struct{}, 1)}, linked: true}
	g.opts.Store(&GroupOptions{PathWatch: time.Minute})
	p := &pair{name: "x", group: g, rec: pairRecord{State: PairState{Role: Secondary, Status: PAIR, Consistent: true}}}
	p.att = &attachment{group: g, pair: p, vol: &Volume{name: "x"}}
	g.pairs["x"] = p
	for _, c := range []struct{ torn, starting, reported bool }{{false, false, false}, {true, true, false}, {true, false, true}} {
		p.att.torn.Store(c.torn)
		p.rec.Starting = c.starting
		g.watchPairs()
		facts := g.facts.take()
		if (len(facts) == 1) != c.reported {
			t.Fatalf("%+v: %d facts", c, len(facts))
		}
		if c.reported && (facts[0].input != EvRestoreFailed || !facts[0].torn) {
			t.Errorf("reported %+v", facts[0])
		}
	}
}

// TestFactOfAPairThatIsGone: what was reported of a pair that was deleted before it could be obeyed is none of the business of the next pair
// of that name.
func TestFactOfAPairThatIsGone(t *testing.T) {
	t.Parallel()
	d, _, _ := differ(t)
	g := d.a.site.groupByName("g")
	old := d.a.site.pairByName("x")
	must(t, d.a.site.DeletePair(t.Context(), "x", DeleteOptions{}))
	d.a.pair("g", "x")
	g.facts.add(fact{pair: old, round: old.round.Load(), input: EvPeerDeleted})
	g.obeyFacts()
	d.a.awaitBoth(PAIR, "x", "y")
}

// TestGivenUpUnstored: a primary that could not store that it gave its role up does not say that it did: started anew it is the primary.
func TestGivenUpUnstored(t *testing.T) {
	t.Parallel()
	d, w := twoPaired(t)
	g := d.a.site.groupByName("g")
	g.cmd.Lock()
	_, err := g.holdWrites(t.Context(), 7, fenceMax)
	g.cmd.Unlock()
	must(t, err)
	d.a.crash(func() {
		if _, err := g.serveCommit(context.Background(), &quicwire.SwapPairs{Token: 7, Generation: randomID()}); err == nil {
			t.Error("the role was given up in a database that was closed")
		}
	})
	d.a.open()
	if r := d.a.role("g"); r != Primary {
		t.Fatalf("the group is %s", r)
	}
	must(t, w.write(t.Context(), 0, 3, 1, true))
	d.a.awaitBoth(PAIR, "x", "y")
	d.a.suspend("g", SuspendOptions{}, "x", "y")
	w.check(d.b, everyAck)
}

// TestTakenUnstored: a secondary that could not store that it took the role is none that hosts may write: started anew it would know nothing of it.
func TestTakenUnstored(t *testing.T) {
	t.Parallel()
	d, w := twoPaired(t)
	d.a.giveUp("g")
	g := d.b.site.groupByName("g@tokyo")
	letGo := g.holdPull()
	d.b.crash(func() {
		defer letGo()
		g.cmd.Lock()
		defer g.cmd.Unlock()
		if err := g.turn(context.Background(), EvSwapped, &exchange{generation: randomID(), last: g.journal.Marks().LastSeq}); err == nil {
			t.Error("the role was taken in a database that was closed")
		}
		if r := d.b.role("g@tokyo"); r != Secondary {
			t.Errorf("the group is %s", r)
		}
		d.b.writesRefused("x", "y")
	})
	d.b.open()
	w.check(d.b, everyAck)
}

// TestDeleteUnstored: a record of a pair whose delete is not stored is not left out: a start would bring the pair back without it.
func TestDeleteUnstored(t *testing.T) {
	t.Parallel()
	d, _, _ := differ(t)
	d.cut()
	g, p := d.b.site.groupByName("g@tokyo"), d.b.site.pairByName("x")
	d.b.crash(func() {
		g.cmd.Lock()
		defer g.cmd.Unlock()
		if err := g.run(context.Background(), EvPeerDelete, []*pair{p}, runOptions{}); err == nil {
			t.Error("a delete was stored in a database that was closed")
		}
		rec := &journal.Record{Kind: journal.KindUpdate, Volume: p.att.number, Seq: d.b.lastSeq("g@tokyo") + 1, Length: blockSize}
		if _, err := g.target(rec); !errors.Is(err, errUnstored) {
			t.Errorf("a record of the pair: %v", err)
		}
	})
	d.b.open()
	d.b.await(PAIR, "x", "y")
}

// TestWritesUnstored: an S-VOL whose takeover could not be stored, or its split with svol-write=enable, is none that hosts may write: started anew it
// would follow the primary over what they wrote. The command comes to nothing and can be given again.
func TestWritesUnstored(t *testing.T) {
	t.Parallel()
	for name, do := range map[string]func(s *Site) error{
		"takeover": func(s *Site) error { return s.TakeoverGroup(context.Background(), "g@tokyo", TakeoverOptions{}) },
		"svol-write": func(s *Site) error {
			return s.SuspendGroup(context.Background(), "g@tokyo", SuspendOptions{SVOLWrite: true})
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d, _, _ := differ(t)
			d.cut()
			d.b.crash(func() {
				says(t, do(d.b.site), "nothing was changed")
				d.b.writesRefused("x", "y")
				if st := d.b.status("x"); st.Status != PAIR || st.TakenOver || st.TakenSeq != 0 || st.SVOLWrite || st.SuspendSeq != 0 {
					t.Errorf("the pair is %+v", st)
				}
			})
			d.b.open()
			d.b.await(PAIR, "x", "y")
			must(t, do(d.b.site))
			for _, v := range []string{"x", "y"} {
				if !d.b.volumeWritable(v) {
					t.Errorf("%s cannot be written", v)
				}
			}
		})
	}
}
