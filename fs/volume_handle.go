package fs

import (
	"context"
	"math"
	"syscall"

	gofs "github.com/hanwen/go-fuse/v2/fs"
	"golang.org/x/sys/unix"
)

// volumeHandle is one open file of a volume. Its reads and writes are served by [rawFS].
type volumeHandle struct {
	tree  *tree
	vol   volume
	write bool
}

// openVolume counts and returns a new handle.
func (t *tree) openVolume(v volume, flags uint32) gofs.FileHandle {
	h := &volumeHandle{tree: t, vol: v, write: flags&unix.O_ACCMODE != unix.O_RDONLY}
	t.open.add(v)
	v.Opened(h.write)
	return h
}

// Release gives the handle back.
func (h *volumeHandle) Release(context.Context) syscall.Errno {
	h.tree.open.remove(h.vol)
	h.vol.Closed(h.write)
	return 0
}

// Fsync returns when everything written before it is durable. It ends by itself, so a signal does not end it: databases take a failed
// fsync for lost data.
func (h *volumeHandle) Fsync(ctx context.Context, _ uint32) syscall.Errno {
	return errnoOf(h.vol.Sync(context.WithoutCancel(ctx)))
}

// Allocate is fallocate(2): reserve, punch a hole, write zeroes.
func (h *volumeHandle) Allocate(ctx context.Context, off, size uint64, mode uint32) syscall.Errno {
	if off > math.MaxInt64 || size > math.MaxInt64-off {
		return unix.EFBIG
	}
	keep := mode&unix.FALLOC_FL_KEEP_SIZE != 0
	var err error
	switch mode &^ unix.FALLOC_FL_KEEP_SIZE {
	case 0:
		err = h.vol.Allocate(ctx, int64(off), int64(size), keep)
	case unix.FALLOC_FL_PUNCH_HOLE:
		if !keep {
			return unix.EOPNOTSUPP
		}
		err = h.vol.Discard(ctx, int64(off), int64(size))
	case unix.FALLOC_FL_ZERO_RANGE:
		err = h.vol.Zero(ctx, int64(off), int64(size), keep)
	default:
		return unix.EOPNOTSUPP
	}
	return errnoOf(err)
}

// Lseek finds the next data or hole.
func (h *volumeHandle) Lseek(_ context.Context, off uint64, whence uint32) (uint64, syscall.Errno) {
	if off > math.MaxInt64 {
		return 0, unix.ENXIO
	}
	var to int64
	var err error
	switch whence {
	case unix.SEEK_DATA:
		to, err = h.vol.SeekData(int64(off))
	case unix.SEEK_HOLE:
		to, err = h.vol.SeekHole(int64(off))
	default:
		return 0, unix.EINVAL
	}
	return uint64(to), errnoOf(err)
}
