package replica

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	bolt "go.etcd.io/bbolt"
	"golang.org/x/sys/unix"
)

// The database has its room on the disk ahead of its need. Stores and whatever else lies on the same file system may fill that to its last
// block, and just then marks have to be stored: a checkpoint that frees a journal, a pair that is suspended, a difference that a host is
// about to make. bbolt makes its file longer and leaves the blocks to the write, which then finds none. So blocks are allocated for what is in
// use, for all bitmaps twice (a page is replaced by a new one), and some more; a start on a full file system finds them too.

// dbRoom is the room of a database file.
type dbRoom struct {
	maps  atomic.Int64       // bytes of the bitmaps of all pairs
	short func(int64, error) // is told that there is no room for so much

	mu    sync.Mutex
	file  *os.File
	have  int64     // bytes from the beginning of the file for which there are blocks; guarded by mu
	tried time.Time // when it was tried in vain last; guarded by mu
}

// room is how far blocks are allocated when used bytes of the file are in use.
func (r *dbRoom) room(used int64) int64 {
	const step = dbSpare / 4 // so that it is not done for each page
	return (used + 2*r.maps.Load() + dbSpare + step - 1) / step * step
}

// provide allocates what is missing. Where the file system has no room, or cannot do that, nothing is wrong yet.
func (r *dbRoom) provide(used int64) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if used+2*r.maps.Load()+dbSpare <= r.have || time.Since(r.tried) < dbSpareRetry {
		return nil
	}
	want := r.room(used)
	err := unix.Fallocate(int(r.file.Fd()), 0, 0, want)
	for errors.Is(err, unix.EINTR) {
		err = unix.Fallocate(int(r.file.Fd()), 0, 0, want)
	}
	switch {
	case err == nil, errors.Is(err, unix.EOPNOTSUPP), errors.Is(err, unix.ENOSYS):
		r.have, r.tried = want, time.Time{}
		return nil
	}
	r.tried = time.Now()
	return fmt.Errorf("allocate %d bytes for %s: %w", want, r.file.Name(), err)
}

// openFile is how bbolt opens the file: only so there is one descriptor, and the lock on it.
func (r *dbRoom) openFile(name string, flag int, mode os.FileMode) (*os.File, error) {
	f, err := os.OpenFile(name, flag|unix.O_NOFOLLOW, mode)
	r.file = f
	return f, err
}

// provide sees to the room behind what is in use now, and says when there is none. It fails in no other way.
func (d *database) provide() {
	used := int64(0)
	_ = d.db.View(func(tx *bolt.Tx) error { used = tx.Size(); return nil }) // an error is that of a closed database
	if err := d.room.provide(used); err != nil && d.room.short != nil {
		d.room.short(d.room.room(used), err)
	}
}

// stored is what the bitmap takes in the database when it is full.
func (b *bitmap) stored() int64 { return int64(len(b.words)) * 8 }

// dbShort says, once an hour, that the database has no room ahead.
func (s *Site) dbShort(want int64, err error) {
	if s.firstIn(time.Hour, "room of site.db") {
		s.events.add(slog.LevelWarn, "site", "there is no room for site.db to grow: make room in the file system of %s, before marks of pairs cannot be stored (%s are wanted for it in all): %v", s.cfg.StateDir, iec(want), err)
	}
}

// noRoom makes the refusal of a start that found the file system of the state directory full; nil for any other error.
func (s *Site) noRoom(err error) error {
	if !errors.Is(err, unix.ENOSPC) && !errors.Is(err, unix.EDQUOT) {
		return nil
	}
	left := "no more"
	var st unix.Statfs_t
	if unix.Statfs(s.cfg.StateDir, &st) == nil && errors.Is(err, unix.ENOSPC) {
		left = iec(int64(st.Bavail)*st.Bsize) + " left"
	}
	what, end := "site "+s.cfg.Name+" cannot start", "; nothing is lost"
	if s.fresh {
		what, end = "a new site "+s.cfg.Name+" cannot be made", ""
	}
	return fault(KindNoSpace, err, "%s, for the file system of its state directory %s is full (%s): free %s there, of files that are not the site's own, and start again%s", what, s.cfg.StateDir, left, iec(startRoom), end)
}

// unmake removes the database of a new site that could not be made, so that what is there is not taken for a site that lost its key.
func (s *Site) unmake() error {
	if _, err := os.Lstat(filepath.Join(s.cfg.StateDir, "key.pem")); !s.fresh || !errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return removeIfThere(filepath.Join(s.cfg.StateDir, "site.db"))
}
