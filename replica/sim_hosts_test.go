package replica

import (
	"context"
	"math/rand/v2"
)

// doHosts lets hosts do something to the volumes of a group. They do not wait for each other.
func (w *world) doHosts(s simStep, g *simGroup, rng *rand.Rand) {
	if g.lost && s.kind != simSplitWrite {
		return // nobody has looked yet at what is left
	}
	if s.kind != simSplitWrite && g.turned() {
		return // hosts would write to S-VOLs: nobody has looked yet where the group is at home
	}
	switch s.kind {
	case simWrites:
		for range 1 + rng.IntN(3) {
			w.startHost(g, rng.Uint64(), 1+rng.IntN(30), 1<<rng.IntN(12))
		}
	case simFlood:
		for range 3 {
			w.startHost(g, rng.Uint64(), 4+rng.IntN(8), 2048)
		}
	case simSync:
		site := g.home.site
		w.host(g.home, "sync", func(context.Context) error { return g.flush(site) })
	case simSplitWrite:
		w.splitWrites(g, rng)
	}
}

// startHost starts a host that makes a number of writes and discards of at most so many blocks each, some of them flushed.
func (w *world) startHost(g *simGroup, seed uint64, count, most int) {
	if g.home.site == nil {
		return
	}
	own := &writer{t: w.t, node: &node{t: w.t, cfg: g.home.cfg, site: g.home.site}, names: g.w.names, h: g.w.h}
	w.host(g.home, "host", func(ctx context.Context) error {
		rng := newRand(seed)
		for range count {
			vol, n := rng.IntN(len(own.names)), 1+rng.Int64N(int64(most))
			at := rng.Int64N(simSize/simUnit - n + 1)
			if rng.IntN(3) > 0 {
				at = at / 128 * 128 // often where others write too
			}
			var err error
			if rng.IntN(10) == 0 {
				err = own.discard(ctx, vol, at, n)
			} else {
				err = own.write(ctx, vol, at, n, rng.IntN(10) == 0)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// host runs a host at a site, which may fail only when something happened to the site.
func (w *world) host(s *simSite, what string, do func(context.Context) error) {
	if s.site == nil {
		return
	}
	ctx, site, before := s.hosts, s.site, s.hurt.Load()
	s.busy.Go(func() {
		if err := do(ctx); err != nil {
			w.note("%s at %s: %v", what, s.cfg.Name, err)
			refused := w.turns && KindOf(err) == KindSecondary // it was switched away from
			if !refused && !s.excused(site, before) {
				w.t.Errorf("%s at %s: %v", what, s.cfg.Name, err)
			}
		}
	})
}

// splitWrites writes to the S-VOLs that allow it, at once: the world is looked at only when that has ended.
func (w *world) splitWrites(g *simGroup, rng *rand.Rand) {
	away := g.away()
	if away.site == nil {
		return
	}
	for i, name := range g.w.names {
		p := away.site.pairByName(name)
		if p == nil || !p.att.writable.Load() {
			continue
		}
		g.dirty[name] = true
		for range 1 + rng.IntN(4) {
			n := 1 + rng.Int64N(64)
			if err := g.other.write(context.Background(), i, rng.Int64N(simSize/simUnit-n+1), n, false); err != nil {
				w.note("write to S-VOL %s: %v", name, err)
				break
			}
		}
	}
}
