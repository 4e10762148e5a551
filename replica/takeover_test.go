package replica

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pairfs/quicwire"
)

// takeOver takes a group over at a site and returns the answer.
func (n *node) takeOver(group, kind string) string {
	n.t.Helper()
	var said Remarks
	must(n.t, n.site.TakeoverGroup(WithRemarks(context.Background(), &said), group, TakeoverOptions{}))
	if !strings.HasPrefix(said.String(), kind+":") {
		n.t.Fatalf("the answer to a takeover is %q, want %s", said.String(), kind)
	}
	return said.String()
}

// writesRefused ends the test unless hosts are kept from writing the volumes of the site.
func (n *node) writesRefused(volumes ...string) {
	n.t.Helper()
	for _, v := range volumes {
		_, err := n.vol(v).WriteAt(context.Background(), make([]byte, 512), 0, false)
		refused(n.t, err, KindSecondary)
	}
}

// volumeWritable is what the status of the site says of a volume.
func (n *node) volumeWritable(name string) bool {
	n.t.Helper()
	for _, v := range n.site.Status().Volumes {
		if v.Name == name {
			return v.Writable
		}
	}
	n.t.Fatalf("no volume %s", name)
	return false
}

// twoPaired makes a group of two pairs, with something in them.
func twoPaired(t *testing.T, options ...duoOption) (*duo, *writer) {
	t.Helper()
	d := newDuo(t, options...)
	w := newWriter(d.a, "x", "y")
	d.a.group("g")
	d.a.volume("x")
	d.a.volume("y")
	w.some(newRand(testSeed(t)), 100)
	d.a.pair("g", "x", "y")
	must(t, d.b.site.SetGroup(context.Background(), "g@tokyo", map[string]string{"inflow-control": "yes", "overflow-watch": "600s"})) // it is to be the primary too
	return d, w
}

// TestSwapTakeover exchanges the roles there and back while hosts write, and nothing is lost.
func TestSwapTakeover(t *testing.T) {
	t.Parallel()
	d, w := twoPaired(t)
	for n, g := range map[*node]string{d.a: "g", d.b: "g@tokyo"} { // hosts that are faster than the link would split the pairs
		must(t, n.site.SetGroup(context.Background(), g, map[string]string{"inflow-control": "yes"}))
	}
	rng := newRand(testSeed(t))
	from, to, group := d.a, d.b, "g@tokyo"
	must(t, d.b.site.SetGroup(context.Background(), group, map[string]string{"inflow-control": "yes"})) // a slow machine must not split them
	for range 4 {
		stop := make(chan struct{})
		ended := make(chan struct{})
		go func() { // until it may not any more
			defer close(ended)
			for i := int64(0); ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				if w.write(context.Background(), int(i%2), i%64, 1, false) != nil {
					return
				}
			}
		}()
		to.takeOver(group, takeoverSwap)
		<-ended
		close(stop)
		from.writesRefused("x", "y")
		w.node = to
		w.check(to, everyAck)
		w.some(rng, 50)
		to.awaitBoth(PAIR, "x", "y")
		if st := to.status("x"); st.Role != Primary {
			t.Fatalf("the pair is %+v", st)
		}
		to.takeOver(group, takeoverNop)
		from, to = to, from
		group = map[string]string{"g": "g@tokyo", "g@tokyo": "g"}[group]
	}
	d.a.suspend("g", SuspendOptions{}, "x", "y")
	w.check(d.b, everyAck)
	d.wantEqual("x", "y")
	for _, n := range []*node{d.a, d.b} { // what was turned round is found again
		n.close()
		n.open()
	}
	d.a.resync("g", "x", "y")
	w.some(rng, 50)
	d.a.suspend("g", SuspendOptions{}, "x", "y")
	d.wantEqual("x", "y")
}

// TestTakeoverOfALostPrimary: the primary dies, the secondary goes on with everything that arrived, the old primary comes back and follows, and
// a second takeover brings the roles back.
func TestTakeoverOfALostPrimary(t *testing.T) {
	t.Parallel()
	d, w := twoPaired(t)
	rng := newRand(testSeed(t))
	w.some(rng, 100)
	d.wait("everything has arrived", func() bool { st := d.a.groupStatus("g"); return st.PeerDurable == st.AppendedSeq })
	d.a.crash(nil)
	d.wait("the link is down", func() bool { return !d.b.linked() })
	answer := d.b.takeOver("g@tokyo", takeoverSSUS)
	if !strings.Contains(answer, "sequence number") {
		t.Errorf("the answer does not say what is here: %s", answer)
	}
	d.b.await(SSWS, "x", "y")
	held := d.b.status("x")
	if !held.TakenOver || held.TakenTime.IsZero() || !strings.Contains(answer, fmt.Sprintf("up to sequence number %d is here", held.TakenSeq)) {
		t.Errorf("the status of the takeover is %v, %d, %v behind the answer %s", held.TakenOver, held.TakenSeq, held.TakenTime, answer)
	}
	w.node = d.b
	w.check(d.b, everyAck)
	w.some(rng, 60)
	d.b.takeOver("g@tokyo", takeoverNop)
	d.b.crash(nil) // SSWS and what was written survive
	d.a.open()
	if st := d.a.status("x"); !st.PeerUnheard || st.TakenOver || !d.a.volumeWritable("x") {
		t.Errorf("an old primary alone says %+v", st)
	}
	d.a.crash(nil)
	d.b.open()
	if st := d.b.status("x"); !st.TakenOver || st.TakenSeq != held.TakenSeq || !st.TakenTime.Equal(held.TakenTime) || st.PeerUnheard || !d.b.volumeWritable("x") {
		t.Errorf("after a restart the takeover is %+v", st)
	}
	w.check(d.b, everyAck)
	d.b.await(SSWS, "x", "y")

	d.a.open()
	d.a.await(PSUS, "x", "y")
	d.wait("the old primary knows", func() bool { return d.a.status("x").Suspend == TakenOver && d.a.status("y").Suspend == TakenOver })
	if st := d.a.status("x"); st.PeerUnheard || !st.TakenOver || st.TakenSeq != held.TakenSeq || d.a.volumeWritable("x") {
		t.Errorf("the old primary says %+v", st)
	}
	d.a.writesRefused("x", "y")
	refused(t, d.a.site.ResyncGroup(context.Background(), "g"), KindBusy)
	refused(t, d.b.site.ResyncGroup(context.Background(), "g@tokyo"), KindSecondary)
	refused(t, d.b.site.ResyncPairWith(context.Background(), "x", ResyncOptions{Swap: true}), KindBusy) // a part of the group
	must(t, d.b.site.ResyncGroupWith(context.Background(), "g@tokyo", ResyncOptions{Swap: true}))
	d.b.awaitBoth(PAIR, "x", "y")
	for _, n := range []*node{d.a, d.b} {
		if st := n.status("x"); st.TakenOver || st.TakenSeq != 0 || !st.TakenTime.IsZero() || st.PeerUnheard {
			t.Errorf("what is settled is told of: %+v", st)
		}
	}
	d.a.writesRefused("x", "y")
	w.some(rng, 60)
	if st := d.b.status("x"); st.Role != Primary {
		t.Fatalf("the pair is %+v", st)
	}
	d.a.takeOver("g", takeoverSwap)
	w.node = d.a
	w.check(d.a, everyAck)
	w.some(rng, 60)
	d.a.awaitBoth(PAIR, "x", "y")
	d.a.suspend("g", SuspendOptions{}, "x", "y")
	d.wantEqual("x", "y")
	w.check(d.b, everyAck)
}

// onlyHere and onlyThere are the regions that hosts of one side alone write in bothWrote.
const onlyHere, onlyThere = 20, 40

// bothWrote takes over while the link is down and hosts go on at the primary: two histories, which have written one region both and another one
// each, in both volumes.
func bothWrote(t *testing.T, options ...duoOption) (*duo, []byte, []byte) {
	t.Helper()
	d, _ := twoPaired(t, options...)
	d.cut()
	d.b.takeOver("g@tokyo", takeoverSSUS)
	here, there := make([]byte, 4096), make([]byte, 4096)
	copy(here, "written at tokyo behind the takeover")
	copy(there, "written at osaka behind the takeover")
	for n, b := range map[*node][]byte{d.a: here, d.b: there} {
		for _, region := range []int64{5, map[*node]int64{d.a: onlyHere, d.b: onlyThere}[n]} {
			for _, v := range []string{"x", "y"} {
				if _, err := n.vol(v).WriteAt(context.Background(), b, region*regionSize, true); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	d.heal()
	d.a.await(PSUE, "x", "y")
	d.b.await(PSUE, "x", "y")
	for _, n := range []*node{d.a, d.b} {
		if st := n.status("x"); st.Suspend != BothWritten || !strings.Contains(st.LastError, "discard=") {
			t.Fatalf("%s says %s (%s): %s", n.cfg.Name, st.Status, st.Suspend, st.LastError)
		}
	}
	if e := d.a.status("x").LastError; !strings.Contains(e, "lacks") || !strings.Contains(e, "sequence number") {
		t.Errorf("the histories are not told: %s", e)
	}
	d.a.writesRefused("x", "y")
	if err := d.b.vol("x").Writable(); err != nil {
		t.Fatalf("hosts lost the volume that they were switched to: %v", err)
	}
	refused(t, d.a.site.ResyncGroup(context.Background(), "g"), KindBusy)
	refused(t, d.b.site.ResyncGroupWith(context.Background(), "g@tokyo", ResyncOptions{Swap: true}), KindBusy)
	return d, here, there
}

// kept returns the content of the kept image of pair x of the site at an offset, keptOf that of a pair.
func (n *node) kept(off int64, length int) string {
	n.t.Helper()
	return n.keptOf("x", off, length)
}

func (n *node) keptOf(pair string, off int64, length int) string {
	n.t.Helper()
	all, err := filepath.Glob(filepath.Join(n.cfg.StateDir, "kept", pair+"-*", "image"))
	if err != nil || len(all) != 1 {
		n.t.Fatalf("kept images: %v, %v", all, err)
	}
	f, err := os.Open(all[0])
	must(n.t, err)
	defer f.Close()
	b := make([]byte, length)
	if _, err := f.ReadAt(b, off); err != nil {
		n.t.Fatal(err)
	}
	return string(b)
}

// TestBothWrote: nothing is chosen; the operator chooses, at either side, and what loses is kept.
func TestBothWrote(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		at    string // where the command is given
		lose  Side
		osaka bool // who wins
	}{
		{"at_the_primary_here", "tokyo", SideHere, true},
		{"at_the_primary_there", "tokyo", SideThere, false},
		{"at_the_secondary_here", "osaka", SideHere, false},
		{"at_the_secondary_there", "osaka", SideThere, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			d, here, there := bothWrote(t)
			n, group := d.a, "g"
			if c.at == "osaka" {
				n, group = d.b, "g@tokyo"
			}
			must(t, n.site.ResyncGroupWith(context.Background(), group, ResyncOptions{Discard: c.lose}))
			d.a.awaitBoth(PAIR, "x", "y")
			winner, loser, won, lost, mine, theirs := d.a, d.b, here, there, int64(onlyHere), int64(onlyThere)
			if c.osaka {
				winner, loser, won, lost, mine, theirs = d.b, d.a, there, here, onlyThere, onlyHere
			}
			for _, region := range []int64{5, mine} {
				if got := readAll(t, winner.vol("x"))[region*regionSize:][:len(won)]; string(got) != string(won) {
					t.Fatalf("the winner has %q", got[:40])
				}
			}
			for _, region := range []int64{5, theirs} {
				for _, v := range []string{"x", "y"} {
					if got := loser.keptOf(v, region*regionSize, len(lost)); got != string(lost) {
						t.Fatalf("kept of %s was %q", v, got[:40])
					}
				}
			}
			loser.writesRefused("x", "y")
			if st := winner.status("x"); st.Role != Primary {
				t.Fatalf("the winner is %+v", st)
			}
			d.wantEqual("x", "y")
		})
	}
}

// TestSwapIsUndone: an exchange that comes to nothing lets hosts go on at the primary.
func TestSwapIsUndone(t *testing.T) {
	t.Parallel()
	d, w := twoPaired(t)
	g := d.a.site.groupByName("g")
	g.cmd.Lock()
	f, err := g.holdWrites(context.Background(), 7, fenceMax)
	g.cmd.Unlock()
	must(t, err)
	wrote := make(chan error, 1)
	go func() { wrote <- w.write(context.Background(), 0, 3, 1, false) }()
	d.wait("a host waits", func() bool { return g.fence.Load() == f })
	select {
	case err := <-wrote:
		t.Fatalf("a write was not held: %v", err)
	case <-time.After(50 * time.Millisecond): // it can only be seen that it does not end
	}
	g.letWritesGo(8) // of another exchange
	if g.fence.Load() != f {
		t.Fatal("the token of another exchange let hosts go on")
	}
	g.letWritesGo(7)
	must(t, <-wrote)
	d.a.suspend("g", SuspendOptions{}, "x", "y")
	w.check(d.b, everyAck)
}

// TestSwapWhoseAnswerWasLost: the primary gave its role up and the secondary did not hear of it. Nobody writes; the takeover is given again.
func TestSwapWhoseAnswerWasLost(t *testing.T) {
	t.Parallel()
	d, w := twoPaired(t)
	w.some(newRand(testSeed(t)), 50)
	g := d.a.site.groupByName("g")
	g.cmd.Lock()
	f, err := g.holdWrites(context.Background(), 7, fenceMax)
	must(t, err)
	d.wait("everything has arrived", func() bool { return d.b.groupStatus("g@tokyo").AppendedSeq >= uint64(f.seq) })
	g.takeFence(7)
	err = g.turn(context.Background(), EvSwapped, &exchange{generation: randomID(), last: f.seq})
	g.mu.Lock()
	g.dropFence(f)
	g.mu.Unlock()
	g.cmd.Unlock()
	must(t, err)
	d.a.writesRefused("x", "y")
	d.b.writesRefused("x", "y")
	w.check(d.b, everyAck)
	var said Remarks
	must(t, d.b.site.TakeoverGroup(WithRemarks(context.Background(), &said), "g@tokyo", TakeoverOptions{}))
	w.node = d.b
	w.some(newRand(testSeed(t)), 50)
	if !strings.HasPrefix(said.String(), takeoverSwap) { // it was cut off before that was tried: then it is SSWS, and a resync turns it round
		must(t, d.b.site.ResyncGroupWith(context.Background(), "g@tokyo", ResyncOptions{Swap: true}))
	}
	d.b.awaitBoth(PAIR, "x", "y")
	d.b.suspend("g@tokyo", SuspendOptions{}, "x", "y")
	w.check(d.a, everyAck)
	d.wantEqual("x", "y")
}

// TestKilledBehindAnExchange: what a new primary replays of the time when it was the secondary is not taken for writes of its hosts.
func TestKilledBehindAnExchange(t *testing.T) {
	t.Parallel()
	d, w := twoPaired(t)
	w.some(newRand(testSeed(t)), 50)
	d.b.takeOver("g@tokyo", takeoverSwap)
	w.node = d.b
	d.b.awaitBoth(PAIR, "x", "y")
	d.b.crash(nil) // before the next checkpoint
	d.wait("the link is down", func() bool { return !d.a.linked() })
	d.a.takeOver("g", takeoverSSUS)
	d.b.open()
	d.wait("the old primary knows", func() bool { return d.b.status("x").TakenOver && d.b.status("y").TakenOver })
	for _, v := range []string{"x", "y"} {
		if st := d.b.status(v); st.Suspend != TakenOver || st.Different != 0 {
			t.Errorf("%s is %s (%s) with %d bytes that nobody wrote: %s", v, st.Status, st.Suspend, st.Different, st.LastError)
		}
	}
	must(t, d.a.site.ResyncGroupWith(context.Background(), "g", ResyncOptions{Swap: true}))
	d.a.awaitBoth(PAIR, "x", "y")
	d.a.suspend("g", SuspendOptions{}, "x", "y")
	d.wantEqual("x", "y")
}

// TestTakeoverWhilePrimaryIsSilent: a primary that died a moment ago is connected as far as anybody knows, and does not answer.
func TestTakeoverWhilePrimaryIsSilent(t *testing.T) {
	t.Parallel()
	d, w := twoPaired(t)
	d.wait("everything has arrived", func() bool { st := d.a.groupStatus("g"); return st.PeerDurable == st.AppendedSeq })
	d.wait("the secondary knows that it is PAIR", func() bool { return d.b.status("x").PeerStatus == "PAIR" && d.b.status("y").PeerStatus == "PAIR" })
	d.darken()
	if !d.b.linked() {
		t.Fatal("the secondary knows already")
	}
	var said Remarks
	must(t, d.b.site.TakeoverGroup(WithRemarks(context.Background(), &said), "g@tokyo", TakeoverOptions{Timeout: 500 * time.Millisecond}))
	if !strings.HasPrefix(said.String(), takeoverSSUS) {
		t.Fatalf("the answer is %q", said.String())
	}
	d.b.await(SSWS, "x", "y")
	w.node = d.b
	w.check(d.b, everyAck)
	w.some(newRand(testSeed(t)), 20)
	d.lighten()
	d.wait("the old primary knows", func() bool { return d.a.status("x").TakenOver && d.a.status("y").TakenOver })
	d.a.writesRefused("x", "y")
	must(t, d.b.site.ResyncGroupWith(context.Background(), "g@tokyo", ResyncOptions{Swap: true}))
	d.b.awaitBoth(PAIR, "x", "y")
	d.b.suspend("g@tokyo", SuspendOptions{}, "x", "y")
	d.wantEqual("x", "y")
}

// TestSwapWaitsForPairsAlone: what a split pair still lacks never comes, and is not waited for.
func TestSwapWaitsForPairsAlone(t *testing.T) {
	t.Parallel()
	d, _ := twoPaired(t)
	d.a.suspend("g", SuspendOptions{}, "x", "y")
	g := d.b.site.groupByName("g@tokyo")
	refused(t, g.awaitSeq(context.Background(), g.journal.Marks().LastSeq+5, g.allPairs()), KindBusy)
}

// TestFillIfLost: what a side that is to follow has lost is not in its map: it is behind the number at which this side went on, or its volume is
// no image of one moment, or it does not speak of the pair.
func TestFillIfLost(t *testing.T) {
	for _, c := range []struct {
		last  uint64
		name  string
		image bool
		want  bool
	}{{10, "p", true, false}, {12, "p", true, false}, {9, "p", true, true}, {10, "p", false, true}, {10, "q", true, true}} {
		p := copying(3)
		p.att.bits.reset()
		p.att.bits.set(1)
		ready := &quicwire.ResyncReady{LastSeq: c.last, Pairs: []quicwire.PairState{{Name: c.name, Consistent: c.image}}}
		fillIfLost(ready, 10, []*pair{p})
		if got := p.att.bits.count() == 3; got != c.want || !p.att.bits.test(1) {
			t.Errorf("%+v: whole volume marked: %v", c, got)
		}
	}
}
