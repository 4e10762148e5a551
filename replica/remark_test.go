package replica

import (
	"context"
	"crypto/rand"
	"strings"
	"testing"
)

// slowCopy makes a duo with pairs of volumes full of data whose copy goes on until the line is let go.
func slowCopy(t *testing.T, pairs ...string) (d *duo, letGo func()) {
	d = newDuo(t)
	d.a.group("g")
	must(t, d.a.site.SetGroup(t.Context(), "g", map[string]string{"line-speed": "200K"}))
	data := make([]byte, duoSize)
	for _, name := range pairs {
		_, _ = rand.Read(data)
		_, err := d.a.volume(name).WriteAt(t.Context(), data, 0, false)
		must(t, err)
		must(t, d.a.site.CreatePair(t.Context(), PairSpec{Name: name, Volume: name, Peer: "osaka", Group: "g"}))
	}
	d.wait("the copy has begun", func() bool { return d.a.groupStatus("g").BaseSent > 0 })
	return d, func() { must(t, d.a.site.SetGroup(context.Background(), "g", map[string]string{"line-speed": "none"})) }
}

// remarked returns a context for commands and what they remark.
func remarked(t *testing.T) (context.Context, *Remarks) {
	r := &Remarks{}
	return WithRemarks(t.Context(), r), r
}

// An S-VOL that leaves its copy half way says so: to who splits or deletes it there, in its status and in the events.
func TestSplitInCopyIsNoImage(t *testing.T) {
	t.Parallel()
	d, letGo := slowCopy(t, "x", "y")
	if st := d.b.status("x"); st.Status != COPY || st.Copied != -1 || st.Consistent {
		t.Errorf("in COPY: %s, %d bytes copied, consistent %v", st.Status, st.Copied, st.Consistent)
	}
	ctx, said := remarked(t)
	must(t, d.b.site.SuspendPair(ctx, "x", SuspendOptions{SVOLWrite: true}))
	const why = "the copy was not complete: volume x is no image of anything yet"
	if text := said.String(); !strings.Contains(text, "pair x: "+why+"; resync from the primary") || strings.Contains(text, "volume y") {
		t.Errorf("the suspend says %q", text)
	}
	if st := d.b.status("x"); st.Copied != -1 || st.Consistent {
		t.Errorf("split: %d bytes copied, consistent %v", st.Copied, st.Consistent)
	}
	d.a.await(PSUS, "x")
	ctx, said = remarked(t)
	must(t, d.b.site.DeletePair(ctx, "x", DeleteOptions{}))
	if text := said.String(); !strings.Contains(text, why) {
		t.Errorf("the delete says %q", text)
	}
	if d.b.tells("pair/x", why) != 2 || d.b.tells("pair/x", "volume x is SMPL, and no image of anything") != 1 {
		t.Error("the events do not say it")
	}
	const there = "the S-VOL at osaka is no image of one moment"
	ctx, said = remarked(t)
	must(t, d.a.site.SuspendPair(ctx, "y", SuspendOptions{}))
	if text := said.String(); !strings.Contains(text, "pair y: "+there+"; resync from the primary") {
		t.Errorf("the suspend at the primary says %q", text)
	}
	d.wait("the primary has heard of the delete", func() bool { return d.a.status("x").Suspend == DeletePairToRCU })
	ctx, said = remarked(t)
	must(t, d.a.site.DeletePair(ctx, "x", DeleteOptions{}))
	if text := said.String(); text != "" {
		t.Errorf("the delete of what is deleted there says %q", text)
	}
	d.a.awaitBoth(PSUS, "y")
	letGo()
	must(t, d.a.site.ResyncPair(ctx, "y"))
	d.a.awaitBoth(PAIR, "y")
	ctx, said = remarked(t)
	must(t, d.b.site.SuspendPair(ctx, "y", SuspendOptions{}))
	if st := d.b.status("y"); said.String() != "" || st.Copied != duoSize || !st.Consistent {
		t.Errorf("a whole image: %q, %d bytes copied", said, st.Copied)
	}
}

// The rate of a copy that was under way when the daemon ended is measured anew when it goes on.
func TestRateAfterARestartInCopy(t *testing.T) {
	t.Parallel()
	d, letGo := slowCopy(t, "x")
	d.a.reopen()
	d.wait("the copy shows its rate", func() bool {
		st := d.a.status("x")
		return st.Status == COPY && st.CopyRate > 0 && st.ETA > 0
	})
	letGo()
	d.a.awaitBoth(PAIR, "x")
}

// A secondary without a mirror does not know how far it is behind; the primary does.
func TestLagIsNotKnownWithoutAMirror(t *testing.T) {
	t.Parallel()
	d := newDuo(t)
	d.a.group("g")
	d.a.volume("x")
	d.a.pair("g", "x")
	w := newWriter(d.a, "x")
	must(t, w.write(t.Context(), 0, 1, 1, true))
	d.wait("the lag is known, and none", func() bool {
		st := d.b.status("x")
		return st.LagKnown && st.LagTime == 0 && st.LagSeq == 0
	})
	d.wait("the primary knows that all arrived", func() bool { return d.a.status("x").LagSeq == 0 })
	d.cut()
	if st := d.b.status("x"); st.LagKnown || st.LagTime <= 0 {
		t.Errorf("the secondary says %v, known: %v", st.LagTime, st.LagKnown)
	}
	d.wait("the primary has nothing outstanding", func() bool {
		st := d.a.status("x")
		return st.LagKnown && st.LagTime == 0 && st.LagSeq == 0
	})
	g := d.a.site.groupByName("g")
	last := g.journal.Marks().AppendedSeq
	g.mu.Lock()
	g.linked, g.aliveAt = true, g.aliveAt.Add(-keepAlive) // as while the loss of the link has not been noticed
	g.mu.Unlock()
	g.keepAlive()
	g.mu.Lock()
	g.linked = false
	g.mu.Unlock()
	if st := d.a.status("x"); g.journal.Marks().AppendedSeq != last+1 || st.LagTime != 0 || st.LagSeq != 0 {
		t.Errorf("a keep-alive record that did not arrive is a lag of %v, %d records", st.LagTime, st.LagSeq)
	}
	must(t, w.write(t.Context(), 0, 2, 1, true))
	if st := d.a.status("x"); st.LagTime <= 0 || st.LagSeq != 1 {
		t.Errorf("a write that did not arrive is a lag of %v, %d records", st.LagTime, st.LagSeq)
	}
	before := d.b.groupStatus("g@tokyo").Usage.LagTime
	d.b.site.groupByName("g@tokyo").lookAtUsage(d.b.site.started)
	if after := d.b.groupStatus("g@tokyo").Usage.LagTime; after != before {
		t.Errorf("a lag that is not known became a sample: %v, %v", before, after)
	}
	d.heal()
	d.wait("the lag is known again, and none", func() bool {
		st := d.b.status("x")
		return st.LagKnown && st.LagTime == 0
	})
	must(t, d.a.site.SuspendPair(t.Context(), "x", SuspendOptions{}))
	d.b.await(PSUS, "x")
	d.cut()
	if st := d.b.status("x"); !st.LagKnown {
		t.Error("a split pair has no lag to know")
	}
}
