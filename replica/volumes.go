package replica

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	bolt "go.etcd.io/bbolt"
	"golang.org/x/sys/unix"
)

// firstVolumeID leaves small numbers to the file system's own nodes.
const firstVolumeID = 15

// CreateVolume makes an empty unpaired volume.
func (s *Site) CreateVolume(name string) (*Volume, error) {
	s.cmd.Lock()
	defer s.cmd.Unlock()
	return s.makeVolume(name, 0, "")
}

// makeVolume makes a volume. Site.cmd is held.
func (s *Site) makeVolume(name string, size int64, madeBy string) (*Volume, error) {
	if err := checkName("volume", name); err != nil {
		return nil, err
	}
	s.mu.RLock()
	there := s.volumes[name] != nil
	s.mu.RUnlock()
	if there {
		return nil, refuse(KindExists, "volume %s exists already", name)
	}
	if err := clearLeftover(s.storePath(name)); err != nil {
		return nil, err
	}
	rec := volumeRecord{MadeBy: madeBy}
	v, err := s.openVolume(name, rec, true)
	if err != nil {
		return nil, fault(KindInternal, err, "volume %s cannot be made", name)
	}
	if size > 0 {
		err = v.store.truncate(size)
		v.size.Store(size)
	}
	if err == nil {
		err = v.store.sync()
	}
	if err == nil {
		err = s.db.update(func(tx *bolt.Tx) error {
			id, err := next(tx, "volumes")
			if err != nil {
				return err
			}
			rec.ID = id + firstVolumeID
			v.id = rec.ID
			return put(tx, bucketVolumes, name, rec)
		})
	}
	if err != nil {
		return nil, fault(KindInternal, errors.Join(err, v.store.close()), "volume %s cannot be made", name)
	}
	s.mu.Lock()
	s.volumes[name] = v
	s.mu.Unlock()
	return v, nil
}

// clearLeftover removes a store that no volume has, if it is what a crash while a volume was made or renamed leaves: without data, or a
// second name of another store. Bytes of unknown origin are never removed.
func clearLeftover(path string) error {
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		if errors.Is(err, unix.ENOENT) {
			return nil
		}
		return fault(KindInternal, err, "the store %s cannot be looked at", path)
	}
	if holdsData(&st) {
		return refuse(KindExists, "there is a store %s with data that no volume of this site has: move it away first", path)
	}
	if err := os.Remove(path); err != nil {
		return fault(KindInternal, err, "the empty store %s cannot be removed", path)
	}
	return nil
}

// holdsData reports whether a store that no volume has may be the only place of some bytes.
func holdsData(st *unix.Stat_t) bool {
	return st.Mode&unix.S_IFMT != unix.S_IFREG || st.Blocks > 0 && st.Nlink == 1
}

// handedOver records that hosts write to a volume that a peer made: from now on it is this site's own, and the peer needs a reservation to
// take it again. It returns once that is durable. The volume's mode lock is held shared.
func (s *Site) handedOver(v *Volume) error {
	v.growMu.Lock()
	defer v.growMu.Unlock()
	if !v.handed.Load() {
		return nil
	}
	err := s.db.update(func(tx *bolt.Tx) error {
		rec, _, err := get[volumeRecord](tx, bucketVolumes, v.name)
		if err != nil {
			return err
		}
		rec.Written = true
		return put(tx, bucketVolumes, v.name, rec)
	})
	if err != nil {
		return fault(KindInternal, err, "volume %s cannot be recorded as written", v.name)
	}
	v.handed.Store(false)
	return nil
}

// RemoveVolume removes an unpaired volume. Its bytes go with the last handle that is open.
func (s *Site) RemoveVolume(name string) error {
	s.cmd.Lock()
	defer s.cmd.Unlock()
	v, err := s.Volume(name)
	if err != nil {
		return err
	}
	return v.tellBusy(s.removeVolume(v))
}

// tellBusy gives a refusal on, and lets an event say what a host that removes, renames or resizes a volume learns no more of than EBUSY: once a
// minute, for a script may try for ever.
func (v *Volume) tellBusy(err error) error {
	if err != nil && KindOf(err) == KindBusy && v.site.firstIn(time.Minute, "busy "+err.Error()) {
		v.site.events.add(slog.LevelWarn, "volume/"+v.name, "refused: %v", err)
	}
	return err
}

// removeVolume removes a volume. Site.cmd is held.
func (s *Site) removeVolume(v *Volume) error {
	v.mode.Lock()
	defer v.mode.Unlock()
	if err := s.checkFree(v, "removed"); err != nil {
		return err
	}
	if err := s.db.update(func(tx *bolt.Tx) error { return remove(tx, bucketVolumes, v.name) }); err != nil {
		return fault(KindInternal, err, "volume %s cannot be removed", v.name)
	}
	s.mu.Lock()
	delete(s.volumes, v.name)
	s.mu.Unlock()
	err := os.Remove(s.storePath(v.name))
	v.removed.Store(true)
	if v.opens.Load() == 0 {
		v.closeStore()
	}
	if err != nil {
		return fault(KindInternal, err, "volume %s is removed, its store is not", v.name)
	}
	return nil
}

// checkFree refuses to remove or rename what is in a pair, or about to be. The volume's mode lock and Site.cmd are held.
func (s *Site) checkFree(v *Volume, what string) error {
	if v.att != nil {
		return refuse(KindBusy, "volume %s is in pair %s and cannot be %s: delete the pair first", v.name, v.att.pair.name, what)
	}
	if s.claimed["volume "+v.name] {
		return refuse(KindBusy, "volume %s is being paired and cannot be %s", v.name, what)
	}
	return nil
}

// RenameVolume gives an unpaired volume another name, which must be free.
func (s *Site) RenameVolume(from, to string) error {
	s.cmd.Lock()
	defer s.cmd.Unlock()
	if err := checkName("volume", to); err != nil {
		return err
	}
	v, err := s.Volume(from)
	if err != nil {
		return err
	}
	v.mode.Lock()
	defer v.mode.Unlock()
	if err := s.checkFree(v, "renamed"); err != nil {
		return v.tellBusy(err)
	}
	if _, err := s.Volume(to); err == nil {
		return refuse(KindExists, "volume %s exists already: remove it first", to)
	}
	// The link comes first and the old name goes last: whatever a crash leaves, the database names a store that is there.
	if err := clearLeftover(s.storePath(to)); err != nil {
		return err
	}
	err = os.Link(s.storePath(from), s.storePath(to))
	if err == nil {
		err = syncDir(filepath.Dir(s.storePath(to)))
	}
	if err == nil {
		err = s.db.update(func(tx *bolt.Tx) error {
			rec, _, err := get[volumeRecord](tx, bucketVolumes, from)
			return errors.Join(err, put(tx, bucketVolumes, to, rec), remove(tx, bucketVolumes, from))
		})
	}
	if err != nil {
		return fault(KindInternal, err, "volume %s cannot be renamed to %s", from, to)
	}
	s.mu.Lock()
	delete(s.volumes, from)
	s.volumes[to] = v
	s.mu.Unlock()
	v.name = to
	if err := os.Remove(s.storePath(from)); err != nil {
		s.log.Warn("old name of a store is left", "path", s.storePath(from), "error", err)
	}
	return nil
}

// ReserveVolume sets an unpaired volume aside as an S-VOL for a peer; peer "" takes that back.
func (s *Site) ReserveVolume(_ context.Context, volume, peer string) error {
	s.cmd.Lock()
	defer s.cmd.Unlock()
	v, err := s.Volume(volume)
	if err != nil {
		return err
	}
	s.mu.RLock()
	known, reserved := peer == "" || s.peers[peer] != nil, v.reserved
	s.mu.RUnlock()
	if !known {
		return refuse(KindNotFound, "there is no peer %q: add it first (pairfs peer add %s HOST:PORT KEY)", peer, peer)
	}
	v.mode.RLock()
	paired := v.att != nil
	v.mode.RUnlock()
	if peer == "" && reserved == "" {
		return refuse(KindBusy, "volume %s is not set aside for a peer, so there is nothing to release", volume)
	}
	if paired && peer != "" {
		return refuse(KindBusy, "volume %s is in a pair already", volume)
	}
	err = s.db.update(func(tx *bolt.Tx) error {
		rec, _, err := get[volumeRecord](tx, bucketVolumes, volume)
		if err != nil {
			return err
		}
		rec.Reserved = peer
		return put(tx, bucketVolumes, volume, rec)
	})
	if err != nil {
		return fault(KindInternal, err, "volume %s cannot be reserved", volume)
	}
	s.mu.Lock()
	v.reserved = peer
	s.mu.Unlock()
	return nil
}

// quotaUsed sums the volumes that a peer made here.
func (s *Site) quotaUsed(peer string) int64 {
	s.mu.RLock()
	defer s.mu.RUnlock()
	var n int64
	for _, v := range s.volumes {
		if v.madeBy == peer {
			n += v.Size()
		}
	}
	return n
}
