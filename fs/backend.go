package fs

import (
	"context"
	"log/slog"
	"time"

	"golang.org/x/sys/unix"

	"pairfs/replica"
)

// backend is what this package needs of a site. [*replica.Site] offers it through [siteBackend].
type backend interface {
	Volumes() []volume
	Volume(name string) (volume, error)
	CreateVolume(name string) (volume, error)
	RemoveVolume(name string) error
	RenameVolume(from, to string) error
	Statfs() (unix.Statfs_t, error)

	Status() replica.SiteStatus
	Subscribe(after uint64) eventReader
	Note(level slog.Level, object, text string)
	Audit(e replica.Entry)
	History(ctx context.Context) ([]replica.Entry, error)
	GroupOf(object string) string
	Knows(object string) bool
	Kept() ([]replica.Kept, error)
	KeptSet(name string) (replica.Kept, error)
	OpenKept(name string) (keptSet, error)
	SetInvalidate(f func(id uint64, off, n int64))

	commander
}

// commander is the part of a site that control files drive. Each method returns nil once the change is accepted and durable.
type commander interface {
	AddPeer(ctx context.Context, p replica.PeerSpec) error
	RemovePeer(ctx context.Context, name string) error
	CreateGroup(ctx context.Context, g replica.GroupSpec) error
	DeleteGroup(ctx context.Context, name string, o replica.DeleteOptions) error
	SuspendGroup(ctx context.Context, name string, o replica.SuspendOptions) error
	ResyncGroupWith(ctx context.Context, name string, o replica.ResyncOptions) error
	TakeoverGroup(ctx context.Context, name string, o replica.TakeoverOptions) error
	MarkGroup(ctx context.Context, name string) (replica.Marker, error)
	MarkPair(ctx context.Context, name string) (replica.Marker, error)
	WaitMarker(ctx context.Context, m replica.Marker) (replica.MarkerStatus, error)
	SetGroup(ctx context.Context, name string, set map[string]string) error
	AddJournalVolume(ctx context.Context, group string, size int64) error
	RemoveJournalVolume(ctx context.Context, group string, number int) error
	SetPair(ctx context.Context, name string, set map[string]string) error
	SetSite(ctx context.Context, set map[string]string) error
	CreatePair(ctx context.Context, p replica.PairSpec) error
	SuspendPair(ctx context.Context, name string, o replica.SuspendOptions) error
	ResyncPairWith(ctx context.Context, name string, o replica.ResyncOptions) error
	TakeoverPair(ctx context.Context, name string, o replica.TakeoverOptions) error
	DeletePair(ctx context.Context, name string, o replica.DeleteOptions) error
	ReserveVolume(ctx context.Context, volume, peer string) error
	DropKept(ctx context.Context, name string) error
	DropKeptOlder(ctx context.Context, age string) error
	PairResyncDifferences(ctx context.Context, name string, o replica.ResyncOptions) ([]*replica.Differences, error)
	GroupResyncDifferences(ctx context.Context, name string, o replica.ResyncOptions) ([]*replica.Differences, error)
}

// volume is what this package needs of a volume. [*replica.Volume] is one.
type volume interface {
	Name() string
	ID() uint64 // inode number, at least firstVolumeIno, never reused
	Size() int64
	Allocated() int64
	ModTime() time.Time
	Writable() error // nil, or why hosts may not write now
	Removed() bool   // has no name any more; hosts that have it open go on

	ReadAt(p []byte, off int64) (int, error) // fewer than len(p) bytes at the end of the volume, never io.EOF
	WriteAt(ctx context.Context, p []byte, off int64, sync bool) (int, error)
	Discard(ctx context.Context, off, n int64) error
	Zero(ctx context.Context, off, n int64, keepSize bool) error
	Allocate(ctx context.Context, off, n int64, keepSize bool) error
	Resize(ctx context.Context, size int64) error
	Sync(ctx context.Context) error
	SeekData(off int64) (int64, error)
	SeekHole(off int64) (int64, error)

	Opened(write bool)
	Closed(write bool)
}

// keptSet is what this package needs of an open kept set. [*replica.KeptSet] is one.
type keptSet interface {
	Info() replica.Kept
	ReadAt(p []byte, off int64) (int, error)     // of the image, checked; fewer than len(p) bytes at its end, never io.EOF
	ReadListAt(p []byte, off int64) (int, error) // as io.ReaderAt
	SeekData(off int64) (int64, bool, error)     // false if there is no data behind off
	SeekHole(off int64) (int64, error)
	Close() error
}

// eventReader gives the events of a site one after the other. Next gives an event that is there even if ctx has ended; it fails with
// [context.Canceled] when ctx ends first, and with another error when the site is closed.
type eventReader interface {
	Next(ctx context.Context) (replica.Event, error)
	Close()
}
