package replica

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"
)

// pacer lets bytes pass at a rate that may change at any time: host writes under inflow control, and what a mirror sends over a line with
// a speed. Who comes first goes first. All methods may be called concurrently.
type pacer struct {
	on   atomic.Bool
	held atomic.Bool // nothing passes until a rate is set
	lim  *rate.Limiter
	turn chan struct{} // held by the one who waits for the rate; the others wait for it

	mu      sync.Mutex
	changed chan struct{} // closed and replaced when the rate changes
}

// newPacer lets everything pass until a rate is set. A burst of one request lets the largest of them pass at any rate.
func newPacer(burst int) *pacer {
	return &pacer{lim: rate.NewLimiter(rate.Inf, burst), turn: make(chan struct{}, 1), changed: make(chan struct{})}
}

// set changes the rate, in bytes per second; 0 means no limit. Who waits goes on at the new rate at once.
func (p *pacer) set(bytes float64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.held.Store(false)
	if bytes <= 0 {
		p.on.Store(false)
		p.lim.SetLimit(rate.Inf)
	} else {
		p.lim.SetLimit(rate.Limit(bytes))
		p.on.Store(true)
	}
	close(p.changed)
	p.changed = make(chan struct{})
}

// hold lets nothing pass until the rate is set the next time. It takes no lock.
func (p *pacer) hold() {
	p.held.Store(true)
	p.on.Store(true)
}

// busy reports whether somebody waits for the rate.
func (p *pacer) busy() bool { return len(p.turn) > 0 }

// wait returns when n bytes may pass, or with the error of ctx. Without a rate it costs one load.
func (p *pacer) wait(ctx context.Context, n int) error {
	if !p.on.Load() {
		return nil
	}
	select {
	case p.turn <- struct{}{}:
		defer func() { <-p.turn }()
	case <-ctx.Done():
		return ctx.Err()
	}
	for {
		p.mu.Lock()
		changed := p.changed
		p.mu.Unlock()
		if p.held.Load() {
			select {
			case <-changed:
				continue
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		r := p.lim.ReserveN(time.Now(), min(n, p.lim.Burst()))
		d := r.Delay()
		if d == 0 {
			return nil
		}
		r.Cancel()
		t := time.NewTimer(d)
		select {
		case <-t.C:
		case <-changed:
			t.Stop()
		case <-ctx.Done():
			t.Stop()
			return ctx.Err()
		}
	}
}
