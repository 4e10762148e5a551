package fs

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"syscall"

	gofs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"pairfs/replica"
)

// Kept sets are shown as files that are only read: .ctl/kept.d/NAME/image and list, beside the control file .ctl/kept, which lists them and
// takes the commands.

// KeptLines writes .ctl/kept: one line for each set.
func KeptLines(all []replica.Kept) string {
	var b strings.Builder
	for i := range all {
		k := &all[i]
		fmt.Fprintf(&b, "%s pair=%s volume=%s peer=%s site=%s role=%s size-bytes=%d generation=%d sequence=%d split-sequence=%d held=%s kept=%s"+
			" ranges=%d range-bytes=%d data-bytes=%d allocated-bytes=%d why=%s bad=%s\n",
			k.Name, orDash(k.Pair), orDash(k.Volume), orDash(k.Peer), orDash(k.Site), k.Role, k.Size, k.Generation, k.Seq, k.SplitSeq,
			orDash(stamp(k.Held)), orDash(stamp(k.Time)), k.Ranges, k.Bytes, k.DataBytes, k.Allocated, quoted(k.Why), quoted(k.Bad))
	}
	return b.String()
}

// fixedDir is a directory in which nothing is made, removed or renamed, by whomever.
type fixedDir struct{ plainDir }

// Create refuses.
func (fixedDir) Create(context.Context, string, uint32, uint32, *fuse.EntryOut) (*gofs.Inode, gofs.FileHandle, uint32, syscall.Errno) {
	return nil, nil, 0, unix.EPERM
}

// Unlink refuses: a set goes with its command.
func (fixedDir) Unlink(context.Context, string) syscall.Errno { return unix.EPERM }

// Rmdir refuses.
func (fixedDir) Rmdir(context.Context, string) syscall.Errno { return unix.EPERM }

// Rename refuses.
func (fixedDir) Rename(context.Context, string, gofs.InodeEmbedder, string, uint32) syscall.Errno {
	return unix.EPERM
}

// keptRoot is .ctl/kept.d, with a directory for each set.
type keptRoot struct {
	gofs.Inode
	*tree
	fixedDir
}

// Getattr gives the attributes of the directory.
func (d *keptRoot) Getattr(_ context.Context, _ gofs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	d.ctlAttr(&out.Attr, 0o700)
	return 0
}

// Setattr accepts and ignores what changes nothing.
func (d *keptRoot) Setattr(_ context.Context, _ gofs.FileHandle, in *fuse.SetAttrIn, out *fuse.AttrOut) syscall.Errno {
	return d.ctlSetattr(in, &out.Attr, 0o700)
}

// Readdir lists the sets.
func (d *keptRoot) Readdir(context.Context) (gofs.DirStream, syscall.Errno) {
	all, err := d.site.Kept()
	if err != nil {
		return nil, errnoOf(err)
	}
	list := dots(keptTreeIno, ctlIno)
	for _, k := range all {
		e := fuse.DirEntry{Name: k.Name, Mode: fuse.S_IFDIR}
		if child := d.GetChild(k.Name); child != nil {
			e.Ino = child.StableAttr().Ino
		}
		list = append(list, e)
	}
	return gofs.NewListDirStream(list), 0
}

// Lookup finds a set.
func (d *keptRoot) Lookup(ctx context.Context, name string, out *fuse.EntryOut) (*gofs.Inode, syscall.Errno) {
	if _, err := d.site.KeptSet(name); err != nil {
		return nil, errnoOf(err)
	}
	d.ctlAttr(&out.Attr, 0o700)
	if child := d.GetChild(name); child != nil {
		return child, 0
	}
	return d.NewInode(ctx, &keptDir{tree: d.tree, set: name}, gofs.StableAttr{Mode: fuse.S_IFDIR}), 0
}

// keptDir is the directory of a set.
type keptDir struct {
	gofs.Inode
	*tree
	fixedDir
	set string
}

// Getattr gives the attributes of the directory.
func (d *keptDir) Getattr(_ context.Context, _ gofs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	if _, err := d.site.KeptSet(d.set); err != nil {
		return errnoOf(err)
	}
	d.ctlAttr(&out.Attr, 0o700)
	return 0
}

// Setattr accepts and ignores what changes nothing.
func (d *keptDir) Setattr(_ context.Context, _ gofs.FileHandle, in *fuse.SetAttrIn, out *fuse.AttrOut) syscall.Errno {
	return d.ctlSetattr(in, &out.Attr, 0o700)
}

// keptFiles are the files of a set.
var keptFiles = []string{"image", "list"}

// Readdir lists the two files.
func (d *keptDir) Readdir(context.Context) (gofs.DirStream, syscall.Errno) {
	list := dots(d.StableAttr().Ino, keptTreeIno)
	for _, name := range keptFiles {
		list = append(list, fuse.DirEntry{Name: name, Mode: fuse.S_IFREG})
	}
	return gofs.NewListDirStream(list), 0
}

// Lookup finds one of them.
func (d *keptDir) Lookup(ctx context.Context, name string, out *fuse.EntryOut) (*gofs.Inode, syscall.Errno) {
	n := &keptNode{tree: d.tree, set: d.set, list: name == "list"}
	if !n.list && name != "image" {
		return nil, unix.ENOENT
	}
	if errno := n.attr(&out.Attr); errno != 0 {
		return nil, errno
	}
	if child := d.GetChild(name); child != nil {
		return child, 0
	}
	return d.NewInode(ctx, n, gofs.StableAttr{Mode: fuse.S_IFREG}), 0
}

// keptOpen counts the open files of kept sets.
type keptOpen struct{ n atomic.Int32 }

// enter counts one more, false if there are too many.
func (o *keptOpen) enter() bool {
	if o.n.Add(1) > maxKeptOpen {
		o.leave()
		return false
	}
	return true
}

func (o *keptOpen) leave() { o.n.Add(-1) }
