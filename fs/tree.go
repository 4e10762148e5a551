package fs

import (
	"context"
	"log/slog"
	"sync"
	"syscall"
	"time"

	gofs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// The inode numbers that are fixed. Volumes have their own from firstVolumeIno; other control files are numbered from 2^63 as they are
// first looked up.
const (
	rootIno        = 1
	ctlIno         = 2
	groupsIno      = 3
	peersIno       = 4
	volumesIno     = 5
	siteIno        = 6
	pairsIno       = 7
	eventsIno      = 8
	metricsIno     = 9
	historyIno     = 10
	keptIno        = 11
	keptTreeIno    = 12
	firstVolumeIno = 16
)

// tree is what all nodes of one mount share.
type tree struct {
	site backend
	log  *slog.Logger
	open openVolumes

	uid, gid uint32 // owner of everything: who runs the daemon
	mounted  time.Time

	stopOnce sync.Once
	stop     func()

	readers  eventReaders
	listings listings
	opened   keptOpen

	markerWaits markerWaits
}

// ctlAttr fills the attributes of a control file or directory; perm are its permission bits.
func (t *tree) ctlAttr(out *fuse.Attr, perm uint32) {
	out.Mode = perm
	out.Uid, out.Gid = t.uid, t.gid
	out.Nlink = 1
	out.SetTimes(&t.mounted, &t.mounted, &t.mounted)
}

// volumeAttr fills the attributes of a volume.
func (t *tree) volumeAttr(out *fuse.Attr, v volume) {
	out.Mode = 0o600
	if v.Writable() != nil {
		out.Mode = 0o400
	}
	out.Uid, out.Gid = t.uid, t.gid
	out.Nlink = 1
	if v.Removed() {
		out.Nlink = 0
	}
	out.Size = uint64(v.Size())
	out.Blocks = uint64(v.Allocated()+511) / 512
	out.Blksize = 4096
	mod := v.ModTime()
	out.SetTimes(&mod, &mod, &mod)
}

// volumeEntry fills what a lookup of a volume returns.
func (t *tree) volumeEntry(out *fuse.EntryOut, v volume) {
	t.volumeAttr(&out.Attr, v)
	out.SetEntryTimeout(attrTime)
	out.SetAttrTimeout(attrTime)
}

// refused records a refused command as an event.
func (t *tree) refused(o object, err error) {
	t.site.Note(slog.LevelWarn, o.title(), orDash(err.Error()))
}

// plainDir is what all directories here have in common: nothing but volumes and objects is made in them, and each has one name.
type plainDir struct{}

// Mkdir refuses.
func (plainDir) Mkdir(context.Context, string, uint32, *fuse.EntryOut) (*gofs.Inode, syscall.Errno) {
	return nil, unix.EPERM
}

// Mknod refuses.
func (plainDir) Mknod(context.Context, string, uint32, uint32, *fuse.EntryOut) (*gofs.Inode, syscall.Errno) {
	return nil, unix.EPERM
}

// Symlink refuses.
func (plainDir) Symlink(context.Context, string, string, *fuse.EntryOut) (*gofs.Inode, syscall.Errno) {
	return nil, unix.EPERM
}

// Link refuses.
func (plainDir) Link(context.Context, gofs.InodeEmbedder, string, *fuse.EntryOut) (*gofs.Inode, syscall.Errno) {
	return nil, unix.EPERM
}

// Fsync has nothing to do: what a command or a call makes or changes is durable when it returns.
func (plainDir) Fsync(context.Context, gofs.FileHandle, uint32) syscall.Errno { return 0 }

// commandContext is the context of one command that ends after d. It does not end when the caller gets a signal: a Go program gets them all
// the time and would repeat a command that was half done. parent carries who asks, and what is remarked.
func commandContext(parent context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(parent), d)
}
