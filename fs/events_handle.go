package fs

import (
	"context"
	"errors"
	"sync"
	"syscall"

	gofs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// eventReaders knows the open handles of the events file, so that their number is bounded and an unmount can end the reads that wait.
type eventReaders struct {
	mu    sync.Mutex
	count int
	life  context.Context // ends: reads that would wait see the end of the file
	end   context.CancelFunc
}

// enter counts one more handle, false if there are too many.
func (r *eventReaders) enter() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.count >= maxEventReaders {
		return false
	}
	r.count++
	return true
}

func (r *eventReaders) leave() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.count--
}

// waiting returns the context that ends when waiting reads shall end.
func (r *eventReaders) waiting() context.Context {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.life
}

// begin lets reads wait.
func (r *eventReaders) begin() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.life, r.end = context.WithCancel(context.Background())
}

// drain ends the reads that wait, and lets none wait until begin.
func (r *eventReaders) drain() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.end()
}

// eventsHandle is one open file of .ctl/events: a stream of lines that begins with the recent ones.
type eventsHandle struct {
	tree     *tree
	reader   eventReader
	nonblock bool

	turn chan struct{} // holds one token: the read that may use what follows
	rest string        // of a line that did not fit
}

// openEvents opens the events file.
func (n *ctlNode) openEvents(flags uint32) (gofs.FileHandle, syscall.Errno) {
	if !n.readers.enter() {
		n.log.Warn("too many readers of events", "max", maxEventReaders)
		return nil, unix.EBUSY
	}
	h := &eventsHandle{tree: n.tree, reader: n.site.Subscribe(0), nonblock: flags&unix.O_NONBLOCK != 0, turn: make(chan struct{}, 1)}
	h.turn <- struct{}{}
	return h, 0
}

// Release ends the reader.
func (h *eventsHandle) Release(context.Context) syscall.Errno {
	h.reader.Close()
	h.tree.readers.leave()
	return 0
}

// Read returns the next event, or what is left of it. It waits for one unless the file was opened with O_NONBLOCK; a signal ends the
// wait, and the end of the mount is the end of the file.
func (h *eventsHandle) Read(ctx context.Context, dest []byte, _ int64) (fuse.ReadResult, syscall.Errno) {
	select {
	case <-h.turn:
		defer func() { h.turn <- struct{}{} }()
	case <-ctx.Done():
		return nil, unix.EINTR
	}
	if h.rest == "" {
		if errno := h.next(ctx); errno != 0 {
			return nil, errno
		}
	}
	n := copy(dest, h.rest)
	h.rest = h.rest[n:]
	return fuse.ReadResultData(dest[:n]), 0
}

// next puts the next line into rest, which stays empty at the end of the mount.
func (h *eventsHandle) next(caller context.Context) syscall.Errno {
	ctx, cancel := context.WithCancel(caller)
	defer cancel()
	life := h.tree.readers.waiting()
	defer context.AfterFunc(life, cancel)()
	if h.nonblock {
		cancel() // the reader gives what is there even then
	}
	e, err := h.reader.Next(ctx)
	switch {
	case err == nil:
		h.rest = formatEvent(&e)
		return 0
	case !errors.Is(err, context.Canceled), life.Err() != nil:
		return 0 // the site is closed, or the mount is about to be
	case h.nonblock:
		return unix.EAGAIN
	}
	return unix.EINTR
}

// Write refuses: events are only read.
func (h *eventsHandle) Write(context.Context, []byte, int64) (uint32, syscall.Errno) {
	return 0, unix.EINVAL
}

// Fsync has nothing to do.
func (h *eventsHandle) Fsync(context.Context, uint32) syscall.Errno { return 0 }
