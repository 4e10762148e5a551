package replica

import (
	"context"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"pairfs/journal"
	"pairfs/quicwire"
)

// tells counts the events of a site about an object whose text has the words.
func (n *node) tells(object, words string) (count int) {
	for _, e := range n.site.Events() {
		if e.Object == object && strings.Contains(e.Text, words) {
			count++
		}
	}
	return count
}

// stuck makes a duo with a pair whose delete at the site cannot come to its end while fail is set.
func stuck(t *testing.T, site string) (d *duo, w *writer, fail *atomic.Bool) {
	fail = &atomic.Bool{}
	d = newDuo(t, withStores(site, probe(func(volume, what string, _ []byte, _ int64) error {
		if volume == "x" && what == "write" && fail.Load() {
			return unix.ENOSPC
		}
		return nil
	})))
	d.a.group("g")
	for _, v := range []string{"x", "y"} {
		d.a.volume(v)
		d.a.pair("g", v)
	}
	w = newWriter(d.a, "x", "y")
	fail.Store(true)
	must(t, w.write(t.Context(), 0, 1, 1, true))
	return d, w, fail
}

// A pair whose delete cannot come to its end goes by itself when the cause is mended. The cause is told once.
func TestDeleteEndsByItself(t *testing.T) {
	t.Parallel()
	d, w, fail := stuck(t, "tokyo")
	left, leave := context.WithCancel(t.Context())
	leave() // who asked did not wait for the end
	if d.a.site.DeletePair(left, "x", DeleteOptions{Force: true}) == nil {
		t.Fatal("a delete that cannot end was said to have ended")
	}
	d.a.await(Deleting, "x")
	p := d.a.site.pairByName("x")
	d.wait("it is tried again", func() bool {
		p.group.cmd.Lock()
		defer p.group.cmd.Unlock()
		return p.releaseWait > releaseRetryMin
	})
	if n := d.a.tells("pair/x", "still being deleted"); n != 1 {
		t.Errorf("the cause was told %d times", n)
	}
	refused(t, d.a.site.ResyncPair(t.Context(), "x"), KindBusy)
	d.wait("the next attempt says what it came to", func() bool { return strings.Contains(d.a.status("x").LastError, "still being deleted") })
	fail.Store(false)
	d.a.await(SMPL, "x")
	d.a.awaitBoth(PAIR, "y")
	w.check(d.a, everyAck)
}

// A secondary that cannot end a delete does not follow any more, so the primary suspends the pair. It goes there when the cause is mended.
func TestDeleteStuckAtSecondary(t *testing.T) {
	t.Parallel()
	if in, ok := peerInput(PairState{Role: Primary, Status: PAIR}, Deleting, NoSuspend, false, true); !ok || in != EvPeerDeleted {
		t.Errorf("a peer that deletes the pair means %s, %v", in, ok)
	}
	d, _, fail := stuck(t, "osaka")
	d.b.await(PSUE, "x") // its store takes nothing
	if d.b.status("x").Why == "" {
		t.Error("it does not say why it is suspended")
	}
	if err := d.a.site.DeletePair(t.Context(), "x", DeleteOptions{}); err == nil {
		t.Fatal("a delete that cannot end was said to have ended")
	}
	d.b.await(Deleting, "x")
	if why := d.b.status("x").Why; why != "" {
		t.Errorf("while it is deleted it is suspended because %q", why)
	}
	d.a.awaitAny([]Status{PSUE, PSUS}, "x") // by what the secondary said of itself last: that its store failed, or that it deletes the pair
	fail.Store(false)
	d.b.await(SMPL, "x")
	must(t, d.a.site.DeletePair(t.Context(), "x", DeleteOptions{}))
	d.a.awaitBoth(SMPL, "x")
}

// A daemon that dies in the middle of a delete ends it when it is back.
func TestDeleteOverRestart(t *testing.T) {
	t.Parallel()
	d, w, fail := stuck(t, "tokyo")
	refused(t, d.a.site.DeletePair(t.Context(), "x", DeleteOptions{}), KindBusy)
	d.a.crash(nil)
	fail.Store(false)
	d.a.open()
	d.a.awaitBoth(SMPL, "x")
	d.a.awaitBoth(PAIR, "y")
	w.check(d.a, everyAck)
}

// Records that are under way for a pair while it is deleted do not end the mirror, and the S-VOL stays what it was at one moment.
func TestDeleteIsQuiet(t *testing.T) {
	t.Parallel()
	d := newDuo(t)
	d.a.group("g")
	for _, v := range []string{"x", "y"} {
		d.a.volume(v)
		d.a.pair("g", v)
	}
	ctx, stop := context.WithCancel(t.Context())
	w := newWriter(d.a, "x", "y")
	var hosts sync.WaitGroup
	hosts.Go(func() {
		for i := int64(0); ctx.Err() == nil; i++ {
			if err := w.write(ctx, int(i%2), i%500, 4, false); err != nil && ctx.Err() == nil {
				t.Error(err)
			}
		}
	})
	must(t, d.a.site.DeletePair(t.Context(), "x", DeleteOptions{}))
	stop()
	hosts.Wait()
	d.wait("the S-VOL of the other pair has everything", func() bool {
		return diffAt(readAll(t, d.a.vol("y")), readAll(t, d.b.vol("y"))) < 0
	})
	w.check(d.a, everyAck)
	must(t, w.h.check(map[int][]byte{0: readAll(t, d.b.vol("x"))}, whatever))
	must(t, d.a.site.DeletePair(t.Context(), "y", DeleteOptions{}))
	d.wait("the restore group goes", func() bool { return d.b.site.groupByName("g@tokyo") == nil })
	for _, n := range []*node{d.a, d.b} {
		for _, group := range []string{"group/g", "group/g@tokyo"} {
			if n.tells(group, "is down") > 0 {
				t.Errorf("%s: the mirror went down for a delete", n.cfg.Name)
			}
		}
	}
}

// The S-VOLs of a group that is deleted are one prefix, as they were in PAIR: all stop at one sequence number, while hosts go on.
func TestI4DeleteOfAGroup(t *testing.T) {
	t.Parallel()
	d := newDuo(t)
	d.a.group("g")
	names := []string{"u", "v", "w", "x", "y", "z"}
	for _, v := range names {
		d.a.volume(v)
		d.a.pair("g", v)
	}
	ctx, stop := context.WithCancel(t.Context())
	w := newWriter(d.a, names...)
	var hosts sync.WaitGroup
	hosts.Go(func() {
		for i := int64(0); ctx.Err() == nil; i++ {
			if err := w.write(ctx, int(i)%len(names), i%500, 1, false); err != nil && ctx.Err() == nil {
				t.Error(err)
			}
		}
	})
	begun := d.b.groupStatus("g@tokyo").AppendedSeq
	d.wait("records are on their way", func() bool { return d.b.groupStatus("g@tokyo").AppendedSeq > begun+20 })
	must(t, d.a.site.DeleteGroup(t.Context(), "g", DeleteOptions{}))
	stop()
	hosts.Wait()
	d.wait("the restore group goes", func() bool { return d.b.site.groupByName("g@tokyo") == nil })
	images := map[int][]byte{}
	for i, v := range names {
		images[i] = readAll(t, d.b.vol(v))
	}
	must(t, w.h.check(images, whatever))
}

// What a peer names to delete is one group's, each pair once; what is not here is deleted already, unless nothing is.
func TestDeleteAsAsked(t *testing.T) {
	t.Parallel()
	d := newDuo(t)
	d.a.group("g")
	d.a.group("h")
	for group, names := range map[string][]string{"g": {"x", "y"}, "h": {"z"}} {
		for _, v := range names {
			d.a.volume(v)
			d.a.pair(group, v)
		}
	}
	ref := func(name string) quicwire.PairRef {
		p := d.b.site.pairByName(name)
		return quicwire.PairRef{Name: name, Generation: p.rec.Generation}
	}
	x, y, z, gone := ref("x"), ref("y"), ref("z"), quicwire.PairRef{Name: "gone", Generation: 1}
	ask := func(refs ...quicwire.PairRef) error {
		return d.b.site.serveDelete(t.Context(), "tokyo", &quicwire.DeletePair{Pairs: refs})
	}
	refused(t, ask(), KindInvalid)
	refused(t, ask(gone, quicwire.PairRef{Name: "x", Generation: x.Generation + 1}), KindNotFound)
	refused(t, ask(x, z), KindInvalid)
	refused(t, d.b.site.serveDelete(t.Context(), "kyoto", &quicwire.DeletePair{Pairs: []quicwire.PairRef{x}}), KindAccess)
	d.a.awaitBoth(PAIR, "x", "y", "z")
	must(t, ask(x, gone, x))
	d.b.await(SMPL, "x")
	d.b.await(PAIR, "y", "z")
	must(t, ask(x, y))
	d.b.await(SMPL, "y")
	d.a.await(PSUS, "x", "y")
	d.a.awaitBoth(PAIR, "z")
}

// A base record that arrives for a pair that is gone, or leaves, changes nothing; an update leaves its number.
func TestRecordsOfALeavingPair(t *testing.T) {
	t.Parallel()
	d := newDuo(t)
	d.a.group("g")
	d.a.volume("x")
	d.a.pair("g", "x")
	d.cut()
	p := d.b.site.pairByName("x")
	g := p.group
	g.mu.Lock()
	p.leaving, p.rec.State.Status = true, Deleting
	seq := g.lastSeq
	g.mu.Unlock()
	s := &pullSession{g: g, ctx: t.Context()}
	for _, number := range []uint32{p.att.number, p.att.number + 1} {
		before := g.journal.Marks().Reserved
		must(t, s.record(&journal.Record{Kind: journal.KindBase, Volume: number, Seq: seq, Length: 4096, Payload: make([]byte, 4096)}, &touched{}))
		if g.journal.Marks().Reserved != before {
			t.Error("a base record for a pair that is not there was journaled")
		}
		must(t, s.record(&journal.Record{Kind: journal.KindUpdate, Volume: number, Seq: seq + 1, Length: 4096, Payload: make([]byte, 4096)}, &touched{}))
		seq++
		if g.lastSeq != seq || p.att.overlay.len() != 0 {
			t.Errorf("sequence number %d, %d extents", g.lastSeq, p.att.overlay.len())
		}
	}
	g.mu.Lock()
	p.leaving = false
	g.mu.Unlock()
	if s.record(&journal.Record{Kind: journal.KindUpdate, Volume: p.att.number, Seq: seq + 1, Length: 4096, Payload: make([]byte, 4096)}, &touched{}) == nil {
		t.Error("a record was left out for a delete that a crash undoes")
	}
}

// Who deletes at one side only hears what that leaves on the other, and the other shows it.
func TestDeleteSaysWhatItLeaves(t *testing.T) {
	t.Parallel()
	d := newDuo(t)
	d.a.group("g")
	for _, v := range []string{"x", "y", "z", "w"} {
		d.a.volume(v)
		d.a.pair("g", v)
	}
	deleted := func(n *node, pair, says string, o DeleteOptions) {
		t.Helper()
		ctx, said := remarked(t)
		must(t, n.site.DeletePair(ctx, pair, o))
		if text := said.String(); !strings.Contains(text, says) || (says == "") != (text == "") {
			t.Errorf("delete of %s at %s says %q, want %q", pair, n.cfg.Name, text, says)
		}
	}
	deleted(d.b, "x", "pair x: tokyo keeps its side, suspended: delete it there too", DeleteOptions{})
	d.a.await(PSUS, "x")
	if st := d.a.status("x"); st.PeerStatus != "SMPL" {
		t.Errorf("tokyo shows %q for what was deleted at osaka", st.PeerStatus)
	}
	deleted(d.a, "y", "", DeleteOptions{Force: true}) // the peer was told
	d.a.awaitBoth(SMPL, "y")
	d.cut()
	deleted(d.b, "z", "pair z: tokyo cannot be told now and keeps its side", DeleteOptions{})
	says(t, d.a.site.DeletePair(t.Context(), "z", DeleteOptions{}), "--force (mode=force)")
	deleted(d.a, "w", "pair w: osaka was not told and keeps its side", DeleteOptions{Force: true})
	d.heal()
	d.wait("each side knows what the other has not", func() bool {
		return d.a.status("z").PeerStatus == "SMPL" && d.b.status("w").PeerStatus == "SMPL"
	})
	deleted(d.b, "w", "", DeleteOptions{})
}

// TestOrphanIsTold: an S-VOL whose create the primary gave up, and could not take back, does not stay COPY for ever, and makes room for the
// next create.
func TestOrphanIsTold(t *testing.T) {
	for name, alone := range map[string]bool{"alone in its group": true, "beside another pair": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, 1)
				ctx, g, tokyo, osaka := context.Background(), w.groups[0], w.sites[0], w.sites[1]
				gone := []string{"x"}
				if alone {
					gone = g.w.names
				}
				for _, v := range gone {
					must(t, tokyo.site.DeletePair(ctx, v, DeleteOptions{}))
					must(t, osaka.site.ReserveVolume(ctx, v, "tokyo"))
				}
				w.net.Cut(osaka.addr, tokyo.addr, true)
				if tokyo.site.CreatePair(ctx, g.pairSpec("x")) == nil {
					t.Fatal("a pair was created without an answer")
				}
				time.Sleep(2 * requestTimeout) // it tries to take that back
				// Most often nothing got through; but what tokyo sends is carried, and may have told osaka already.
				if st := osaka.status("x"); st.Status != COPY && st.Status != PSUE {
					t.Fatalf("the S-VOL is %s", st.Status)
				}
				w.calm()
				w.until("the S-VOL is told", func() bool { return osaka.status("x").Status == PSUE })
				for _, v := range gone {
					w.again("create", func() error { return tokyo.site.CreatePair(ctx, g.pairSpec(v)) })
				}
				w.finish()
			})
		})
	}
}

// TestDeleteOfASplitPairIsHeardOf: the primary hears of a pair that was deleted at the secondary while both were split and the link was down. Nothing
// is replicated and no mirror is opened then, which would say so.
func TestDeleteOfASplitPairIsHeardOf(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1)
		g, tokyo, osaka := w.groups[0], w.sites[0], w.sites[1]
		for _, v := range g.w.names {
			must(t, osaka.site.SuspendPair(context.Background(), v, SuspendOptions{}))
			w.until("both sides are split", func() bool { return tokyo.status(v).Status == PSUS && osaka.status(v).Status == PSUS })
		}
		time.Sleep(2 * askInterval) // whatever was to be asked before is answered
		w.net.Cut(osaka.addr, tokyo.addr, true)
		w.net.Cut(tokyo.addr, osaka.addr, true)
		for _, v := range g.w.names {
			must(t, osaka.site.DeletePair(context.Background(), v, DeleteOptions{}))
		}
		w.calm()
		for _, v := range g.w.names {
			w.until("the primary hears of it", func() bool { return tokyo.status(v).Suspend == DeletePairToRCU })
			must(t, tokyo.site.DeletePair(context.Background(), v, DeleteOptions{}))
		}
	})
}
