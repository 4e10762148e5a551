package replica

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"testing"

	"pairfs/quicwire"
)

// swapSites are the sites of a duo with their names of the group, primary first; turn is the exchange of the roles.
type swapSites struct {
	*duo
	at, other         *node
	group, otherGroup string
}

func (s *swapSites) turn() {
	s.t.Helper()
	s.other.takeOver(s.otherGroup, takeoverSwap)
	s.at, s.other, s.group, s.otherGroup = s.other, s.at, s.otherGroup, s.group
	s.at.awaitBoth(PAIR, "p")
	s.wait("both say PAIR", func() bool { return s.at.status("p").PeerStatus == "PAIR" && s.other.status("p").PeerStatus == "PAIR" })
}

// onePaired makes pair p of a volume db at tokyo and one db2 at osaka.
func onePaired(t *testing.T) *swapSites {
	t.Helper()
	d := newDuo(t)
	must(t, d.a.site.CreateGroup(context.Background(), GroupSpec{Name: "g", Size: journalMin}))
	d.a.volume("db")
	must(t, d.a.site.CreatePair(context.Background(), PairSpec{Name: "p", Volume: "db", RemoteVolume: "db2", Peer: "osaka", Group: "g", Options: map[string]string{"error-level": "lu"}}))
	d.a.awaitBoth(PAIR, "p")
	return &swapSites{duo: d, at: d.a, other: d.b, group: "g", otherGroup: "g@tokyo"}
}

// TestRemoteVolume: each side names the other side's volume, before and after any number of exchanges of the roles, and behind restarts.
func TestRemoteVolume(t *testing.T) {
	t.Parallel()
	s := onePaired(t)
	named := func(when string) {
		t.Helper()
		s.wait(when, func() bool {
			return s.a.status("p").RemoteVolume == "db2" && s.b.status("p").RemoteVolume == "db"
		})
	}
	named("as it was created")
	for range 3 {
		s.turn()
		named("behind an exchange")
	}
	s.wait("it is stored", func() bool {
		return !s.a.site.groupByName("g").unstored.Load() && !s.b.site.groupByName("g@tokyo").unstored.Load()
	})
	for _, n := range []*node{s.a, s.b} {
		n.close()
	}
	for _, n := range []*node{s.a, s.b} { // one alone knows it too
		n.open()
	}
	for n, want := range map[*node]string{s.a: "db2", s.b: "db"} {
		if got := n.status("p").RemoteVolume; got != want {
			t.Errorf("behind a restart %s says %q, want %q", n.cfg.Name, got, want)
		}
	}
}

// TestOptionsTravel: a new primary works with what was set at the old one, planned or not, but for what was set at its own side.
func TestOptionsTravel(t *testing.T) {
	t.Parallel()
	s := onePaired(t)
	ctx := context.Background()
	shows := func(n *node, group string, want ...string) {
		t.Helper()
		s.wait("options at "+n.cfg.Name, func() bool {
			all := append(n.groupStatus(group).Options, n.status("p").Options...)
			return !slices.ContainsFunc(want, func(w string) bool { return !slices.Contains(all, w) })
		})
	}
	shows(s.b, "g@tokyo", "error-level=lu", "inflow-control=no")
	must(t, s.b.site.SetGroup(ctx, "g@tokyo", map[string]string{"copy-pace": "medium"}))
	must(t, s.a.site.SetGroup(ctx, "g", map[string]string{"inflow-control": "yes", "overflow-watch": "10m", "path-watch": "7m", "copy-pace": "high", "line-speed": "100M", "use-of-cache": "no"}))
	must(t, s.a.site.SetPair(ctx, "p", map[string]string{"priority": "5"}))
	// A secondary shows what it is to work with; path watch time it has itself.
	shows(s.b, "g@tokyo", "inflow-control=yes", "overflow-watch=10m", "path-watch=1h", "copy-pace=medium", "line-speed=100M", "use-of-cache=yes", "priority=5", "error-level=lu")
	must(t, s.a.site.SetPair(ctx, "p", map[string]string{"error-level": "group"}))
	shows(s.b, "g@tokyo", "error-level=group")

	s.turn()
	asPrimary := []string{"inflow-control=yes", "overflow-watch=10m", "path-watch=7m", "copy-pace=medium", "line-speed=100M", "use-of-cache=yes", "priority=5", "error-level=group"}
	shows(s.b, "g@tokyo", asPrimary...)
	if g := s.b.site.groupByName("g@tokyo"); g.line.lim.Limit() != 100<<20 {
		t.Errorf("the line speed is shown and does not hold: %v", g.line.lim.Limit())
	}
	must(t, s.b.site.SetPair(ctx, "p", map[string]string{"priority": "9"}))
	shows(s.a, "g", "copy-pace=high", "use-of-cache=no", "priority=5", "path-watch=7m") // its own stays
	s.turn()
	shows(s.a, "g", "inflow-control=yes", "path-watch=7m", "copy-pace=high", "use-of-cache=no", "priority=5", "error-level=group")

	// The same behind a takeover without the primary, with both sides started anew in between.
	must(t, s.a.site.SetGroup(ctx, "g", map[string]string{"overflow-watch": "20s"}))
	shows(s.b, "g@tokyo", "overflow-watch=20s")
	s.wait("it is stored", func() bool { return !s.b.site.groupByName("g@tokyo").unstored.Load() })
	s.b.crash(nil)
	s.a.crash(nil)
	s.b.open()
	s.b.takeOver("g@tokyo", takeoverSSUS)
	s.a.open()
	s.wait("the old primary knows", func() bool { return s.a.status("p").TakenOver })
	must(t, s.b.site.ResyncGroupWith(ctx, "g@tokyo", ResyncOptions{Swap: true}))
	s.b.awaitBoth(PAIR, "p")
	shows(s.b, "g@tokyo", "inflow-control=yes", "overflow-watch=20s", "path-watch=7m", "copy-pace=medium", "line-speed=100M", "priority=9", "error-level=group")
}

// TestSetBesideHanded: what the primary hands on while an option is set at the secondary, and is being stored, holds there too.
func TestSetBesideHanded(t *testing.T) {
	t.Parallel()
	s := onePaired(t)
	ctx := context.Background()
	g := s.b.site.groupByName("g@tokyo")
	s.wait("what was set before has come", func() bool { return slices.Contains(s.b.status("p").Options, "error-level=lu") })
	disk, err := s.b.site.db.db.Begin(true) // nothing is stored before it ends
	must(t, err)
	set := begin(func() error { return s.b.site.SetGroup(ctx, "g@tokyo", map[string]string{"copy-pace": "high"}) })
	s.wait("it is being stored", func() bool { return set.ended() || set.in("(*DB).Update(") })
	err = s.a.site.SetGroup(ctx, "g", map[string]string{"overflow-watch": "7m"})
	if err == nil {
		err = waitFor(func() bool {
			g.mu.Lock()
			defer g.mu.Unlock()
			return g.rec.Handed["overflow-watch"] == "7m"
		})
	}
	must(t, errors.Join(err, disk.Rollback()))
	must(t, <-set.end)
	for _, want := range []string{"copy-pace=high", "overflow-watch=7m"} {
		if got := s.b.groupStatus("g@tokyo").Options; !slices.Contains(got, want) {
			t.Errorf("%s is lost: %v", want, got)
		}
	}
}

// TestHandedOn: what was set at a side goes over what was handed to it, what stays at a side is not handed on, and their number is bounded.
func TestHandedOn(t *testing.T) {
	got := handedOn(map[string]string{"a": "1", "use-of-cache": "no"}, map[string]string{"a": "2", "b": "3"})
	if want := []quicwire.Setting{{Name: "a", Value: "1"}, {Name: "b", Value: "3"}}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	many := map[string]string{}
	for i := range 2 * quicwire.MaxSettings {
		many[string(rune('A'+i))] = ""
	}
	if n := len(handedOn(many, nil)); n != quicwire.MaxSettings {
		t.Errorf("%d settings are handed on", n)
	}
}

// TestForeignSettings: what a peer hands on that makes no sense here, or is of another version, changes nothing and is kept for the version that
// knows it; what comes from a session that has ended is not taken.
func TestForeignSettings(t *testing.T) {
	t.Parallel()
	s := onePaired(t)
	s.wait("the P-VOL is named", func() bool { return s.b.status("p").RemoteVolume == "db" })
	g := s.b.site.groupByName("g@tokyo")
	before := s.b.optionWords("g@tokyo", "p")
	g.mu.Lock()
	session := g.pulling
	g.mu.Unlock()
	for _, m := range []*quicwire.MirrorSettings{
		{Settings: []quicwire.Setting{{Name: "copy-pace", Value: "reckless"}, {Name: "of-tomorrow", Value: "yes"}, {Name: "no-words", Value: "\xff"}, {}}},
		{Number: 99, Volume: "db", Settings: []quicwire.Setting{{Name: "priority", Value: "1"}}},
		{Number: 1, Volume: "../db", Settings: []quicwire.Setting{{Name: "priority", Value: "1"}}},
		{Number: 1, Volume: "db", Settings: []quicwire.Setting{{Name: "priority", Value: "0"}, {Name: "error-level", Value: "lu"}}},
	} {
		session.takeSettings(m)
	}
	(&pullSession{g: g}).takeSettings(&quicwire.MirrorSettings{Number: 1, Volume: "other"})
	if after := s.b.optionWords("g@tokyo", "p"); !maps.EqualFunc(before, after, slices.Equal[[]string]) || s.b.status("p").RemoteVolume != "db" {
		t.Errorf("it has %v, had %v", after, before)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.rec.Handed["of-tomorrow"] != "yes" {
		t.Errorf("kept is %v", g.rec.Handed)
	}
	b, err := json.Marshal(g.rec) // as the database keeps it
	must(t, err)
	var again groupRecord
	must(t, json.Unmarshal(b, &again))
	if !maps.Equal(again.Handed, g.rec.Handed) {
		t.Errorf("kept is %q, and behind a restart %q", g.rec.Handed, again.Handed)
	}
}
