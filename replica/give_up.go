package replica

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"

	bolt "go.etcd.io/bbolt"
)

// An S-VOL whose store takes no bytes holds up the restore of its whole group, unless its pair's error level is LU: then that volume is
// given up alone. What would be written to it is marked in its bitmap instead, durable before the journal lets go of it (I5), its pair is
// PSUE and the S-VOL no image of one moment any more; the other pairs go on. A resync tries the store again.
//
// That it was given up is stored with the marks that let go of what it lacks: who starts behind a kill must not take it for an image. An
// S-VOL that is split is never given up: it is the image of a moment that somebody keeps, or hosts write it, and the journal holds the only
// copy of what its store did not take.

// mayTear reports whether the S-VOL may be given up alone. Requires group.mu. At the moment at which it is taken over it may not: hosts are about to
// be told that it has everything, and the journal has what its store does not take.
func (a *attachment) mayTear() bool {
	g := a.group
	return g.role == Secondary && !g.whole && a.pair.opts.ErrorLevel == LevelLU && a.pair.rec.State.Status.active()
}

// tear makes the S-VOL no image of one moment any more, if it may be given up. It reports whether it is given up by now, and whether that is new.
func (a *attachment) tear() (torn, fresh bool) {
	a.group.mu.Lock()
	defer a.group.mu.Unlock()
	if a.torn.Load() || !a.mayTear() {
		return a.torn.Load(), false
	}
	a.pair.rec.Torn, a.pair.rec.State.Consistent = true, false
	a.torn.Store(true)
	return true, true
}

// putTorn stores the pairs whose volumes were given up, in the transaction that lets go of what they lack.
func (g *group) putTorn(tx *bolt.Tx) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	for name, p := range g.pairs {
		if !p.rec.Torn {
			continue
		}
		if err := put(tx, bucketPairs, name, p.rec); err != nil {
			return err
		}
	}
	return nil
}

// giveUp takes the volume out of the restore if what failed is that pair's alone, and reports whether it is out. It may be called with checkMu or
// restoreMu held.
func (g *group) giveUp(a *attachment, err error) bool {
	if errors.Is(err, errChecksum) || g.journal.Err() != nil {
		return a.torn.Load()
	}
	torn, fresh := a.tear()
	if fresh {
		g.tellGivenUp(a, err)
	}
	return torn
}

// keepWhole lets no S-VOL be given up alone until the function that it gives is called. cmd is held.
func (g *group) keepWhole() (letGo func()) {
	set := func(on bool) {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.whole = on
	}
	set(true)
	return func() { set(false) }
}

func (g *group) tellGivenUp(a *attachment, err error) {
	text := fmt.Sprintf("volume %s cannot be restored to: %v; its pair is suspended alone (error-level=lu); mend its store, then resync", a.vol.name, err)
	g.site.events.add(slog.LevelError, a.pair.object(), "%s", text)
	g.report(fact{pair: a.pair, input: EvRestoreFailed, text: text, torn: true})
}

// givingUp returns a pair whose volume was given up and which is not suspended yet, nil if there is none. A resync that begins tries the store
// again.
func (g *group) givingUp() *pair {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, p := range g.pairs {
		if p.isGivenUp() {
			return p
		}
	}
	return nil
}

// isGivenUp reports whether the pair's volume was given up and the pair is not suspended yet. Requires group.mu.
func (p *pair) isGivenUp() bool {
	return p.att.torn.Load() && p.rec.State.Role == Secondary && p.rec.State.Status.active() && !p.rec.Starting
}

// markInstead marks and drops what the overlay of a volume that was given up holds of records before upTo.
func (g *group) markInstead(a *attachment, upTo uint64) {
	var extents []extent
	for _, region := range a.overlay.dirtyRegions(nil) {
		if extents = a.overlay.collect(region, upTo, extents[:0]); len(extents) > 0 {
			a.bits.set(int64(region))
			a.overlay.drop(region, extents)
		}
	}
}

// restoreVolume writes what the overlay of a volume holds of records before upTo to its store, or marks it.
func (g *group) restoreVolume(w *restoreWriter, a *attachment, upTo uint64) error {
	if !a.torn.Load() {
		if err := w.volume(a, upTo); err == nil || !g.giveUp(a, err) {
			return err
		}
	}
	g.markInstead(a, upTo)
	return nil
}

// flushVolume flushes the store of a volume for a checkpoint. What a flush that failed lost is not known, so everything is marked.
func (g *group) flushVolume(a *attachment) error {
	if !a.vol.dirtySync.Swap(false) {
		return nil
	}
	err := a.vol.store.sync()
	if err == nil {
		return nil
	}
	if g.giveUp(a, err) {
		a.bits.fill()
		return nil
	}
	a.vol.dirtySync.Store(true) // the next checkpoint must not pass over it
	return fmt.Errorf("flush the store of volume %s: %w", a.vol.name, err)
}

// errTorn is why a volume was given up before the daemon started.
var errTorn = errors.New("its store took no bytes when pairfs ran before")

// tellTorn reports the volumes that were given up before the daemon started, or that a replay found to take no bytes. The group's goroutines run.
func (g *group) tellTorn() {
	for _, a := range g.attachments() {
		g.mu.Lock()
		active := a.pair.rec.State.Status.active()
		g.mu.Unlock()
		if a.torn.Load() && active {
			g.tellGivenUp(a, cmp.Or(a.replayErr, errTorn))
		}
		a.replayErr = nil
	}
}

// tornBefore takes back what an attempt to open the group, which failed, found of its volumes.
func (g *group) tornBefore() error {
	stored, err := load[pairRecord](g.site.db, bucketPairs)
	if err != nil {
		return err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	for name, p := range g.pairs {
		p.att.replayErr = nil
		p.rec.Torn, p.rec.State.Consistent = stored[name].Torn, stored[name].State.Consistent
		p.att.torn.Store(p.rec.Torn)
	}
	return nil
}
