package fs

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"math"
	"sync"
	"syscall"

	gofs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// keptNode is the image or the list of a kept set. It stands for the name, so it serves whatever set has that.
type keptNode struct {
	gofs.Inode
	*tree
	set  string
	list bool
}

// attr fills the attributes: they are as large as they are, and nobody writes them.
func (n *keptNode) attr(out *fuse.Attr) syscall.Errno {
	k, err := n.site.KeptSet(n.set)
	if err != nil {
		return errnoOf(err)
	}
	n.ctlAttr(out, 0o400)
	out.Size, out.Blocks, out.Blksize = uint64(k.Size), uint64(k.Allocated+511)/512, 4096
	if n.list {
		out.Size, out.Blocks = uint64(k.ListBytes), uint64(k.ListBytes+511)/512
	}
	if !k.Time.IsZero() {
		out.SetTimes(&k.Time, &k.Time, &k.Time)
	}
	return 0
}

// Getattr gives the attributes of the file.
func (n *keptNode) Getattr(_ context.Context, _ gofs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	return n.attr(&out.Attr)
}

// Setattr refuses a size and accepts what changes nothing.
func (n *keptNode) Setattr(_ context.Context, _ gofs.FileHandle, in *fuse.SetAttrIn, out *fuse.AttrOut) syscall.Errno {
	if _, ok := in.GetSize(); ok {
		return unix.EPERM
	}
	if errno := n.ctlSetattr(in, &out.Attr, 0o400); errno != 0 {
		return errno
	}
	return n.attr(&out.Attr)
}

// Open opens the file to read it, once the whole list was read and found right.
func (n *keptNode) Open(_ context.Context, flags uint32) (gofs.FileHandle, uint32, syscall.Errno) {
	if flags&unix.O_ACCMODE != unix.O_RDONLY {
		return nil, 0, unix.EPERM
	}
	if !n.opened.enter() {
		n.log.Warn("too many open files of kept sets", "max", maxKeptOpen)
		return nil, 0, unix.EBUSY
	}
	k, err := n.site.OpenKept(n.set)
	if err != nil {
		n.opened.leave()
		n.site.Note(slog.LevelError, "kept", orDash(err.Error()))
		return nil, 0, errnoOf(err)
	}
	return &keptHandle{tree: n.tree, kept: k, list: n.list}, fuse.FOPEN_DIRECT_IO, 0
}

// keptHandle is one open file of a kept set. What is damaged is read as EIO, and an event says why.
type keptHandle struct {
	tree *tree
	kept keptSet
	list bool
	told sync.Once
}

// Read reads, checked, from image or list.
func (h *keptHandle) Read(_ context.Context, dest []byte, off int64) (fuse.ReadResult, syscall.Errno) {
	read := h.kept.ReadAt
	if h.list {
		read = h.kept.ReadListAt
	}
	n, err := read(dest, off)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, h.fail(err)
	}
	return fuse.ReadResultData(dest[:n]), 0
}

// fail tells an error once and returns its errno.
func (h *keptHandle) fail(err error) syscall.Errno {
	h.told.Do(func() { h.tree.site.Note(slog.LevelError, "kept", orDash(err.Error())) })
	return errnoOf(err)
}

// Lseek finds the next data or hole, as the list of the set has them.
func (h *keptHandle) Lseek(_ context.Context, off uint64, whence uint32) (uint64, syscall.Errno) {
	size := h.kept.Info().Size
	if h.list {
		size = h.kept.Info().ListBytes
	}
	if off > math.MaxInt64 || int64(off) >= size {
		return 0, unix.ENXIO
	}
	at, there, err := int64(off), true, error(nil)
	switch {
	case whence != unix.SEEK_DATA && whence != unix.SEEK_HOLE:
		return 0, unix.EINVAL
	case h.list && whence == unix.SEEK_HOLE:
		at = size
	case h.list:
	case whence == unix.SEEK_DATA:
		at, there, err = h.kept.SeekData(at)
	default:
		at, err = h.kept.SeekHole(at)
	}
	switch {
	case err != nil:
		return 0, h.fail(err)
	case !there:
		return 0, unix.ENXIO
	}
	return uint64(at), 0
}

// Release closes the set.
func (h *keptHandle) Release(context.Context) syscall.Errno {
	if err := h.kept.Close(); err != nil {
		h.tree.log.Warn("a kept set could not be closed", "error", err)
	}
	h.tree.opened.leave()
	return 0
}
