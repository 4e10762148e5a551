package replica

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	bolt "go.etcd.io/bbolt"

	"pairfs/journal"
)

// markRest stops the replication of pairs at once and marks in their bitmaps what the peer has not restored: the records behind its
// mark, found by reading the journal, and from now on every write. Until the marks are durable the journal keeps the records, for the
// pairs still count as replicated (I5).
func (g *group) markRest(_ context.Context, pairs []*pair, outs map[*pair]Outcome, all []*pair, o runOptions) error {
	g.mu.Lock()
	stop := g.journal.Marks().DurableSeq
	if o.seq != 0 {
		stop = min(stop, o.seq)
	}
	byNumber := map[uint32]*attachment{}
	for _, p := range pairs {
		p.endCopy()
		if p.rec.State.Status.active() {
			p.rec.StopSeq, p.stopping = min(stop, p.rec.StopSeq), true
			p.att.stop.Store(uint64(p.rec.StopSeq))
		}
		byNumber[p.att.number] = p.att
		if o.fill {
			p.att.bits.fill()
		}
	}
	after := g.peerRestore
	g.mu.Unlock()
	if o.seq != 0 {
		after = min(after, o.seq)
	}
	if o.exact {
		after = o.seq // the other side has all of it for good, whatever it has told of
	}
	for _, p := range pairs {
		p.att.vol.barrier() // who did not see the new bound has published
	}
	return g.markBehind(after, byNumber)
}

// markBehind marks the regions of all records behind the number after, or whole volumes where the journal cannot be read. The pairs are
// bounded already, so it does not end half way when who asked gives up.
func (g *group) markBehind(after journal.Seq, byNumber map[uint32]*attachment) error {
	if err := g.markRecords(g.ctx, after, byNumber); err != nil {
		if g.ctx.Err() != nil {
			return g.ctx.Err()
		}
		g.site.events.add(slog.LevelError, g.object(), "the journal cannot be read to find the differences, so whole volumes are marked: %v", err)
		for _, a := range byNumber {
			a.bits.fill()
		}
	}
	return nil
}

// markRecords marks the regions of all records behind the number after.
func (g *group) markRecords(ctx context.Context, after journal.Seq, byNumber map[uint32]*attachment) error {
	if err := g.journal.Sync(ctx, g.journal.Marks().Reserved); err != nil {
		return err
	}
	freed := g.journal.Marks().Freed
	g.keep(freed)
	defer g.letGo()
	pos, ok := g.journal.Locate(after + 1)
	if !ok {
		pos = freed // what is gone was restored by the peer, or was marked before it went
	}
	end := g.journal.Marks().Durable
	cursor := g.journal.NewCursor(pos)
	buf := make([]byte, batchMax)
	for cursor.Position() < end { // what came later marks itself
		n, _, err := cursor.Read(buf, len(buf))
		if err != nil {
			return err
		}
		if n == 0 {
			return nil
		}
		for b := buf[:n]; len(b) > 0; {
			rec, size, err := journal.Parse(b)
			if err != nil {
				return err
			}
			b = b[size:]
			if a := byNumber[rec.Volume]; a != nil && rec.Kind != journal.KindControl && rec.Kind != journal.KindSkip {
				a.bits.setRange(int64(rec.Offset), int64(rec.Length))
			}
		}
	}
	return nil
}

// markDurable marks a range and returns when the marks are in the database. It costs a transaction only where a mark is new.
func (g *group) markDurable(a *attachment, off, n int64) error {
	if !a.bits.setRange(off, n) {
		g.commitMu.Lock() // somebody else's commit of the mark may be under way
		clean := !a.bits.isDirty()
		g.commitMu.Unlock()
		if clean {
			return nil
		}
	}
	if err := g.commit([]*attachment{a}, func(*bolt.Tx) error { return nil }); err != nil {
		return fault(KindInternal, err, "volume %s: a write is refused, because its difference cannot be recorded", a.vol.name)
	}
	return nil
}

// journalFailed gives a journal up (I8): the pairs are suspended by failure, the marks are made durable, what hosts were told is written
// reaches the stores straight from the ring, and from then on writes go to the stores. It returns at once; hosts wait for the change
// under the mode lock. The journal is made anew when the daemon starts again.
func (g *group) journalFailed(cause error) {
	g.failOnce.Do(func() {
		g.usage.failedBy(cause)
		g.mu.Lock()
		g.failed = cause.Error()
		g.mu.Unlock()
		g.gateMu.Lock()
		g.io.Load().cancel() // who waits for ring room holds the lock that failOver needs
		g.gateMu.Unlock()
		g.closeSessions()
		g.site.events.add(slog.LevelError, g.object(), "the journal failed and is given up: %v; pairs are suspended, hosts go on; mend the disk, restart pairfs, then resync", cause)
		g.wg.Go(g.failOver)
	})
}

// failOver turns every volume of the group to direct mode. It is tried until the stores have everything that the journal held for them:
// till then the journal counts as the truth, also for the next start, and hosts that write get an error.
func (g *group) failOver() {
	var f failing
	for {
		err := g.tryFailOver(&f)
		if err == nil {
			break
		}
		if g.ctx.Err() == nil && !f.told {
			f.told = true
			g.site.events.add(slog.LevelError, g.object(), "the journal cannot be given up yet, hosts get errors until that is mended: %v", err)
		}
		if pause(g.ctx, failRetry) != nil {
			return
		}
	}
	g.storeWorks(g.storeErr.Load())
	g.tell()
}

// failing is what attempts of failOver have in common.
type failing struct {
	told       bool
	suspended  bool
	consistent []*pair // S-VOLs that were images of one moment, and are again when everything is in their stores
}

func (g *group) tryFailOver(f *failing) error {
	g.cmd.Lock()
	defer g.cmd.Unlock()
	atts := g.attachments()
	for _, a := range atts {
		a.vol.mode.Lock()
		defer a.vol.mode.Unlock()
		if g.role == Primary {
			a.bits.fill() // what the failed journal held behind the peer's mark cannot be told any more
		}
	}
	if err := g.failStates(atts, f); err != nil {
		return g.failHosts(err)
	}
	if err := g.rescue(atts); err != nil {
		return g.failHosts(err)
	}
	g.mu.Lock()
	g.rec.Failed = g.failed
	for _, p := range f.consistent {
		p.rec.State.Consistent = true
	}
	g.mu.Unlock()
	if err := g.storeFailure(atts); err != nil {
		return g.failHosts(err)
	}
	for _, a := range atts {
		a.direct.Store(true)
	}
	return nil
}

// failHosts lets hosts have an error instead of waiting for a journal and a store that both take nothing.
func (g *group) failHosts(err error) error {
	var e error = fault(KindInternal, err, "group %s has lost its journal and cannot bring what it held to its stores", g.name)
	g.gateMu.Lock()
	defer g.gateMu.Unlock()
	g.storeErr.Store(&e)
	return e
}

// rescue brings everything that the ring holds into the stores, durable or not.
func (g *group) rescue(atts []*attachment) error {
	defer g.stopRestore()()
	var errs []error
	var w restoreWriter
	for _, a := range atts {
		errs = append(errs, w.rescue(a), a.vol.store.sync())
	}
	return errors.Join(errs...)
}

// failStates suspends all pairs by failure and stores that with the marks. While the stores are not a prefix no S-VOL is called one.
func (g *group) failStates(atts []*attachment, f *failing) error {
	if f.suspended {
		return g.storeFailure(atts)
	}
	f.suspended = true
	g.mu.Lock()
	var changed []*pair
	for _, p := range g.pairs {
		if p.rec.State.Role == Secondary && p.rec.State.Consistent {
			p.rec.State.Consistent = false
			f.consistent = append(f.consistent, p)
		}
		if out := Step(p.rec.State, EvFailure); out.Verdict == Accept {
			g.enter(p, EvFailure, out, runOptions{text: fmt.Sprintf("the journal of group %s failed: %s; restart pairfs when the disk is mended, then resync", g.name, g.failed)})
			changed = append(changed, p)
		}
	}
	g.mu.Unlock()
	err := g.storeFailure(atts)
	for _, p := range changed {
		g.announce(p, change{in: EvFailure})
	}
	g.mu.Lock()
	for _, p := range changed {
		p.applyAccess()
	}
	g.mu.Unlock()
	return err
}

// storeFailure stores pairs, marks and group as they are after a failure of the journal.
func (g *group) storeFailure(atts []*attachment) error {
	last := g.journal.Marks().AppendedSeq
	return g.commit(atts, func(tx *bolt.Tx) error {
		g.mu.Lock()
		defer g.mu.Unlock()
		for _, p := range g.pairs {
			if err := put(tx, bucketPairs, p.name, p.rec); err != nil {
				return err
			}
		}
		if g.rec.Failed != "" { // the journal is made anew at the next start, and its numbers have to go on
			m, _, err := get[marksRecord](tx, bucketMarks, g.name)
			if err != nil {
				return err
			}
			m.LastSeq = max(m.LastSeq, last, g.lastSeq)
			if err := put(tx, bucketMarks, g.name, m); err != nil {
				return err
			}
		}
		return put(tx, bucketGroups, g.name, g.rec)
	})
}
