package fs

import (
	"context"
	"syscall"

	gofs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// volumeOpenFlags are the flags of every open volume: no byte is served from the kernel's cache, and writes to one volume run side by
// side.
const volumeOpenFlags = fuse.FOPEN_DIRECT_IO | fuse.FOPEN_PARALLEL_DIRECT_WRITES

// volumeNode is the inode of a volume.
type volumeNode struct {
	gofs.Inode
	*tree
	vol volume
}

// Open opens the volume. What hosts may not write now is not opened for writing: root passes every check of permissions, so the mode bits
// alone would not stop it.
func (n *volumeNode) Open(_ context.Context, flags uint32) (gofs.FileHandle, uint32, syscall.Errno) {
	if flags&unix.O_ACCMODE != unix.O_RDONLY {
		if err := n.vol.Writable(); err != nil {
			return nil, 0, errnoOf(err)
		}
	}
	return n.openVolume(n.vol, flags), volumeOpenFlags, 0
}

// Getattr gives the attributes of the volume.
func (n *volumeNode) Getattr(_ context.Context, _ gofs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	n.volumeAttr(&out.Attr, n.vol)
	out.SetTimeout(attrTime)
	return 0
}

// Setattr changes the size. Times are the volume's own and owners are fixed: setting times is accepted and ignored, and so is a change
// of the mode that leaves the owner's bits alone, so that cp -p and mv from elsewhere work.
func (n *volumeNode) Setattr(ctx context.Context, _ gofs.FileHandle, in *fuse.SetAttrIn, out *fuse.AttrOut) syscall.Errno {
	var now fuse.Attr
	n.volumeAttr(&now, n.vol)
	if uid, ok := in.GetUID(); ok && uid != now.Uid {
		return unix.EPERM
	}
	if gid, ok := in.GetGID(); ok && gid != now.Gid {
		return unix.EPERM
	}
	if mode, ok := in.GetMode(); ok && mode&0o700 != now.Mode&0o700 {
		return unix.EPERM
	}
	if size, ok := in.GetSize(); ok && size != now.Size {
		if int64(size) < 0 {
			return unix.EFBIG
		}
		if err := n.vol.Resize(ctx, int64(size)); err != nil {
			return errnoOf(err)
		}
	}
	return n.Getattr(ctx, nil, out)
}
