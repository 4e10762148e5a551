package replica

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
)

// writable gives which S-VOLs hosts may write at the secondary.
func (d *duo) writable(pairs ...string) (list []bool) {
	for _, p := range pairs {
		list = append(list, d.b.vol(p).Writable() == nil)
	}
	return list
}

// awaitWritable waits until hosts may write the S-VOLs: a moment after the status is seen, when it is durable.
func (d *duo) awaitWritable(pairs ...string) {
	d.t.Helper()
	d.wait("hosts may write the S-VOLs", func() bool { return !slices.Contains(d.writable(pairs...), false) })
}

// TestSVOLWriteAtThePrimary: it is chosen when the split begins, and refused where it would have no effect.
func TestSVOLWriteAtThePrimary(t *testing.T) {
	t.Parallel()
	d, _, _ := differ(t)
	ctx, enable := context.Background(), SuspendOptions{SVOLWrite: true}
	refused(t, d.a.site.SuspendPair(ctx, "x", SuspendOptions{SVOLWrite: true, Purge: true}), KindInvalid)
	must(t, d.a.site.SuspendPair(ctx, "x", SuspendOptions{}))
	d.a.awaitBoth(PSUS, "x")
	err := d.a.site.SuspendPair(ctx, "x", enable)
	if refused(t, err, KindBusy); !strings.Contains(err.Error(), "x is PSUS already") || !strings.Contains(err.Error(), "give it at osaka") {
		t.Errorf("the refusal says %q", err)
	}
	refused(t, d.a.site.SuspendGroup(ctx, "g", enable), KindBusy)
	if d.a.status("y").Status != PAIR {
		t.Error("a refused suspend of the group has split a pair")
	}
	must(t, d.a.site.SuspendPair(ctx, "x", SuspendOptions{})) // a split that is one already
	must(t, d.a.site.SuspendPair(ctx, "y", enable))
	d.a.awaitBoth(PSUS, "y")
	d.awaitWritable("y")
	if w := d.writable("x", "y"); w[0] || !w[1] {
		t.Errorf("writable at the secondary: %v, want y alone", w)
	}
	d.a.resync("g", "x", "y")
	if w := d.writable("x", "y"); w[0] || w[1] {
		t.Errorf("writable after a resync: %v", w)
	}
}

// TestSVOLWriteAtTheSecondary: it goes with a split there and with a pair that is split already, with the primary out of reach too, and it
// holds over a crash. A command that is refused leaves every S-VOL as it was.
func TestSVOLWriteAtTheSecondary(t *testing.T) {
	t.Parallel()
	d, w, _ := differ(t)
	ctx, enable := context.Background(), SuspendOptions{SVOLWrite: true}
	must(t, d.a.site.SuspendPair(ctx, "x", SuspendOptions{}))
	d.a.awaitBoth(PSUS, "x")
	refused(t, d.b.site.SuspendPair(ctx, "y", SuspendOptions{SVOLWrite: true, Purge: true}), KindSecondary)
	refused(t, d.b.site.SuspendGroup(ctx, "g@tokyo", SuspendOptions{SVOLWrite: true, Purge: true}), KindSecondary)
	if got := d.writable("x", "y"); got[0] || got[1] {
		t.Fatalf("a refused suspend has made S-VOLs writable: %v", got)
	}
	d.cut()
	must(t, d.b.site.SuspendGroup(ctx, "g@tokyo", enable))
	must(t, d.b.site.SuspendGroup(ctx, "g@tokyo", SuspendOptions{})) // what is enabled stays
	err := d.b.site.SuspendPair(ctx, "x", SuspendOptions{SVOLRead: true})
	if refused(t, err, KindBusy); !strings.Contains(err.Error(), "until the next resync") {
		t.Errorf("the refusal says %q", err)
	}
	refused(t, d.b.site.SuspendGroup(ctx, "g@tokyo", SuspendOptions{SVOLRead: true}), KindBusy)
	for _, p := range []string{"pair/x", "pair/y"} {
		if d.b.tells(p, "hosts may write") != 1 {
			t.Errorf("%s was told %d times that hosts may write", p, d.b.tells(p, "hosts may write"))
		}
	}
	s := &writer{t: t, node: d.b, names: w.names, h: newHistory()}
	must(t, s.write(ctx, 0, 3, 2, false))
	must(t, s.write(ctx, 1, 90, 2, false))
	d.b.crash(nil)
	d.b.open()
	if got := d.writable("x", "y"); !got[0] || !got[1] {
		t.Fatalf("writable after a crash: %v", got)
	}
	for _, p := range w.names {
		if st := d.b.status(p); !st.SVOLWrite || st.Different != regionSize {
			t.Errorf("%+v", st)
		}
	}
	d.heal()
	d.a.await(PSUS, "x", "y")
	d.wait("the group is linked", d.a.linked)
	d.mend()
}

// TestResyncWaitsForWrites: a resync is granted when no write to the S-VOL is under way any more: it would be in no map that the primary gets.
func TestResyncWaitsForWrites(t *testing.T) {
	t.Parallel()
	d, _, _ := differ(t)
	d.a.suspend("g", SuspendOptions{SVOLWrite: true}, "x", "y")
	g, p := d.b.site.groupByName("g@tokyo"), d.b.site.pairByName("x")
	p.att.vol.mode.RLock() // a host's write has found the volume writable
	grant := begin(func() error {
		g.cmd.Lock()
		defer g.cmd.Unlock()
		return g.run(context.Background(), EvPeerResync, []*pair{p}, runOptions{})
	})
	err := waitFor(func() bool { return grant.ended() || grant.in("(*Volume).barrier(") })
	granted := grant.ended()
	err = errors.Join(err, p.att.obtain(t.Context(), make([]byte, blockSize), 9*regionSize, false))
	p.att.vol.mode.RUnlock()
	must(t, errors.Join(err, <-grant.end))
	if granted {
		t.Error("the resync was granted while a write was under way")
	}
	d.a.resync("g", "x", "y")
	d.a.suspend("g", SuspendOptions{}, "x", "y")
	d.wantEqual("x", "y")
}
