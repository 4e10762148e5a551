package replica

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// TestCopySlots plays takes and drops against a model: no more run than there may, nobody overtakes a better one that waits, and who waits
// is woken when that may have changed.
func TestCopySlots(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := newCopySlots()
		most := rapid.IntRange(1, 4).Draw(t, "most")
		c.limit(most)
		pairs := make([]*pair, 6)
		priority, wakes := map[*pair]int{}, map[*pair]chan struct{}{}
		for i := range pairs {
			pairs[i] = &pair{name: fmt.Sprint("p", i)}
			priority[pairs[i]], wakes[pairs[i]] = rapid.IntRange(1, 3).Draw(t, "priority"), make(chan struct{}, 1)
		}
		running, waiting := map[*pair]bool{}, map[*pair]bool{}
		better := func(p, q *pair) bool {
			return priority[p] < priority[q] || priority[p] == priority[q] && p.name < q.name
		}
		woken := func() {
			for p := range waiting {
				select {
				case <-wakes[p]:
				default:
					t.Fatalf("%s waits and was not woken", p.name)
				}
			}
		}
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			p := pairs[rapid.IntRange(0, len(pairs)-1).Draw(t, "pair")]
			switch rapid.IntRange(0, 5).Draw(t, "what") {
			case 0:
				c.drop(p)
				delete(running, p)
				delete(waiting, p)
				woken()
			case 5:
				priority[p] = rapid.IntRange(1, 3).Draw(t, "priority")
				if c.rank(p, priority[p]); waiting[p] {
					woken()
				}
			case 1:
				most = rapid.IntRange(1, 4).Draw(t, "most")
				c.limit(most)
				woken()
			default:
				want := running[p]
				if !want {
					ahead := 0
					for q := range waiting {
						if q != p && better(q, p) {
							ahead++
						}
					}
					want = len(running)+ahead < most
				}
				if have := c.take(p, priority[p], wakes[p]); have != want {
					t.Fatalf("%s with priority %d may begin: %v, want %v", p.name, priority[p], have, want)
				}
				if want {
					running[p] = true
					delete(waiting, p)
				} else {
					waiting[p] = true
				}
			}
		}
	})
}

// TestRankOfOneThatWaits: two wait for the one place, and the better one is made the worse one. Whoever is woken first, the other is next.
func TestRankOfOneThatWaits(t *testing.T) {
	for _, first := range []int{0, 1} {
		c := newCopySlots()
		c.limit(1)
		runs, a, b := &pair{name: "runs"}, &pair{name: "a"}, &pair{name: "b"}
		priority, wake := map[*pair]int{a: 1, b: 32}, make(chan struct{}, 1)
		if !c.take(runs, 1, wake) || c.take(a, 1, wake) || c.take(b, 32, wake) {
			t.Fatal("one runs and two wait")
		}
		priority[a] = 200
		c.rank(a, 200)
		c.drop(runs)
		order := [][]*pair{{a, b}, {b, a}}[first]
		var began []string
		for _, p := range order {
			if c.take(p, priority[p], wake) {
				began = append(began, p.name)
			}
		}
		if !slices.Equal(began, []string{"b"}) {
			t.Errorf("%v began", began)
		}
	}
}

// arrivals gives the order in which pairs came to a status at the site.
func (n *node) arrivals(status string) (names []string) {
	for _, e := range n.site.Events() {
		if name, ok := strings.CutPrefix(e.Object, "pair/"); ok && e.Text == "P-VOL is "+status {
			names = append(names, name)
		}
	}
	return names
}

// TestCopiesByPriority: with one copy at a time, pairs come to PAIR in the order of their priorities, whatever the order of their making;
// pairs of one priority in that of their names; in two groups.
func TestCopiesByPriority(t *testing.T) {
	t.Parallel()
	d := newDuo(t)
	ctx := context.Background()
	must(t, d.a.site.SetSite(ctx, map[string]string{"copies": "1"}))
	d.a.group("g")
	d.a.group("h")
	first := &pair{name: "first"} // holds the one place until all are there
	if !d.a.site.slots.take(first, 1, make(chan struct{}, 1)) {
		t.Fatal("there is no place at all")
	}
	w := newWriter(d.a)
	for i, c := range []struct{ name, group, priority string }{{"e", "g", "256"}, {"c", "h", "32"}, {"d", "g", "33"}, {"b", "g", "32"}, {"a", "h", "2"}} {
		d.a.volume(c.name)
		w.names = append(w.names, c.name)
		must(t, w.write(ctx, i, 0, 200, false))
		must(t, d.a.site.CreatePair(ctx, PairSpec{Name: c.name, Volume: c.name, Peer: "osaka", Group: c.group, Options: map[string]string{"priority": c.priority}}))
	}
	d.wait("all wait for a place", func() bool {
		d.a.site.slots.mu.Lock()
		defer d.a.site.slots.mu.Unlock()
		return len(d.a.site.slots.waiting) == 5
	})
	for _, g := range []string{"g", "h"} {
		if sent := d.a.groupStatus(g).BaseSent; sent != 0 {
			t.Errorf("group %s sent %d bytes of base records, and no pair may be copied", g, sent)
		}
	}
	d.a.site.slots.drop(first)
	d.a.awaitBoth(PAIR, w.names...)
	d.wait("all are told", func() bool { return len(d.a.arrivals("PAIR")) == 5 })
	if have := d.a.arrivals("PAIR"); !slices.Equal(have, []string{"a", "b", "c", "d", "e"}) {
		t.Errorf("they came to PAIR as %v", have)
	}
}
