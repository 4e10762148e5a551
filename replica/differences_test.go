package replica

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// listed gives the regions of what is listed, by place, and proves that ranges ascend, lie inside and agree with the totals.
func listed(t *testing.T, d *Differences, size int64) map[Changed]map[int64]bool {
	t.Helper()
	sets := map[Changed]map[int64]bool{ChangedPVOL: {}, ChangedSVOL: {}, ChangedBoth: {}}
	sum := map[Changed]int64{}
	at := int64(0)
	for {
		r, ok := d.Next(at)
		if !ok {
			break
		}
		if r.Offset < at || r.Length <= 0 || r.Offset+r.Length > size || r.Offset%regionSize != 0 || sets[r.Where] == nil {
			t.Fatalf("pair %s: range %+v behind %d", d.Pair, r, at)
		}
		mark(sets[r.Where], r.Offset, r.Length)
		sum[r.Where] += r.Length
		at = r.Offset + r.Length
	}
	if d.PVOL != sum[ChangedPVOL] || d.SVOL != sum[ChangedSVOL] || d.Both != sum[ChangedBoth] ||
		d.Overwritten != d.SVOL+d.Both || d.Copied != d.PVOL+d.SVOL+d.Both {
		t.Fatalf("pair %s: totals %+v, ranges %v", d.Pair, d, sum)
	}
	return sets
}

// splitWritable is two pairs with holes, one of them of an odd size, split with svol-write.
func splitWritable(t *testing.T, options ...duoOption) (*duo, *rand.Rand, []string) {
	t.Helper()
	d := newDuo(t, options...)
	rng := newRand(testSeed(t))
	d.a.group("g")
	for name, size := range map[string]int64{"x": duoSize, "y": duoSize - 3*regionSize + 12345} {
		d.a.volume(name)
		must(t, d.a.vol(name).Resize(context.Background(), size))
		_, err := d.a.vol(name).WriteAt(context.Background(), bytes.Repeat([]byte{7}, 1<<20), 512<<10, false)
		must(t, err)
	}
	d.a.pair("g", "x", "y")
	d.settled("x", "y")
	d.a.suspend("g", SuspendOptions{SVOLWrite: true}, "x", "y")
	d.awaitWritable("x", "y")
	return d, rng, []string{"x", "y"}
}

// interrupt ends a site in one of the ways in which daemons end, and starts it again.
func (n *node) interrupt(rng *rand.Rand) string {
	n.t.Helper()
	switch rng.IntN(3) {
	case 0:
		n.reopen()
		return "restart of " + n.cfg.Name
	case 1:
		n.crash(nil)
		n.open()
		return "crash of " + n.cfg.Name
	}
	return "nothing"
}

// TestResyncCopiesTheListedUnion writes at random on both sides of a split, with restarts and crashes of either side between, and predicts
// from the writes alone what differs: the list says that on both sides, the resync copies exactly the regions of the union, on the wire and
// in the secondary's stores, and both volumes are the primary's.
func TestResyncCopiesTheListedUnion(t *testing.T) {
	t.Parallel()
	stores := &touching{}
	d, rng, names := splitWritable(t, withStores("osaka", stores.wrap))
	here := &scribbler{node: d.a, rng: rng, changed: map[string]map[int64]bool{}}
	there := &scribbler{node: d.b, rng: rng, changed: map[string]map[int64]bool{}}
	for range 4 {
		here.some(t, rng.IntN(6), names...)
		there.some(t, rng.IntN(6), names...)
		t.Log([]*node{d.a, d.b}[rng.IntN(2)].interrupt(rng))
	}
	want := map[string][]byte{}
	for _, name := range names {
		want[name] = readAll(t, d.a.vol(name))
	}
	d.wantListed(names, here.changed, there.changed)

	// What hosts wrote at the S-VOL goes to its store before the resync is watched.
	g := d.b.site.groupByName("g@tokyo")
	must(t, g.journal.Sync(context.Background(), g.journal.Marks().Reserved))
	must(t, g.restorePass())
	must(t, g.doCheckpoint(context.Background()))
	sent, needed, wire := d.a.groupStatus("g").BaseSent, map[string]map[int64]bool{}, uint64(0)
	for _, name := range names {
		needed[name] = map[int64]bool{}
		old := readAll(t, d.b.vol(name))
		for r := range union(here.changed[name], there.changed[name]) {
			from, to := r*regionSize, min((r+1)*regionSize, int64(len(old)))
			zero := isZero(want[name][from:to])
			if needed[name][r] = !zero || !isZero(old[from:to]); !zero {
				wire += uint64(to - from)
			}
		}
	}
	stores.watch()
	d.a.resync("g", names...)
	d.settled(names...)
	touched := stores.watch()
	if got := d.a.groupStatus("g").BaseSent - sent; got != wire {
		t.Errorf("the resync sent %d bytes of base records, the union of both sides' changes has %d that are not zeroes", got, wire)
	}
	for _, name := range names {
		for r, must := range needed[name] {
			if must && !touched[name][r] {
				t.Errorf("volume %s: region %d was changed since the split and not copied", name, r)
			}
		}
		for r := range touched[name] {
			if _, in := needed[name][r]; !in {
				t.Errorf("volume %s: region %d was not changed since the split, and the resync touched it", name, r)
			}
		}
		if at := diffAt(readAll(t, d.a.vol(name)), want[name]); at >= 0 {
			t.Errorf("the P-VOL %s changed at %d", name, at)
		}
	}
	d.wantEqual(names...)
}

func union(a, b map[int64]bool) map[int64]bool {
	all := maps.Clone(a)
	if all == nil {
		all = map[int64]bool{}
	}
	maps.Copy(all, b)
	return all
}

// wantListed ends the test unless both sides list exactly what was changed.
func (d *duo) wantListed(names []string, here, there map[string]map[int64]bool) {
	d.t.Helper()
	d.wait("the sites can ask each other", func() bool {
		for _, n := range []*node{d.a, d.b} {
			if all, err := n.site.PairDifferences(context.Background(), names[0]); err != nil || all[0].Note != "" {
				return false
			}
		}
		return true
	})
	for site, group := range map[*node]string{d.a: "g", d.b: "g@tokyo"} {
		all, err := site.site.GroupDifferences(context.Background(), group)
		must(d.t, err)
		if len(all) != len(names) {
			d.t.Fatalf("%s lists %d pairs", site.cfg.Name, len(all))
		}
		for i, l := range all {
			if l.Pair != names[i] || l.Note != "" || l.PeerStatus != PSUS {
				d.t.Fatalf("%s lists %+v", site.cfg.Name, l)
			}
			got := listed(d.t.(*testing.T), l, site.vol(l.Pair).Size())
			for r := range site.vol(l.Pair).Size()/regionSize + 1 {
				var want Changed
				if here[l.Pair][r] {
					want |= ChangedPVOL
				}
				if there[l.Pair][r] {
					want |= ChangedSVOL
				}
				for where, set := range got {
					if set[r] != (where == want) {
						d.t.Errorf("%s: pair %s region %d: listed as %s: %v, was changed at %s", site.cfg.Name, l.Pair, r, where, set[r], want)
					}
				}
			}
		}
	}
}

// TestResyncAfterAKill kills each daemon in the middle of its writes. What was acknowledged is listed, nothing is listed that was not at
// least begun, and the resync tells on both sides how much it overwrites, which is what was listed.
func TestResyncAfterAKill(t *testing.T) {
	t.Parallel()
	d, w, rng := differ(t)
	names := w.names
	d.a.suspend("g", SuspendOptions{SVOLWrite: true}, names...)
	d.awaitWritable(names...)
	histories := map[*node]*writer{d.a: newWriter(d.a, names...), d.b: newWriter(d.b, names...)}
	for n, h := range histories {
		n.close()
		k := n.spawn(h, 2, uint64(rng.IntN(1<<30)))
		k.awaitAcks(3)
		k.kill()
		n.open()
	}
	for i, name := range names {
		var all []*Differences
		d.wait("the peer answers", func() bool {
			var err error
			all, err = d.a.site.PairDifferences(context.Background(), name)
			return err == nil && all[0].Note == ""
		})
		got := listed(t, all[0], duoSize)
		for where, n := range map[Changed]*node{ChangedPVOL: d.a, ChangedSVOL: d.b} {
			acked, begun := map[int64]bool{}, map[int64]bool{}
			for _, o := range histories[n].h.Writes() {
				if o.Volume != i {
					continue
				}
				mark(begun, o.Off, o.Len)
				if o.End != 0 {
					mark(acked, o.Off, o.Len)
				}
			}
			for r := range int64(duoSize / regionSize) {
				if is := got[where][r] || got[ChangedBoth][r]; is && !begun[r] || !is && acked[r] {
					t.Errorf("pair %s region %d: listed as changed at the %s: %v; begun %v, acknowledged %v", name, r, where, is, begun[r], acked[r])
				}
			}
		}
		must(t, d.a.site.ResyncPair(context.Background(), name))
		d.a.awaitBoth(PAIR, name)
		for _, n := range []*node{d.a, d.b} {
			if said := n.told("pair/"+name, "overwrites"); len(said) != 1 || !strings.Contains(said[0], iec(all[0].Overwritten)) {
				t.Errorf("%s says of the resync of %s that overwrites %d bytes: %q", n.cfg.Name, name, all[0].Overwritten, said)
			}
		}
	}
	d.a.suspend("g", SuspendOptions{}, names...)
	d.wantEqual(names...)
}

// told gives the events of an object that have a word in them.
func (n *node) told(object, word string) (texts []string) {
	r := n.site.Subscribe(0)
	defer r.Close()
	ended, stop := context.WithCancel(context.Background())
	stop()
	for {
		e, err := r.Next(ended)
		if err != nil {
			return texts
		}
		if e.Object == object && strings.Contains(e.Text, word) {
			texts = append(texts, e.Text)
		}
	}
}

// TestDifferencesChangeNothing: a look leaves states, bitmaps and the writing hosts alone; a resync that overwrites nothing does not say so.
func TestDifferencesChangeNothing(t *testing.T) {
	t.Parallel()
	d, w, rng := differ(t)
	ctx := context.Background()
	d.a.suspend("g", SuspendOptions{}, "x", "y")
	w.some(rng, 5)
	picture := func() string {
		var s []string
		for _, n := range []*node{d.a, d.b} {
			for _, p := range n.site.Status().Pairs {
				s = append(s, fmt.Sprint(n.cfg.Name, p.Name, p.Status, p.Suspend, p.Different, p.SVOLWrite, p.Since, p.LastError))
			}
		}
		return strings.Join(s, "\n")
	}
	before := picture()
	for _, n := range []*node{d.a, d.b} {
		all, err := n.site.PairDifferences(ctx, "x")
		must(t, err)
		if l := all[0]; l.SVOL != 0 || l.Both != 0 || l.Overwritten != 0 || l.Copied != d.a.status("x").Different || l.PVOL != l.Copied || l.Note != "" {
			t.Errorf("%s: %+v", n.cfg.Name, l)
		}
	}
	if after := picture(); after != before {
		t.Errorf("before:\n%s\nafter:\n%s", before, after)
	}
	refused(t, func() error { _, err := d.a.site.PairDifferences(ctx, "nix"); return err }(), KindNotFound)
	refused(t, func() error { _, err := d.a.site.GroupDifferences(ctx, "nix"); return err }(), KindNotFound)
	d.a.resync("g", "x", "y")
	for _, n := range []*node{d.a, d.b} {
		if said := n.told("pair/x", "overwrites"); said != nil {
			t.Errorf("%s says %q of a resync that overwrites nothing", n.cfg.Name, said)
		}
		all, err := n.site.PairDifferences(ctx, "x")
		must(t, err)
		if l := all[0]; l.Copied != -1 || l.PVOL != -1 || !strings.Contains(l.Note, "in PAIR") {
			t.Errorf("%s in PAIR: %+v", n.cfg.Name, l)
		}
	}
}

// TestDifferencesWithoutThePeer: each side says what it knows, and what it does not know.
func TestDifferencesWithoutThePeer(t *testing.T) {
	t.Parallel()
	d, rng, names := splitWritable(t)
	here := &scribbler{node: d.a, rng: rng, changed: map[string]map[int64]bool{}}
	there := &scribbler{node: d.b, rng: rng, changed: map[string]map[int64]bool{}}
	here.some(t, 4, "x")
	there.some(t, 4, "x")
	d.cut()
	for _, c := range []struct {
		n     *node
		where Changed
		want  map[int64]bool
		note  string
	}{
		{d.a, ChangedPVOL, here.changed["x"], "what was written at the S-VOL is not known"},
		{d.b, ChangedSVOL, there.changed["x"], "what was changed at the P-VOL is not known"},
	} {
		all, err := c.n.site.PairDifferences(context.Background(), "x")
		must(t, err)
		l, sum, got := all[0], int64(0), map[int64]bool{}
		for at, ok := int64(0), true; ok; {
			var r ChangedRange
			if r, ok = l.Next(at); ok {
				if r.Where != c.where {
					t.Errorf("%s: %+v", c.n.cfg.Name, r)
				}
				mark(got, r.Offset, r.Length)
				sum, at = sum+r.Length, r.Offset+r.Length
			}
		}
		if !maps.Equal(got, c.want) {
			t.Errorf("%s lists regions %v, want %v", c.n.cfg.Name, slices.Sorted(maps.Keys(got)), slices.Sorted(maps.Keys(c.want)))
		}
		known := map[Changed][2]int64{ChangedPVOL: {sum, -1}, ChangedSVOL: {-1, sum}}[c.where]
		if l.PVOL != known[0] || l.SVOL != known[1] || l.Overwritten != known[1] || l.Both != -1 || l.Copied != -1 || l.PeerStatus != SMPL {
			t.Errorf("%s: %+v", c.n.cfg.Name, l)
		}
		if !strings.Contains(l.Note, c.note) || !strings.Contains(l.Note, "cannot be reached") {
			t.Errorf("%s: note %q", c.n.cfg.Name, l.Note)
		}
	}
	d.heal()
	d.wantListed(names, here.changed, there.changed)
}
