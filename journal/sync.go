package journal

import (
	"context"
	"fmt"
)

// waiter is a Sync that waits for another's flush.
type waiter struct {
	target Position
	done   chan error // room for one
}

// newWaiter takes a waiter from the journal's pool. A pool of all journals would hand channels of one test's virtual time to another's.
func (j *Journal) newWaiter() *waiter {
	if w, ok := j.waiterPool.Get().(*waiter); ok {
		return w
	}
	return &waiter{done: make(chan error, 1)}
}

// Sync makes all records before upTo durable, which must be the End of a published reservation or a mark. It returns at once if they
// are. Callers at the same time share one flush. Errors: ErrFailed, ErrInvalid for a position beyond the tail, or the cause of ctx (the
// flush goes on then). A caller that finds no flush running does it itself and does not look at ctx meanwhile.
func (j *Journal) Sync(ctx context.Context, upTo Position) error {
	if Position(j.durable.Load()) >= upTo {
		return nil
	}
	if tail := Position(j.tail.Load()); upTo > tail {
		return fmt.Errorf("%w: sync up to %d, the journal ends at %d", ErrInvalid, upTo, tail)
	}
	if j.flushMu.TryLock() {
		return j.lead()
	}
	w := j.newWaiter()
	w.target = upTo
	j.waitMu.Lock()
	j.waiters = append(j.waiters, w)
	j.waitMu.Unlock()
	// The flush may have ended in between without seeing w; then nobody else would come for it.
	if j.flushMu.TryLock() {
		j.forget(w)
		return j.lead()
	}
	select {
	case err := <-w.done:
		j.waiterPool.Put(w)
		return err
	case <-ctx.Done():
		j.forget(w)
		return fmt.Errorf("wait for a flush: %w", context.Cause(ctx))
	}
}

// forget takes w out of the list, or takes the answer it got already.
func (j *Journal) forget(w *waiter) {
	j.waitMu.Lock()
	found := false
	for i, x := range j.waiters {
		if x == w {
			last := len(j.waiters) - 1
			j.waiters[i], j.waiters[last] = j.waiters[last], nil
			j.waiters = j.waiters[:last]
			found = true
			break
		}
	}
	j.waitMu.Unlock()
	if !found {
		<-w.done
	}
	j.waiterPool.Put(w)
}

// settle answers all waiters that are covered, or all if the journal has failed, and reports whether some remain.
func (j *Journal) settle() (remain bool) {
	j.waitMu.Lock()
	defer j.waitMu.Unlock()
	durable, err := Position(j.durable.Load()), j.Err()
	keep := j.waiters[:0]
	for _, w := range j.waiters {
		switch {
		case w.target <= durable:
			w.done <- nil
		case err != nil:
			w.done <- err
		default:
			keep = append(keep, w)
		}
	}
	clear(j.waiters[len(keep):])
	j.waiters = keep
	return len(keep) > 0
}

// WaitDurable waits until the durable mark is beyond the given one and returns it. Errors: the cause of ctx, ErrFailed, ErrClosed.
func (j *Journal) WaitDurable(ctx context.Context, beyond Position) (Position, error) {
	var p Position
	err := j.newly.await(ctx, func() (bool, error) {
		if p = Position(j.durable.Load()); p > beyond {
			return true, nil
		}
		if err := j.Err(); err != nil {
			return false, err
		}
		if err := j.usable(); err != nil {
			return false, err
		}
		j.life.RUnlock()
		return false, nil
	})
	return p, err
}

// wakeCall is whom the flush wakes that makes the journal durable up to a position.
type wakeCall struct {
	at Position
	ch chan<- struct{}
}

// WakeAt lets the flush that makes the journal durable up to at or beyond send to ch, once and without waiting for it; at once if it is durable
// already. It replaces what an earlier call asked for.
func (j *Journal) WakeAt(at Position, ch chan<- struct{}) {
	j.waker.Store(&wakeCall{at, ch})
	j.wakeDurable()
}

// wakeDurable makes the call that is due. The mark moves first and is looked at behind the call that is set, so one of both sees the other.
func (j *Journal) wakeDurable() {
	w := j.waker.Load()
	if w == nil || Position(j.durable.Load()) < w.at || !j.waker.CompareAndSwap(w, nil) {
		return
	}
	select {
	case w.ch <- struct{}{}:
	default:
	}
}
