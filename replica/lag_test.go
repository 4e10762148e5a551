package replica

import (
	"context"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"pairfs/journal"
	"pairfs/quicwire"
)

// TestLagCode: what is kept of a lag is right to within 0.1 %, and larger ones stay larger.
func TestLagCode(t *testing.T) {
	rng := newRand(testSeed(t))
	before := uint16(0)
	for v := int64(0); v >= 0 && v < math.MaxInt64/2; v += 1 + v/int64(500+rng.IntN(1000)) {
		c := lagCode(v)
		back := lagValue(c)
		if c < before || back > v || v-back > v/1000 {
			t.Fatalf("%d has code %d, which is %d; the one before has %d", v, c, back, before)
		}
		before = c
	}
	if lagCode(-1) != 0 || lagValue(lagCode(math.MaxInt64)) < math.MaxInt64/1001*1000 {
		t.Error("the ends")
	}
}

// TestLagWindow compares the small window with the exact one.
func TestLagWindow(t *testing.T) {
	rng := newRand(testSeed(t))
	var exact window
	var w lagWindow
	quiet := false
	for n := range 10_000 {
		if n%(lagSamples+50) == 0 {
			quiet = !quiet
		}
		v := int64(0)
		if !quiet && rng.IntN(4) > 0 {
			v = rng.Int64N(1 << rng.IntN(50))
		}
		exact.add(v, lagSamples)
		w.add(v)
		for i, q := range w.quantiles() {
			want := exact.quantile([3]float64{0.5, 0.99, 1}[i])
			if q > want || want-q > want/1000 {
				t.Fatalf("after %d values quantile %d is %d, want %d", n+1, i, q, want)
			}
		}
	}
	for range lagSamples {
		w.add(0)
	}
	if w.ring != nil {
		t.Error("a pair in step still takes memory")
	}
}

// record is the size in the journal of a write of so many blocks.
func recordSize(blocks int) int64 {
	r := journal.Record{Kind: journal.KindUpdate, Length: uint64(blocks) * blockSize}
	return int64(r.Size())
}

// owes checks what the primary owes of each pair, exactly.
func (n *node) owes(want map[string]int64) {
	n.t.Helper()
	for name, bytes := range want {
		st := n.status(name)
		if st.LagBytes != bytes || !st.LagKnown || (st.LagTime > 0) != (bytes > 0) || (st.LagSeq > 0) != (bytes > 0) {
			n.t.Errorf("%s: %d bytes, %d records, %v, known %v; want %d bytes", name, st.LagBytes, st.LagSeq, st.LagTime, st.LagKnown, bytes)
		}
	}
}

// inStep waits until nothing is owed, on either side.
func (d *duo) inStep(names ...string) {
	d.t.Helper()
	for _, n := range []*node{d.a, d.b} {
		for _, name := range names {
			d.wait("pair "+name+" is in step", func() bool {
				st := n.status(name)
				return st.LagKnown && st.LagBytes == 0 && st.LagTime == 0 && st.LagSeq == 0
			})
		}
	}
	for _, name := range names {
		if owed := d.a.vol(name).att.overlay.owed.Load(); owed != 0 {
			d.t.Errorf("%d bytes of %s are owed in step", owed, name)
		}
	}
}

// TestLagOfEachPair: the lag of a pair is that of its own records, and it is the same after a restart.
func TestLagOfEachPair(t *testing.T) {
	t.Parallel()
	d, w, _ := differ(t)
	ctx := t.Context()
	d.inStep("x", "y")
	d.cut()
	for i := range 10 {
		must(t, w.write(ctx, 0, int64(i), 3, false))
	}
	d.a.owes(map[string]int64{"x": 10 * recordSize(3), "y": 0})
	must(t, w.write(ctx, 1, 0, 1, true))
	want := map[string]int64{"x": 10 * recordSize(3), "y": recordSize(1)}
	d.a.owes(want)
	if y, x := d.a.status("y").LagTime, d.a.status("x").LagTime; y > x { // both grow from one look to the next
		t.Errorf("the younger lag is %v, the older %v", y, x)
	}
	x := d.a.status("x").LagTime
	if g := d.a.groupStatus("g"); g.LagBytes < 10*recordSize(3)+recordSize(1) || !g.LagKnown || g.LagTime < x {
		t.Errorf("the group is behind by %d bytes, %v", g.LagBytes, g.LagTime)
	}
	for _, b := range []PairStatus{d.b.status("x"), d.b.status("y")} {
		if b.LagKnown || b.LagBytes != -1 {
			t.Errorf("without a mirror the secondary knows of %d bytes", b.LagBytes)
		}
	}
	d.a.reopen() // without the secondary it cannot send
	d.a.owes(want)
	d.a.crash(nil)
	d.a.open()
	d.a.owes(want)
	d.heal()
	d.inStep("x", "y")
}

// TestOwedComesToNothing: whatever was cut, killed and split in between, in step exactly nothing is owed.
func TestOwedComesToNothing(t *testing.T) {
	t.Parallel()
	d, w, rng := differ(t)
	for range 6 {
		w.some(rng, 1+rng.IntN(60))
		switch rng.IntN(6) {
		case 0:
			d.cut()
			w.some(rng, 1+rng.IntN(60))
			d.heal()
		case 1:
			d.a.crash(nil)
			d.a.open()
		case 2:
			d.b.crash(nil)
			d.b.open()
		case 3:
			d.a.reopen()
		case 4:
			must(t, d.a.site.SuspendPair(context.Background(), "x", SuspendOptions{Purge: true}))
			w.some(rng, 20)
			must(t, d.a.site.ResyncPair(context.Background(), "x"))
		default:
			d.a.suspend("g", SuspendOptions{}, "x", "y")
			w.some(rng, 20)
			must(t, d.a.site.ResyncGroup(context.Background(), "g"))
		}
		w.some(rng, 1+rng.IntN(20))
		d.a.awaitBoth(PAIR, "x", "y")
		d.inStep("x", "y")
	}
}

// TestSecondaryIsToldItsLag: over a slow line the S-VOL shows what the primary knows, for the pair that is behind alone.
func TestSecondaryIsToldItsLag(t *testing.T) {
	t.Parallel()
	d, w, _ := differ(t)
	ctx := context.Background()
	must(t, d.a.site.SetGroup(ctx, "g", map[string]string{"line-speed": "128K"}))
	for i := range 3 {
		must(t, w.write(ctx, 0, int64(i)*256, 256, false))
	}
	d.wait("the secondary is told", func() bool {
		x, y, g := d.b.status("x"), d.b.status("y"), d.b.groupStatus("g@tokyo")
		return x.LagKnown && x.LagBytes > 0 && x.LagBytes <= 3*recordSize(256) && x.LagTime > 0 && y.LagBytes == 0 && y.LagTime == 0 && g.LagBytes >= x.LagBytes
	})
	d.wait("both have it in their quantiles", func() bool {
		a, b := d.a.status("x").Usage, d.b.status("x").Usage
		return a.LagBytes.Max > 0 && a.LagTime.P99 > 0 && b.LagBytes.Max > 0 && b.LagTime.Max > 0 && d.b.groupStatus("g@tokyo").Usage.LagBytes.Max > 0
	})
	must(t, d.a.site.SetGroup(ctx, "g", map[string]string{"line-speed": "none"}))
	d.inStep("x", "y")
}

// TestSentIsBounded: many small batches under way are noted together, and are paid all the same.
func TestSentIsBounded(t *testing.T) {
	a, b := &attachment{overlay: newOverlay()}, &attachment{overlay: newOverlay()}
	g := &group{}
	f := &feedSession{g: g}
	g.session = f
	rng := rand.New(rand.NewPCG(1, 2))
	for seq := journal.Seq(1); seq <= 5*sentMost; seq++ {
		f.parts = nil
		for _, x := range []*attachment{a, b}[rng.IntN(2):] {
			n := int64(64 + rng.IntN(4096))
			x.overlay.owe(n, seq, int64(seq))
			f.note(x, &journal.Record{Seq: seq, Time: int64(seq)}, int(n))
		}
		g.sending(f, seq, seq)
	}
	if n := len(g.sentOut); n != sentMost {
		t.Errorf("%d batches are noted", n)
	}
	g.peerDurable = 100
	g.paySent()
	if first, next := g.oldestSent(); first[b] != (lagRecord{101, 101}) || next != 5*sentMost+1 || g.paidSeq != 100 {
		t.Errorf("oldest %v, next %d, paid up to %d", first[b], next, g.paidSeq)
	}
	g.peerDurable = 5 * sentMost
	g.paySent()
	if a.overlay.owed.Load() != 0 || b.overlay.owed.Load() != 0 || g.sentOut != nil {
		t.Errorf("%d and %d bytes are left", a.overlay.owed.Load(), b.overlay.owed.Load())
	}
}

// TestPeerHoldsPartOfABatch: a session that ended in the middle of a batch leaves nothing owed, and nothing paid twice.
func TestPeerHoldsPartOfABatch(t *testing.T) {
	a := &attachment{overlay: newOverlay()}
	g := &group{}
	send := func(f *feedSession, from, to journal.Seq) {
		f.parts = nil
		for s := from; s <= to; s++ {
			f.note(a, &journal.Record{Seq: s}, 100)
		}
		g.sending(f, from, to)
	}
	a.overlay.owe(3000, 1, 1)
	g.session = &feedSession{g: g}
	send(g.session, 1, 10)
	send(g.session, 11, 20)
	g.cutSent(15) // it holds five of the second batch
	g.session = &feedSession{g: g, counted: g.paidUpTo()}
	send(g.session, 16, 30)
	g.peerDurable = 30
	g.paySent()
	if owed := a.overlay.owed.Load(); owed != 0 {
		t.Errorf("%d bytes are owed", owed)
	}
}

// TestLagToldGrowsOld: between two words of the primary the age goes on; what has arrived since is no lag.
func TestLagToldGrowsOld(t *testing.T) {
	a := &attachment{number: 3}
	g := &group{role: Secondary, linked: true, lastSeq: 10, newestSeq: 10, lastHeard: time.Now()}
	a.group = g
	if l := g.lagsTold(); l.of(a) != (lag{}) {
		t.Errorf("in step: %+v", l.lag)
	}
	g.toldOfLag(&quicwire.MirrorLag{NewestSeq: 15, Bytes: 700, Age: uint64(time.Second), Pairs: []quicwire.PairLag{{Number: 3, Bytes: 500, Age: uint64(time.Second / 2)}}})
	g.told.at = g.told.at.Add(-time.Minute)
	l := g.lagsTold()
	if p := l.of(a); l.seq != 5 || l.bytes != 700 || l.time < time.Minute+time.Second || p.bytes != 500 || p.seq != 5 || p.time < time.Minute || p.time > l.time {
		t.Errorf("group %+v, pair %+v", l.lag, p)
	}
	g.lastSeq = 15
	if l := g.lagsTold(); l.of(a) != (lag{}) {
		t.Errorf("everything arrived: %+v", l.lag)
	}
	g.linked = false
	if l := g.lagsTold(); !l.unknown || l.of(a).bytes != -1 {
		t.Errorf("without a mirror: %+v", l.lag)
	}
}

// TestLagOfAKeepAlive: a keep-alive record that the peer has not confirmed counts as held while nothing follows it, and as outstanding behind that. Its
// age is known then too, whatever the wall clock was set to.
func TestLagOfAKeepAlive(t *testing.T) {
	inPair(t, func(t *testing.T, _ *world, g *simGroup, tokyo, osaka *simSite) {
		osaka.disks.flushes.Store(int64(activeWatch - 5*time.Second)) // it confirms nothing for so long
		time.Sleep(2 * keepAlive)
		must(t, g.w.write(t.Context(), 0, 0, 1, true))
		time.Sleep(2 * keepAlive)
		tokyo.clock.Add(int64(1000 * time.Hour))
		if st := tokyo.groupStatus(g.master()); st.LagSeq < 2 || st.LagTime > activeWatch {
			t.Errorf("it is behind by %d numbers and %v", st.LagSeq, st.LagTime)
		}
		osaka.disks.flushes.Store(0)
	})
}
