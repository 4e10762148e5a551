package fs

import (
	"log/slog"
	"sync"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// notifier tells the kernel which bytes of open S-VOLs were restored, so that a program that maps one sees them. It does so from its own
// goroutine: the kernel may wait for a page that is just being read from us. What comes faster than it is told is merged to one range
// per volume.
type notifier struct {
	server inodeNotifier
	log    *slog.Logger
	open   *openVolumes

	wake chan struct{} // has room for one signal: ranges is not empty

	mu     sync.Mutex
	ranges map[uint64]byteRange // by inode number; only of open volumes
}

// inodeNotifier is the part of [fuse.Server] that notifier needs.
type inodeNotifier interface {
	InodeNotify(node uint64, off, length int64) fuse.Status
}

// byteRange is [from, to).
type byteRange struct{ from, to int64 }

func newNotifier(server inodeNotifier, log *slog.Logger, open *openVolumes) *notifier {
	return &notifier{server: server, log: log, open: open, wake: make(chan struct{}, 1), ranges: map[uint64]byteRange{}}
}

// add notes that n bytes at off of a volume have changed. It does not wait.
func (n *notifier) add(id uint64, off, size int64) {
	if size <= 0 || n.open.get(id) == nil {
		return
	}
	n.mu.Lock()
	r, ok := n.ranges[id]
	if !ok {
		r = byteRange{off, off + size}
	}
	n.ranges[id] = byteRange{min(r.from, off), max(r.to, off+size)}
	n.mu.Unlock()
	select {
	case n.wake <- struct{}{}:
	default:
	}
}

// take returns the ranges noted so far and forgets them.
func (n *notifier) take() map[uint64]byteRange {
	n.mu.Lock()
	defer n.mu.Unlock()
	all := n.ranges
	n.ranges = make(map[uint64]byteRange, len(all))
	return all
}

// run tells the kernel until stop is closed.
func (n *notifier) run(stop <-chan struct{}) {
	pace := time.NewTimer(0)
	defer pace.Stop()
	for {
		select {
		case <-n.wake:
		case <-stop:
			return
		}
		for id, r := range n.take() {
			// ENOENT: the kernel does not know the inode, so it has no page of it either.
			if st := n.server.InodeNotify(id, r.from, r.to-r.from); !st.Ok() && st != fuse.ENOENT && st != fuse.Status(unix.ENOTCONN) {
				n.log.Warn("the kernel did not take the notice of restored bytes; programs that map the S-VOL may see old ones",
					"inode", id, "offset", r.from, "bytes", r.to-r.from, "error", st)
			}
		}
		pace.Reset(invalidatePace)
		select {
		case <-pace.C:
		case <-stop:
			return
		}
	}
}
