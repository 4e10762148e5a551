package fs

import (
	"context"
	"syscall"

	gofs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// ctlNode is the inode of a control file.
type ctlNode struct {
	gofs.Inode
	*tree
	object object
}

// Open opens the file. A control file has no size and must not be served from the kernel's cache: without direct I/O a read would end
// before it began.
func (n *ctlNode) Open(_ context.Context, flags uint32) (gofs.FileHandle, uint32, syscall.Errno) {
	if n.object.kind == eventsObject {
		h, errno := n.openEvents(flags)
		return h, fuse.FOPEN_DIRECT_IO | fuse.FOPEN_STREAM | fuse.FOPEN_NONSEEKABLE, errno
	}
	if flags&unix.O_ACCMODE == unix.O_RDONLY && !n.object.exists(n.site) {
		return nil, 0, unix.ENOENT
	}
	return &ctlHandle{tree: n.tree, object: n.object}, fuse.FOPEN_DIRECT_IO, 0
}

// Getattr gives the attributes of the file.
func (n *ctlNode) Getattr(_ context.Context, _ gofs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	n.ctlAttr(&out.Attr, 0o600)
	return 0
}

// Setattr accepts the size 0, which is what > sends, and changes nothing.
func (n *ctlNode) Setattr(_ context.Context, _ gofs.FileHandle, in *fuse.SetAttrIn, out *fuse.AttrOut) syscall.Errno {
	return n.ctlSetattr(in, &out.Attr, 0o600)
}

// ctlSetattr accepts what changes nothing and ignores times. Owner, mode and size of control files are fixed: who gives one a size copies
// something there, of which nothing would be kept.
func (t *tree) ctlSetattr(in *fuse.SetAttrIn, out *fuse.Attr, perm uint32) syscall.Errno {
	t.ctlAttr(out, perm)
	if size, ok := in.GetSize(); ok && size != 0 {
		return unix.EPERM
	}
	if uid, ok := in.GetUID(); ok && uid != t.uid {
		return unix.EPERM
	}
	if gid, ok := in.GetGID(); ok && gid != t.gid {
		return unix.EPERM
	}
	if mode, ok := in.GetMode(); ok && mode&0o777 != perm {
		return unix.EPERM
	}
	return 0
}
