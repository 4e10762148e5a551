package replica

import (
	"bytes"
	"errors"
	"sync"
	"testing"
	"time"

	"pairfs/journal"
)

// Two pairs of a split group may be taken up again one right after the other, before the mirror brings the first start record: it leaves
// out numbers although the second pair is replicated already, which has its own start record to come.
func TestJumpOverAPairThatStartingItsStart(t *testing.T) {
	g := &group{role: Secondary, pairs: map[string]*pair{}}
	for i, name := range []string{"a", "b"} {
		g.pairs[name] = &pair{rec: pairRecord{Number: uint32(i + 1), StartSeq: 5, Starting: true, State: PairState{Role: Secondary, Status: COPY}}}
	}
	start := control{op: controlStart, numbers: []uint32{1}}
	if !g.mayJump(start) {
		t.Error("the start of one of two pairs is refused")
	}
	g.pairs["b"].rec.Starting = false
	if g.mayJump(start) {
		t.Error("numbers of a pair that is replicated were left out")
	}
}

// What a control record says is stored only after it is durable. Until then a checkpoint may pass over it, but the journal keeps it, and a
// restart obeys it.
func TestControlKeptUntilObeyed(t *testing.T) {
	d := newDuo(t)
	d.a.group("g")
	d.a.volume("v")
	d.a.pair("g", "v")
	g := d.b.site.groupByName("g@tokyo")
	g.cmd.Lock() // the pull cannot obey
	letGo := sync.OnceFunc(g.cmd.Unlock)
	defer letGo()
	must(t, d.a.site.SuspendGroup(t.Context(), "g", SuspendOptions{SVOLWrite: true}))
	d.wait("the suspend record is there", func() bool {
		g.mu.Lock()
		defer g.mu.Unlock()
		return g.keeping
	})
	for range 3 {
		must(t, g.journal.Sync(t.Context(), g.journal.Marks().Reserved))
		must(t, g.restorePass())
		must(t, g.doCheckpoint(t.Context()))
	}
	d.b.crash(letGo)
	d.b.open()
	d.b.await(PSUS, "v")
	if st := d.b.status("v"); !st.SVOLWrite {
		t.Fatalf("the suspend record was not obeyed: %+v", st)
	}
}

// A group may have been without pairs, or split with no link, for longer than path watch time: that is no reason to suspend a pair that is
// new or was just taken up again.
func TestPathWatchBeginsWithThePair(t *testing.T) {
	g := &group{site: &Site{slots: newCopySlots()}, role: Primary, pairs: map[string]*pair{}, facts: factQueue{wake: make(chan struct{}, 1)}, linkChange: time.Now().Add(-time.Hour)}
	g.opts.Store(&GroupOptions{PathWatch: time.Minute})
	p := copying(1)
	p.group = g
	p.rec.State.Status = PSUS
	g.pairs["p"] = p
	out := Step(p.rec.State, CmdResync)
	g.enter(p, CmdResync, out, runOptions{})
	g.watchPairs()
	if facts := g.facts.take(); len(facts) != 0 {
		t.Fatalf("reported %v", facts[0].input)
	}
	g.linkChange = time.Now().Add(-time.Hour)
	g.watchPairs()
	if len(g.facts.take()) != 1 {
		t.Fatal("a mirror that stays down is not reported")
	}
}

// A secondary that lost its journal says that it has restored what a checkpoint covered, and not all that it had received.
func TestRestoredAfterJournalMadeAnew(t *testing.T) {
	d := newDuo(t)
	s := d.a.site
	g := s.newGroup("x", groupRecord{Role: Secondary, Size: journalMin, Volumes: 1, RingSize: ringMin})
	must(t, g.create())
	must(t, g.open(marksRecord{Seq: 10, LastSeq: 20}))
	defer g.journal.Close()
	if g.restoredSeq != 10 || g.lastSeq != 20 {
		t.Fatalf("restored %d, received %d", g.restoredSeq, g.lastSeq)
	}
	if m, err := load[marksRecord](s.db, bucketMarks); err != nil || m["x"].Seq != 10 || m["x"].LastSeq != journal.Seq(10) {
		t.Fatalf("stored %+v, %v", m["x"], err)
	}
}

// The mirror may be lost while a control record that has arrived waits for the disk: it is in the restore journal then, so it is obeyed and counts
// as received. The primary would send it again otherwise, to a journal that has its number, for ever.
func TestControlOverALostMirror(t *testing.T) {
	t.Parallel()
	disk := &gateFS{FS: journal.OS}
	d, w, _ := differ(t, withJournal("osaka", disk))
	g := d.b.site.groupByName("g@tokyo")
	open := disk.shut()
	must(t, w.write(t.Context(), 0, 3, 1, true))
	d.wait("a flush waits at the secondary", func() bool { return disk.waits.Load() > 0 })
	must(t, d.a.site.SuspendPair(t.Context(), "x", SuspendOptions{SVOLWrite: true}))
	stop := d.a.site.groupByName("g").journal.Marks().LastSeq
	d.wait("the suspend record has arrived", func() bool { return g.journal.Marks().AppendedSeq >= stop })
	d.cut()
	open()
	d.heal()
	d.b.await(PSUS, "x")
	if st := d.b.status("x"); !st.SVOLWrite || st.SuspendSeq != uint64(stop) {
		t.Errorf("the suspend record, number %d, was not obeyed: %+v", stop, st)
	}
	must(t, w.write(t.Context(), 1, 5, 1, true))
	last := d.a.groupStatus("g").AppendedSeq
	d.wait("the other pair goes on", func() bool { return d.a.groupStatus("g").PeerDurable >= last })
	d.a.awaitBoth(PSUS, "x")
	d.a.resync("g", "x", "y")
	d.a.suspend("g", SuspendOptions{}, "x", "y")
	w.check(d.b, everyAck)
}

// All pairs that one suspend record names are split in one step: the primary takes what is confirmed of that number for all of them.
func TestControlIsOneStep(t *testing.T) {
	t.Parallel()
	d, _, _ := differ(t)
	d.cut()
	g := d.b.site.groupByName("g@tokyo")
	numbers := []uint32{d.b.site.pairByName("x").att.number, d.b.site.pairByName("y").att.number}
	g.commitMu.Lock()
	obey := begin(func() error {
		return g.obeyControl(d.b.lastSeq("g@tokyo")+1, control{op: controlSuspend, typ: PVOLByOperator, numbers: numbers})
	})
	err := waitFor(func() bool { return obey.ended() || obey.in("(*group).commit(") })
	for _, name := range []string{"x", "y"} {
		if st := d.b.site.pairByName(name).sharedState(); st.Status != PSUS {
			t.Errorf("pair %s is %s when the split is stored", name, st.Status)
		}
	}
	g.commitMu.Unlock()
	must(t, err)
	must(t, <-obey.end)
}

// A control record is obeyed when it is durable here, and not before: a power cut would leave a state that names a number which nothing has.
func TestControlIsDurableFirst(t *testing.T) {
	t.Parallel()
	disk := &gateFS{FS: journal.OS}
	d, _, _ := differ(t, withJournal("osaka", disk))
	d.cut()
	g, q := d.b.site.groupByName("g@tokyo"), d.b.site.pairByName("x")
	last := d.b.lastSeq("g@tokyo")
	payload := control{op: controlSuspend, typ: PVOLByOperator, numbers: []uint32{q.att.number}}.encode()
	rec := journal.Record{Kind: journal.KindControl, Seq: last + 1, Length: uint64(len(payload)), Payload: payload, Time: 1}
	rec.CRC = journal.ChecksumRecord(&rec)
	p := &pullSession{g: g, ctx: t.Context(), wake: make(chan struct{}, 1)}
	open := disk.shut()
	take := begin(func() error { return p.record(&rec, &touched{}) })
	err := waitFor(func() bool { return take.ended() || take.in("(*Journal).Sync(") })
	st, at := q.sharedState(), d.b.lastSeq("g@tokyo")
	open()
	must(t, errors.Join(err, <-take.end))
	if st.Status != PAIR || at != last {
		t.Errorf("a record that is not durable made the pair %s, and number %d counts as received behind %d", st.Status, at, last)
	}
	d.b.await(PSUS, "x")
}

// FuzzControl: whatever a control record of a peer has in it, it is refused, or says one thing and is written the same way.
func FuzzControl(f *testing.F) {
	for op := controlOp(1); op <= controlMark; op++ {
		c := control{op: op, typ: JournalOverflow, writable: op == controlSuspend, numbers: []uint32{1, 7}}
		f.Add(c.encode())
	}
	f.Add((&control{op: controlMark}).encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := parseControl(b)
		if err == nil && !bytes.Equal(c.encode(), b) {
			t.Errorf("%x reads as %+v, which is written as %x", b, c, c.encode())
		}
	})
}
