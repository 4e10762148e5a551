package replica

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// randomRun drives two sites with commands, hosts and faults chosen by a seed. Group g has two pairs and is primary at tokyo, group h one
// that is primary at osaka, so both sites have both roles.
type randomRun struct {
	*duo
	t      *testing.T
	rng    *rand.Rand
	groups []*randomGroup
	down   bool
	log    []string
}

type randomGroup struct {
	name  string
	home  *node // where it is primary
	w     *writer
	dirty bool // hosts wrote S-VOLs since the split: they are no prefix until the next resync
}

func (r *randomRun) note(format string, args ...any) {
	r.log = append(r.log, fmt.Sprintf(format, args...))
}

// TestRandomCommands proves after each quiescence that S-VOLs are one prefix of what hosts did (I1, I4), that every difference of split
// pairs is marked (I5), and in the end that all volumes are equal.
func TestRandomCommands(t *testing.T) {
	t.Parallel()
	d := newDuo(t, withPathWatch(1500*time.Millisecond))
	r := &randomRun{duo: d, t: t, rng: newRand(testSeed(t))}
	r.groups = []*randomGroup{{name: "g", home: d.a, w: newWriter(d.a, "x", "y")}, {name: "h", home: d.b, w: newWriter(d.b, "z")}}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("what was done: %v", r.log)
		}
	})
	for _, g := range r.groups {
		g.home.group(g.name)
		for _, v := range g.w.names {
			g.home.volume(v)
		}
		g.w.some(r.rng, 20)
		g.home.pair(g.name, g.w.names...)
	}
	for range 6 {
		for range 1 + r.rng.IntN(4) {
			r.step()
		}
		r.quiesce()
	}
	for _, g := range r.groups {
		r.pairUp(g)
		g.home.suspend(g.name, SuspendOptions{}, g.w.names...)
		g.w.check(g.home.other, everyAck)
		d.wantEqual(g.w.names...)
	}
}

// step does one thing. A refusal is an answer; only what went wrong inside ends the test.
func (r *randomRun) step() {
	ctx := context.Background()
	g := r.groups[r.rng.IntN(len(r.groups))]
	var err error
	what := ""
	switch k := r.rng.IntN(12); {
	case k < 4:
		what = "writes"
		g.w.some(r.rng, 10+r.rng.IntN(40))
		err = g.w.sync(ctx, 0)
	case k < 5:
		what = "suspend"
		err = g.home.site.SuspendGroup(ctx, g.name, SuspendOptions{SVOLWrite: r.rng.IntN(2) == 0})
	case k < 6:
		what = "purge"
		err = g.home.site.SuspendGroup(ctx, g.name, SuspendOptions{Purge: true})
	case k < 7:
		what = "suspend at the secondary"
		err = g.home.other.site.SuspendGroup(ctx, g.name+"@"+g.home.cfg.Name, SuspendOptions{SVOLWrite: r.rng.IntN(2) == 0})
	case k < 8 && !r.down:
		what = "resync"
		err = g.home.site.ResyncGroup(ctx, g.name)
	case k < 9:
		what = "writes at the secondary"
		r.writeSecondary(g)
	case k < 10:
		what = "link"
		if r.down = !r.down; r.down {
			r.cut()
		} else {
			r.heal()
		}
	case k < 11:
		n := []*node{r.a, r.b}[r.rng.IntN(2)]
		what = "restart of " + n.cfg.Name
		n.reopen()
	case !r.down:
		what = "delete and create"
		v := g.w.names[r.rng.IntN(len(g.w.names))]
		if err = g.home.site.DeletePair(ctx, v, DeleteOptions{}); err == nil {
			err = g.home.site.CreatePair(ctx, PairSpec{Name: v, Volume: v, Peer: g.home.other.cfg.Name, Group: g.name})
		}
	}
	r.note("%s %s: %v", g.name, what, err)
	if err != nil && KindOf(err) == KindInternal {
		r.t.Fatalf("%s of group %s: %v", what, g.name, err)
	}
}

// writeSecondary writes blocks of its own to the S-VOLs that allow it.
func (r *randomRun) writeSecondary(g *randomGroup) {
	other := &writer{t: r.t, node: g.home.other, names: g.w.names, h: newHistory()}
	for i := range g.w.names {
		if other.write(context.Background(), i, r.rng.Int64N(1000), 1+r.rng.Int64N(3), false) == nil {
			g.dirty = true
		}
	}
}

// quiesce brings the link back and waits until no pair is on its way between states; then it checks.
func (r *randomRun) quiesce() {
	r.t.Helper()
	if r.down {
		r.down = false
		r.heal()
		r.note("link")
	}
	for _, g := range r.groups {
		r.wait("the states come to rest", func() bool {
			for _, v := range g.w.names {
				p, s := g.home.status(v).Status, g.home.other.status(v).Status
				if p == PAIR && s == PAIR || slices.Contains([]Status{PSUS, PSUE, PFUS}, p) && slices.Contains([]Status{PSUS, PSUE, PFUS}, s) || p == SMPL && s == SMPL {
					continue
				}
				return false
			}
			return true
		})
		r.checkGroup(g)
	}
}

// checkGroup checks the pairs of a group that is at rest.
func (r *randomRun) checkGroup(g *randomGroup) {
	r.t.Helper()
	r.note("check %s", g.name)
	together := true // in one state, and split at one number
	for _, v := range g.w.names {
		p, first := g.home.other.status(v), g.home.other.status(g.w.names[0])
		together = together && p.Status == first.Status && p.SuspendSeq == first.SuspendSeq && p.Consistent
		if p.Status != PAIR && p.Status != SMPL {
			r.wantCovered(v)
		}
	}
	if together && !g.dirty && g.home.other.status(g.w.names[0]).Status != SMPL {
		g.w.checkStill(g.home.other, g.name+"@"+g.home.cfg.Name, whatever)
	}
	g.w.check(g.home, everyAck)
}

// pairUp brings all pairs of a group to PAIR.
func (r *randomRun) pairUp(g *randomGroup) {
	r.t.Helper()
	ctx := context.Background()
	for _, v := range g.w.names {
		if g.home.status(v).Status == SMPL {
			must(r.t, g.home.site.CreatePair(ctx, PairSpec{Name: v, Volume: v, Peer: g.home.other.cfg.Name, Group: g.name}))
		}
	}
	r.wait("the group is linked", func() bool { return g.home.groupStatus(g.name).Linked })
	must(r.t, g.home.site.ResyncGroup(ctx, g.name))
	g.home.awaitBoth(PAIR, g.w.names...)
	g.dirty = false
	r.note("%s paired up", g.name)
}
