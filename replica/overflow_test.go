package replica

import (
	"context"
	"strings"
	"testing"

	"pairfs/e2e/prefix"
)

// TestOverflowEndsAtItsMoment: when a journal overflows, what it holds then still goes to the peer while hosts go on; the S-VOLs end at just
// that moment.
func TestOverflowEndsAtItsMoment(t *testing.T) {
	t.Parallel()
	d, w, rng := differ(t)
	ctx := context.Background()
	must(t, d.a.site.SetGroup(ctx, "g", map[string]string{"inflow-control": "no"}))
	d.a.restoreAll("g")
	goOn := d.b.site.groupByName("g@tokyo").stopRestore()
	defer goOn()
	last := map[uint64]uint64{} // by write: a number that it is not above
	first := map[uint64]uint64{}
	write := func(blocks int) {
		before := d.a.groupStatus("g").AppendedSeq
		must(t, w.write(ctx, rng.IntN(2), int64(rng.IntN(700)), int64(blocks), false))
		o := uint64(w.h.Len())
		first[o], last[o] = before, d.a.groupStatus("g").AppendedSeq
	}
	for st := d.a.status("x"); st.Status != Suspending; st = d.a.status("x") {
		if st.Status.suspended() {
			t.Fatalf("the pair is %s (%s), and what the journal holds was not sent", st.Status, st.Suspend)
		}
		if d.a.groupStatus("g").Used < 13<<20 {
			write(64)
		}
	}
	d.a.await(Suspending, "x", "y")
	for range 20 {
		write(1) // hosts go on
	}
	goOn()
	d.a.awaitBoth(PFUS, "x", "y")
	stop := d.a.status("x").SuspendSeq
	for _, n := range []*node{d.a, d.b} {
		for _, p := range w.names {
			if st := n.status(p); st.SuspendSeq != stop || st.Suspend != JournalOverflow {
				t.Fatalf("%s: pair %s stopped at %d (%s), not at %d", n.cfg.Name, p, st.SuspendSeq, st.Suspend, stop)
			}
		}
	}
	inside, outside := 0, 0
	for o := range last {
		if last[o] <= stop {
			inside++
		}
		if first[o] >= stop {
			outside++
		}
	}
	if inside < 40 || outside < 20 {
		t.Fatalf("%d writes came before the overflow, %d behind it", inside, outside)
	}
	w.check(d.b, func(_ *prefix.History, o *prefix.Write) bool { n, here := last[o.Counter]; return !here || n <= stop })
	all, err := pictures(w.images(d.b))
	must(t, err)
	for _, p := range all {
		for o := range p.Counters(w.h.Run()) {
			if at, here := first[o]; here && at >= stop {
				t.Fatalf("the S-VOL has write %d, behind the overflow", o)
			}
		}
	}
	d.mend()
	w.check(d.b, everyAck)
}

// TestInflowControl: a journal over its high-water mark slows hosts to what the peer takes, and its pairs never are PFUS while it takes
// something.
func TestInflowControl(t *testing.T) {
	t.Parallel()
	d, w, rng := differ(t)
	ctx := context.Background()
	must(t, d.a.site.SetGroup(ctx, "g", map[string]string{"inflow-control": "yes", "overflow-watch": "600s", "line-speed": "24M"}))
	slowed := false
	for range 28 * 4 { // MiB, into a journal of 16
		must(t, w.write(ctx, rng.IntN(2), int64(rng.IntN(900)), 64, false))
		slowed = slowed || d.a.vol("x").slow.Load().on.Load()
	}
	if !slowed || len(d.a.told("group/g", "slowed")) == 0 {
		t.Errorf("hosts wrote more than the journal takes, and were not slowed: %v", slowed)
	}
	must(t, d.a.site.SetGroup(ctx, "g", map[string]string{"line-speed": "none"}))
	d.wait("hosts are let go", func() bool { return !d.a.vol("x").slow.Load().on.Load() && !d.a.vol("y").slow.Load().on.Load() })
	d.a.suspend("g", SuspendOptions{}, "x", "y")
	w.check(d.b, everyAck)
	for _, n := range []*node{d.a, d.b} {
		for _, e := range n.site.Events() {
			if strings.Contains(e.Text, PFUS.String()+" ") {
				t.Errorf("%s: %s", n.cfg.Name, e.Text)
			}
		}
	}
}

// TestOverflowDrainsBesideBusyHosts: what the peer takes is freed for hosts, so a journal that overflowed is drained to its end beside hosts that
// write as much as that, far more than the room that was left to them when it began.
func TestOverflowDrainsBesideBusyHosts(t *testing.T) {
	t.Parallel()
	d, w, rng := differ(t)
	ctx := context.Background()
	must(t, d.a.site.SetGroup(ctx, "g", map[string]string{"inflow-control": "no", "line-speed": "4M"}))
	last := map[uint64]uint64{}
	for st := d.a.status("x"); st.Status != Suspending; st = d.a.status("x") {
		if st.Status.suspended() {
			t.Fatalf("the pair is %s (%s), and what the journal holds was not sent", st.Status, st.Suspend)
		}
		if d.a.groupStatus("g").Used < 13<<20 {
			must(t, w.write(ctx, rng.IntN(2), int64(rng.IntN(700)), 64, false))
			last[uint64(w.h.Len())] = d.a.groupStatus("g").AppendedSeq
		}
	}
	wrote := int64(0)
	for d.a.status("x").Status == Suspending {
		d.wait("the journal is drained", func() bool { return d.a.groupStatus("g").Used < 13<<20 || d.a.status("x").Status != Suspending })
		must(t, w.write(ctx, rng.IntN(2), int64(rng.IntN(700)), 64, false))
		wrote += recordSize(64)
	}
	d.a.awaitBoth(PFUS, "x", "y")
	stop := d.a.status("x").SuspendSeq
	inside := 0
	w.check(d.b, func(_ *prefix.History, o *prefix.Write) bool {
		n, here := last[o.Counter]
		if here && n <= stop {
			inside++
		}
		return here && n <= stop
	})
	t.Logf("%d writes of before the overflow are at the peer; %d bytes were written beside the drain", inside, wrote)
	if wrote < 8<<20 || inside < 30 {
		t.Errorf("hosts wrote %d bytes beside the drain, and %d writes of before it are at the peer", wrote, inside)
	}
	must(t, d.a.site.SetGroup(ctx, "g", map[string]string{"line-speed": "none"}))
	d.mend()
	w.check(d.b, everyAck)
}
