package replica

import (
	"context"
	"testing"

	bolt "go.etcd.io/bbolt"
)

// TestGroupOfAnOperatorStays: with its last pair a group that was made on demand goes, and one that an operator made stays, empty and of no role,
// whichever role each had, whichever side the pair is deleted at, and behind a restart; it can be used again.
func TestGroupOfAnOperatorStays(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		swaps int
		at    string
		force bool
	}{
		{"as_created_at_the_primary", 0, "tokyo", false},
		{"swapped_at_the_primary", 1, "osaka", false},
		{"swapped_at_the_secondary", 1, "tokyo", false},
		{"swapped_by_force", 1, "osaka", true},
		{"swapped_back_at_the_primary", 2, "tokyo", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s, ctx := onePaired(t), context.Background()
			must(t, s.a.site.SetGroup(ctx, "g", map[string]string{"copy-pace": "high"}))
			for range c.swaps {
				s.turn()
			}
			must(t, map[string]*node{"tokyo": s.a, "osaka": s.b}[c.at].site.DeletePair(ctx, "p", DeleteOptions{Force: c.force}))
			if c.at == s.other.cfg.Name { // at the secondary it ends there alone
				s.at.await(PSUS, "p")
				must(t, s.at.site.DeletePair(ctx, "p", DeleteOptions{}))
			}
			s.wait("the group on demand goes", func() bool { return s.b.site.groupByName("g@tokyo") == nil })
			empty := func(when string) {
				t.Helper()
				g := s.a.groupStatus("g")
				if g.Name != "g" || g.Role == Secondary || g.Peer != "" || g.PeerGroup != "" || len(g.Pairs) != 0 || len(s.a.groupStatus("g").Options) == 0 {
					t.Fatalf("%s: the operator's group is %+v", when, g)
				}
			}
			empty("at once")
			s.a.reopen()
			empty("behind a restart")
			must(t, s.b.site.ReserveVolume(ctx, "db2", "tokyo"))
			must(t, s.a.site.CreatePair(ctx, PairSpec{Name: "p", Volume: "db", RemoteVolume: "db2", Peer: "osaka", Group: "g"}))
			s.a.awaitBoth(PAIR, "p")
			if g := s.b.groupStatus("g@tokyo"); g.Role != Secondary || s.a.groupStatus("g").Role != Primary {
				t.Fatalf("used again it is %+v", g)
			}
		})
	}
}

// TestEmptyGroupsAtStart: a daemon that ended before it had tidied up behind the last pair does so when it is started.
func TestEmptyGroupsAtStart(t *testing.T) {
	t.Parallel()
	s := onePaired(t)
	s.turn()
	for n, name := range map[*node]string{s.a: "g", s.b: "g@tokyo"} {
		g := n.site.groupByName(name)
		must(t, n.site.db.update(func(tx *bolt.Tx) error { return dropPair(tx, "p") }))
		n.crash(nil)
		n.open()
		if n == s.b {
			s.wait("the group on demand goes", func() bool { return n.site.groupByName(name) == nil })
			continue
		}
		s.wait("the operator's group is free", func() bool {
			st := n.groupStatus(name)
			return st.Name == g.name && st.Role == RoleNone && st.Peer == ""
		})
	}
}
