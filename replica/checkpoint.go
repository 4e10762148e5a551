package replica

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	bolt "go.etcd.io/bbolt"

	"pairfs/journal"
)

// checkpointDue says so by how much is restored that no checkpoint covers, and by how long ago the last one was.
func (g *group) checkpointDue(u journal.Usage) bool {
	if g.checking.Load() {
		return false
	}
	g.restoreMu.Lock()
	behind, age := g.restored-g.checkpoint, time.Since(g.checkedAt)
	g.restoreMu.Unlock()
	if g.marksAwaited(age <= time.Second) {
		age = max(age, checkpointIdle+1)
	}
	if int64(behind) > u.Capacity/checkpointShare || (u.Used > u.Capacity/2 && age > 200*time.Millisecond) {
		return true
	}
	return age > checkpointIdle && (behind > 0 || g.dirty())
}

// marksAwaited reports whether somebody waits for the marks of this side: who splits a pair, and who copies one, unless fresh says that they are new.
func (g *group) marksAwaited(fresh bool) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, p := range g.pairs {
		if s := p.rec.State.Status; s == Suspending || s == COPY && !fresh {
			return true
		}
	}
	return false
}

// stepDue reports whether so much arrived since the last checkpoint, and since it was asked for one, that the primary should hear of another one now
// and not at the next tick: it has to keep all that until then, and its journal may be small. Requires mu.
func (g *group) stepDue(reserved journal.Position) bool {
	due := int64(reserved-max(g.checkedPos, g.stepped)) > g.journal.Usage().Capacity/checkpointShare
	if due {
		g.stepped = reserved
	}
	return due
}

// written is how many durable bytes came into the journal since the last checkpoint.
func (g *group) written() int64 {
	g.restoreMu.Lock()
	defer g.restoreMu.Unlock()
	return int64(g.journal.Marks().Durable - g.checkpoint)
}

// dirty reports whether a bitmap has pages that are not in the database, or the journal could be freed further.
func (g *group) dirty() bool {
	for _, a := range g.attachments() {
		if a.bits.isDirty() {
			return true
		}
	}
	g.restoreMu.Lock()
	defer g.restoreMu.Unlock()
	return g.freeable(g.checkpoint) > g.journal.Marks().Freed
}

// checkpointLoop runs the checkpoints that are asked for, each behind a pass.
func (g *group) checkpointLoop() {
	for {
		select {
		case <-g.ctx.Done():
			return
		case <-g.checkReq:
		}
		if g.journalLost() {
			continue
		}
		g.checking.Store(true)
		g.tryRestore()
		if err := g.doCheckpoint(g.ctx); err != nil && g.ctx.Err() == nil {
			g.storeFailed(err)
		}
		g.checking.Store(false)
		g.restoreMu.Lock()
		g.checkedAt = time.Now()
		g.restoreMu.Unlock()
	}
}

// doCheckpoint makes what was restored permanent and frees the journal behind it. What replaced bytes of records before the mark must be
// durable first, for only a replay can bring it back; so the journal is flushed before the stores.
//
// Passes go on while it flushes: what they bring to the stores is of durable records behind the mark, which a replay brings again. Else hosts
// would wait for a flush of the stores as soon as the ring is full behind it.
func (g *group) doCheckpoint(ctx context.Context) error {
	g.checkMu.Lock()
	defer g.checkMu.Unlock()
	restored, seq := g.passed()
	if err := g.journal.Sync(ctx, g.journal.Marks().Reserved); err != nil {
		return fmt.Errorf("checkpoint of group %s: %w", g.name, err)
	}
	atts := g.attachments()
	for _, a := range atts {
		if err := g.flushVolume(a); err != nil {
			return fmt.Errorf("checkpoint of group %s: %w", g.name, err)
		}
	}
	if g.givingUp() != nil {
		return nil // nothing passes over its records before its pair is stored as no image: a start would call it one
	}
	head, err := g.journal.FreeHead(g.freeable(restored))
	if err != nil {
		return fmt.Errorf("checkpoint of group %s: %w", g.name, err)
	}
	if err := g.commit(atts, func(tx *bolt.Tx) error { return errors.Join(g.putTorn(tx), g.putMarks(tx, head, restored, seq)) }); err != nil {
		return fmt.Errorf("checkpoint of group %s: %w", g.name, err)
	}
	if err := g.journal.Free(head); err != nil {
		return fmt.Errorf("checkpoint of group %s: %w", g.name, err)
	}
	awaited := g.ahead(g.journal.Usage())
	g.restoreMu.Lock()
	g.checkpoint = restored
	g.restoreMu.Unlock()
	if awaited {
		g.kickRestore()
	}
	g.mu.Lock()
	g.restoredSeq, g.checkedPos = seq, restored
	pull := g.pulling
	g.moves()
	g.mu.Unlock()
	if pull != nil {
		pull.ack()
	}
	return nil
}

// commit writes the changed bitmap pages of the volumes together with what fn writes, in one transaction (I5). Pages that could not be
// written are changed again before another commit can begin: a mark that frees the journal never overtakes a page that failed. So are those of
// a pair that is not stored, for it is being made: if nothing comes of it, another pair of its name must not find them.
func (g *group) commit(atts []*attachment, fn func(*bolt.Tx) error) error {
	g.commitMu.Lock()
	defer g.commitMu.Unlock()
	taken := make([][]int, len(atts))
	for i, a := range atts {
		taken[i] = a.bits.takeDirty()
	}
	var unstored []int
	err := g.site.db.update(func(tx *bolt.Tx) error {
		for i, a := range atts {
			if err := putBitmap(tx, a.pair.name, a.bits, taken[i]); err != nil {
				return err
			}
		}
		if err := fn(tx); err != nil {
			return err
		}
		unstored = unstored[:0]
		for i, a := range atts {
			if len(taken[i]) > 0 && tx.Bucket(bucketPairs).Get([]byte(a.pair.name)) == nil {
				unstored = append(unstored, i)
				if err := dropPair(tx, a.pair.name); err != nil {
					return err
				}
			}
		}
		return nil
	})
	for i, a := range atts {
		if err != nil || slices.Contains(unstored, i) {
			a.bits.redirty(taken[i])
		}
	}
	return err
}

// passed gives how far passes have come.
func (g *group) passed() (restored journal.Position, seq journal.Seq) {
	g.restoreMu.Lock()
	defer g.restoreMu.Unlock()
	return g.restored, g.restoreSeq
}

// putMarks writes the marks of a checkpoint.
func (g *group) putMarks(tx *bolt.Tx, head journal.Head, restored journal.Position, seq journal.Seq) error {
	m := g.journal.Marks()
	g.mu.Lock()
	defer g.mu.Unlock()
	return put(tx, bucketMarks, g.name, marksRecord{
		Head: head, Checkpoint: restored, Known: m.Durable, Seq: seq, LastSeq: max(m.DurableSeq, seq),
		PeerRestored: g.peerRestore, PeerDurable: g.peerDurable,
	})
}

// freeable is how far the journal may be freed when everything before upTo is in the stores: on a primary whose pairs are replicated it
// stops at what the peer has not restored yet (I6), on both sides at a control record whose consequences are not stored yet.
func (g *group) freeable(upTo journal.Position) journal.Position {
	g.mu.Lock()
	keep, after := g.role == Primary && g.active(), g.peerRestore
	if g.keeping {
		upTo = min(upTo, max(g.keepFrom, g.journal.Marks().Freed))
	}
	if g.late.Load() { // a start would find the states of before, which need what those of now do not
		upTo = min(upTo, g.journal.Marks().Freed)
	}
	g.mu.Unlock()
	if !keep {
		return upTo
	}
	pos, err := g.journal.Find(after + 1)
	if err != nil {
		g.unreadable(err)
		pos = g.journal.Marks().Freed // what the peer lacks cannot be told from what it has
	}
	return min(upTo, pos)
}

// unreadable gives a journal up in which a number could not be found because its disk cannot be read, or has something else there.
func (g *group) unreadable(err error) {
	if errors.Is(err, journal.ErrFreed) || errors.Is(err, journal.ErrSequence) || errors.Is(err, journal.ErrClosed) {
		return
	}
	g.journalFailed(fmt.Errorf("read the journal of group %s: %w", g.name, err))
}

// keep holds back the records from a position on, until letGo: they lead to a state that is not in the database yet, and a daemon that
// dies before finds it again by replaying them.
func (g *group) keep(from journal.Position) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.keeping, g.keepFrom = true, from
}

func (g *group) letGo() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.keeping = false
}
