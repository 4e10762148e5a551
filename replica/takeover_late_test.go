package replica

import (
	"context"
	"os"
	"strings"
	"testing"

	"pairfs/journal"
	"pairfs/quicwire"
)

// What comes late, twice, or at both sides at once while roles are exchanged.

// giveUp lets the primary give its role up as a secondary asks for it whose answer is then lost.
func (n *node) giveUp(group string) {
	n.t.Helper()
	g := n.site.groupByName(group)
	g.cmd.Lock()
	defer g.cmd.Unlock()
	f, err := g.holdWrites(context.Background(), 7, fenceMax)
	must(n.t, err)
	away := n.other.site.groupByName(g.rec.PeerGroup)
	(&duo{t: n.t, a: n, b: n.other}).wait("everything has arrived", func() bool {
		away.mu.Lock()
		defer away.mu.Unlock()
		return away.lastSeq >= f.seq
	})
	g.takeFence(7)
	err = g.turn(context.Background(), EvSwapped, &exchange{generation: randomID(), last: f.seq})
	g.mu.Lock()
	g.dropFence(f)
	g.mu.Unlock()
	must(n.t, err)
}

// role is the role of a group at the site.
func (n *node) role(group string) Role {
	g := n.site.groupByName(group)
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.role
}

// TestBothTakenOver: the primary gave its role up, nobody heard of it, and both sides were taken over while the link was down. Neither has a
// primary to follow, so the two secondaries have to find out when they meet; the operator chooses at either side.
func TestBothTakenOver(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		at    string
		lose  Side
		osaka bool // who wins
	}{
		{"at_tokyo_there", "tokyo", SideThere, false},
		{"at_tokyo_here", "tokyo", SideHere, true},
		{"at_osaka_there", "osaka", SideThere, true},
		{"at_osaka_here", "osaka", SideHere, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			d, _ := twoPaired(t)
			d.a.giveUp("g")
			d.cut()
			d.b.takeOver("g@tokyo", takeoverSSUS)
			d.a.takeOver("g", takeoverSSUS)
			for n, text := range map[*node]string{d.a: "tokyo", d.b: "osaka"} {
				if _, err := n.vol("x").WriteAt(context.Background(), []byte(text), 5*regionSize, true); err != nil {
					t.Fatal(err)
				}
			}
			d.heal()
			for _, n := range []*node{d.a, d.b} {
				n.await(PSUE, "x", "y")
				if st := n.status("x"); st.Suspend != BothWritten || !strings.Contains(st.LastError, "on both sides") {
					t.Fatalf("%s says %s (%s): %s", n.cfg.Name, st.Status, st.Suspend, st.LastError)
				}
			}
			n, group := d.a, "g"
			if c.at == "osaka" {
				n, group = d.b, "g@tokyo"
			}
			must(t, n.site.ResyncGroupWith(context.Background(), group, ResyncOptions{Discard: c.lose}))
			d.a.awaitBoth(PAIR, "x", "y")
			winner, loser, won, lost := d.a, d.b, "tokyo", "osaka"
			if c.osaka {
				winner, loser, won, lost = d.b, d.a, "osaka", "tokyo"
			}
			if st := winner.status("x"); st.Role != Primary {
				t.Fatalf("the winner is %+v", st)
			}
			if got := readAll(t, winner.vol("x"))[5*regionSize:][:5]; string(got) != won {
				t.Fatalf("the winner has %q", got)
			}
			if got := loser.kept(5*regionSize, 5); got != lost {
				t.Fatalf("kept was %q", got)
			}
			loser.writesRefused("x", "y")
			d.wantEqual("x", "y")
		})
	}
}

// TestGivenUpAndTakenBack: the old primary, which gave its role up, takes over again, although the other side never heard of the exchange.
func TestGivenUpAndTakenBack(t *testing.T) {
	t.Parallel()
	d, w := twoPaired(t)
	d.a.giveUp("g")
	d.cut()
	d.a.takeOver("g", takeoverSSUS)
	w.some(newRand(testSeed(t)), 50)
	d.heal()
	d.wait("the peer is reached", func() bool { _, up := d.a.site.endpoint.Connected("osaka"); return up })
	must(t, d.a.site.ResyncGroupWith(context.Background(), "g", ResyncOptions{Swap: true}))
	d.a.awaitBoth(PAIR, "x", "y")
	d.a.suspend("g", SuspendOptions{}, "x", "y")
	w.check(d.b, everyAck)
	d.wantEqual("x", "y")
}

// TestGrantedAgainAndAgain: the answers of an exchange are lost more than once; the one whose answer comes goes well, and one that was late is
// refused behind it.
func TestGrantedAgainAndAgain(t *testing.T) {
	t.Parallel()
	d, w := twoPaired(t)
	d.cut()
	d.b.takeOver("g@tokyo", takeoverSSUS)
	d.heal()
	d.wait("the old primary knows", func() bool { return d.a.status("x").Suspend == TakenOver && d.a.status("y").Suspend == TakenOver })
	a, b := d.a.site.groupByName("g"), d.b.site.groupByName("g@tokyo")
	late := &quicwire.SwapPairs{Group: "g", Pairs: b.refs(b.allPairs()), Phase: quicwire.SwapResync, Seq: uint64(b.journal.Marks().LastSeq)}
	grant := func() error {
		late.Generation = randomID()
		pairs, err := a.swapPairs("osaka", late.Pairs)
		if err == nil {
			_, err = a.giveRole(context.Background(), pairs, late)
		}
		return err
	}
	for range 3 {
		must(t, grant())
	}
	must(t, d.b.site.ResyncGroupWith(context.Background(), "g@tokyo", ResyncOptions{Swap: true}))
	d.b.awaitBoth(PAIR, "x", "y")
	refused(t, grant(), KindNotFound)
	w.node = d.b
	w.some(newRand(testSeed(t)), 30)
	d.b.suspend("g@tokyo", SuspendOptions{}, "x", "y")
	w.check(d.a, everyAck)
	d.wantEqual("x", "y")
}

// TestBothSidesChooseAtOnce: each side's operator lets its own side win at the same moment. Each command holds its group and waits for the
// other side's: one has to give way.
func TestBothSidesChooseAtOnce(t *testing.T) {
	t.Parallel()
	d, _, _ := bothWrote(t)
	a, b := d.a.site.groupByName("g"), d.b.site.groupByName("g@tokyo")
	a.cmd.Lock() // so that both have begun before either is answered
	ends := make(chan error, 2)
	go func() {
		ends <- d.b.site.ResyncGroupWith(context.Background(), "g@tokyo", ResyncOptions{Discard: SideThere})
	}()
	d.wait("osaka has begun", func() bool {
		if b.cmd.TryLock() {
			b.cmd.Unlock()
			return false
		}
		return true
	})
	go func() {
		defer a.cmd.Unlock()
		ends <- a.resyncBy(context.Background(), CmdDiscard, a.allPairs())
	}()
	won := 0
	for range 2 {
		err := <-ends
		if err == nil {
			won++
		} else if KindOf(err) != KindBusy {
			t.Fatal(err)
		}
	}
	if won == 2 {
		t.Fatal("both won")
	}
	if won == 0 {
		must(t, d.a.site.ResyncGroupWith(context.Background(), "g", ResyncOptions{Discard: SideThere}))
	}
	d.a.awaitBoth(PAIR, "x", "y")
	d.wantEqual("x", "y")
}

// TestFactOfTheOtherRole: a fact that waited for the command which exchanged the roles is about the other one.
func TestFactOfTheOtherRole(t *testing.T) {
	t.Parallel()
	d, _ := twoPaired(t)
	g := d.a.site.groupByName("g")
	g.cmd.Lock()
	g.report(fact{pair: g.pairs["x"], input: EvPathLost, text: "of the primary"})
	d.wait("the worker has it", func() bool { return len(g.facts.wake) == 0 })
	g.cmd.Unlock()
	// The same once more with the exchange in between.
	d2, _ := twoPaired(t)
	g = d2.a.site.groupByName("g")
	g.cmd.Lock()
	f, err := g.holdWrites(context.Background(), 7, fenceMax)
	must(t, err)
	g.report(fact{pair: g.pairs["x"], input: EvPathLost, text: "of the primary"})
	d2.wait("the worker has it", func() bool { return len(g.facts.wake) == 0 })
	g.takeFence(7)
	err = g.turn(context.Background(), EvSwapped, &exchange{generation: randomID(), last: f.seq})
	g.mu.Lock()
	g.dropFence(f)
	g.mu.Unlock()
	g.cmd.Unlock()
	must(t, err)
	d.wait("the fact is stepped where the role is the same", func() bool { return d.a.status("x").Status == PSUE })
	g.report(fact{pair: &pair{name: "nobody", group: g}}) // the worker takes it behind the other one, or together with it
	d2.wait("the worker is through", func() bool { return len(g.facts.wake) == 0 })
	g.cmd.Lock()
	g.cmd.Unlock() //nolint:staticcheck // an empty section is the point
	if st := d2.a.status("x"); st.Status != PAIR {
		t.Fatalf("a fact about the primary made the secondary %s: %s", st.Status, st.LastError)
	}
}

// TestMirrorOfTheOtherRole: a mirror that waited to be opened while the primary gave its role up is refused.
func TestMirrorOfTheOtherRole(t *testing.T) {
	t.Parallel()
	d, _ := twoPaired(t)
	d.a.giveUp("g")
	g := d.a.site.groupByName("g")
	f := &feedSession{g: g, peer: "osaka", wake: make(chan struct{}, 1), cancel: func() {}}
	g.cmd.Lock()
	_, err := f.begin(&quicwire.MirrorOpen{Group: "g"})
	g.cmd.Unlock()
	refused(t, err, KindAccess)
	if g.mu.Lock(); g.session != nil {
		t.Error("a secondary feeds a mirror")
	}
	g.mu.Unlock()
}

// TestHoldPullTwice: the pull is held until the last who wants that lets it go.
func TestHoldPullTwice(t *testing.T) {
	t.Parallel()
	d, _ := twoPaired(t)
	g := d.b.site.groupByName("g@tokyo")
	first, second := g.holdPull(), g.holdPull()
	first()
	if g.wantsPull() {
		t.Error("the pull goes on while it is held")
	}
	second()
	if !g.wantsPull() {
		t.Error("the pull is held for ever")
	}
}

// TestGivenUpIsStored: a primary that says it gave its role up has that in its database, whatever became of it when it did so.
func TestGivenUpIsStored(t *testing.T) {
	t.Parallel()
	d, _ := twoPaired(t)
	g := d.a.site.groupByName("g")
	p := d.a.site.pairByName("x")
	g.mu.Lock()
	before := p.rec
	g.mu.Unlock()
	d.a.giveUp("g")
	g.mu.Lock()
	now := p.rec
	p.rec = before
	g.mu.Unlock()
	must(t, g.persist(p)) // as if it had not been stored
	g.mu.Lock()
	p.rec = now
	g.mu.Unlock()
	b := d.b.site.groupByName("g@tokyo")
	pairs := g.allPairs()
	_, err := g.servePrepare(context.Background(), pairs, &quicwire.SwapPairs{Pairs: b.refsOf(pairs), Phase: quicwire.SwapPrepare, Token: 9})
	must(t, err)
	d.a.crash(nil)
	d.a.open()
	d.a.writesRefused("x", "y")
}

// refsOf names pairs of another site as this one knows them.
func (g *group) refsOf(pairs []*pair) (refs []quicwire.PairRef) {
	for _, p := range pairs {
		refs = append(refs, g.refs([]*pair{g.site.pairByName(p.name)})...)
	}
	return refs
}

// TestLostJournalOfATakenOver: what hosts wrote to an S-VOL that was taken over, and what of it was marked, went with the journal.
func TestLostJournalOfATakenOver(t *testing.T) {
	t.Parallel()
	d, _ := twoPaired(t)
	d.cut()
	d.b.takeOver("g@tokyo", takeoverSSUS)
	if _, err := d.b.vol("x").WriteAt(context.Background(), []byte("written and not marked for good"), 5*regionSize, true); err != nil {
		t.Fatal(err)
	}
	dir := d.b.site.groupByName("g@tokyo").dir()
	d.b.crash(func() { must(t, os.RemoveAll(dir)) })
	d.b.open()
	bits := d.b.site.pairByName("x").att.bits
	for r := range bits.regions {
		if !bits.test(r) {
			t.Fatalf("region %d may differ and is not marked", r)
		}
	}
}

// TestReplayOfTheOtherRole: what a new primary received as a secondary is no difference when it is replayed.
func TestReplayOfTheOtherRole(t *testing.T) {
	t.Parallel()
	d, w := twoPaired(t)
	g := d.b.site.groupByName("g@tokyo")
	g.keep(g.journal.Marks().Freed) // no checkpoint frees what arrives
	w.some(newRand(testSeed(t)), 50)
	d.b.takeOver("g@tokyo", takeoverSwap)
	d.b.crash(nil)
	d.b.open()
	for _, name := range []string{"x", "y"} {
		if n := d.b.site.pairByName(name).att.bits.bytes(); n != 0 {
			t.Errorf("pair %s: %d bytes are marked that do not differ", name, n)
		}
	}
	w.node = d.b
	w.check(d.b, everyAck)
}

// TestTakeoverOfASuspendedPrimary: what a primary that suspended the pairs does not send is not waited for.
func TestTakeoverOfASuspendedPrimary(t *testing.T) {
	t.Parallel()
	d, _ := twoPaired(t)
	d.a.suspend("g", SuspendOptions{}, "x", "y")
	g := d.b.site.groupByName("g@tokyo")
	refused(t, g.awaitSeq(context.Background(), g.journal.Marks().LastSeq+journal.Seq(100), g.allPairs()), KindBusy)
}

// TestOldPrimaryIsAnImage: a primary that became a secondary is an image of one moment whatever it heard of the other side's, so it can be
// taken over should the new primary be lost.
func TestOldPrimaryIsAnImage(t *testing.T) {
	for in, s := range map[Input]PairState{
		EvPeerSwap: {Role: Primary, Status: PSUS, TookOver: true},
		EvSwapped:  {Role: Primary, Status: PAIR},
	} {
		out := Step(s, in)
		if out.Verdict != Accept || !out.State.Consistent {
			t.Errorf("%s makes %+v %+v", in, s, out.State)
		}
		if next := Step(out.State, EvPathLost).State; Step(next, CmdTakeover).Verdict != Accept {
			t.Errorf("%+v cannot be taken over", next)
		}
	}
}

// TestTakeoverHasAllReceived: a record that is being taken when the S-VOL is taken over is in the image, and the number that the takeover names is
// not below it: what comes behind that number is the primary's alone.
func TestTakeoverHasAllReceived(t *testing.T) {
	t.Parallel()
	d, w := twoPaired(t)
	g, a := d.b.site.groupByName("g@tokyo"), d.b.site.pairByName("x").att
	shard := a.overlay.shard(3)
	shard.mu.Lock() // the record has its number, and is not published
	o := w.h.begin(0, 3*regionSize/blockSize, 1, false)
	_, err := d.a.vol("x").WriteAt(context.Background(), o.payload(), 3*regionSize, true)
	last := d.a.site.groupByName("g").journal.Marks().LastSeq
	if err == nil {
		err = waitFor(func() bool { return g.journal.Marks().LastSeq >= last })
	}
	w.h.acked(o)
	take := begin(func() error { return g.svolTakeover(context.Background(), takeoverSSUS, g.allPairs()) })
	if err == nil {
		err = waitFor(func() bool { return take.in("(*group).holdPull(") || take.in("(*Journal).Sync(") || take.ended() })
	}
	shard.mu.Unlock()
	must(t, err)
	must(t, <-take.end)
	if st := d.b.status("x"); st.Status != SSWS || st.TakenSeq != uint64(d.b.lastSeq("g@tokyo")) || st.TakenSeq < uint64(last) {
		t.Errorf("the S-VOL is %s and was taken over at %d; %d was received", st.Status, st.TakenSeq, d.b.lastSeq("g@tokyo"))
	}
	w.check(d.b, everyAck)
}
