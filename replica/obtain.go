package replica

import (
	"context"
	"errors"
	"sync/atomic"

	"pairfs/crashpoint"
	"pairfs/journal"
)

// attachment ties a paired volume to its journal group. It is made when the volume joins and dropped when it leaves; in between its
// pointers never change, so the I/O path reads them without a lock.
type attachment struct {
	vol     *Volume
	group   *group
	pair    *pair
	number  uint32
	overlay *overlay
	bits    *bitmap // regions that differ from the peer, or may
	use     pairMeter

	writable  atomic.Bool
	direct    atomic.Bool // the journal is lost: writes go to the store, their bits made durable first
	torn      atomic.Bool // secondary: the store takes no bytes and the volume was given up; what comes for it is marked
	replayErr error       // while the journal is opened: why the store takes no bytes

	// start and stop bound the sequence numbers that are replicated: start ≤ seq ≤ stop. A host write outside marks its regions. Both
	// are changed under the journal's reserve lock, at the sequence number of the control record that says so. A writer reads stop
	// before start, a resync sets start before stop: so a write whose number was given before a resync always marks itself.
	start, stop atomic.Uint64

	passed journal.Seq // primary, guarded by group.mu: last number that the peer may hold of this volume
}

// replicated reports whether the record with that number goes to the peer.
func (a *attachment) replicated(seq journal.Seq) bool {
	stop := a.stop.Load()
	return uint64(seq) <= stop && uint64(seq) >= a.start.Load()
}

// obtain makes a record of a host write: one copy of the data, into the staging ring, in the journal's byte form. It returns when the
// record is published, which is the acknowledgement, or durable if sync is set. p has at most recordMax bytes and lies inside of the
// volume. The caller holds the volume's mode lock shared.
//
// A full ring is waited for under the group's gate and not under ctx: restore ends the wait, or the gate when the store fails.
//
// On this path: the reserve lock of the journal (some 100 ns), one checksum and one copy of the data, the lock of an overlay shard, one
// atomic store, two atomic additions for the usage monitor. No allocation, no system call; only a full ring or journal waits.
func (a *attachment) obtain(ctx context.Context, p []byte, off int64, sync bool) error {
	if err := a.ready(true); err != nil {
		return err
	}
	if a.direct.Load() {
		return a.writeDirect(p, off, sync)
	}
	h := journal.Header{Kind: journal.KindUpdate, Volume: a.number, Offset: uint64(off), Length: uint64(len(p)), Time: a.group.site.wall().UnixNano(), Flags: a.flags()}
	r, err := a.group.journal.Reserve(a.group.io.Load().ctx, h)
	if err != nil {
		return a.reserveError(err)
	}
	copy(r.Payload, p)
	crc := r.Checksum()
	a.track(&r, off, int64(len(p)), h.Time)
	a.overlay.insert(off, int64(len(p)), uint64(r.Pos)+journal.HeaderSize, uint64(r.Pos), false)
	crashpoint.Hit(crashpoint.AckBefore)
	a.group.journal.Publish(r, crc)
	crashpoint.Hit(crashpoint.AckAfter)
	a.overlay.hosts.Add(hostWrite(len(p)))
	if sync {
		return a.syncTo(ctx, r.End)
	}
	return nil
}

// obtainDiscard makes a record of a range that became zeroes; n is at most discardMax.
func (a *attachment) obtainDiscard(off, n int64) error {
	if err := a.ready(true); err != nil {
		return err
	}
	if a.direct.Load() {
		return a.discardDirect(off, n)
	}
	if a.group.overlayRegions() > overlayRegionsMax {
		a.group.kickRestore()
		return errAgain
	}
	h := journal.Header{Kind: journal.KindDiscard, Volume: a.number, Offset: uint64(off), Length: uint64(n), Time: a.group.site.wall().UnixNano(), Flags: a.flags()}
	r, err := a.group.journal.Reserve(a.group.io.Load().ctx, h)
	if err != nil {
		return a.reserveError(err)
	}
	crc := r.Checksum()
	a.track(&r, off, n, h.Time)
	a.overlay.insert(off, n, 0, uint64(r.Pos), true)
	a.group.journal.Publish(r, crc)
	return nil
}

// flags of a host write: on a secondary that is split with write enabled the record is of this side alone and takes no number.
func (a *attachment) flags() journal.Flags {
	if a.group.role == Secondary {
		return journal.FlagLocal
	}
	return 0
}

// track marks the regions of a record that is not replicated, and counts one that is as owed to the peer. It comes before publishing: what is
// published may be restored, and what is restored may be freed together with the bits of that moment; and it may be sent, and paid.
func (a *attachment) track(r *journal.Reservation, off, n, at int64) {
	if a.group.role == Secondary || !a.replicated(r.Seq) {
		a.bits.setRange(off, n)
		return
	}
	a.overlay.owe(int64(r.End-r.Pos), r.Seq, at)
}

// reserveError says what a refused reservation means for the host: another attempt after waiting, or an error.
func (a *attachment) reserveError(err error) error {
	if e := a.group.storeErr.Load(); e != nil {
		return *e
	}
	switch {
	case errors.Is(err, journal.ErrFull):
		return errAgain
	case errors.Is(err, context.Canceled) && a.group.ctx.Err() == nil:
		return errAgain // the gate was closed, and the reason is gone by now or leads to another path
	case errors.Is(err, journal.ErrFailed):
		a.group.journalFailed(err)
		return errAgain
	}
	return fault(KindInternal, err, "volume %s: a write cannot be journaled in group %s", a.vol.name, a.group.name)
}

// syncTo makes what was published up to end durable. Where the journal fails it gives errAgain: all that the ring holds goes to the stores then,
// and the next attempt flushes the store, so that a file system on the volume sees a pause and no error.
func (a *attachment) syncTo(ctx context.Context, end journal.Position) error {
	err := a.group.journal.Sync(ctx, end)
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	}
	a.group.journalFailed(err)
	if a.group.ctx.Err() != nil { // the site ends: nobody brings it to the stores any more
		return fault(KindInternal, err, "volume %s cannot be flushed: the journal of group %s failed; the pair is suspended, see its suspend-reason", a.vol.name, a.group.name)
	}
	return errAgain
}

// writeDirect is the path of a write when the journal is lost: the region's bit is durable before the store changes, once per region.
func (a *attachment) writeDirect(p []byte, off int64, sync bool) error {
	if err := a.group.markDurable(a, off, int64(len(p))); err != nil {
		return err
	}
	if _, err := a.vol.store.writeAt(p, off); err != nil {
		return a.vol.storeError(err, "written", off)
	}
	a.overlay.hosts.Add(hostWrite(len(p)))
	if sync {
		if err := a.vol.store.sync(); err != nil {
			return a.vol.storeError(err, "flushed", off)
		}
	}
	return nil
}

func (a *attachment) discardDirect(off, n int64) error {
	if err := a.group.markDurable(a, off, n); err != nil {
		return err
	}
	if err := a.vol.store.punch(off, n); err != nil {
		return a.vol.storeError(err, "discarded", off)
	}
	return nil
}

// spans are kept off the heap for reads that touch few holes.
const spansInline = 16

// read fills p from the overlay and what it does not have from the store. The overlay comes first: bytes that leave it between the two
// are in the store by then.
func (a *attachment) read(p []byte, off int64) error {
	if err := a.ready(false); err != nil {
		return err
	}
	var inline [spansInline]span
	holes := a.overlay.read(p, off, a.group.bytes, inline[:0])
	if len(holes) == 0 {
		return nil
	}
	if len(holes) <= spansInline/2 {
		for _, h := range holes {
			if err := a.vol.readStore(p[h.off:h.off+h.n], off+int64(h.off)); err != nil {
				return err
			}
		}
		return nil
	}
	// Many small holes: one read of all, then only the holes are taken from it.
	whole := make([]byte, len(p))
	if err := a.vol.readStore(whole, off); err != nil {
		return err
	}
	for _, h := range holes {
		copy(p[h.off:h.off+h.n], whole[h.off:h.off+h.n])
	}
	return nil
}
