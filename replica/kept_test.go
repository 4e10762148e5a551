package replica

import (
	"bytes"
	"context"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// keptDuo makes two sites with a split pair x, of which hosts have written some on both sides.
func keptDuo(t *testing.T, options ...duoOption) (*duo, *writer) {
	t.Helper()
	d := newDuo(t, options...)
	d.a.group("g")
	d.a.volume("x")
	d.a.pair("g", "x")
	w := newWriter(d.a, "x")
	w.some(newRand(1), 60)
	d.a.suspend("g", SuspendOptions{SVOLWrite: true}, "x")
	w.some(newRand(2), 30)
	return d, w
}

// keepMarked keeps what the bitmap of the site marks, as a resync that overwrites it does.
func (n *node) keepMarked(ctx context.Context, pairs ...string) ([]Kept, error) {
	n.t.Helper()
	return n.keepRegions(ctx, keepOptions{why: "a test overwrites it"}, nil, pairs...)
}

// keepRegions keeps regions of pairs; nil stands for those that are marked.
func (n *node) keepRegions(ctx context.Context, o keepOptions, set *regionSet, pairs ...string) ([]Kept, error) {
	n.t.Helper()
	var all []lost
	var held []*pair
	for _, name := range pairs {
		p := n.site.pairByName(name)
		l := lost{p, set}
		if set == nil {
			l.regions = p.att.bits.snapshot()
		}
		all, held = append(all, l), append(held, p)
	}
	g := held[0].group
	g.cmd.Lock()
	defer g.cmd.Unlock()
	defer g.holdHosts(held)()
	return n.site.keepAside(ctx, all, o)
}

func (n *node) keptPath(parts ...string) string {
	return filepath.Join(append([]string{n.cfg.StateDir, keptFolder}, parts...)...)
}

// wantNoSets ends the test if anything is in the folder of kept sets.
func (n *node) wantNoSets() {
	n.t.Helper()
	if names, err := os.ReadDir(n.keptPath()); err != nil || len(names) > 0 {
		n.t.Fatalf("left are %v, %v", names, err)
	}
}

// wantKept ends the test unless the set has exactly the regions, with the bytes of the image.
func wantKept(t *testing.T, k *KeptSet, set *regionSet, image []byte) {
	t.Helper()
	got := make([]byte, len(image))
	if n, err := k.ReadAt(got, 0); err != nil || n != len(got) {
		t.Fatalf("%d bytes, %v", n, err)
	}
	want, has := make([]byte, len(image)), newRegionSet(int64(len(image)))
	for first, n := range set.spans {
		from := int64(first) * regionSize
		copy(want[from:from+set.bytesOf(int64(first), int64(n))], image[from:])
	}
	if at := diffAt(want, got); at >= 0 {
		t.Fatalf("the image differs at offset %d", at)
	}
	for i := range k.Info().Ranges {
		r, err := k.Range(i)
		must(t, err)
		if r.Offset%regionSize != 0 || r.Length > keptPiece && !r.Zero {
			t.Errorf("range %+v", r)
		}
		if zero := isZero(want[r.Offset:r.end()]); zero != r.Zero {
			t.Errorf("range %+v is zero: %v", r, zero)
		}
		has.add(r.Offset/regionSize, (r.end()+regionSize-1)/regionSize)
	}
	if !slices.Equal(regionsOf(has), regionsOf(set)) {
		t.Errorf("the list has regions %v, want %v", regionsOf(has), regionsOf(set))
	}
	if n := set.bytes(); k.Info().Bytes != n {
		t.Errorf("it says %d bytes, want %d", k.Info().Bytes, n)
	}
	wantSeeks(t, k, want)
	must(t, k.Verify())
}

// wantSeeks ends the test unless the data and holes of the set, one after the other, are those of want, by regions.
func wantSeeks(t *testing.T, k *KeptSet, want []byte) {
	t.Helper()
	size := int64(len(want))
	for at := int64(0); at < size; {
		data, ok, err := k.SeekData(at)
		must(t, err)
		if !ok {
			data = size
		}
		if data < at || !isZero(want[at:data]) {
			t.Fatalf("between %d and %d there is data", at, data)
		}
		if data == size {
			return
		}
		hole, err := k.SeekHole(data)
		must(t, err)
		for r := data; r < hole; r += regionSize {
			if isZero(want[r:min(r+regionSize, size)]) {
				t.Fatalf("the region at %d is said to be data", r)
			}
		}
		if hole <= data {
			t.Fatalf("the hole behind %d is at %d", data, hole)
		}
		at = hole
	}
}

func regionsOf(s *regionSet) (all []int64) {
	for first, n := range s.spans {
		for r := range n {
			all = append(all, int64(first+r))
		}
	}
	return all
}

// TestKeptHoldsWhatHostsRead keeps regions on both sides, of random writes and discards, some of them in the ring alone, at a volume whose
// last region is a part of one; then everything is overwritten. What was kept is what hosts read before, and nothing else; all of it is as
// good after a restart.
func TestKeptHoldsWhatHostsRead(t *testing.T) {
	t.Parallel()
	const size = 5<<20 + 4096*3
	d := newDuo(t)
	d.a.group("g")
	must(t, d.a.volume("x").Resize(t.Context(), size))
	d.a.pair("g", "x")
	for seed, n := range []*node{d.a, d.b} {
		d.a.suspendIfNeeded()
		w := newWriter(n, "x")
		w.some(newRand(uint64(seed)), 100)
		v := n.vol("x")
		_, err := v.WriteAt(t.Context(), bytes.Repeat([]byte("end"), 100), size-300, false)
		must(t, err)
		goOn := n.site.pairByName("x").group.stopRestore()
		w.some(newRand(uint64(seed)+10), 20)
		must(t, v.Discard(t.Context(), 2<<20, 300<<10))
		image := readAll(t, v)
		if n.site.pairByName("x").att.overlay.len() == 0 {
			t.Fatal("all is restored already")
		}
		goOn()
		for i, set := range []*regionSet{n.site.pairByName("x").att.bits.snapshot(), wholeSet(size), someRegions(size, newRand(uint64(seed)+20))} {
			var told, total int64
			sets, err := n.keepRegions(t.Context(), keepOptions{why: "two\nlines", progress: func(a, b int64) {
				if a <= told {
					t.Errorf("%d bytes behind %d", a, told)
				}
				told, total = a, b
			}}, set, "x")
			must(t, err)
			if len(sets) != 1 || told != set.bytes() || total != told {
				t.Fatalf("%d sets, %d of %d bytes told, of %d", len(sets), told, total, set.bytes())
			}
			k, err := n.site.OpenKept(sets[0].Name)
			must(t, err)
			wantKept(t, k, set, image)
			info := k.Info()
			must(t, k.Close())
			p := n.status("x")
			if info.Pair != "x" || info.Volume != "x" || info.Site != n.cfg.Name || info.Peer != n.other.cfg.Name || info.Role != p.Role || info.Size != size ||
				info.Generation != p.Generation || info.SplitSeq != p.SuspendSeq || info.Why != "two lines" || info.Seq < info.SplitSeq || info.Held.IsZero() ||
				time.Since(info.Time) > time.Hour {
				t.Errorf("it says %+v of %+v", info, p)
			}
			if p.KeptSets != i+1 || p.KeptBytes < info.Allocated || info.Allocated < info.DataBytes || info.Allocated > info.DataBytes+64<<10 {
				t.Errorf("the status says %d sets of %d bytes; this one is %+v", p.KeptSets, p.KeptBytes, info)
			}
			if !eventWith(n.site, "were kept aside as "+info.Name, "two lines") {
				t.Error("no event names the set")
			}
		}
		before, err := n.site.Kept()
		must(t, err)
		_, err = v.WriteAt(t.Context(), bytes.Repeat([]byte{7}, size), 0, true)
		must(t, err)
		n.reopen()
		after, err := n.site.Kept()
		must(t, err)
		if diff := cmp.Diff(before, after); diff != "" || n.site.Status().KeptSets != 3 {
			t.Errorf("after a restart:\n%s", diff)
		}
		k, err := n.site.OpenKept(before[1].Name)
		must(t, err)
		wantKept(t, k, wholeSet(size), image)
		must(t, k.Close())
	}
}

// suspendIfNeeded splits pair x with writes allowed at the S-VOL, unless it is split.
func (n *node) suspendIfNeeded() {
	n.t.Helper()
	if n.status("x").Status == PAIR {
		n.suspend("g", SuspendOptions{SVOLWrite: true}, "x")
	}
}

func wholeSet(size int64) *regionSet {
	s := newRegionSet(size)
	s.add(0, s.regions)
	return s
}

func someRegions(size int64, rng interface{ IntN(int) int }) *regionSet {
	s := newRegionSet(size)
	for r := range s.regions {
		if rng.IntN(3) > 0 {
			s.add(r, r+1)
		}
	}
	return s
}

// What is kept is kept sparse, and a range of nothing at all is one line however long it is.
func TestKeptHolesStayHoles(t *testing.T) {
	t.Parallel()
	const size = 64 << 30
	d := newDuo(t)
	d.a.group("g")
	must(t, d.a.volume("x").Resize(t.Context(), size))
	d.a.pair("g", "x")
	d.a.suspend("g", SuspendOptions{}, "x")
	v := d.a.vol("x")
	for _, at := range []int64{0, 5<<30 + 123, size - 7} {
		_, err := v.WriteAt(t.Context(), []byte("written"), at, false)
		must(t, err)
	}
	sets, err := d.a.keepRegions(t.Context(), keepOptions{}, wholeSet(size), "x")
	must(t, err)
	k := sets[0]
	if k.Ranges != 5 || k.Bytes != size || k.DataBytes != 3*regionSize || k.Allocated > 4*regionSize {
		t.Errorf("%+v", k)
	}
}

// TestKeptSteps pins the order of what happens on the disk: nothing has its name before all of it is flushed.
func TestKeptSteps(t *testing.T) {
	t.Parallel()
	var steps []string
	d, _ := keptDuo(t, func(name string, c *Config) {
		c.keptStep = func(step string) error {
			if len(steps) == 0 || steps[len(steps)-1] != step {
				steps = append(steps, step)
			}
			return nil
		}
	})
	sets, err := d.a.keepMarked(t.Context(), "x")
	must(t, err)
	must(t, d.a.site.DropKept(t.Context(), sets[0].Name))
	want := []string{"make", "create", "write", "sync image", "sync list", "sync folder", "rename", "sync all", "drop rename", "drop sync", "drop remove"}
	if diff := cmp.Diff(want, steps); diff != "" {
		t.Error(diff)
	}
}

// TestKeptNames: sets of one second have names of their own, and nothing else is taken for one.
func TestKeptNames(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 2, 3, 4, 5, 6, 7, time.FixedZone("x", 3600))
	taken := map[string]bool{}
	for _, want := range []string{"a.b-20260203T030506Z", "a.b-20260203T030506Z-2", "a.b-20260203T030506Z-3"} {
		if got := keptName("a.b", at, taken); got != want || checkKeptName(got) != nil {
			t.Errorf("%s, want %s", got, want)
		}
	}
	if name := keptName(strings.Repeat("p", nameMax), at, taken); checkKeptName(name) != nil {
		t.Errorf("%s is refused", name)
	}
	d, _ := keptDuo(t)
	for _, name := range []string{"", ".", "..", ".new-x", ".old-x", "a/b", "../kept", "lost+found", "a b", "a\x00", strings.Repeat("a", 130)} {
		_, err := d.a.site.OpenKept(name)
		refused(t, err, KindInvalid)
		refused(t, d.a.site.DropKept(t.Context(), name), KindInvalid)
	}
	_, err := d.a.site.OpenKept("nothing")
	refused(t, err, KindNotFound)
	says(t, err, "there is no kept set nothing")
	refused(t, d.a.site.DropKept(t.Context(), "nothing"), KindNotFound)
}

// TestKeptIsTold: keeping and dropping are in the audit log with who asked, and older sets go by their age.
func TestKeptIsTold(t *testing.T) {
	t.Parallel()
	d, _ := keptDuo(t)
	operator := Caller{Host: true, UID: 1000, PID: 4711}
	ctx := WithCaller(context.Background(), operator)
	var names []string
	for range 3 {
		sets, err := d.a.keepMarked(ctx, "x")
		must(t, err)
		names = append(names, sets[0].Name)
	}
	all, err := d.a.site.History(ctx)
	must(t, err)
	for _, name := range names {
		if !slices.ContainsFunc(all, func(e Entry) bool {
			return e.Kind == EntryCommand && e.Caller == operator && e.Object == "pair/x" && e.Group == "g" && e.What == "keep "+name && e.Result == "ok"
		}) {
			t.Errorf("no line of %s in %v", name, all)
		}
	}
	makeOlder(t, d.a.keptPath(names[1]), 48*time.Hour)
	rctx, remarks := remarked(t)
	must(t, d.a.site.DropKeptOlder(rctx, "1d"))
	if want := names[1] + " dropped, "; !strings.HasPrefix(remarks.String(), want) || !strings.HasSuffix(remarks.String(), " freed") {
		t.Errorf("it says %q", remarks)
	}
	left, err := d.a.site.Kept()
	must(t, err)
	if len(left) != 2 || left[0].Name != names[0] || left[1].Name != names[2] || d.a.status("x").KeptSets != 2 {
		t.Errorf("left are %+v", left)
	}
	rctx, remarks = remarked(t)
	must(t, d.a.site.DropKeptOlder(rctx, "1d"))
	if remarks.String() != "no kept set is older than 1d" {
		t.Errorf("it says %q", remarks)
	}
	refused(t, d.a.site.DropKeptOlder(ctx, "yesterday"), KindInvalid)
	must(t, d.a.site.DropKept(ctx, names[0]))
	if !eventWith(d.a.site, "the kept set "+names[0]+" was dropped by uid 1000 pid 4711") {
		t.Error("no event of the drop")
	}
}

// makeOlder changes when a set was kept, as if it had been made that long ago.
func makeOlder(t *testing.T, dir string, by time.Duration) {
	t.Helper()
	path := filepath.Join(dir, "list")
	b, err := os.ReadFile(path)
	must(t, err)
	k, n, err := parseKeptHead(b)
	must(t, err)
	k.Time = k.Time.Add(-by)
	b = append(k.head(), b[n:len(b)-keptSumSize]...)
	must(t, os.WriteFile(path, sumKept(b), 0o600))
}

// sumKept appends the last line to a list.
func sumKept(b []byte) []byte { return fmt.Appendf(b, keptSum, crc32.Checksum(b, castagnoli)) }
