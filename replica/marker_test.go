package replica

import (
	"context"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"pairfs/e2e/prefix"
	"pairfs/journal"
)

// TestMarkerRule is the rule of markers, row by row. seq is 10 in all of them.
func TestMarkerRule(t *testing.T) {
	for _, c := range []struct {
		why  string
		f    markerFacts
		want MarkerState
	}{
		{"in PAIR, the peer has not confirmed it", markerFacts{role: Primary, status: PAIR, start: 1, stop: noStop, image: true, restored: 9}, MarkerWaiting},
		{"in PAIR, confirmed", markerFacts{role: Primary, status: PAIR, start: 1, stop: noStop, image: true, restored: 10}, MarkerDone},
		{"the secondary says that its volume is no image any more", markerFacts{role: Primary, status: PAIR, start: 1, stop: noStop, restored: 10}, MarkerWaiting},
		{"the secondary may have deleted the pair", markerFacts{role: Primary, status: PAIR, start: 1, stop: noStop, image: true, unsure: true, restored: 10}, MarkerWaiting},
		{"a flush that ends behind it", markerFacts{role: Primary, status: Suspending, start: 1, stop: 12, image: true, restored: 9}, MarkerWaiting},
		{"split behind it, with everything confirmed", markerFacts{role: Primary, status: PSUS, start: 1, stop: 12, image: true, restored: 12}, MarkerDone},
		{"purged before it was confirmed", markerFacts{role: Primary, status: PSUS, start: 1, stop: 12, image: true, restored: 9}, MarkerBroken},
		{"purged before it was confirmed, and the secondary has it", markerFacts{role: Primary, status: PSUS, start: 1, stop: 12, image: true, there: 11, restored: 9}, MarkerWaiting},
		{"purged before it was confirmed, and the secondary stopped before it", markerFacts{role: Primary, status: PSUS, start: 1, stop: 12, image: true, there: 9, restored: 9}, MarkerBroken},
		{"purged before it was placed", markerFacts{role: Primary, status: PSUS, start: 1, stop: 9, image: true, there: noStop, restored: 9}, MarkerBroken},
		{"suspended by an error before it", markerFacts{role: Primary, status: PSUE, start: 1, stop: 9, image: true, restored: 9}, MarkerBroken},
		{"confirmed, but the S-VOL was given up meanwhile", markerFacts{role: Primary, status: PSUE, start: 1, stop: 12, restored: 10}, MarkerBroken},
		{"resynced since", markerFacts{role: Primary, status: COPY, start: 11, stop: noStop, restored: 20}, MarkerChanged},
		{"resynced since, in PAIR again", markerFacts{role: Primary, status: PAIR, start: 11, stop: noStop, image: true, restored: 20}, MarkerChanged},
		{"being deleted", markerFacts{role: Primary, status: Deleting, start: 1, stop: noStop, image: true, restored: 20}, MarkerChanged},
		{"in PAIR, not arrived or not restored", markerFacts{role: Secondary, status: PAIR, start: 1, stop: noStop, image: true, restored: 9}, MarkerWaiting},
		{"in PAIR, restored", markerFacts{role: Secondary, status: PAIR, start: 1, stop: noStop, image: true, restored: 10}, MarkerDone},
		{"in PAIR, given up a moment ago", markerFacts{role: Secondary, status: PAIR, start: 1, stop: noStop, image: true, torn: true, restored: 10}, MarkerBroken},
		{"the first start record has not come", markerFacts{role: Secondary, status: PAIR, stop: noStop, image: true, restored: 10}, MarkerWaiting},
		{"the first copy is under way", markerFacts{role: Secondary, status: COPY, start: 1, stop: noStop, restored: 10}, MarkerWaiting},
		{"a resync was granted", markerFacts{role: Secondary, status: COPY, start: 1, stop: noStop, starting: true, restored: 10}, MarkerChanged},
		{"resynced since", markerFacts{role: Secondary, status: PAIR, start: 11, stop: noStop, image: true, restored: 20}, MarkerChanged},
		{"split before it came", markerFacts{role: Secondary, status: PSUS, start: 1, stop: 9, image: true, restored: 9}, MarkerBroken},
		{"split before it came, other pairs of the group went on", markerFacts{role: Secondary, status: PSUS, start: 1, stop: 9, image: true, restored: 20}, MarkerBroken},
		{"split with it, and still restoring", markerFacts{role: Secondary, status: PSUS, start: 1, stop: 12, image: true, restored: 9}, MarkerWaiting},
		{"split with it, and restored", markerFacts{role: Secondary, status: PSUS, start: 1, stop: 12, image: true, restored: 12}, MarkerDone},
		{"split with it, but its journal failed", markerFacts{role: Secondary, status: PSUE, start: 1, stop: 12, image: true, unmovable: true, restored: 9}, MarkerBroken},
		{"the primary was switched off behind it", markerFacts{role: Secondary, status: PSUE, off: true, start: 1, stop: 12, image: true, restored: 12}, MarkerDone},
		{"the primary was switched off, came back and placed it", markerFacts{role: Secondary, status: PSUE, off: true, start: 1, stop: 9, image: true, restored: 9}, MarkerWaiting},
		{"the copy failed", markerFacts{role: Secondary, status: PSUE, start: 1, stop: 12, restored: 12}, MarkerBroken},
	} {
		c.f.seq = 10
		if got := c.f.state(); got != c.want {
			t.Errorf("%s %s: %s: %s, want %s", c.f.role, c.f.status, c.why, got, c.want)
		}
	}
}

func TestParseMarker(t *testing.T) {
	m := Marker{Name: "g@tokyo", Epoch: 0xabc, Seq: 42}
	if m.String() != "g@tokyo/0000000000000abc-42" {
		t.Errorf("%s", m)
	}
	if back, err := ParseMarker(m.String()); err != nil || back != m {
		t.Errorf("%v, %v", back, err)
	}
	for _, word := range []string{
		"", "g", "g/", "g/-", "/0000000000000abc-42", "g/abc-42", "g/0000000000000ABC-42", "g/0000000000000abc-0", "g/0000000000000abc-042", "g/0000000000000abc",
		"g/0000000000000abc--1", "g/0000000000000abc-18446744073709551615", "g/0000000000000abc-42 ", "a b/0000000000000abc-42", "../x/0000000000000abc-42",
		".g/0000000000000abc-42", "g/0000000000000abc-99999999999999999999",
	} {
		_, err := ParseMarker(word)
		refused(t, err, KindInvalid)
		says(t, err, "is no marker", "NAME/EPOCH-NUMBER")
	}
}

func FuzzParseMarker(f *testing.F) {
	f.Add("g@tokyo/0000000000000abc-42")
	f.Fuzz(func(t *testing.T, word string) {
		if m, err := ParseMarker(word); err == nil && m.String() != word {
			t.Errorf("%q reads as %q", word, m)
		}
	})
}

// now is a context that has ended: it asks for the state at once.
func now() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}

// marker places a marker of a pair, or of a group when no pair has the name.
func (n *node) marker(name string) Marker {
	n.t.Helper()
	place := n.site.MarkGroup
	if n.site.pairByName(name) != nil {
		place = n.site.MarkPair
	}
	m, err := place(context.Background(), name)
	must(n.t, err)
	return m
}

// state is what the site knows of a marker now.
func (n *node) state(m Marker) MarkerState {
	n.t.Helper()
	st, err := n.site.WaitMarker(now(), m)
	must(n.t, err)
	return st.State
}

// awaitMarker waits for a marker until it is no longer waiting.
func (n *node) awaitMarker(m Marker, want MarkerState) MarkerStatus {
	n.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 40*time.Second)
	defer cancel()
	st, err := n.site.WaitMarker(ctx, m)
	if err != nil || st.State != want {
		(&duo{t: n.t, a: n, b: n.other}).dump()
		n.t.Fatalf("%s: marker %s is %+v, %v; want %s", n.cfg.Name, m, st, err, want)
	}
	return st
}

// before demands what was acknowledged up to now.
func (h *history) before() atLeast {
	return prefix.Before(h.Now())
}

// TestMarker: what was acknowledged before a marker is at the S-VOLs when either side says that it is done, while hosts go on.
func TestMarker(t *testing.T) {
	t.Parallel()
	d, w, rng := differ(t)
	for i, name := range []string{"g", "x", "y", "g"} {
		w.some(rng, 30)
		must := w.h.before()
		m := d.a.marker(name)
		w.some(rng, 10)
		at := []*node{d.a, d.b}[i%2]
		st := at.awaitMarker(m, MarkerDone)
		w.checkStill(d.b, "g@tokyo", must)
		st2 := at.other.awaitMarker(m, MarkerDone)
		for _, st := range []MarkerStatus{st, st2} {
			if want := map[string]int{"g": 2}[name] + map[string]int{"x": 1, "y": 1}[name]; len(st.Pairs) != want || st.Restored < m.Seq || st.Note == "" {
				t.Errorf("%+v", st)
			}
		}
	}
	m := d.a.marker("g")
	d.a.awaitMarker(m, MarkerDone)
	for _, n := range []*node{d.a, d.b} {
		n.reopen()
	}
	d.a.awaitMarker(m, MarkerDone)
	d.b.awaitMarker(m, MarkerDone)
	d.b.crash(nil)
	d.b.open()
	d.b.awaitMarker(m, MarkerDone)
}

// TestMarkerIsDurable: a marker is given when it is on the disk, and not before.
func TestMarkerIsDurable(t *testing.T) {
	t.Parallel()
	disk := &gateFS{FS: journal.OS}
	d, _, _ := differ(t, withJournal("tokyo", disk))
	open := disk.shut()
	g := d.a.site.groupByName("g")
	last := g.journal.Marks().LastSeq
	placed := make(chan Marker, 1)
	go func() {
		m, err := d.a.site.MarkPair(context.Background(), "x")
		if at := g.journal.Marks().DurableSeq; err != nil || uint64(at) < m.Seq {
			t.Errorf("marker %s was given when %d was durable: %v", m, at, err)
		}
		placed <- m
	}()
	d.wait("the marker is in the order, and a flush waits", func() bool { return g.journal.Marks().AppendedSeq > last && disk.waits.Load() > 0 })
	open()
	d.a.awaitMarker(<-placed, MarkerDone)
}

// TestMarkerIsCheckpointed: what is written to the S-VOLs' stores and not flushed there is not restored yet, on either side.
func TestMarkerIsCheckpointed(t *testing.T) {
	t.Parallel()
	var armed atomic.Bool
	flushes, goOn := make(chan struct{}, 1), make(chan struct{})
	d, w, _ := differ(t, withStores("osaka", probe(func(_, what string, _ []byte, _ int64) error {
		if what == "sync" && armed.Load() {
			select {
			case flushes <- struct{}{}:
			default:
			}
			<-goOn
		}
		return nil
	})))
	there := d.b.site.groupByName("g@tokyo")
	restore := there.stopRestore()
	must(t, w.write(t.Context(), 0, 3, 1, true))
	m := d.a.marker("g")
	d.wait("the marker is durable there", func() bool {
		return uint64(there.journal.Marks().DurableSeq) >= m.Seq && d.b.lastSeq("g@tokyo") >= journal.Seq(m.Seq)
	})
	armed.Store(true)
	restore()
	<-flushes // so everything before the marker is in the stores
	for _, n := range []*node{d.a, d.b} {
		if st := n.state(m); st != MarkerWaiting {
			t.Errorf("%s says %s", n.cfg.Name, st)
		}
	}
	armed.Store(false)
	close(goOn)
	d.a.awaitMarker(m, MarkerDone)
	d.b.awaitMarker(m, MarkerDone)
}

// TestMarkerRefused: where a marker would promise nothing, none is placed.
func TestMarkerRefused(t *testing.T) {
	t.Parallel()
	d, _, _ := differ(t)
	ctx := context.Background()
	last := d.a.site.groupByName("g").journal.Marks().LastSeq
	for _, c := range []struct {
		place func(context.Context, string) (Marker, error)
		name  string
		kind  Kind
		says  string
	}{
		{d.a.site.MarkPair, "z", KindNotFound, "there is no pair z"},
		{d.a.site.MarkGroup, "z", KindNotFound, "there is no group z"},
		{d.b.site.MarkPair, "x", KindSecondary, "run it at tokyo"},
		{d.b.site.MarkGroup, "g@tokyo", KindSecondary, "run it at tokyo"},
	} {
		_, err := c.place(ctx, c.name)
		refused(t, err, c.kind)
		says(t, err, c.says)
	}
	d.a.group("empty")
	_, err := d.a.site.MarkGroup(ctx, "empty")
	refused(t, err, KindBusy)
	says(t, err, "group empty has no pairs")
	if now := d.a.site.groupByName("g").journal.Marks().LastSeq; now != last {
		t.Errorf("a marker that was refused took number %d", now)
	}
	must(t, d.a.site.SuspendPair(ctx, "y", SuspendOptions{}))
	d.a.awaitBoth(PSUS, "y")
	for name, place := range map[string]func(context.Context, string) (Marker, error){"y": d.a.site.MarkPair, "g": d.a.site.MarkGroup} {
		_, err := place(ctx, name)
		refused(t, err, KindBusy)
		says(t, err, "pair y is PSUS here", "resync it")
	}
	d.a.awaitMarker(d.a.marker("x"), MarkerDone) // of a pair that is replicated alone

	m := d.a.marker("x")
	m.Name = "other"
	m.Epoch++
	_, err = d.a.site.WaitMarker(now(), m)
	refused(t, err, KindNotFound)
	says(t, err, m.String(), "of another site")
	for _, name := range []string{"x", "g"} {
		if m.Name = name; d.a.state(m) != MarkerChanged || d.b.state(m) != MarkerChanged {
			t.Errorf("a marker of another history of %s: %s here, %s there", name, d.a.state(m), d.b.state(m))
		}
	}
}

// TestMarkerBroken: what was suspended before the marker was restored says so, for ever, whatever becomes of other pairs of its group.
func TestMarkerBroken(t *testing.T) {
	t.Parallel()
	d, w, rng := differ(t)
	ctx := context.Background()
	d.cut()
	w.some(rng, 20)
	x, y, g := d.a.marker("x"), d.a.marker("y"), d.a.marker("g")
	for _, m := range []Marker{x, y, g} {
		for _, n := range []*node{d.a, d.b} {
			st, err := n.site.WaitMarker(now(), m)
			if err != nil || st.State != MarkerWaiting || !strings.Contains(st.Note, "the mirror is down") {
				t.Errorf("%s: %+v, %v", n.cfg.Name, st, err)
			}
		}
	}
	must(t, d.a.site.SuspendGroup(ctx, "g", SuspendOptions{Purge: true}))
	for _, m := range []Marker{x, y, g} {
		if st := d.a.awaitMarker(m, MarkerBroken); !strings.Contains(st.Note, "PSUS (P-VOL by operator)") {
			t.Errorf("%+v", st)
		}
	}
	d.heal()
	d.b.await(PSUS, "x", "y")
	for _, m := range []Marker{x, y, g} {
		d.b.awaitMarker(m, MarkerBroken)
	}
	d.a.resyncPair("x") // its start carries the marks of the group over the marker of y
	w.some(rng, 20)
	d.a.awaitMarker(d.a.marker("x"), MarkerDone)
	for _, n := range []*node{d.a, d.b} {
		n.awaitMarker(x, MarkerChanged)
		n.awaitMarker(y, MarkerBroken)
		n.awaitMarker(g, MarkerChanged)
		n.reopen()
		n.awaitMarker(y, MarkerBroken)
	}
	d.a.resync("g", "x", "y")
	for _, n := range []*node{d.a, d.b} {
		n.awaitMarker(y, MarkerChanged)
	}
}

func (n *node) resyncPair(name string) {
	n.t.Helper()
	must(n.t, n.site.ResyncPair(context.Background(), name))
	n.awaitBoth(PAIR, name)
}

// TestMarkerChanged: a marker is of one history. A split leaves it as it is, and so does a pair that joins its group.
func TestMarkerChanged(t *testing.T) {
	t.Parallel()
	d, w, rng := differ(t)
	ctx := context.Background()
	w.some(rng, 10)
	x, g := d.a.marker("x"), d.a.marker("g")
	d.a.awaitMarker(g, MarkerDone)
	d.b.awaitMarker(g, MarkerDone)
	d.a.volume("n")
	d.a.pair("g", "n")
	both := func(m Marker, want MarkerState) {
		t.Helper()
		for _, n := range []*node{d.a, d.b} {
			n.awaitMarker(m, want)
		}
	}
	both(g, MarkerDone)
	three := d.a.marker("g")
	both(three, MarkerDone)
	d.a.suspend("g", SuspendOptions{}, "x", "y", "n")
	both(g, MarkerDone)
	both(three, MarkerDone)
	must(t, d.a.site.DeletePair(ctx, "n", DeleteOptions{}))
	d.b.await(SMPL, "n")
	both(g, MarkerDone)
	both(three, MarkerChanged)
	d.a.resyncPair("y")
	both(x, MarkerDone)
	both(g, MarkerChanged)
	d.a.resyncPair("x")
	both(x, MarkerChanged)

	// One that is waited for while its pair goes.
	d.cut()
	x = d.a.marker("x")
	there := d.b.site.groupByName("g@tokyo")
	there.mu.Lock()
	there.moves()
	there.mu.Unlock()
	ended := make(chan MarkerStatus, 1)
	go func() {
		st, err := d.b.site.WaitMarker(ctx, x)
		if err != nil {
			t.Error(err)
		}
		ended <- st
	}()
	d.wait("somebody waits for it", func() bool {
		there.mu.Lock()
		defer there.mu.Unlock()
		return there.moved != nil
	})
	must(t, d.b.site.DeletePair(ctx, "x", DeleteOptions{Force: true}))
	if st := <-ended; st.State != MarkerChanged {
		t.Errorf("%+v", st)
	}
	must(t, d.a.site.DeletePair(ctx, "x", DeleteOptions{Force: true}))
	_, err := d.a.site.WaitMarker(now(), x)
	refused(t, err, KindNotFound)
	d.heal()
	d.a.pair("g", "x")
	both(x, MarkerChanged)
}

// TestMarkerOfAGivenUpVolume: the primary does not take for restored what its S-VOL did not take, at no moment.
func TestMarkerOfAGivenUpVolume(t *testing.T) {
	t.Parallel()
	var sick atomic.Bool
	d, w, rng := differ(t, withStores("osaka", probe(func(volume, what string, _ []byte, _ int64) error {
		if sick.Load() && volume == "x" && what != "sync" {
			return unix.EIO
		}
		return nil
	})))
	must(t, d.b.site.SetPair(t.Context(), "x", map[string]string{"error-level": "lu"}))
	there := d.b.site.groupByName("g@tokyo")
	there.cmd.Lock() // that it was given up is not stored yet
	letGo := sync.OnceFunc(there.cmd.Unlock)
	defer letGo()
	sick.Store(true)
	w.some(rng, 20)
	x, y := d.a.marker("x"), d.a.marker("y")
	d.wait("the volume is given up", func() bool { return there.givingUp() != nil })
	d.wait("the markers are there", func() bool { return d.b.lastSeq("g@tokyo") >= journal.Seq(y.Seq) })
	for range 3 {
		must(t, there.restorePass())
		must(t, there.doCheckpoint(t.Context()))
		d.b.awaitMarker(x, MarkerBroken)
		if st := d.a.state(x); st != MarkerWaiting {
			t.Fatalf("the primary says %s", st)
		}
	}
	letGo()
	d.a.awaitMarker(x, MarkerBroken)
	d.b.awaitMarker(x, MarkerBroken)
	d.a.awaitMarker(y, MarkerDone)
	d.b.awaitMarker(y, MarkerDone)
}

// TestMarkerOfADeletedVolume: nor for restored what an S-VOL dropped because its pair had been deleted there, although the secondary has
// confirmed the number, and the primary has not obeyed yet what it heard of the pair.
func TestMarkerOfADeletedVolume(t *testing.T) {
	t.Parallel()
	d, w, rng := differ(t)
	ctx := context.Background()
	g := d.a.site.groupByName("g")
	g.cmd.Lock()
	must(t, d.b.site.DeletePair(ctx, "x", DeleteOptions{}))
	w.some(rng, 20)
	x, y := d.a.marker("x"), d.a.marker("y")
	d.a.awaitMarker(y, MarkerDone)
	if st := d.a.state(x); st != MarkerWaiting {
		t.Errorf("the primary says %s", st)
	}
	g.cmd.Unlock()
	d.a.awaitMarker(x, MarkerBroken)
	d.a.awaitMarker(y, MarkerDone)
	// The marker is broken as soon as the primary hears of it, a moment before that is its state.
	d.wait("the primary is split by that", func() bool { return d.a.status("x").Suspend == DeletePairToRCU })

	// The same where the secondary deleted the pair while the link was down.
	d.cut()
	must(t, d.b.site.DeletePair(ctx, "y", DeleteOptions{}))
	y = d.a.marker("y")
	d.heal()
	d.a.awaitMarker(y, MarkerBroken)
}

// TestMarkerConfirmedLate: the pair is purged when the marker has arrived and is not restored yet. Both sides come to the same; a primary that
// does not hear the secondary says that it does not know.
func TestMarkerConfirmedLate(t *testing.T) {
	t.Parallel()
	for _, lost := range []bool{false, true} {
		d, w, rng := differ(t)
		ctx := context.Background()
		w.some(rng, 20)
		own := d.b.site.groupByName("g@tokyo")
		goOn := own.stopRestore() // nothing is restored
		m := d.a.marker("g")
		d.wait("it has arrived", func() bool {
			own.mu.Lock()
			defer own.mu.Unlock()
			return own.lastSeq >= journal.Seq(m.Seq)
		})
		if lost {
			d.cut()
		}
		must(t, d.a.site.SuspendGroup(ctx, "g", SuspendOptions{Purge: true}))
		if lost {
			if st := d.a.awaitMarker(m, MarkerBroken); !strings.Contains(st.Note, "whether it has restored it since is not known here") {
				t.Errorf("%+v", st)
			}
		} else {
			if st := d.a.state(m); st != MarkerWaiting {
				t.Errorf("the primary, which hears the secondary, says %s", st)
			}
		}
		goOn()
		d.b.awaitMarker(m, MarkerDone)
		if lost {
			if st := d.a.state(m); st != MarkerBroken {
				t.Errorf("the primary cannot know, and says %s", st)
			}
			d.heal()
		}
		d.wait("the primary has heard of it", func() bool { return d.a.state(m) == MarkerDone })
		d.wait("and stored that", func() bool { return !d.a.site.groupByName("g").unstored.Load() })
		d.a.reopen()
		d.a.awaitMarker(m, MarkerDone)
	}
}

// TestMarkerWithOlderPeer: a peer that knows of no markers gets a skip, and the primary knows what is restored all the same.
func TestMarkerWithOlderPeer(t *testing.T) {
	t.Parallel()
	for _, older := range []string{"tokyo", "osaka"} {
		d, w, rng := differ(t, func(name string, c *Config) { c.older = name == older })
		w.some(rng, 20)
		must := w.h.before()
		m := d.a.marker("g")
		marks := func(n *node, group string) (count int) {
			_ = records(n.site.groupByName(group), func(rec *journal.Record) error {
				if rec.Kind == journal.KindControl && controlOp(rec.Payload[0]) == controlMark {
					count++
				}
				return nil
			})
			return count
		}
		if n := marks(d.a, "g"); n != 1 {
			t.Fatalf("%d markers in the journal of the primary", n)
		}
		d.wait("it is there", func() bool { return d.b.lastSeq("g@tokyo") >= journal.Seq(m.Seq) })
		if n := marks(d.b, "g@tokyo"); n != 0 {
			t.Errorf("%s is older, and %d markers were sent", older, n)
		}
		d.a.awaitMarker(m, MarkerDone)
		d.b.awaitMarker(m, MarkerDone)
		w.checkStill(d.b, "g@tokyo", must)
		d.a.awaitBoth(PAIR, "x", "y")
	}
}
