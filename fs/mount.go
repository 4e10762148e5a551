package fs

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"runtime"
	"strings"
	"time"

	gofs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"pairfs/replica"
)

// fsType is the type under which a mount shows, without the leading "fuse.".
const fsType = "pairfs"

// exitPanic is the exit status of a process whose handler panicked.
const exitPanic = 70

// Config says what to mount where.
type Config struct {
	Site   *replica.Site
	Dir    string       // an existing directory
	Logger *slog.Logger // nil discards
	Stop   func()       // called once when "stop" is written to .ctl/site; it must return at once. Nil ignores the command
}

// Mounted is one mounted file system. Its methods may be called from any goroutine.
type Mounted struct {
	tree   *tree
	server *fuse.Server
	dir    string
	done   chan struct{} // closed when nothing is served any more
}

// Mount mounts cfg.Site at cfg.Dir and serves it; it returns when the mount answers. A mount there whose daemon died is detached first; one
// that answers is an error that wraps [unix.EBUSY]. The calling process must never touch the mount itself.
func Mount(cfg Config) (*Mounted, error) { return mount(siteBackend{cfg.Site}, cfg) }

// mount is Mount for any site.
func mount(site backend, cfg Config) (*Mounted, error) {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Stop == nil {
		cfg.Stop = func() {}
	}
	dir, err := mountPoint(cfg.Dir, cfg.Logger)
	if err != nil {
		return nil, err
	}
	t := newTree(site, cfg)
	opts := mountOptions(cfg.Logger)
	raw := &rawFS{RawFileSystem: gofs.NewNodeFS(&rootNode{tree: t}, opts), open: &t.open}
	server, err := fuse.NewServer(raw, dir, &opts.MountOptions)
	if err != nil {
		return nil, fmt.Errorf("mount at %s: %w; is /dev/fuse there, and may this user mount?", dir, err)
	}
	keepFromChildren()
	m := &Mounted{tree: t, server: server, dir: dir, done: make(chan struct{})}
	go m.serve()
	// NewServer has mounted and greeted the kernel. No server.WaitMount: it opens a file in the mount and polls it, and a process that is
	// killed while it does so waits for its own answer for ever, with the mount and the lock of the state directory.
	return m, nil
}

// newTree makes what the nodes share.
func newTree(site backend, cfg Config) *tree {
	t := &tree{
		site: site, log: cfg.Logger, stop: cfg.Stop, mounted: time.Now(),
		uid: uint32(os.Geteuid()), gid: uint32(os.Getegid()),
	}
	t.readers.begin()
	return t
}

// mountOptions returns the settings of every mount. Only root lets other users in, who then pass the kernel's check of the mode bits.
func mountOptions(log *slog.Logger) *gofs.Options {
	none := time.Duration(0)
	root := os.Geteuid() == 0
	logger := slog.NewLogLogger(log.Handler(), slog.LevelWarn)
	return &gofs.Options{
		MountOptions: fuse.MountOptions{
			FsName:                  fsType,
			Name:                    fsType,
			Options:                 []string{"default_permissions"},
			AllowOther:              root,
			DirectMount:             root,
			MaxWrite:                maxRequest,
			MaxReadAhead:            maxRequest,
			MaxBackground:           maxBackground,
			MaxInflightRequestBytes: maxInflightBytes,
			DisableXAttrs:           true, // the kernel asks once and then no more, above all not before each write
			DisableSplice:           true, // answers are in memory; go-fuse would fill a pipe with each first, in vain
			ExtraCapabilities:       fuse.CAP_ASYNC_DIO | fuse.CAP_DIRECT_IO_ALLOW_MMAP,
			DisabledCapabilities:    fuse.CAP_PASSTHROUGH, // nothing may go round the journal
			PanicHandler:            func(v any) fuse.Status { abort(log, v); return fuse.EIO },
			Logger:                  logger,
		},
		EntryTimeout:    &none, // control files come and go; volumes set their own
		AttrTimeout:     &none,
		NullPermissions: true,
		RootStableAttr:  &gofs.StableAttr{Ino: rootIno},
		ExternalNodeID:  true, // node id = inode number, by which rawFS and notifier find volumes
		Logger:          logger,
	}
}

// abort ends the process after a panic in a handler: going on would leave locks held and hosts waiting for ever. What was acknowledged
// is in the staging ring, which the next start finds.
func abort(log *slog.Logger, v any) {
	stack := make([]byte, 1<<20)
	stack = stack[:runtime.Stack(stack, true)]
	log.Error("panic while serving a request; the daemon ends so that a restart can recover", "panic", v)
	fmt.Fprintf(os.Stderr, "panic: %v\n\n%s", v, stack)
	os.Exit(exitPanic)
}

// serve runs the mount's goroutines until it is unmounted.
func (m *Mounted) serve() {
	defer close(m.done)
	n := newNotifier(m.server, m.tree.log, &m.tree.open)
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		n.run(stop)
	}()
	m.tree.site.SetInvalidate(n.add)
	m.server.Serve()
	m.tree.site.SetInvalidate(func(uint64, int64, int64) {})
	close(stop)
	<-stopped
}

// Wait returns when the file system is unmounted, by whomever, and no request is served any more.
func (m *Mounted) Wait() { <-m.done }

// ErrElsewhere is a mount of which another mount namespace, a container's for instance, has a copy: it is unmounted here, and in use there.
var ErrElsewhere = errors.New("it is unmounted here, and a copy of it in another mount namespace (a container) is still served")

// Unmount unmounts and waits as [Mounted.Wait] does. While something still uses the mount it serves on and returns an error that wraps
// [unix.EBUSY], and [ErrElsewhere] if only copies of the mount are left; the caller may try again. Readers of events are no use: their files end.
func (m *Mounted) Unmount() error {
	m.tree.readers.drain()
	var err error
	for range unmountTries {
		if err = m.detach(); err == nil {
			return m.ended()
		}
		if !errors.Is(err, unix.EBUSY) {
			break
		}
		select {
		case <-m.done: // unmounted by somebody else
			return nil
		case <-time.After(unmountPause):
		}
	}
	m.tree.readers.begin()
	if errors.Is(err, unix.EBUSY) {
		return fmt.Errorf("unmount %s: a program or a loop device still uses it; close that and try again: %w", m.dir, err)
	}
	return fmt.Errorf("unmount %s: %w", m.dir, err)
}

// ended waits until no request is served any more, behind an unmount.
func (m *Mounted) ended() error {
	late := time.NewTimer(unmountEnd)
	defer late.Stop()
	select {
	case <-m.done:
		return nil
	case <-late.C:
		return fmt.Errorf("unmount %s: %w: %w", m.dir, ErrElsewhere, unix.EBUSY)
	}
}

// detach unmounts once.
func (m *Mounted) detach() error {
	select {
	case <-m.done:
		return nil
	default:
	}
	if os.Geteuid() == 0 {
		err := unix.Unmount(m.dir, unix.UMOUNT_NOFOLLOW)
		if errors.Is(err, unix.EINVAL) { // no mount there: somebody else was faster
			return nil
		}
		return err
	}
	err := m.server.Unmount()
	if err != nil && strings.Contains(err.Error(), "busy") { // fusermount says it in words only
		return fmt.Errorf("%w (%w)", unix.EBUSY, err)
	}
	return err
}

// keepFromChildren closes the connection to the kernel in programs that this process starts. Were it left open there, the mount would
// outlive the daemon and hang instead of failing.
func keepFromChildren() {
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return
	}
	for _, e := range fds {
		var fd int
		if to, err := os.Readlink("/proc/self/fd/" + e.Name()); err != nil || to != "/dev/fuse" {
			continue
		}
		if _, err := fmt.Sscanf(e.Name(), "%d", &fd); err == nil {
			unix.CloseOnExec(fd)
		}
	}
}
