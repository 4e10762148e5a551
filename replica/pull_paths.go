package replica

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"

	"pairfs/quicwire"
)

// The further paths of a mirror, on the secondary. It opens as many as the primary asks for, as far as it has memory for what comes before its turn.
//
// Who reads a path never stores: a batch is remembered until it has its turn, and a goroutine of its own, the one that stores, takes those. So what
// waits for room in this group's journal is in memory that is counted, and not in the window of a connection that other groups have paths on too.

// pullPaths are the further paths of a pull session. Guarded by mu, but for wg.
type pullPaths struct {
	mu      sync.Mutex
	running int // goroutines that open or read one
	streams []*quicwire.MirrorStream
	gone    uint64 // bytes received over those that are over
	memory  int64  // share of the site's, 0 before the first path is opened
	wg      sync.WaitGroup
}

// openPath opens a path that the primary asks for, if it can.
func (p *pullSession) openPath(m *quicwire.MirrorPath) error {
	w := &p.paths
	if p.knows&quicwire.FeaturePaths == 0 || m.Session != p.id {
		return fmt.Errorf("group %s: the primary asks for a path of another session", p.g.name)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.running >= quicwire.MaxPaths {
		return nil // those that it has let go have not ended here yet; it asks again
	}
	if w.memory == 0 {
		if w.memory = p.g.site.paths.take(); w.memory == 0 {
			p.g.site.log.Debug("no path: the memory for paths is in use", "group", p.g.name)
			return nil // the primary goes on with what it has
		}
		p.widen(w.memory)
		w.wg.Go(p.storeEarly)
	}
	w.running++
	w.wg.Go(func() { p.runPath(m) })
	return nil
}

// widen lets the primary send so many bytes more ahead of what is stored, and remembers batches for another goroutine to store.
func (p *pullSession) widen(n int64) {
	p.gateMu.Lock()
	p.storer = true
	p.gateMu.Unlock()
	p.mu.Lock()
	p.window += n
	p.mu.Unlock()
	kick(p.wake)
}

// runPath opens a path and reads it to its end. One over which nothing came breaks nothing and is opened once more: the primary may just have closed
// its connection, which nobody used. If it had taken the path it would end the session itself.
func (p *pullSession) runPath(m *quicwire.MirrorPath) {
	defer func() {
		p.paths.mu.Lock()
		p.paths.running--
		p.paths.mu.Unlock()
	}()
	for range 2 {
		came, err := p.onePath(m)
		switch {
		case err == nil:
			return
		case came:
			p.fail(err)
			return
		}
		p.g.site.log.Debug("a path did not come about", "group", p.g.name, "reason", err)
	}
}

// onePath opens a path and reads it to its end, and reports whether anything came over it.
func (p *pullSession) onePath(m *quicwire.MirrorPath) (came bool, err error) {
	w := &p.paths
	ctx, cancel := context.WithTimeout(p.ctx, pathWait)
	stream, err := p.stream.OpenPath(ctx, m)
	cancel()
	if err != nil {
		return false, err
	}
	defer stream.Close()
	w.mu.Lock()
	w.streams = append(w.streams, stream)
	w.mu.Unlock()
	err = p.readPath(stream)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.streams = slices.DeleteFunc(w.streams, func(s *quicwire.MirrorStream) bool { return s == stream })
	w.gone += stream.Received()
	return stream.Received() > 0, err
}

// readPath remembers the batches that come over a path. One that the primary let go ends without an error.
func (p *pullSession) readPath(stream *quicwire.MirrorStream) error {
	for {
		f, err := stream.Recv(p.ctx)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("group %s: a path broke: %w", p.g.name, err)
		}
		p.g.mu.Lock()
		p.g.worded()
		p.g.mu.Unlock()
		b := f.(*quicwire.Batch) // nothing else goes over a path
		p.gateMu.Lock()
		err = p.hold(b)
		p.gateMu.Unlock()
		if err != nil {
			return err
		}
		kick(p.due)
	}
}

// storeEarly stores what was remembered when its turn has come.
func (p *pullSession) storeEarly() {
	for {
		if err := p.passEarly(); err != nil {
			p.fail(err)
			return
		}
		select {
		case <-p.due:
		case <-p.ctx.Done():
			return
		}
	}
}

// fail ends the session with the reason why, unless it has ended.
func (p *pullSession) fail(err error) {
	if p.ctx.Err() == nil {
		p.failed.CompareAndSwap(nil, &err)
		p.cancel()
	}
}

// endPaths waits for the paths, whose session has ended, and gives their memory back.
func (p *pullSession) endPaths() {
	p.paths.wg.Wait()
	p.paths.mu.Lock()
	defer p.paths.mu.Unlock()
	p.g.site.paths.give(p.paths.memory)
	p.paths.memory = 0
}

// owed reports whether the primary owes a word: this side waits for it and not for its own journal. moved is what has come, of frames that are
// not whole yet too.
func (p *pullSession) owed() (owed bool, moved uint64) {
	p.gateMu.Lock()
	storing := p.passing != 0
	p.gateMu.Unlock()
	p.paths.mu.Lock()
	defer p.paths.mu.Unlock()
	moved = p.stream.Received() + p.paths.gone
	for _, s := range p.paths.streams {
		moved += s.Received()
	}
	return p.waits.Load() && !storing, moved
}
