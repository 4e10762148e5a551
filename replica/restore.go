package replica

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	bolt "go.etcd.io/bbolt"
	"golang.org/x/sys/unix"

	"pairfs/journal"
)

// Restore moves the newest bytes from overlay to store, in passes: everything durable at the beginning of a pass is written, region by
// region in ascending order, whatever number of records it came in. A checkpoint then flushes the stores and moves the marks, the bitmap
// pages and the journal's head in one transaction. The stores step from one prefix of the group's order to a later one; a crash in
// between is made good by replaying the journal from the last checkpoint (I4).

// restoreLoop runs passes and checkpoints when they are due.
func (g *group) restoreLoop() {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	lastPass, lastCheck := time.Now(), time.Now()
	for {
		kicked, check := false, false
		select {
		case <-g.ctx.Done():
			return
		case <-g.restoreReq:
			kicked = true
		case <-g.checkReq:
			check = true
		case <-tick.C:
		}
		if err := g.journal.Err(); err != nil {
			g.journalFailed(err) // whoever else comes upon it may come late: hosts may be idle
			continue
		}
		u := g.journal.Usage()
		if kicked || check || u.RingUsed > u.RingSize/restoreShare || time.Since(lastPass) > restoreIdle {
			g.tryRestore()
			lastPass = time.Now()
		}
		if check || g.checkpointDue(u, time.Since(lastCheck)) {
			if err := g.doCheckpoint(g.ctx); err != nil && g.ctx.Err() == nil {
				g.storeFailed(err)
			}
			lastCheck = time.Now()
		}
	}
}

// tryRestore runs a pass and reports whether the store takes bytes again or no longer. After a failure only a checkpoint shows that the
// stores are well: one that takes writes may still fail to flush them.
func (g *group) tryRestore() {
	err := g.restorePass()
	if err == nil && g.storeErr.Load() != nil {
		if err = g.doCheckpoint(g.ctx); err == nil {
			g.storeWorks()
			return
		}
	}
	if err != nil && g.ctx.Err() == nil {
		g.storeFailed(err)
	}
}

func (g *group) checkpointDue(u journal.Usage, age time.Duration) bool {
	g.restoreMu.Lock()
	behind := g.restored - g.checkpoint
	g.restoreMu.Unlock()
	g.mu.Lock()
	for _, p := range g.pairs {
		if p.rec.State.Status == Suspending || (p.rec.State.Status == COPY && age > time.Second) {
			age = max(age, checkpointIdle+1) // somebody waits for the marks of this side
		}
	}
	g.mu.Unlock()
	if int64(behind) > u.Capacity/checkpointShare || (u.Used > u.Capacity/2 && age > 200*time.Millisecond) {
		return true
	}
	return age > checkpointIdle && (behind > 0 || g.dirty())
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
		if err := w.volume(a, uint64(m.Durable)); err != nil {
			return err
		}
	}
	g.restored, g.restoreSeq = m.Durable, max(g.restoreSeq, m.DurableSeq)
	g.journal.Release(m.Durable)
	return nil
}

// restoreWriter holds the buffers of a pass.
type restoreWriter struct {
	regions  []uint64
	extents  []extent
	bufs     [][]byte
	verified uint64 // position of the record that was verified last

	zeros     []extent // of a run of regions that are all zeroes, one each
	zeroFirst uint64   // the first of them
}

// volume writes the overlay's bytes of records before upTo to the store, and drops them.
func (w *restoreWriter) volume(a *attachment, upTo uint64) error {
	w.regions = a.overlay.dirtyRegions(w.regions[:0])
	w.zeros = w.zeros[:0]
	w.verified = ^uint64(0)
	for _, region := range w.regions {
		w.extents = a.overlay.collect(region, upTo, w.extents[:0])
		if len(w.extents) == 0 {
			continue
		}
		a.vol.dirtySync.Store(true)
		if w.joins(region) {
			continue
		}
		if err := w.punchZeros(a); err != nil {
			return err
		}
		if w.joins(region) {
			continue
		}
		if err := w.region(a, int64(region)*regionSize); err != nil {
			return fmt.Errorf("restore volume %s: %w", a.vol.name, err)
		}
		a.overlay.drop(region, w.extents)
	}
	return w.punchZeros(a)
}

// joins puts a region that is all zeroes behind the run of such regions that is being gathered, if it fits there: a discard of a gigabyte
// is one call to the store and not sixteen thousand.
func (w *restoreWriter) joins(region uint64) bool {
	e := w.extents[0]
	if len(w.extents) > 1 || !e.zero || e.off != 0 || e.len != regionSize {
		return false
	}
	if n := uint64(len(w.zeros)); n > 0 && (region != w.zeroFirst+n || n == discardMax/regionSize) {
		return false
	}
	if len(w.zeros) == 0 {
		w.zeroFirst = region
	}
	w.zeros = append(w.zeros, e)
	return true
}

// punchZeros writes the run that joins has gathered.
func (w *restoreWriter) punchZeros(a *attachment) error {
	if len(w.zeros) == 0 {
		return nil
	}
	if err := a.vol.store.punch(int64(w.zeroFirst)*regionSize, int64(len(w.zeros))*regionSize); err != nil {
		return fmt.Errorf("restore volume %s: %w", a.vol.name, err)
	}
	for i := range w.zeros {
		a.overlay.drop(w.zeroFirst+uint64(i), w.zeros[i:i+1])
	}
	w.zeros = w.zeros[:0]
	return nil
}

// rescue writes everything that the overlay has, whatever is durable, because the journal is given up. A record that is damaged is left
// out and reported; it must not stay in the overlay, where it would hide what hosts write to the store from now on.
func (w *restoreWriter) rescue(a *attachment) error {
	var errs []error
	w.regions = a.overlay.dirtyRegions(w.regions[:0])
	w.verified = ^uint64(0)
	for _, region := range w.regions {
		all := a.overlay.collect(region, ^uint64(0), nil)
		drop := all[:0:0]
		for i, e := range all {
			w.extents = all[i : i+1]
			err := w.region(a, int64(region)*regionSize)
			if errors.Is(err, errChecksum) {
				a.group.site.events.add(slog.LevelError, "volume/"+a.vol.name, "%d bytes at offset %d of an acknowledged write are lost: %v", e.len, int64(region)*regionSize+int64(e.off), err)
				err = nil
			}
			if err != nil {
				errs = append(errs, fmt.Errorf("volume %s: %d bytes at offset %d: %w", a.vol.name, e.len, int64(region)*regionSize+int64(e.off), err))
				break // one tells enough
			}
			drop = append(drop, e)
		}
		a.overlay.drop(region, drop)
	}
	return errors.Join(errs...)
}

// region writes the collected extents of the region that begins at base, joining neighbours.
func (w *restoreWriter) region(a *attachment, base int64) error {
	for i := 0; i < len(w.extents); {
		e := w.extents[i]
		end := e.off + e.len
		if e.zero {
			i++
			for i < len(w.extents) && w.extents[i].zero && w.extents[i].off == end {
				end += w.extents[i].len
				i++
			}
			if err := a.vol.store.punch(base+int64(e.off), int64(end-e.off)); err != nil {
				return err
			}
			continue
		}
		w.bufs = w.bufs[:0]
		for end = e.off; i < len(w.extents) && !w.extents[i].zero && w.extents[i].off == end; i++ {
			x := w.extents[i]
			if err := w.verify(a.group, x.rec); err != nil {
				return err
			}
			w.bufs = append(w.bufs, a.group.bytes(x.pos, int(x.len)))
			end += x.len
		}
		if _, err := a.vol.store.writev(base+int64(e.off), w.bufs); err != nil {
			return err
		}
	}
	return nil
}

// errChecksum is a record whose bytes are not those that entered.
var errChecksum = errors.New("checksum mismatch")

// verify checks the record's checksum before any byte of it reaches a store (I7).
func (w *restoreWriter) verify(g *group, rec uint64) error {
	if rec == w.verified {
		return nil
	}
	if _, _, err := journal.Parse(g.bytes(rec, journal.MaxRecord)); err != nil {
		return fmt.Errorf("%w in the staging ring of group %s at position %d: %w", errChecksum, g.name, rec, err)
	}
	w.verified = rec
	return nil
}

// storeFailed deals with a store that does not take bytes, or bytes that are not right. The overlay keeps what could not be written;
// hosts get an error as soon as the ring is full instead of waiting for ever.
func (g *group) storeFailed(err error) {
	if errors.Is(err, errChecksum) || g.journal.Err() != nil {
		g.journalFailed(err)
		return
	}
	kind := KindInternal
	if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) {
		kind = KindNoSpace
	}
	var e error = fault(kind, err, "group %s cannot restore to its stores: make room or mend the disk; what was acknowledged is safe in the journal", g.name)
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
	for name := range g.pairs {
		g.report(fact{pair: name, input: EvRestoreFailed, text: e.Error()})
	}
}

// storeWorks ends what storeFailed began.
func (g *group) storeWorks() {
	g.gateMu.Lock()
	defer g.gateMu.Unlock()
	if g.storeErr.Swap(nil) != nil {
		g.openGate()
		g.site.events.add(slog.LevelInfo, g.object(), "the stores of the group take writes again")
	}
}

// doCheckpoint makes what was restored permanent and frees the journal behind it. What replaced bytes of records before the mark must be
// durable first, for only a replay can bring it back; so the journal is flushed before the stores.
func (g *group) doCheckpoint(ctx context.Context) error {
	g.restoreMu.Lock()
	defer g.restoreMu.Unlock()
	if err := g.journal.Sync(ctx, g.journal.Marks().Reserved); err != nil {
		return fmt.Errorf("checkpoint of group %s: %w", g.name, err)
	}
	atts := g.attachments()
	for _, a := range atts {
		if !a.vol.dirtySync.Swap(false) {
			continue
		}
		if err := a.vol.store.sync(); err != nil {
			a.vol.dirtySync.Store(true) // the next checkpoint must not pass over it
			return fmt.Errorf("checkpoint of group %s: flush the store of volume %s: %w", g.name, a.vol.name, err)
		}
	}
	head, err := g.journal.FreeHead(g.freeable(g.restored))
	if err != nil {
		return fmt.Errorf("checkpoint of group %s: %w", g.name, err)
	}
	if err := g.commit(atts, func(tx *bolt.Tx) error { return g.putMarks(tx, head) }); err != nil {
		return fmt.Errorf("checkpoint of group %s: %w", g.name, err)
	}
	if err := g.journal.Free(head); err != nil {
		return fmt.Errorf("checkpoint of group %s: %w", g.name, err)
	}
	g.checkpoint = g.restored
	g.mu.Lock()
	g.restoredSeq, g.checkedPos = g.restoreSeq, g.restored
	pull := g.pulling
	g.mu.Unlock()
	if pull != nil {
		pull.ack()
	}
	return nil
}

// commit writes the changed bitmap pages of the volumes together with what fn writes, in one transaction (I5). Pages that could not be
// written are changed again before another commit can begin: a mark that frees the journal never overtakes a page that failed.
func (g *group) commit(atts []*attachment, fn func(*bolt.Tx) error) error {
	g.commitMu.Lock()
	defer g.commitMu.Unlock()
	taken := make([][]int, len(atts))
	for i, a := range atts {
		taken[i] = a.bits.takeDirty()
	}
	err := g.site.db.update(func(tx *bolt.Tx) error {
		for i, a := range atts {
			if err := putBitmap(tx, a.pair.name, a.bits, taken[i]); err != nil {
				return err
			}
		}
		return fn(tx)
	})
	if err != nil {
		for i, a := range atts {
			a.bits.redirty(taken[i])
		}
	}
	return err
}

// putMarks writes the marks as of now.
func (g *group) putMarks(tx *bolt.Tx, head journal.Head) error {
	m := g.journal.Marks()
	g.mu.Lock()
	defer g.mu.Unlock()
	return put(tx, bucketMarks, g.name, marksRecord{
		Head: head, Checkpoint: g.restored, Known: m.Durable, Seq: g.restoreSeq, LastSeq: max(m.DurableSeq, g.restoreSeq),
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
	g.mu.Unlock()
	if !keep {
		return upTo
	}
	pos, ok := g.journal.Locate(after + 1)
	if !ok {
		pos = g.journal.Marks().Freed // what the peer lacks cannot be told from what it has
	}
	return min(upTo, pos)
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
