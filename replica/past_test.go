package replica

import (
	"context"
	"fmt"
	"slices"
	"testing"
)

// TestHistoryTellsWhoAsked takes a pair through its life and reads on both sides what is remembered of it, after a kill as well.
func TestHistoryTellsWhoAsked(t *testing.T) {
	t.Parallel()
	d, _, _ := differ(t)
	operator := Caller{Host: true, UID: 1000, PID: 4711}
	must(t, d.a.site.SuspendPair(WithCaller(context.Background(), operator), "x", SuspendOptions{}))
	d.a.awaitBoth(PSUS, "x")
	d.a.site.Audit(Entry{Caller: operator, Object: "pair/x", Group: "g", What: "suspend", Result: "ok"})
	want := map[*node][]string{
		d.a: {"x PAIR pairfs", "x Suspending uid 1000 pid 4711", "x PSUS pairfs", "x suspend uid 1000 pid 4711"},
		d.b: {"x COPY peer tokyo", "x PAIR peer tokyo", "x SSUS peer tokyo"},
	}
	check := func() {
		t.Helper()
		for n, lines := range want {
			all, err := n.site.History(context.Background())
			must(t, err)
			have := map[string]bool{}
			for i, e := range all {
				have[fmt.Sprint(e.Object[len("pair/"):], " ", e.What, " ", e.Caller)] = true
				if i > 0 && e.Time.Before(all[i-1].Time) {
					t.Errorf("entry %d is older than the one before it", i)
				}
				if group := map[*node]string{d.a: "g", d.b: "g@tokyo"}[n]; e.Group != group {
					t.Errorf("%s is of group %q", e.Object, e.Group)
				}
			}
			for _, l := range lines {
				if !have[l] {
					t.Errorf("%s does not remember %q: %v", n.cfg.Name, l, have)
				}
			}
		}
	}
	d.wait("the split is told on the primary", func() bool { // behind the change that awaitBoth sees
		all, err := d.a.site.History(context.Background())
		must(t, err)
		return slices.ContainsFunc(all, func(e Entry) bool { return e.What == "PSUS" })
	})
	d.wait("the split is told on the secondary", func() bool {
		all, err := d.b.site.History(context.Background())
		must(t, err)
		return slices.ContainsFunc(all, func(e Entry) bool { return e.What == "SSUS" })
	})
	check()
	d.a.close()
	d.wait("the switching off is told on the secondary", func() bool {
		all, err := d.b.site.History(context.Background())
		must(t, err)
		return slices.ContainsFunc(all, func(e Entry) bool { return e.What == "PSUE" })
	})
	want[d.b] = append(want[d.b], "y PSUE peer tokyo")
	d.a.open()
	d.a.awaitBoth(PAIR, "y")
	d.b.crash(nil)
	d.b.open()
	check()
}

// TestGroupOf names groups of pairs and of groups, and of nothing else.
func TestGroupOf(t *testing.T) {
	t.Parallel()
	d, _, _ := differ(t)
	for object, want := range map[string]string{"pair/x": "g", "group/g": "g", "pair/none": "", "peer/osaka": "", "site": "", "": ""} {
		if got := d.a.site.GroupOf(object); got != want {
			t.Errorf("%q is of %q", object, got)
		}
	}
}

// TestKnows: what is known is what a picture of the site shows.
func TestKnows(t *testing.T) {
	t.Parallel()
	d, _, _ := differ(t)
	s := d.a.site
	st := s.Status()
	var all []string
	for _, p := range st.Pairs {
		all = append(all, "pair/"+p.Name)
	}
	for _, g := range st.Groups {
		all = append(all, "group/"+g.Name)
	}
	for _, p := range st.Peers {
		all = append(all, "peer/"+p.Name)
	}
	for _, v := range st.Volumes {
		all = append(all, "volume/"+v.Name)
	}
	if len(all) < 5 {
		t.Fatalf("the site has only %q", all)
	}
	for _, o := range all {
		if !s.Knows(o) {
			t.Errorf("%s is not known", o)
		}
	}
	for _, o := range []string{"", "site", "x", "pair/g", "group/x", "peer/tokyo", "volume/none", "pair/", "kept/x"} {
		if s.Knows(o) {
			t.Errorf("%q is known", o)
		}
	}
}

// TestHistoryNeverBlocks: a status is taken or lost at once, however slow the disk is.
func TestHistoryNeverBlocks(t *testing.T) {
	h := &historian{queue: make(chan historyItem, 2), lost: make(chan struct{}, 1)}
	for range 5 {
		h.remember(Entry{What: "PAIR"})
	}
	if len(h.queue) != 2 || len(h.lost) != 1 {
		t.Errorf("%d queued, %d tokens", len(h.queue), len(h.lost))
	}
}
