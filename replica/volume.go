package replica

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// Volume is one data volume. Its methods may be called concurrently; offsets and lengths are bytes.
//
// A volume in no pair is plain storage: reads and writes go to its store. A paired volume is attached to a journal group: writes go
// through obtain, reads look into the overlay first. The mode lock separates the two: host I/O holds it shared for the time of one
// request, a change between them holds it alone. Nothing that waits for a peer is ever done under it.
type Volume struct {
	site *Site
	id   uint64

	// mode guards att, name and store's size as a whole; see above. It is the outermost lock of the I/O path.
	mode  waitLock
	name  string
	att   *attachment // nil while the volume is in no pair
	store *store

	size      atomic.Int64
	modified  atomic.Int64 // wall clock of the last change, ns
	opens     atomic.Int64
	writers   atomic.Int64          // handles open for writing
	reserved  string                // guarded by site.mu
	madeBy    string                // guarded by site.mu
	handed    atomic.Bool           // a peer made it, and no host wrote to it since its pair ended
	growMu    sync.Mutex            // one growth of an unpaired volume at a time
	removed   atomic.Bool           // its store is closed with the last handle
	closeOnce sync.Once             // of the store of a removed volume
	dirtySync atomic.Bool           // paired: restored into since the last flush of the store
	slow      atomic.Pointer[pacer] // by which inflow control slows host writes, of the group; nil for a volume of none
}

// Name returns the volume's name.
func (v *Volume) Name() string {
	v.mode.RLock()
	defer v.mode.RUnlock()
	return v.name
}

// ID returns the number of the volume, at least 16, never given to another volume of the site.
func (v *Volume) ID() uint64 { return v.id }

// Size returns the size in bytes.
func (v *Volume) Size() int64 { return v.size.Load() }

// Allocated returns the bytes that the store takes on its file system.
func (v *Volume) Allocated() int64 {
	n, err := v.store.allocated()
	if err != nil {
		return 0
	}
	return n
}

// ModTime returns the wall clock of the last write or restore.
func (v *Volume) ModTime() time.Time { return time.Unix(0, v.modified.Load()) }

// changed notes that the content is another one now.
func (v *Volume) changed() { v.modified.Store(v.site.wall().UnixNano()) }

// Removed reports whether the volume was removed; handles that are open go on with its store.
func (v *Volume) Removed() bool { return v.removed.Load() }

// Opened counts an open handle, Closed takes it back. write says whether the handle may write.
func (v *Volume) Opened(write bool) {
	v.opens.Add(1)
	if write {
		v.writers.Add(1)
	}
}

// Closed takes back one Opened.
func (v *Volume) Closed(write bool) {
	if write {
		v.writers.Add(-1)
	}
	if v.opens.Add(-1) == 0 && v.removed.Load() {
		v.closeStore()
	}
}

// closeStore closes the store of a volume that was removed, so that its space is given back.
func (v *Volume) closeStore() {
	v.closeOnce.Do(func() {
		if err := v.store.close(); err != nil {
			v.site.log.Warn("store of a removed volume", "volume", v.id, "error", err)
		}
	})
}

// Writable returns nil if hosts may write now, or the refusal.
func (v *Volume) Writable() error {
	v.mode.RLock()
	defer v.mode.RUnlock()
	if v.att == nil {
		return nil
	}
	if err := v.mayWrite(); err != nil && !errors.Is(err, errAgain) {
		return err
	}
	return nil
}

// mayWrite returns nil if hosts may write the paired volume, errAgain while writes are held, or the refusal. The mode lock is held.
func (v *Volume) mayWrite() error {
	a := v.att
	switch {
	case a.writable.Load():
		return nil
	case a.group.fence.Load() != nil:
		return errAgain
	case a.writable.Load(): // they were let go in between
		return nil
	}
	return v.readOnlyError()
}

func (v *Volume) readOnlyError() error {
	v.att.group.mu.Lock()
	st, peer := v.att.pair.rec.State, v.att.pair.rec.Peer
	v.att.group.mu.Unlock()
	if st.Role == Primary {
		return refuse(KindSecondary, "volume %s is not written here any more: its S-VOL at %s was taken over; pair resync --swap makes this side the secondary of that one, pair resync --discard=there goes on from here", v.name, peer)
	}
	return refuse(KindSecondary, "volume %s is the S-VOL of pair %s and is written by its primary only: suspend it with --svol-write=enable (svol-write=enable), or delete the pair, to write here", v.name, v.att.pair.name)
}

// ReadAt reads len(p) bytes at off. It returns fewer only at the end of the volume, never io.EOF.
func (v *Volume) ReadAt(p []byte, off int64) (int, error) {
	v.mode.RLock()
	defer v.mode.RUnlock()
	size := v.size.Load()
	if off >= size {
		return 0, nil
	}
	if int64(len(p)) > size-off {
		p = p[:size-off]
	}
	if a := v.att; a != nil {
		return len(p), a.read(p, off)
	}
	return len(p), v.readStore(p, off)
}

// readStore fills p from the store; what lies behind the end of the file reads as zeroes.
func (v *Volume) readStore(p []byte, off int64) error {
	n, err := v.store.readAt(p, off)
	if err != nil {
		return fault(KindInternal, err, "volume %s cannot be read at offset %d", v.name, off)
	}
	clear(p[n:])
	return nil
}

// errAgain says that a paired volume's write has to be tried again with the mode lock let go in between.
var errAgain = errors.New("try again")

// retry runs op under the shared mode lock until it stops asking for another attempt. What an attempt has to wait for is waited for
// between attempts, with no lock held.
func (v *Volume) retry(ctx context.Context, op func() error) error {
	for {
		v.mode.RLock()
		err := op()
		a := v.att
		v.mode.RUnlock()
		if !errors.Is(err, errAgain) {
			return err
		}
		if err := a.group.awaitRoom(ctx); err != nil {
			return err
		}
	}
}

// WriteAt writes p at off and returns when it is in the journal (paired) or the store (unpaired). sync asks that it survives a power
// cut too. A volume that is in no pair grows; past the end of a paired one nothing fits.
func (v *Volume) WriteAt(ctx context.Context, p []byte, off int64, sync bool) (int, error) {
	if slow := v.slow.Load(); slow != nil {
		if err := slow.wait(ctx, len(p)); err != nil {
			return 0, err
		}
	}
	done := 0
	err := v.retry(ctx, func() error {
		a := v.att
		if a == nil {
			n, err := v.writePlain(p, off, sync)
			done = n
			return err
		}
		if err := v.mayWrite(); err != nil {
			return err
		}
		room := v.size.Load() - off
		if room <= 0 {
			return refuse(KindNoSpace, "volume %s is in pair %s and has a fixed size of %d bytes: nothing can be written at offset %d", v.name, a.pair.name, v.size.Load(), off)
		}
		q := p[:min(int64(len(p)), room)]
		for done < len(q) {
			n := min(len(q)-done, recordMax)
			if err := a.obtain(ctx, q[done:done+n], off+int64(done), sync); err != nil {
				return err
			}
			done += n
		}
		return nil
	})
	if done > 0 {
		v.changed()
		if !errors.Is(err, unix.EIO) {
			return done, nil
		}
	}
	return done, err
}

// writePlain writes to the store of an unpaired volume and grows it.
func (v *Volume) writePlain(p []byte, off int64, sync bool) (int, error) {
	if off+int64(len(p)) > volumeMax {
		return 0, refuse(KindNoSpace, "volume %s cannot grow past %d bytes", v.name, int64(volumeMax))
	}
	if v.handed.Load() {
		if err := v.site.handedOver(v); err != nil {
			return 0, err
		}
	}
	end := off + int64(len(p))
	if end > v.size.Load() {
		v.growMu.Lock()
		defer v.growMu.Unlock()
	}
	n, err := v.store.writeAt(p, off)
	if end := off + int64(n); end > v.size.Load() {
		v.size.Store(end)
	}
	if err != nil {
		return n, v.storeError(err, "written", off)
	}
	v.changed()
	if sync {
		if err := v.store.sync(); err != nil {
			return 0, v.storeError(err, "flushed", off)
		}
	}
	return n, nil
}

// storeError turns a failure of the store into an error whose errno the host sees.
func (v *Volume) storeError(err error, what string, off int64) error {
	if kindOfDisk(err) == KindNoSpace {
		return fault(KindNoSpace, err, "volume %s cannot be %s at offset %d: its file system is full", v.name, what, off)
	}
	return fault(KindInternal, err, "volume %s cannot be %s at offset %d", v.name, what, off)
}

// Sync returns when everything that was acknowledged before the call survives a power cut. On a paired volume it costs at most one
// flush of the journal, shared with everybody who waits, and none if nothing is new.
func (v *Volume) Sync(ctx context.Context) error {
	for {
		a, err := v.syncOnce(ctx)
		if !errors.Is(err, errAgain) {
			return err
		}
		if err := a.group.awaitRoom(ctx); err != nil {
			return err
		}
	}
}

// syncOnce is one attempt. The mode lock is not held while the journal is flushed, for a flush may take long.
func (v *Volume) syncOnce(ctx context.Context) (*attachment, error) {
	v.mode.RLock()
	a := v.att
	if a != nil {
		if err := a.ready(false); err != nil {
			v.mode.RUnlock()
			return a, err
		}
	}
	if a == nil || a.direct.Load() {
		defer v.mode.RUnlock()
		if err := v.store.sync(); err != nil {
			return a, v.storeError(err, "flushed", 0)
		}
		return a, nil
	}
	v.mode.RUnlock()
	return a, a.syncTo(ctx, a.group.journal.Marks().Reserved)
}
