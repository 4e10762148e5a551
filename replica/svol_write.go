package replica

import "log/slog"

// The rules of svol-write=enable, the same for a pair and for a group:
//
//   - At the primary it is chosen when a split begins, and it travels with the suspend record: hosts may write the S-VOL from the moment
//     at which both sides stopped. It needs that record, so it goes neither with a purge nor with a pair that is split already; and where
//     the flush ends in marks because its time was over, the S-VOL stays as it was.
//   - At the secondary it goes with any suspend: of a pair that is replicated, which splits it there, and of one that is split already,
//     for whatever reason. The primary need not be in reach.
//   - It ends with the next resync and with nothing else. What hosts wrote meanwhile is marked here, in the bitmap of the secondary, and is
//     overwritten then; [Site.PairDifferences] lists it before.

// checkWrites refuses svol-write where it would have no effect.
func (g *group) checkWrites(pairs []*pair, o SuspendOptions) error {
	if g.role == Secondary {
		return g.checkReads(pairs, o)
	}
	if !o.SVOLWrite {
		return nil
	}
	if o.Purge {
		return refuse(KindInvalid, "svol-write=enable goes with a flush, or is given at the secondary: leave mode=purge out")
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, p := range pairs {
		if st := p.rec.State; st.Status == Suspending || st.Status.suspended() {
			return refuse(KindBusy, "pair %s is %s already, and svol-write is chosen when a split begins: give it at %s (pair suspend %s --svol-write=enable)",
				p.name, st.Status, p.rec.Peer, p.name)
		}
	}
	return nil
}

// checkReads refuses to take back at the secondary what a split gave.
func (g *group) checkReads(pairs []*pair, o SuspendOptions) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, p := range pairs {
		if o.SVOLRead && p.rec.State.SVOLWrite {
			return refuse(KindBusy, "pair %s: hosts may write its S-VOL until the next resync, and svol-write=disable does not end that", p.name)
		}
	}
	return nil
}

// allowWrites lets hosts write the S-VOLs that were split already when they were suspended again. The others have it from their split.
func (g *group) allowWrites(pairs []*pair, o SuspendOptions) error {
	if !o.SVOLWrite || g.role != Secondary {
		return nil
	}
	for _, p := range pairs {
		g.mu.Lock()
		late := p.rec.State.Status.suspended() && !p.rec.State.SVOLWrite
		p.rec.State.SVOLWrite = p.rec.State.SVOLWrite || late
		g.mu.Unlock()
		if !late {
			continue
		}
		err := g.persist(p) // before the first write: the next start has to know that there may be some
		g.mu.Lock()
		if err != nil {
			p.rec.State.SVOLWrite = false
		}
		p.applyAccess()
		g.mu.Unlock()
		if err != nil {
			return fault(KindInternal, err, "pair %s: svol-write could not be stored", p.name)
		}
		g.site.events.add(slog.LevelWarn, p.object(), "hosts may write the S-VOL until the next resync")
	}
	return nil
}
