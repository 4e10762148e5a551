package replica

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"pairfs/e2e/prefix"
)

// The roles of a simulated group. Home is where its hosts write: it moves when the other side has become the primary. Behind an exchange with
// host writes held the history goes on, and nothing acknowledged may be missing. Behind a takeover without the primary there are two: the
// one of home, and that of the S-VOL (simGroup.other). If the S-VOL wins, its image is what the history begins anew from
// (prefix.Restart): nothing may be there later that was not there then, but what hosts write since, and what lost must be kept aside where it was.

// doTurn gives a command that changes the roles or chooses a history.
func (w *world) doTurn(s simStep, g *simGroup, site *simSite) {
	if s.kind == simTakeover && s.flag {
		site = g.away()
	}
	group, name := g.names[site], g.volume(s.vol)
	switch s.kind {
	case simTakeover:
		w.at(site, "takeover", func(x *Site) error {
			var said Remarks
			ctx := WithRemarks(context.Background(), &said)
			var err error
			if s.vol < 0 || s.seed%4 != 0 {
				err = x.TakeoverGroup(ctx, group, TakeoverOptions{})
			} else {
				err = x.TakeoverPair(ctx, name, TakeoverOptions{})
			}
			kind, _, _ := strings.Cut(said.String(), ":")
			if kind == takeoverSVOL || kind == takeoverSSUS {
				g.split.Store(true)
			}
			if err == nil {
				w.count("takeover: "+kind, nil)
			}
			return err
		})
	case simSwap:
		w.at(site, "resync mode=swap", func(x *Site) error {
			return x.ResyncGroupWith(context.Background(), group, ResyncOptions{Swap: true})
		})
	case simDiscard:
		side, loser := SideThere, w.peerOf(site)
		if s.flag {
			side, loser = SideHere, site
		}
		lost, others, beside := g.lostBytes(loser), g.resyncs.Load(), g.resyncing.Load() > 0
		w.at(site, "resync discard="+string(side), func(x *Site) error {
			err := x.ResyncGroupWith(context.Background(), group, ResyncOptions{Discard: side})
			if err == nil && !beside && g.resyncs.Load() == others { // a plain resync keeps nothing of what it overwrites
				w.count("regions that lost and were kept", nil)
				err = lost.kept(loser)
			}
			return err
		})
	}
}

// lostBytes is what a side that is about to lose has alone.
type lostBytes map[string][]byte // by pair and region

func (g *simGroup) lostBytes(s *simSite) lostBytes {
	lost := lostBytes{}
	if s.site == nil {
		return lost
	}
	for _, name := range g.w.names {
		q := s.site.pairByName(name)
		if q == nil || q.att.writable.Load() && !g.quiet(s) {
			continue // hosts write on, so what is kept may be newer
		}
		image := make([]byte, simSize)
		if n, err := q.att.vol.ReadAt(image, 0); err != nil || n != simSize {
			continue
		}
		for r := range q.att.bits.regions {
			if q.att.bits.test(r) {
				lost[fmt.Sprintf("%s/%d", name, r)] = bytes.Clone(image[r*regionSize : min((r+1)*regionSize, simSize)])
			}
		}
	}
	return lost
}

// quiet reports whether no hosts run at the site: those that write S-VOLs do so in steps of their own.
func (g *simGroup) quiet(s *simSite) bool { return s != g.home }

// kept proves that what lost is in one of the sets that the site keeps, if the resync overwrote anything: pairs that it did not concern
// lost nothing.
func (l lostBytes) kept(s *simSite) error {
	for key, want := range l {
		name, number, _ := strings.Cut(key, "/")
		var r int64
		fmt.Sscan(number, &r)
		p := s.site.pairByName(name)
		if p == nil || p.state().Status != COPY && p.state().Status != PAIR || p.state().Role != Secondary {
			continue
		}
		sets, _ := filepath.Glob(filepath.Join(s.cfg.StateDir, "kept", name+"-*", "image"))
		found := slices.ContainsFunc(sets, func(path string) bool {
			f, err := os.Open(path)
			if err != nil {
				return false
			}
			defer f.Close()
			got := make([]byte, len(want))
			_, err = f.ReadAt(got, r*regionSize)
			return err == nil && bytes.Equal(got, want)
		})
		if !found {
			return fmt.Errorf("region %d of pair %s lost at %s and none of %d sets has it: please report this", r, name, s.cfg.Name, len(sets))
		}
	}
	return nil
}

// turned reports whether home became the secondary, of a primary that went down before that was seen.
func (g *simGroup) turned() bool {
	home := g.at(g.home, g.master())
	if home == nil {
		return false
	}
	home.mu.Lock()
	defer home.mu.Unlock()
	return home.role == Secondary
}

// follow moves home when the other side is the primary.
func (w *world) follow(g *simGroup) {
	away := g.at(g.away(), g.restored())
	if !w.turns || away == nil {
		return
	}
	away.mu.Lock()
	turned := away.role == Primary
	away.mu.Unlock()
	if !turned {
		return
	}
	if home := g.at(g.home, g.master()); home != nil {
		home.mu.Lock()
		both := home.role == Primary
		home.mu.Unlock()
		if both {
			w.t.Fatalf("group %s is primary on both sides", g.name)
		}
	}
	g.home = g.away()
	g.w.node, g.other.node = g.home.node, g.home.node.other
	w.note("group %s is at home at %s", g.name, g.home.cfg.Name)
	if !g.split.Swap(false) {
		w.seen["roles exchanged, nothing lost"]++
		return // the history goes on
	}
	w.seen["roles exchanged behind a takeover"]++
	w.verify("the history that won", g.beginAnew(w))
}

// beginAnew makes the image at home the beginning of the history.
func (g *simGroup) beginAnew(w *world) error {
	pictures, err := w.pictures(g)
	if err != nil {
		return err
	}
	w.runs++
	h, err := prefix.Restart(w.runs, pictures, g.w.h.History, g.other.h.History)
	if err != nil {
		return err
	}
	g.w.h = &history{h, simUnit}
	for _, name := range g.w.names {
		g.dirty[name] = true // the other side is of the history that lost, until it was copied
	}
	return nil
}

// talked gives both sides a minute of a perfect link, and then none may be written that the other does not know of.
func (w *world) talked(g *simGroup) {
	w.t.Helper()
	for end := time.Now().Add(time.Minute); w.oneSideWrites(g) != nil && time.Now().Before(end); {
		time.Sleep(100 * time.Millisecond)
	}
	w.verify("group "+g.name+" at rest", w.oneSideWrites(g))
}

// oneSideWrites proves that no two sides are written without both of them saying so.
func (w *world) oneSideWrites(g *simGroup) error {
	for _, name := range g.w.names {
		p, q := g.home.site.pairByName(name), g.away().site.pairByName(name)
		if p == nil || q == nil {
			continue
		}
		x, y := p.sharedState(), q.sharedState()
		if !p.att.writable.Load() || !q.att.writable.Load() || !x.TookOver && !y.TookOver {
			continue // or split with writes allowed
		}
		if x.splitToWrite() || y.splitToWrite() {
			continue // the same, where the other side was taken over and has not become the primary yet
		}
		if x.Status != PSUE || y.Status != PSUE || x.Suspend != BothWritten && y.Suspend != BothWritten {
			return fmt.Errorf("hosts may write pair %s on both sides: %+v and %+v", name, x, y)
		}
	}
	return nil
}

func (p *pair) sharedState() PairState {
	p.group.mu.Lock()
	defer p.group.mu.Unlock()
	return p.rec.State
}

// oneHistory ends what takeovers left: home goes on. Every state that a run comes to must have this way out.
func (w *world) oneHistory(g *simGroup) {
	w.t.Helper()
	ctx := context.Background()
	w.again("one history of "+g.name, func() error {
		w.follow(g)
		home, taken := g.at(g.home, g.master()), false
		for _, name := range g.w.names {
			for _, s := range w.sites {
				if p := s.site.pairByName(name); p != nil {
					taken = taken || p.sharedState().TookOver
				}
			}
		}
		home.mu.Lock()
		primary := home.role == Primary
		home.mu.Unlock()
		if primary && !taken {
			return nil
		}
		if !primary {
			if err := g.home.site.TakeoverGroup(ctx, g.master(), TakeoverOptions{}); err != nil {
				return err
			}
			if home.mu.Lock(); home.role == Primary {
				home.mu.Unlock()
				return nil
			}
			home.mu.Unlock()
		}
		return g.home.site.ResyncGroupWith(ctx, g.master(), ResyncOptions{Discard: SideThere})
	})
	w.follow(g)
}

// splitToWrite reports whether an operator let hosts write an S-VOL that is split.
func (s PairState) splitToWrite() bool { return s.Role == Secondary && s.SVOLWrite && !s.TookOver }
