package replica

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"
)

// do carries out one step. Commands and hosts run in goroutines of their own: what they have not come to the end of when the step's time is
// over goes on during the next ones.
func (w *world) do(s simStep) {
	w.note("--- %s", s)
	w.met("step " + simWords[s.kind])
	rng := newRand(s.seed)
	g, site := w.groups[s.group], w.sites[s.site]
	switch s.kind {
	case simWrites, simFlood, simSync, simSplitWrite:
		w.doHosts(s, g, rng)
	case simSuspend, simPurge, simSplitAway, simResync, simDelete, simDeleteAway, simCreate:
		w.doCommand(s, g)
	case simAddVolume, simRemoveVolume:
		w.doJournalVolume(s, g, site, rng)
	case simMarker, simMarkSplit:
		w.doMark(s, g)
	case simGroupOption, simPairOption, simSiteOption:
		w.doOption(s, g, site, rng)
	case simCut:
		w.net.Blackhole(true)
	case simDeaf:
		w.net.Cut(w.peerOf(site).addr, site.addr, true)
	case simHeal:
		w.calm()
	case simSlow:
		w.net.Latency(time.Duration(20+rng.IntN(60)) * time.Millisecond)
		speed := map[string]string{"line-speed": []string{"128K", "512K"}[rng.IntN(2)]}
		for _, g := range w.groups {
			w.at(g.home, "set group", func(x *Site) error { return x.SetGroup(context.Background(), g.master(), speed) })
		}
	case simNoise:
		w.net.Drop(rng.Float64() * 0.05)
		w.net.Duplicate(rng.Float64() * 0.2)
		w.net.Reorder(rng.Float64()*0.1, time.Duration(rng.IntN(40))*time.Millisecond)
		w.net.Latency(time.Duration(1+rng.IntN(60)) * time.Millisecond)
	case simKill, simStop, simPower, simStart:
		w.doDaemon(s, site)
	case simSlowDisk, simSick, simFull, simBadFlush, simNoRoom, simNoStates, simBadDisk, simMend:
		w.doDisks(s, site, rng)
	case simClock:
		w.setClock(site, rng)
	case simSettle:
		w.settle()
	case simTakeover, simSwap, simDiscard:
		w.doTurn(s, g, site)
	}
	time.Sleep(s.wait)
}

// calm makes the link perfect.
func (w *world) calm() {
	w.net.Blackhole(false)
	for _, s := range w.sites {
		w.net.Cut(w.peerOf(s).addr, s.addr, false)
	}
	w.net.Drop(0)
	w.net.Duplicate(0)
	w.net.Reorder(0, 0)
	w.net.Latency(5 * time.Millisecond)
}

// at runs something at a site, if it is up, and expects no error that is the product's own fault.
func (w *world) at(s *simSite, what string, do func(*Site) error) {
	site := s.site
	if site == nil {
		w.note("%s: %s is down", what, s.cfg.Name)
		return
	}
	before, o := s.hurt.Load(), w.peerOf(s)
	far, fired := o.site, o.fired.Load()
	s.busy.Go(func() {
		err := do(site)
		w.note("%s at %s: %v", what, s.cfg.Name, err)
		w.count(what, err)
		if err != nil && KindOf(err) == KindInternal && !s.excused(site, before) && !o.sick(far, fired) && !errors.Is(err, context.Canceled) {
			w.t.Errorf("%s at %s: %v", what, s.cfg.Name, err)
		}
	})
}

// met counts what a run came upon.
func (w *world) met(what string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.seen[what]++
}

// count counts a command and its answer.
func (w *world) count(what string, err error) {
	if err != nil {
		what += ": " + KindOf(err).String()
	}
	w.met(what)
}

// excused reports whether something happened to the site since its count of hurts was before, or is wrong with it now.
func (s *simSite) excused(site *Site, before int64) bool {
	return s.hurt.Load() != before || s.disks.ill() || ailing(site)
}

// sick reports whether a disk of the site failed since its count of that was fired, or may be in the way now.
func (s *simSite) sick(site *Site, fired int64) bool {
	return s.fired.Load() != fired || s.disks.ill() || site != nil && ailing(site)
}

// ailing reports whether a failure of disks is in a site's way.
func ailing(site *Site) bool {
	for _, st := range site.Status().Groups {
		g := site.groupByName(st.Name)
		if st.Failed != "" || g != nil && g.held.Load() == nil && (g.storeErr.Load() != nil || g.journal.Err() != nil) {
			return true
		}
	}
	return false
}

func (w *world) doCommand(s simStep, g *simGroup) {
	ctx := context.Background()
	switch s.kind {
	case simSuspend, simPurge:
		o := SuspendOptions{Purge: s.kind == simPurge, SVOLWrite: s.flag && s.kind != simPurge}
		w.at(g.home, "suspend", func(site *Site) error {
			return onOneOrAll(s, g, g.master(), site.SuspendPair, site.SuspendGroup, ctx, o)
		})
	case simSplitAway:
		o := SuspendOptions{SVOLWrite: s.flag}
		w.at(g.away(), "suspend", func(site *Site) error {
			return onOneOrAll(s, g, g.restored(), site.SuspendPair, site.SuspendGroup, ctx, o)
		})
	case simResync:
		w.at(g.home, "resync", func(site *Site) error {
			g.resyncs.Add(1)
			g.resyncing.Add(1)
			defer g.resyncing.Add(-1)
			if s.vol < 0 {
				return site.ResyncGroup(ctx, g.master())
			}
			return site.ResyncPair(ctx, g.volume(s.vol))
		})
	case simDelete:
		w.at(g.home, "delete", func(site *Site) error { return site.DeletePair(ctx, g.volume(s.vol), DeleteOptions{Force: s.flag}) })
	case simDeleteAway:
		w.at(g.away(), "delete", func(site *Site) error { return site.DeletePair(ctx, g.volume(s.vol), DeleteOptions{Force: s.flag}) })
	case simCreate:
		away := g.away().site
		w.at(g.home, "create", func(site *Site) error {
			name := g.unpaired(site, s.vol)
			if away != nil && (site.pairByName(name) == nil) != (away.pairByName(name) == nil) {
				_ = site.DeletePair(ctx, name, DeleteOptions{Force: true}) // one of these has it, if nothing changed meanwhile
				_ = away.DeletePair(ctx, name, DeleteOptions{Force: true})
			}
			return site.CreatePair(ctx, g.pairSpec(name))
		})
	}
}

// volume is the volume that a step means; one of all is the first.
func (g *simGroup) volume(n int) string { return g.w.names[max(n, 0)%len(g.w.names)] }

// unpaired is a volume in no pair at the primary, or volume n if there is none.
func (g *simGroup) unpaired(site *Site, n int) string {
	for _, name := range g.w.names {
		if site.pairByName(name) == nil {
			return name
		}
	}
	return g.volume(n)
}

func (g *simGroup) pairSpec(v string) PairSpec {
	return PairSpec{Name: v, Volume: v, Peer: g.away().cfg.Name, Group: g.master()}
}

func onOneOrAll[O any](s simStep, g *simGroup, group string, one, all func(context.Context, string, O) error, ctx context.Context, o O) error {
	if s.vol < 0 {
		return all(ctx, group, o)
	}
	return one(ctx, g.volume(s.vol), o)
}

func (w *world) doOption(s simStep, g *simGroup, site *simSite, rng *rand.Rand) {
	ctx := context.Background()
	pick := func(from [][2]string) map[string]string {
		o := from[rng.IntN(len(from))]
		w.note("%s=%s", o[0], o[1])
		return map[string]string{o[0]: o[1]}
	}
	switch s.kind {
	case simGroupOption:
		o, name := pick(simGroupOptions), g.master()
		if site != g.home {
			name = g.restored()
		}
		w.at(site, "set group", func(x *Site) error { return x.SetGroup(ctx, name, o) })
	case simPairOption:
		o := pick(simPairOptions)
		w.at(site, "set pair", func(x *Site) error { return x.SetPair(ctx, g.volume(s.vol), o) })
	case simSiteOption:
		o := pick(simSiteOptions)
		w.at(site, "set site", func(x *Site) error { return x.SetSite(ctx, o) })
	}
}

// simVolumesMax bounds the journal volumes of a group.
const simVolumesMax = 4

// doJournalVolume gives the journal of a group at one of its sites another journal volume, or takes one of them.
func (w *world) doJournalVolume(s simStep, g *simGroup, site *simSite, rng *rand.Rand) {
	name := g.name
	if site != g.home {
		name = g.restored()
	}
	own := g.at(site, name)
	if own == nil {
		return
	}
	volumes := own.journalVolumes()
	if s.kind == simRemoveVolume || len(volumes) >= simVolumesMax {
		number := volumes[rng.IntN(len(volumes))].Number
		w.at(site, "remove journal volume", func(x *Site) error { return x.RemoveJournalVolume(context.Background(), name, number) })
		return
	}
	w.at(site, "add journal volume", func(x *Site) error { return x.AddJournalVolume(context.Background(), name, journalMin) })
}

// doDaemon ends or starts a daemon.
func (w *world) doDaemon(s simStep, site *simSite) {
	switch up := site.site != nil; {
	case s.kind == simStart && !up:
		w.revive(site)
	case !up || s.kind == simStart:
	case s.kind == simStop:
		site.stop()
	case s.kind == simPower && w.flushPlain(site):
		site.losePower(s.seed)
		for _, g := range w.groups {
			g.lost = g.lost || g.home == site
		}
	default:
		site.die(nil)
	}
}

// flushPlain flushes the groups at a site with volumes that no journal keeps in order, for a power cut may take any part of what they hold,
// and reports whether that went well.
func (w *world) flushPlain(s *simSite) bool {
	for _, g := range w.groups {
		if g.home != s || g.journaled() {
			continue
		}
		s.hurt.Add(1)
		s.expel()
		s.busy.Wait()
		s.hosts, s.expel = context.WithCancel(context.Background())
		if g.flush(s.site) != nil {
			return false
		}
	}
	return true
}

// journaled reports whether the journal takes the writes of all volumes of the group, at its primary.
func (g *simGroup) journaled() bool {
	for _, v := range g.w.names {
		if p := g.home.site.pairByName(v); p == nil || p.att.direct.Load() || p.group.failed != "" || p.rec.State.Status == Deleting {
			return false
		}
	}
	return true
}

// flush makes everything that hosts did to the group's volumes at the primary survive a power cut.
func (g *simGroup) flush(site *Site) error {
	now := g.w.h.Now()
	for _, name := range g.w.names {
		v, err := site.Volume(name)
		if err == nil {
			err = v.Sync(context.Background())
		}
		if err != nil {
			return err
		}
	}
	g.w.h.Synced(now)
	return nil
}

// revive starts a daemon. Disks that failed may work again, full ones are still full.
func (w *world) revive(s *simSite) {
	w.t.Helper()
	s.hurt.Add(1)
	s.disks.change((*simDisks).anew)
	s.start()
	w.found()
}

// found looks at what is left of groups whose primary lost power, as soon as they are served and before hosts write again.
func (w *world) found() {
	w.t.Helper()
	for _, g := range w.groups {
		if g.lost && g.at(g.home, g.master()) != nil {
			g.lost = false
			w.verify("I2 after a power cut", g.w.h.check(g.w.images(g.home.node), everySynced))
			g.w.forgetLost(g.home.node)
		}
	}
}
