package replica

import (
	"context"
	"fmt"
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

// TestLostJournalOfATakenPrimary: a primary that lost its journal and is taken over says at which number that was, not at the highest of all.
func TestLostJournalOfATakenPrimary(t *testing.T) {
	t.Parallel()
	d, _ := twoPaired(t)
	d.inStep("x", "y")
	dir := d.a.site.groupByName("g").dir()
	d.a.crash(func() { must(t, os.RemoveAll(dir)) })
	d.b.takeOver("g@tokyo", takeoverSSUS)
	taken := d.b.status("x").TakenSeq
	d.a.open()
	d.a.await(PSUE, "x", "y")
	d.wait("both sides count as written", func() bool { return d.a.status("x").Suspend == BothWritten && d.a.status("y").Suspend == BothWritten })
	if want := fmt.Sprintf("osaka was taken over at sequence number %d,", taken); taken == 0 || d.a.tells("pair/x", want) != 1 {
		t.Errorf("no event says %q: %v", want, d.a.site.Events())
	}
}

// TestReplayOfBeforeTheResync: what was replicated before a split, or written while it was split and copied since, is no difference when a primary
// that is killed soon behind the resync replays it; taken over meanwhile it has nothing that the secondary lacks.
func TestReplayOfBeforeTheResync(t *testing.T) {
	t.Parallel()
	d, w := twoPaired(t)
	g := d.a.site.groupByName("g")
	g.keep(g.journal.Marks().Freed) // no checkpoint frees what is written
	rng := newRand(testSeed(t))
	w.some(rng, 50)
	d.a.suspend("g", SuspendOptions{}, "x", "y")
	w.some(rng, 50)
	d.a.resync("g", "x", "y")
	d.wait("nothing is marked any more", func() bool {
		return !d.a.site.pairByName("x").att.bits.any() && !d.a.site.pairByName("y").att.bits.any()
	})
	d.inStep("x", "y")
	d.a.crash(nil)
	d.b.takeOver("g@tokyo", takeoverSSUS)
	d.a.open()
	for _, name := range []string{"x", "y"} {
		if n := d.a.site.pairByName(name).att.bits.bytes(); n != 0 {
			t.Errorf("pair %s: %d bytes are marked that do not differ", name, n)
		}
	}
	d.a.await(PSUS, "x", "y")
	must(t, d.b.site.ResyncGroupWith(t.Context(), "g@tokyo", ResyncOptions{Swap: true}))
	d.a.awaitBoth(PAIR, "x", "y")
	d.wantEqual("x", "y")
	w.check(d.b, everyAck)
}

// TestResyncKilledAtItsStart: what was written while the pair was split is still marked when the primary is killed before any of it was copied.
func TestResyncKilledAtItsStart(t *testing.T) {
	t.Parallel()
	d, w := twoPaired(t)
	rng := newRand(testSeed(t))
	d.a.suspend("g", SuspendOptions{}, "x", "y")
	w.some(rng, 50)
	g := d.a.site.groupByName("g")
	goOn := g.stopRestore() // and with it every checkpoint
	marked := map[string]int64{}
	for _, name := range []string{"x", "y"} {
		marked[name] = d.a.site.pairByName(name).att.bits.bytes()
	}
	must(t, d.a.site.ResyncGroup(t.Context(), "g"))
	d.cut()
	d.a.crash(goOn)
	d.a.open()
	for name, was := range marked {
		if n := d.a.site.pairByName(name).att.bits.bytes(); was == 0 || n > was {
			t.Errorf("pair %s: %d bytes are marked, and were %d", name, n, was)
		}
	}
	d.wantCovered("x", "y")
	d.heal()
	d.a.awaitBoth(PAIR, "x", "y")
	d.a.suspend("g", SuspendOptions{}, "x", "y")
	d.wantEqual("x", "y")
	w.check(d.b, everyAck)
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

// TestNoWarningWhileTurning: the old primary opens the mirror before the new one has taken its role; that is no event. Two secondaries that meet
// without a takeover under way are.
func TestNoWarningWhileTurning(t *testing.T) {
	t.Parallel()
	d, _ := twoPaired(t)
	end, err := d.b.site.groupByName("g@tokyo").beginTaking()
	must(t, err)
	d.a.giveUp("g")
	refusedThere := func() bool {
		g := d.a.site.groupByName("g")
		g.mu.Lock()
		defer g.mu.Unlock()
		return strings.Contains(g.mirrorError, "is not replicated to site tokyo")
	}
	d.wait("the mirror was refused", refusedThere)
	if texts := d.b.told("peer/tokyo", "mirror of group"); len(texts) > 0 {
		t.Errorf("an exchange under way is told as %q", texts)
	}
	end()
	d.wait("it is told", func() bool { return len(d.b.told("peer/tokyo", "mirror of group")) > 0 })
}

// TestStaleExchange: the request of an exchange that was given up, because no answer came, comes when the exchange was given again, was granted and
// has not begun here. It grants the same history again, and the roles are exchanged all the same.
func TestStaleExchange(t *testing.T) {
	t.Parallel()
	d, w := twoPaired(t)
	d.cut()
	d.b.takeOver("g@tokyo", takeoverSSUS)
	d.heal()
	d.wait("the old primary knows", func() bool { return d.a.status("x").Suspend == TakenOver && d.a.status("y").Suspend == TakenOver })
	a, b := d.a.site.groupByName("g"), d.b.site.groupByName("g@tokyo")
	stale := &quicwire.SwapPairs{
		Group: "g", Pairs: b.refs(b.allPairs()), Phase: quicwire.SwapResync, Seq: uint64(b.journal.Marks().LastSeq), Generation: b.nextHistory(b.allPairs()),
	}
	grant := func() error {
		pairs, err := a.swapPairs("osaka", stale.Pairs)
		if err == nil {
			_, err = a.giveRole(context.Background(), pairs, stale)
		}
		return err
	}
	letGo := a.holdPull() // the start record does not arrive
	must(t, d.b.site.ResyncGroupWith(context.Background(), "g@tokyo", ResyncOptions{Swap: true}))
	w.node = d.b
	w.some(newRand(testSeed(t)), 30)
	must(t, grant())
	letGo()
	d.b.awaitBoth(PAIR, "x", "y")
	refused(t, grant(), KindNotFound)
	w.some(newRand(testSeed(t)), 30)
	d.b.suspend("g@tokyo", SuspendOptions{}, "x", "y")
	w.check(d.a, everyAck)
	d.wantEqual("x", "y")
}

// TestUndoOfOneThatGaveUp: what is undone for somebody who has given up, and may have begun anew, stays.
func TestUndoOfOneThatGaveUp(t *testing.T) {
	t.Parallel()
	d, _, _ := differ(t)
	d.a.suspend("g", SuspendOptions{}, "x", "y")
	g := d.b.site.groupByName("g@tokyo")
	g.cmd.Lock()
	err := g.run(t.Context(), EvPeerResync, []*pair{g.pairs["x"]}, runOptions{})
	g.cmd.Unlock()
	must(t, err)
	ended, stop := context.WithCancel(context.Background())
	stop()
	undo := &quicwire.SuspendPair{Pairs: g.refs([]*pair{g.pairs["x"]})}
	if err := d.b.site.serveUndo(ended, "tokyo", undo); err == nil || d.b.status("x").Status != COPY {
		t.Errorf("undone for nobody: %v, %s", err, d.b.status("x").Status)
	}
	must(t, d.b.site.serveUndo(context.Background(), "tokyo", undo))
	if st := d.b.status("x"); st.Status != PSUS {
		t.Errorf("undone it is %s", st.Status)
	}
}
