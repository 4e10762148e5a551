package replica

import (
	"context"
	"errors"
	"time"

	"pairfs/journal"
)

// fence holds the host writes of a primary while the roles of its group are about to be exchanged: they wait, and go on here, or are refused
// once the other side is the primary. It lives in memory alone: a primary that is started anew writes on, and knows no exchange.
type fence struct {
	token uint64
	seq   journal.Seq // the last number that was given
	timer *time.Timer // lets hosts go on if nothing comes of it
	done  chan struct{}
	taken bool // the exchange is being carried out; guarded by group.mu
}

// wait returns when the fence is gone.
func (f *fence) wait(ctx context.Context) error {
	select {
	case <-f.done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// holdWrites holds host writes for at most d, and journals a record behind the last of them, which it makes durable. cmd is held.
func (g *group) holdWrites(ctx context.Context, token uint64, d time.Duration) (*fence, error) {
	g.letWritesGo(0)
	f := &fence{token: token, done: make(chan struct{})}
	g.mu.Lock()
	g.fence.Store(f) // before the volumes are closed: who finds one closed waits here
	for _, p := range g.pairs {
		p.att.writable.Store(false)
	}
	f.timer = time.AfterFunc(min(d, fenceMax), func() { g.letWritesGo(token) })
	g.mu.Unlock()
	for _, a := range g.attachments() {
		a.vol.barrier() // who did not see it has published
	}
	r, err := g.appendWithRoom(ctx, f)
	if err == nil {
		err = g.journal.Sync(ctx, r.End)
	}
	if err != nil {
		g.letWritesGo(token)
		return nil, err
	}
	f.seq = r.Seq
	return f, nil
}

// appendWithRoom journals a record; a full journal is waited for, for hosts do not fill it any more.
func (g *group) appendWithRoom(ctx context.Context, f *fence) (journal.Reservation, error) {
	for {
		r, err := g.appendControl(ctx, controlAlive, nil, 0, nil)
		if !errors.Is(err, journal.ErrFull) || g.fence.Load() != f {
			return r, err
		}
		g.kickRestore()
		if err := g.awaitFreed(ctx); err != nil {
			return r, err
		}
	}
}

// letWritesGo lets hosts go on if the fence has that token; 0 stands for any. An exchange that is being carried out ends it by itself.
func (g *group) letWritesGo(token uint64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if f := g.fence.Load(); f != nil && !f.taken && (token == 0 || f.token == token) {
		g.dropFence(f)
	}
}

// takeFence returns the fence with that token, which from now on is the caller's to drop, or nil if there is none any more.
func (g *group) takeFence(token uint64) *fence {
	g.mu.Lock()
	defer g.mu.Unlock()
	f := g.fence.Load()
	if f == nil || f.token != token || f.taken {
		return nil
	}
	f.taken = true
	return f
}

// dropFence ends a fence: hosts find the volumes as the states of the pairs say. Requires mu.
func (g *group) dropFence(f *fence) {
	f.timer.Stop()
	for _, p := range g.pairs {
		p.att.writable.Store(p.rec.State.mayWrite()) // before the fence goes: see Volume.mayWrite
	}
	g.fence.Store(nil)
	close(f.done)
}
