package fs

import (
	"math"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// rawFS stands before the node tree. It serves the two requests that matter for speed itself, and it is the only place that sees the flags
// of a WRITE: with direct I/O the kernel sends no FSYNC for O_DSYNC, O_SYNC and RWF_DSYNC, the WRITE carries the flag.
type rawFS struct {
	fuse.RawFileSystem
	open *openVolumes
}

// Read reads from an open volume; reads of other files go to the tree.
func (r *rawFS) Read(cancel <-chan struct{}, in *fuse.ReadIn, buf []byte) (fuse.ReadResult, fuse.Status) {
	vol := r.open.get(in.NodeId)
	if vol == nil {
		return r.RawFileSystem.Read(cancel, in, buf)
	}
	if in.Offset > math.MaxInt64-uint64(len(buf)) {
		return nil, fuse.EINVAL
	}
	n, err := vol.ReadAt(buf, int64(in.Offset))
	if err != nil {
		return nil, fuse.Status(errnoOf(err))
	}
	return fuse.ReadResultData(buf[:n]), fuse.OK
}

// Writev writes to an open volume; writes to other files go to the tree. Requests come in one piece from the kernel's device; a split one
// is put together, for it must stay one record.
func (r *rawFS) Writev(cancel <-chan struct{}, in *fuse.WriteIn, data [][]byte) (uint32, fuse.Status) {
	vol := r.open.get(in.NodeId)
	if vol == nil {
		return r.RawFileSystem.Writev(cancel, in, data)
	}
	p := data[0]
	if len(data) > 1 {
		p = whole(data)
	}
	if in.Offset > math.MaxInt64-uint64(len(p)) {
		return 0, fuse.Status(unix.EFBIG)
	}
	ctx := &fuse.Context{Caller: in.Caller, Cancel: cancel}
	n, err := vol.WriteAt(ctx, p, int64(in.Offset), in.Flags&(unix.O_DSYNC|unix.O_SYNC) != 0)
	if err != nil {
		return 0, fuse.Status(errnoOf(err))
	}
	return uint32(n), fuse.OK
}

// Write is Writev for callers that have one piece.
func (r *rawFS) Write(cancel <-chan struct{}, in *fuse.WriteIn, data []byte) (uint32, fuse.Status) {
	return r.Writev(cancel, in, [][]byte{data})
}

// CopyFileRange is not offered: the kernel copies by reading and writing then, which keeps every byte on the path of host writes.
func (r *rawFS) CopyFileRange(<-chan struct{}, *fuse.CopyFileRangeIn) (uint32, fuse.Status) {
	return 0, fuse.ENOSYS
}

// Tmpfile is not offered: every volume has a name.
func (r *rawFS) Tmpfile(<-chan struct{}, *fuse.CreateIn, *fuse.CreateOut) fuse.Status {
	return fuse.ENOSYS
}

// whole puts the pieces of a request together.
func whole(data [][]byte) []byte {
	var p []byte
	for _, d := range data {
		p = append(p, d...)
	}
	return p
}
