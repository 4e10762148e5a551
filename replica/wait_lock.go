package replica

import (
	"sync"
	"sync/atomic"
)

// waitLock is a [sync.RWMutex] for what is held while its holder waits for something else: the peer's answer, room in a journal. Who waits
// for it waits on a channel and not in a mutex, so that a synctest bubble sees it as waiting and lets its time go on to what the holder
// waits for. Free, it costs an atomic load more than a mutex. Who wants it alone comes before those that come later: one that takes it again and
// again, as restore passes do behind a fast host, would else keep it for ever. The zero value is free.
type waitLock struct {
	rw     sync.RWMutex  // taken by its Try methods only
	wanted atomic.Int32  // those who want it alone, or have it
	line   atomic.Uint64 // how many have come to wait for it alone
	turn   atomic.Uint64 // how many of them have got it
	mu     sync.Mutex
	bell   chan struct{} // guarded by mu; nil while nobody waits
}

// Lock takes the lock alone.
func (l *waitLock) Lock() {
	l.wanted.Add(1)
	place := l.line.Add(1)
	l.await(func() bool {
		if l.turn.Load() != place-1 || !l.rw.TryLock() {
			return false
		}
		l.turn.Store(place)
		return true
	})
}

// TryLock takes the lock alone if it is free and nobody waits for it.
func (l *waitLock) TryLock() bool {
	if l.wanted.Add(1) == 1 && l.rw.TryLock() {
		return true
	}
	l.wanted.Add(-1)
	l.ring() // readers stood back
	return false
}

// Unlock gives back what Lock took.
func (l *waitLock) Unlock() {
	l.rw.Unlock()
	l.wanted.Add(-1)
	l.ring()
}

// RLock shares the lock with others that do.
func (l *waitLock) RLock() {
	if !l.tryShare() {
		l.await(l.tryShare)
	}
}

func (l *waitLock) tryShare() bool { return l.wanted.Load() == 0 && l.rw.TryRLock() }

// RUnlock gives back what RLock took.
func (l *waitLock) RUnlock() {
	l.rw.RUnlock()
	if l.wanted.Load() > 0 {
		l.ring()
	}
}

// await tries again at each ring. The channel is taken before the attempt, so no ring is missed.
func (l *waitLock) await(try func() bool) {
	for {
		l.mu.Lock()
		if l.bell == nil {
			l.bell = make(chan struct{})
		}
		c := l.bell
		l.mu.Unlock()
		if try() {
			return
		}
		<-c
	}
}

func (l *waitLock) ring() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.bell != nil {
		close(l.bell)
		l.bell = nil
	}
}
