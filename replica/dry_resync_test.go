package replica

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// ranges are all ranges that a list gives.
func (d *Differences) ranges() (all []ChangedRange) {
	for from := int64(0); ; {
		r, ok := d.Next(from)
		if !ok {
			return all
		}
		all, from = append(all, r), r.Offset+r.Length
	}
}

// TestDryResync: where both sides wrote, each way to choose is asked at each side: it lists what would lose, with bytes, and changes nothing; the
// resync that is given then keeps exactly that aside.
func TestDryResync(t *testing.T) {
	t.Parallel()
	d, _, _ := bothWrote(t) // region 5 at both sides, another one at each
	ctx := context.Background()
	const onlyInX = 8 * regionSize
	more := make([]byte, 2*regionSize)
	if _, err := d.b.vol("x").WriteAt(ctx, more, onlyInX, true); err != nil { // at the S-VOL alone
		t.Fatal(err)
	}
	before := map[string]PairStatus{}
	for _, n := range []*node{d.a, d.b} {
		for _, v := range []string{"x", "y"} {
			before[n.cfg.Name+v] = n.status(v)
		}
	}
	both := ChangedRange{ChangedBoth, 5 * regionSize, regionSize}
	here := ChangedRange{ChangedPVOL, onlyHere * regionSize, regionSize}
	there := []ChangedRange{both, {ChangedSVOL, onlyInX, 2 * regionSize}, {ChangedSVOL, onlyThere * regionSize, regionSize}}
	for _, c := range []struct {
		at    *node
		group string
		o     ResyncOptions
		loses Changed
		want  []ChangedRange
		note  string
	}{
		{d.a, "g", ResyncOptions{Discard: SideHere}, ChangedPVOL, []ChangedRange{both, here}, "osaka goes on; what tokyo alone has is kept aside there"},
		{d.a, "g", ResyncOptions{Discard: SideHere, Swap: true}, ChangedPVOL, []ChangedRange{both, here}, "osaka goes on"},
		{d.a, "g", ResyncOptions{Discard: SideThere}, ChangedSVOL, there, "tokyo goes on; what osaka alone has is kept aside there"},
		{d.a, "g", ResyncOptions{Swap: true}, ChangedPVOL, []ChangedRange{both, here}, "it would be refused: tokyo has what osaka lacks"},
		{d.b, "g@tokyo", ResyncOptions{Discard: SideHere}, ChangedSVOL, there, "tokyo goes on"},
		{d.b, "g@tokyo", ResyncOptions{Discard: SideThere}, ChangedPVOL, []ChangedRange{both, here}, "osaka goes on"},
		{d.b, "g@tokyo", ResyncOptions{Swap: true}, ChangedPVOL, []ChangedRange{both, here}, "it would be refused: tokyo has"},
	} {
		all, err := c.at.site.GroupResyncDifferences(ctx, c.group, c.o)
		if err != nil || len(all) != 2 {
			t.Fatalf("%s %+v: %v, %v", c.at.cfg.Name, c.o, all, err)
		}
		for k, of := range all {
			want, bytes := c.want, int64(0)
			if k == 1 {
				want = slices.DeleteFunc(slices.Clone(want), func(r ChangedRange) bool { return r.Offset == onlyInX })
			}
			for _, r := range want {
				bytes += r.Length
			}
			if got := of.ranges(); !slices.Equal(got, want) || of.Overwritten != bytes || of.Loses != c.loses || !strings.HasPrefix(of.Note, c.note) {
				t.Errorf("%s %+v: volume %d is said to lose %v, %d bytes, %s, %q", c.at.cfg.Name, c.o, k, got, of.Overwritten, of.Loses, of.Note)
			}
		}
	}
	for _, n := range []*node{d.a, d.b} {
		for _, v := range []string{"x", "y"} {
			if now, was := n.status(v), before[n.cfg.Name+v]; now.Status != was.Status || now.Different != was.Different || now.Generation != was.Generation || now.LastError != was.LastError {
				t.Errorf("%s at %s changed from %+v to %+v", v, n.cfg.Name, was, now)
			}
		}
		if left, _ := os.ReadDir(filepath.Join(n.cfg.StateDir, "kept")); len(left) > 0 {
			t.Errorf("%s kept %v", n.cfg.Name, left)
		}
	}
	must(t, d.a.site.ResyncGroupWith(ctx, "g", ResyncOptions{Discard: SideThere}))
	d.a.awaitBoth(PAIR, "x", "y")
	kept, err := d.b.site.Kept()
	if err != nil || len(kept) != 2 || kept[0].Bytes+kept[1].Bytes != (4+2)*regionSize {
		t.Errorf("the resync kept %+v, %v", kept, err)
	}
}

// TestDryResyncRefusals: what the command refuses the question refuses, or says so.
func TestDryResyncRefusals(t *testing.T) {
	t.Parallel()
	d, _ := twoPaired(t)
	ctx := context.Background()
	_, err := d.a.site.PairResyncDifferences(ctx, "x", ResyncOptions{Swap: true})
	refused(t, err, KindBusy) // a part of the group
	_, err = d.a.site.GroupResyncDifferences(ctx, "g", ResyncOptions{Swap: true, Discard: SideThere})
	refused(t, err, KindInvalid)
	_, err = d.a.site.GroupResyncDifferences(ctx, "nix", ResyncOptions{Swap: true})
	refused(t, err, KindNotFound)
	_, err = d.a.site.PairResyncDifferences(ctx, "nix", ResyncOptions{Swap: true})
	refused(t, err, KindNotFound)
	d.a.suspend("g", SuspendOptions{}, "x", "y")
	for n, group := range map[*node]string{d.a: "g", d.b: "g@tokyo"} {
		all, err := n.site.GroupResyncDifferences(ctx, group, ResyncOptions{Swap: true})
		if err != nil || len(all) != 2 || !strings.HasPrefix(all[0].Note, "it would be refused now: pair x is ") || !strings.Contains(all[0].Note, "not taken over") {
			t.Errorf("at %s: %+v, %v", n.cfg.Name, all, err)
		}
	}
	d.cut()
	all, err := d.a.site.PairResyncDifferences(ctx, "x", ResyncOptions{Discard: SideThere})
	if err != nil || all[0].Overwritten != -1 || !strings.Contains(all[0].Note, "what was written at the S-VOL is not known") {
		t.Errorf("with the link down: %+v, %v", all[0], err)
	}
}
