package replica

import (
	"errors"
	"log/slog"
	"sync"
	"time"

	"pairfs/journal"
)

// Restore moves the newest bytes from overlay to store, in passes: everything durable at the beginning of a pass is written, region by
// region in ascending order, whatever number of records it came in. A checkpoint flushes the stores, with passes going on, and moves the
// marks to where these had come when it began, the bitmap pages and the journal's head in one transaction. The marks step from one prefix
// of the group's order to a later one; what the stores have beyond that is durable in the journal, and a crash is made good by replaying it
// from the last checkpoint (I4).

// restoreLoop runs passes, and asks for checkpoints, when they are due. A pass by the clock would let a fast host fill the ring before it: the flush
// that brings a quarter of it asks for one. While there is little to do, and nobody waits for it, the clock is slow.
func (g *group) restoreLoop() {
	tick := time.NewTicker(restoreTick)
	defer tick.Stop()
	last, every := time.Now(), restoreTick
	for {
		asked := false
		select {
		case <-g.ctx.Done():
			return
		case <-g.restoreReq:
			asked = true
		case <-tick.C:
		}
		if g.journalLost() {
			continue
		}
		u, ok := g.journal.Usage(), true
		switch due := asked || u.RingUsed > u.RingSize/restoreShare || g.written() > u.Capacity/checkpointShare || time.Since(last) > restoreIdle; {
		case due && g.ahead(u):
			ok = false // the checkpoint that is under way, or due, asks for a pass at its end
		case due:
			ok = g.tryRestore()
			last = time.Now()
		}
		if g.checkpointDue(u) {
			g.kickCheckpoint()
		}
		if ok { // else the clock tries again: what is durable already would ask at once
			restored, _ := g.passed()
			g.journal.WakeAt(restored+journal.Position(min(u.RingSize/restoreShare, u.Capacity/checkpointShare)), g.restoreReq)
		}
		pace := restoreIdle
		if g.written() > restoreLittle || g.marksAwaited(false) {
			pace = restoreTick
		}
		if pace != every {
			every = pace
			tick.Reset(pace)
		}
	}
}

// ahead reports whether passes have come so far that a checkpoint has to come before the next.
func (g *group) ahead(u journal.Usage) bool {
	g.restoreMu.Lock()
	defer g.restoreMu.Unlock()
	return int64(g.restored-g.checkpoint) > u.Capacity/passesAhead
}

// stopRestore waits for a pass and a checkpoint that run, and keeps the group from others until goOn is called, which may be called again.
func (g *group) stopRestore() (goOn func()) {
	g.checkMu.Lock()
	g.restoreMu.Lock()
	return sync.OnceFunc(func() {
		g.restoreMu.Unlock()
		g.checkMu.Unlock()
	})
}

// journalLost gives a journal up that has failed: whoever else comes upon it may come late, hosts may be idle.
func (g *group) journalLost() bool {
	err := g.journal.Err()
	if err != nil {
		g.journalFailed(err)
	}
	return err != nil
}

// tryRestore runs a pass, tells when the stores take bytes again or no longer, and returns whether they do. After a failure only a checkpoint shows
// that the stores are well: one that takes writes may still fail to flush them.
func (g *group) tryRestore() (ok bool) {
	was := g.storeErr.Load()
	err := g.restorePass()
	if err == nil && was != nil {
		if err = g.doCheckpoint(g.ctx); err == nil {
			g.storeWorks(was)
			return true
		}
	}
	if err != nil && g.ctx.Err() == nil {
		g.storeFailed(err)
	}
	return err == nil
}

// restorePass writes what was durable when it began.
func (g *group) restorePass() error {
	g.restoreMu.Lock()
	defer g.restoreMu.Unlock()
	m := g.journal.Marks()
	if m.Durable == g.restored {
		return nil
	}
	var w restoreWriter
	for _, a := range g.attachments() {
		if err := g.restoreVolume(&w, a, uint64(m.Durable)); err != nil {
			return err
		}
	}
	g.restored, g.restoreSeq = m.Durable, max(g.restoreSeq, m.DurableSeq)
	g.journal.Release(m.Durable)
	return nil
}

// storeFailed deals with a store that does not take bytes, or bytes that are not right. The overlay keeps what could not be written;
// hosts get an error as soon as the ring is full instead of waiting for ever.
func (g *group) storeFailed(err error) {
	if errors.Is(err, errChecksum) || g.journal.Err() != nil {
		g.journalFailed(err)
		return
	}
	var e error = fault(kindOfDisk(err), err, "group %s cannot restore to its stores: make room or mend the disk; what was acknowledged is safe in the journal", g.name)
	g.gateMu.Lock()
	known := g.storeErr.Swap(&e) != nil
	g.io.Load().cancel()
	g.gateMu.Unlock()
	if known {
		return
	}
	g.site.events.add(slog.LevelError, g.object(), "%v", e)
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.pulling != nil {
		g.pulling.cancel() // a record that waits for room holds a lock that hosts need
	}
	for _, p := range g.pairs {
		g.report(fact{pair: p, input: EvRestoreFailed, text: e.Error()})
	}
}

// storeWorks ends what storeFailed began with the failure was. One that came since, of a pass beside the checkpoint that went well, stands.
func (g *group) storeWorks(was *error) {
	g.gateMu.Lock()
	defer g.gateMu.Unlock()
	if was != nil && g.storeErr.CompareAndSwap(was, nil) {
		g.openGate()
		g.site.events.add(slog.LevelInfo, g.object(), "the stores of the group take writes again")
	}
}
