package fs

import (
	"context"
	"syscall"

	gofs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"pairfs/replica"
)

// ctlDir is a directory of control files, all of one kind: .ctl with the pairs (and what is fixed there), groups, peers, volumes.
type ctlDir struct {
	gofs.Inode
	*tree
	plainDir
	kind   objectKind
	ino    uint64
	static []staticEntry // the fixed entries, set by OnAdd
}

// staticEntry is an entry of .ctl that is always there.
type staticEntry struct {
	name string
	ino  uint64
	mode uint32
	perm uint32
}

// OnAdd hangs the fixed entries into .ctl.
func (d *ctlDir) OnAdd(ctx context.Context) {
	if d.ino != ctlIno {
		return
	}
	file := func(name string, ino uint64, kind objectKind) {
		d.fix(ctx, &ctlNode{tree: d.tree, object: object{kind: kind}}, staticEntry{name, ino, fuse.S_IFREG, 0o600})
	}
	dir := func(name string, ino uint64, kind objectKind) {
		d.fix(ctx, &ctlDir{tree: d.tree, kind: kind, ino: ino}, staticEntry{name, ino, fuse.S_IFDIR, 0o700})
	}
	file("site", siteIno, siteObject)
	file("pairs", pairsIno, pairsObject)
	file("events", eventsIno, eventsObject)
	file("metrics", metricsIno, metricsObject)
	file("history", historyIno, historyObject)
	file("kept", keptIno, keptObject)
	d.fix(ctx, &keptRoot{tree: d.tree}, staticEntry{"kept.d", keptTreeIno, fuse.S_IFDIR, 0o700})
	dir("groups", groupsIno, groupObject)
	dir("peers", peersIno, peerObject)
	dir("volumes", volumesIno, volumeObject)
}

// fix adds one fixed entry.
func (d *ctlDir) fix(ctx context.Context, node gofs.InodeEmbedder, e staticEntry) {
	d.AddChild(e.name, d.NewPersistentInode(ctx, node, gofs.StableAttr{Mode: e.mode, Ino: e.ino}), true)
	d.static = append(d.static, e)
}

// find returns the fixed entry with that name.
func (d *ctlDir) find(name string) (e staticEntry, ok bool) {
	for _, e := range d.static {
		if e.name == name {
			return e, true
		}
	}
	return staticEntry{}, false
}

// Getattr gives the attributes of the directory.
func (d *ctlDir) Getattr(_ context.Context, _ gofs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	d.ctlAttr(&out.Attr, 0o700)
	return 0
}

// Setattr accepts and ignores what changes nothing.
func (d *ctlDir) Setattr(ctx context.Context, f gofs.FileHandle, in *fuse.SetAttrIn, out *fuse.AttrOut) syscall.Errno {
	return d.ctlSetattr(in, &out.Attr, 0o700)
}

// Readdir lists the objects that are there.
func (d *ctlDir) Readdir(context.Context) (gofs.DirStream, syscall.Errno) {
	parent := uint64(ctlIno)
	if d.ino == ctlIno {
		parent = rootIno
	}
	list := dots(d.ino, parent)
	for _, e := range d.static {
		list = append(list, fuse.DirEntry{Name: e.name, Ino: e.ino, Mode: e.mode})
	}
	st := d.site.Status()
	for _, name := range objectNames(d.kind, &st) {
		e := fuse.DirEntry{Name: name, Mode: fuse.S_IFREG}
		if child := d.GetChild(name); child != nil {
			e.Ino = child.StableAttr().Ino
		}
		list = append(list, e)
	}
	return gofs.NewListDirStream(list), 0
}

// objectNames returns the names of all objects of a kind.
func objectNames(kind objectKind, st *replica.SiteStatus) []string {
	var names []string
	switch kind {
	case pairObject:
		for i := range st.Pairs {
			names = append(names, st.Pairs[i].Name)
		}
	case groupObject:
		for i := range st.Groups {
			names = append(names, st.Groups[i].Name)
		}
	case peerObject:
		for i := range st.Peers {
			names = append(names, st.Peers[i].Name)
		}
	case volumeObject:
		for i := range st.Volumes {
			names = append(names, st.Volumes[i].Name)
		}
	}
	return names
}

// Lookup finds a fixed entry or an object.
func (d *ctlDir) Lookup(ctx context.Context, name string, out *fuse.EntryOut) (*gofs.Inode, syscall.Errno) {
	if e, ok := d.find(name); ok {
		d.ctlAttr(&out.Attr, e.perm)
		return d.GetChild(name), 0
	}
	if !(object{d.kind, name}).exists(d.site) {
		return nil, unix.ENOENT
	}
	d.ctlAttr(&out.Attr, 0o600)
	return d.child(ctx, name), 0
}

// child returns the node of an object. It stands for the name only, so the node of an object that was deleted serves its successor too.
func (d *ctlDir) child(ctx context.Context, name string) *gofs.Inode {
	if child := d.GetChild(name); child != nil {
		return child
	}
	return d.NewInode(ctx, &ctlNode{tree: d.tree, object: object{d.kind, name}}, gofs.StableAttr{Mode: fuse.S_IFREG})
}

// Create opens a name that does not exist yet, for the command that makes the object. It makes nothing itself: until the command
// succeeded the name is not found.
func (d *ctlDir) Create(ctx context.Context, name string, flags, _ uint32, out *fuse.EntryOut) (
	*gofs.Inode, gofs.FileHandle, uint32, syscall.Errno,
) {
	if d.kind == volumeObject {
		return nil, nil, 0, unix.ENOENT // volumes are made in the mount's own directory
	}
	if flags&unix.O_EXCL != 0 {
		return nil, nil, 0, unix.EPERM // a copy for mv, which removes what it believes to have copied
	}
	o := object{d.kind, name}
	if err := checkName(o.sort(), name); err != nil {
		return nil, nil, 0, errnoOf(err)
	}
	d.ctlAttr(&out.Attr, 0o600)
	return d.child(ctx, name), &ctlHandle{tree: d.tree, object: o}, fuse.FOPEN_DIRECT_IO, 0
}

// Unlink refuses: objects go with their own commands.
func (d *ctlDir) Unlink(context.Context, string) syscall.Errno { return unix.EPERM }

// Rmdir refuses.
func (d *ctlDir) Rmdir(context.Context, string) syscall.Errno { return unix.EPERM }

// Rename refuses: a pair has the same name on both sides.
func (d *ctlDir) Rename(context.Context, string, gofs.InodeEmbedder, string, uint32) syscall.Errno {
	return unix.EPERM
}
