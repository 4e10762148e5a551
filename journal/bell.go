package journal

import (
	"context"
	"sync"
)

// bell wakes everybody who waits for a mark to move. Take the channel first, look at the mark then, and wait last: no move is missed.
type bell struct {
	mu sync.Mutex
	ch chan struct{} // nil while nobody waits
}

// wait gives a channel that is closed by the next ring.
func (b *bell) wait() <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ch == nil {
		b.ch = make(chan struct{})
	}
	return b.ch
}

// ring wakes all who wait.
func (b *bell) ring() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ch != nil {
		close(b.ch)
		b.ch = nil
	}
}

// await waits until done gives true or an error, looking again at each ring.
func (b *bell) await(ctx context.Context, done func() (bool, error)) error {
	for {
		ch := b.wait()
		if ok, err := done(); ok || err != nil {
			return err
		}
		select {
		case <-ch:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}
