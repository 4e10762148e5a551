package replica

import "sync"

// copySlots lets some of a site's pairs be copied at a time (the reference's maximum initial copy activities): the others wait, and
// those of the best priority come first. It may be called with the mu of a group held: it calls nothing back. All methods may be called
// concurrently.
type copySlots struct {
	mu      sync.Mutex
	most    int
	running map[*pair]bool
	waiting map[*pair]copyWaiter
}

type copyWaiter struct {
	priority int
	wake     chan struct{} // of the session that waits
}

func newCopySlots() *copySlots {
	return &copySlots{running: map[*pair]bool{}, waiting: map[*pair]copyWaiter{}}
}

// limit sets how many pairs may be copied at a time; who runs already goes on.
func (c *copySlots) limit(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.most = n
	c.wake()
}

// take reports whether the pair may be copied now. One that may not is remembered, and wake is kicked when that may have changed.
func (c *copySlots) take(p *pair, priority int, wake chan struct{}) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.running[p] {
		return true
	}
	better := 0
	for q, w := range c.waiting {
		if q != p && (w.priority < priority || w.priority == priority && q.name < p.name) {
			better++
		}
	}
	if len(c.running)+better >= c.most {
		c.waiting[p] = copyWaiter{priority, wake}
		return false
	}
	delete(c.waiting, p)
	c.running[p] = true
	return true
}

// rank gives a pair that may wait another priority: who waits behind it, or it itself, may be next now.
func (c *copySlots) rank(p *pair, priority int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if w, ok := c.waiting[p]; ok {
		c.waiting[p] = copyWaiter{priority, w.wake}
		c.wake()
	}
}

// drop gives back what take gave, or ends the waiting.
func (c *copySlots) drop(p *pair) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.running, p)
	delete(c.waiting, p)
	c.wake()
}

func (c *copySlots) wake() {
	for _, w := range c.waiting {
		kick(w.wake)
	}
}
