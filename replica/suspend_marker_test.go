package replica

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"

	"pairfs/e2e/prefix"
)

// splitAt splits at a marker and returns the marker that the command's remark begins with.
func (n *node) splitAt(name string, o SuspendOptions) Marker {
	n.t.Helper()
	var said Remarks
	ctx := WithRemarks(context.Background(), &said)
	split := n.site.SuspendGroup
	if n.site.pairByName(name) != nil {
		split = n.site.SuspendPair
	}
	must(n.t, split(ctx, name, o))
	words := strings.Fields(said.String())
	if len(words) < 2 || words[0] != "marker" {
		n.t.Fatalf("the command said %q", &said)
	}
	m, err := ParseMarker(words[1])
	must(n.t, err)
	return m
}

// wantStopped waits for PSUS and ends the test unless both sides say that they stopped at the marker, and that it is done.
func (d *duo) wantStopped(m Marker, pairs ...string) {
	d.t.Helper()
	d.a.awaitBoth(PSUS, pairs...)
	for _, n := range []*node{d.a, d.b} {
		n.awaitMarker(m, MarkerDone)
		for _, p := range pairs {
			if at := n.status(p).SuspendSeq; at != m.Seq {
				d.t.Errorf("%s: pair %s stopped at %d, the marker is %s", n.cfg.Name, p, at, m)
			}
		}
	}
}

// TestSuspendMark: the split is the marker. Hosts write all the time; the S-VOLs hold what was acknowledged before the command and nothing
// that was issued behind it.
func TestSuspendMark(t *testing.T) {
	t.Parallel()
	d, w, _ := differ(t)
	for _, name := range []string{"g", "x"} {
		pairs := map[string][]string{"g": {"x", "y"}, "x": {"x"}}[name]
		var hosts sync.WaitGroup
		stop := make(chan struct{})
		for vol := range 2 {
			hosts.Go(func() {
				for i := int64(0); i < 600; i++ { // what the journal holds
					select {
					case <-stop:
						return
					default:
					}
					if err := w.write(context.Background(), vol, i%1000, 1, false); err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
		before := w.h.before()
		m := d.a.splitAt(name, SuspendOptions{Mark: true, SVOLWrite: name == "x"})
		after := w.h.Now()
		d.wantStopped(m, pairs...)
		close(stop)
		hosts.Wait()
		images := w.images(d.b)
		for i, v := range w.names {
			if v == "y" && name == "x" {
				delete(images, i) // goes on
			}
		}
		must(t, w.h.check(images, before))
		must(t, w.h.nothingAfter(images, after))
		if name == "x" && d.b.vol("x").Writable() != nil {
			t.Error("svol-write does not go with a marker")
		}
		d.wantCovered(pairs...)
		d.a.resync("g", "x", "y")
		for _, n := range []*node{d.a, d.b} {
			n.awaitMarker(m, MarkerChanged)
		}
	}
}

// nothingAfter is an error if an image shows a write that was issued after a moment of the clock.
func (h *history) nothingAfter(images map[int][]byte, at prefix.Stamp) error {
	all, err := pictures(images)
	if err != nil {
		return err
	}
	for _, p := range all {
		for n := range p.Counters(h.Run()) {
			if o, ok := h.Write(n); ok && o.Start > at {
				return fmt.Errorf("volume %d shows write %d, issued at %d, after %d", o.Volume, n, o.Start, at)
			}
		}
	}
	return nil
}

// behind makes the link so slow that what is written now and what comes behind it stay in the journal for seconds.
func (d *duo) behind(w *writer) {
	d.t.Helper()
	must(d.t, d.a.site.SetGroup(context.Background(), "g", map[string]string{"line-speed": "1M"}))
	for i := range int64(4) {
		must(d.t, w.write(context.Background(), 0, 256*i, 256, false))
	}
}

// TestSuspendAt: both sides stop at a marker behind which hosts have written already: the secondary gets what stands before it, the rest is
// marked, and a resync brings it.
func TestSuspendAt(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"g", "x"} {
		d, w, rng := differ(t)
		pairs := map[string][]string{"g": {"x", "y"}, "x": {"x"}}[name]
		d.behind(w)
		must(t, w.write(t.Context(), 1, 3, 2, false))
		before := w.h.before()
		m := d.a.marker(name)
		after := w.h.Now()
		w.some(rng, 10)
		if got := d.a.splitAt(name, SuspendOptions{At: m}); got != m {
			t.Errorf("asked to stop at %s, told %s", m, got)
		}
		w.some(rng, 10)
		d.wantStopped(m, pairs...)
		images := w.images(d.b)
		if name == "x" {
			delete(images, 1)
		}
		must(t, w.h.check(images, before))
		must(t, w.h.nothingAfter(images, after))
		d.wantCovered(pairs...)
		must(t, d.a.site.SetGroup(t.Context(), "g", map[string]string{"line-speed": "none"}))
		if name == "x" {
			d.wait("y goes on", func() bool { return d.a.groupStatus("g").Unrestored == 0 })
		}
		d.a.resync("g", "x", "y")
		d.a.suspend("g", SuspendOptions{}, "x", "y")
		d.wantEqual("x", "y")
	}
}

// TestSuspendAtWhatIsThere: a secondary that has everything up to the marker and nothing behind it stops there too.
func TestSuspendAtWhatIsThere(t *testing.T) {
	t.Parallel()
	d, w, rng := differ(t)
	w.some(rng, 20)
	m := d.a.marker("g")
	d.a.awaitMarker(m, MarkerDone)
	d.a.marker("g") // no host's write
	d.a.splitAt("g", SuspendOptions{At: m})
	d.wantStopped(m, "x", "y")
	d.wantEqual("x", "y")
	w.some(rng, 20)
	d.mend()
}

// TestSuspendAtRefused: what cannot be is refused with a sentence, and changes nothing.
func TestSuspendAtRefused(t *testing.T) {
	t.Parallel()
	d, w, rng := differ(t)
	ctx := context.Background()
	m, x := d.a.marker("g"), d.a.marker("x")
	other := Marker{Name: "g", Epoch: m.Epoch + 1, Seq: m.Seq}
	ahead := Marker{Name: "g", Epoch: m.Epoch, Seq: m.Seq + 1000}
	check := func(o SuspendOptions, n *node, group string, kind Kind, says ...string) {
		t.Helper()
		for _, err := range []error{n.site.SuspendGroup(ctx, group, o), n.site.SuspendPair(ctx, "x", o)} {
			refused(t, err, kind)
			for _, s := range says {
				if !strings.Contains(err.Error(), s) {
					t.Errorf("%q does not say %q", err, s)
				}
			}
		}
	}
	check(SuspendOptions{Mark: true, Purge: true}, d.a, "g", KindInvalid, "leave mode=purge out")
	check(SuspendOptions{At: m, Purge: true}, d.a, "g", KindInvalid, "leave mode=purge out")
	check(SuspendOptions{At: m, Mark: true}, d.a, "g", KindInvalid, "give one of them")
	check(SuspendOptions{At: m, SVOLWrite: true}, d.a, "g", KindInvalid, "give it there once the pair is split")
	check(SuspendOptions{Mark: true}, d.b, "g@tokyo", KindSecondary, "run it at tokyo")
	check(SuspendOptions{At: m}, d.b, "g@tokyo", KindSecondary, "run it at tokyo")
	check(SuspendOptions{At: other}, d.a, "g", KindBusy, other.String(), "not of the present history")
	check(SuspendOptions{At: ahead}, d.a, "g", KindBusy, ahead.String(), "not of the present history")
	w.some(rng, 20)
	last := d.a.site.groupByName("g").journal.Marks().LastSeq
	d.wait("the secondary has passed it", func() bool { return d.b.lastSeq("g@tokyo") >= last })
	must(t, w.write(ctx, 0, 0, 1, true)) // of x, the volume of both commands
	d.wait("the secondary has passed it", func() bool { return d.b.lastSeq("g@tokyo") > last })
	check(SuspendOptions{At: m}, d.a, "g", KindBusy, "osaka has passed the marker", "mark=yes")
	d.cut()
	check(SuspendOptions{At: x}, d.a, "g", KindBusy, "the mirror with osaka is down")
	d.a.awaitBoth(PAIR, "x", "y")
	d.heal()
	d.wait("the mirror is up", d.a.linked)
	check(SuspendOptions{At: x}, d.a, "g", KindBusy, "osaka has passed the marker") // as the new session says
	must(t, d.a.site.SuspendPair(ctx, "y", SuspendOptions{}))
	d.a.awaitBoth(PSUS, "y")
	refused(t, d.a.site.SuspendGroup(ctx, "g", SuspendOptions{Mark: true}), KindBusy)
	refused(t, d.a.site.SuspendPair(ctx, "y", SuspendOptions{Mark: true}), KindBusy)
	d.a.await(PAIR, "x")
}

// TestSuspendAtPeerGone: the link goes before the secondary has come to the marker. The split ends without it, and says so.
func TestSuspendAtPeerGone(t *testing.T) {
	t.Parallel()
	d, w, rng := differ(t)
	d.behind(w)
	m := d.a.marker("g")
	w.some(rng, 10)
	d.a.splitAt("g", SuspendOptions{At: m})
	d.cut()
	d.a.await(PSUS, "x", "y")
	d.a.awaitMarker(m, MarkerBroken)
	w.some(rng, 10)
	d.heal()
	d.b.await(PSUS, "x", "y")
	w.check(d.b, whatever)
	if st := d.b.state(m); st != MarkerBroken {
		t.Errorf("the secondary, which stopped at %d, says of %s that it is %s", d.b.status("x").SuspendSeq, m, st)
	}
	must(t, d.a.site.SetGroup(t.Context(), "g", map[string]string{"line-speed": "none"}))
	d.mend()
}
