package replica

import (
	"context"
	"time"

	"pairfs/journal"
)

// ioGate bounds waits for ring room: it is cancelled when the store fails, so that no host hangs behind a store that cannot take bytes.
type ioGate struct {
	ctx    context.Context
	cancel context.CancelFunc
}

func (g *group) openGate() {
	gate := &ioGate{}
	gate.ctx, gate.cancel = context.WithCancel(g.ctx)
	g.io.Store(gate)
}

// awaitRoom waits, with no lock held, until a write that asked for another attempt has a chance.
func (g *group) awaitRoom(ctx context.Context) error {
	if f := g.fence.Load(); f != nil {
		return f.wait(ctx)
	}
	if e := g.storeErr.Load(); e != nil {
		return *e
	}
	g.waited.Add(1)
	g.mu.Lock()
	failed := g.failed != ""
	g.mu.Unlock()
	g.kickRestore()
	g.kickCheckpoint()
	if failed || g.journal.Err() != nil {
		// journalFailed turns the volumes to direct mode; the next attempt waits for the mode lock that it holds meanwhile.
		return pause(ctx, 5*time.Millisecond)
	}
	if g.overlayRegions() > overlayRegionsMax {
		return pause(ctx, 2*time.Millisecond)
	}
	wait, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
	defer cancel()
	if err := g.journal.WaitRoom(wait, journal.MaxPayload); err != nil && ctx.Err() == nil {
		kick(g.blockedReq)
	}
	return ctx.Err()
}

func (g *group) overlayRegions() int64 {
	var n int64
	for _, a := range g.attachments() {
		n += int64(a.overlay.regions())
	}
	return n
}

// pause waits for a time or the context.
func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func kick(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

func (g *group) kickRestore() { kick(g.restoreReq) }

func (g *group) kickCheckpoint() { kick(g.checkReq) }
