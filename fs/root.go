package fs

import (
	"context"
	"syscall"

	gofs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"pairfs/replica"
)

// ctlName is the directory of the control files.
const ctlName = ".ctl"

// rootNode is the mount's directory: the volumes and .ctl.
type rootNode struct {
	gofs.Inode
	*tree
	plainDir
}

// OnAdd hangs in the control files that are always there.
func (r *rootNode) OnAdd(ctx context.Context) {
	ctl := &ctlDir{tree: r.tree, kind: pairObject, ino: ctlIno}
	node := r.NewPersistentInode(ctx, ctl, gofs.StableAttr{Mode: fuse.S_IFDIR, Ino: ctlIno})
	r.AddChild(ctlName, node, true)
}

// Getattr gives the attributes of the directory.
func (r *rootNode) Getattr(_ context.Context, _ gofs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	r.ctlAttr(&out.Attr, 0o755)
	return 0
}

// Statfs gives the space of the file system that holds the stores.
func (r *rootNode) Statfs(_ context.Context, out *fuse.StatfsOut) syscall.Errno {
	st, err := r.site.Statfs()
	if err != nil {
		return errnoOf(err)
	}
	out.Blocks, out.Bfree, out.Bavail = st.Blocks, st.Bfree, st.Bavail
	out.Files, out.Ffree = st.Files, st.Ffree
	out.Bsize, out.Frsize = uint32(st.Bsize), uint32(st.Frsize)
	out.NameLen = maxName
	return 0
}

// Readdir lists .ctl and the volumes.
func (r *rootNode) Readdir(context.Context) (gofs.DirStream, syscall.Errno) {
	list := append(dots(rootIno, rootIno), fuse.DirEntry{Name: ctlName, Ino: ctlIno, Mode: fuse.S_IFDIR})
	for _, v := range r.site.Volumes() {
		list = append(list, fuse.DirEntry{Name: v.Name(), Ino: v.ID(), Mode: fuse.S_IFREG})
	}
	return gofs.NewListDirStream(list), 0
}

// dots returns the entries that every directory begins with.
func dots(self, parent uint64) []fuse.DirEntry {
	return []fuse.DirEntry{{Name: ".", Ino: self, Mode: fuse.S_IFDIR}, {Name: "..", Ino: parent, Mode: fuse.S_IFDIR}}
}

// Lookup finds a volume or .ctl.
func (r *rootNode) Lookup(ctx context.Context, name string, out *fuse.EntryOut) (*gofs.Inode, syscall.Errno) {
	if name == ctlName {
		r.ctlAttr(&out.Attr, 0o700)
		return r.GetChild(ctlName), 0
	}
	v, err := r.site.Volume(name)
	if err != nil {
		return nil, errnoOf(err)
	}
	r.volumeEntry(out, v)
	return r.volumeInode(ctx, name, v), 0
}

// volumeInode returns the node of a volume: the one that is there, or a new one if there is none or it is of a volume that is gone.
func (r *rootNode) volumeInode(ctx context.Context, name string, v volume) *gofs.Inode {
	if child := r.GetChild(name); child != nil && child.StableAttr().Ino == v.ID() {
		return child
	}
	return r.NewInode(ctx, &volumeNode{tree: r.tree, vol: v}, gofs.StableAttr{Mode: fuse.S_IFREG, Ino: v.ID()})
}

// Create makes a volume of size 0 and opens it.
func (r *rootNode) Create(ctx context.Context, name string, flags, _ uint32, out *fuse.EntryOut) (
	*gofs.Inode, gofs.FileHandle, uint32, syscall.Errno,
) {
	if err := checkName("volume", name); err != nil {
		return nil, nil, 0, errnoOf(err)
	}
	v, err := r.site.CreateVolume(name)
	if replica.KindOf(err) == replica.KindExists && flags&unix.O_EXCL == 0 {
		// The peer made it between the kernel's lookup and now. ESTALE makes the kernel look it up again and open it.
		return nil, nil, 0, unix.ESTALE
	}
	if err != nil {
		return nil, nil, 0, errnoOf(err)
	}
	r.volumeEntry(out, v)
	return r.volumeInode(ctx, name, v), r.openVolume(v, flags), volumeOpenFlags, 0
}

// Unlink removes an unpaired volume.
func (r *rootNode) Unlink(_ context.Context, name string) syscall.Errno {
	if name == ctlName {
		return unix.EISDIR
	}
	return errnoOf(r.site.RemoveVolume(name))
}

// Rename gives an unpaired volume another name in the same directory. A name that is taken is refused: replacing a volume by mistake
// would lose its data.
func (r *rootNode) Rename(_ context.Context, name string, dir gofs.InodeEmbedder, to string, flags uint32) syscall.Errno {
	if dir.EmbeddedInode() != r.EmbeddedInode() {
		return unix.EPERM // among the control files; with EXDEV mv would copy, of which nothing is kept there, and remove
	}
	if name == ctlName || to == ctlName {
		return unix.EBUSY
	}
	if flags&^unix.RENAME_NOREPLACE != 0 {
		return unix.EINVAL
	}
	if err := checkName("volume", to); err != nil {
		return errnoOf(err)
	}
	if _, err := r.site.Volume(to); err == nil {
		return unix.EEXIST
	}
	return errnoOf(r.site.RenameVolume(name, to))
}

// Rmdir refuses: .ctl is the only directory.
func (r *rootNode) Rmdir(_ context.Context, name string) syscall.Errno {
	if name == ctlName {
		return unix.EBUSY
	}
	return unix.ENOTDIR
}
