package wan

import (
	"math/rand/v2"
	"sync/atomic"
	"time"
)

// Line says what one direction of a link does to packets.
type Line struct {
	Rate   int64         // bytes a second; 0 for any
	Queue  int64         // bytes that may wait for the rate; a packet that finds more is dropped. 0 for a tenth of a second of the rate
	Delay  time.Duration // from the end of the queue to the other side
	Jitter time.Duration // added to it, at random up to so much
	Loss   float64       // probability with which a packet is lost
}

// course is the state of a line. Its methods are for one goroutine.
type course struct {
	Line
	rng  *rand.Rand
	free time.Time // when the packets that were let in before are all on their way
	last time.Time // when the last one arrives

	lost, dropped, passed atomic.Uint64
}

func newCourse(l Line, seed uint64) *course {
	if l.Queue == 0 {
		l.Queue = l.Rate / 10
	}
	return &course{Line: l, rng: rand.New(rand.NewPCG(seed, 0x77616e))}
}

// admit decides about a packet of size bytes that comes now: when it arrives, or that it never does.
func (c *course) admit(now time.Time, size int) (arrives time.Time, ok bool) {
	if c.free.Before(now) {
		c.free = now
	}
	if c.Rate > 0 {
		if waiting := c.free.Sub(now).Seconds() * float64(c.Rate); int64(waiting)+int64(size) > max(c.Queue, int64(size)) {
			c.dropped.Add(1)
			return time.Time{}, false
		}
		c.free = c.free.Add(time.Duration(float64(size) / float64(c.Rate) * float64(time.Second)))
	}
	if c.Loss > 0 && c.rng.Float64() < c.Loss {
		c.lost.Add(1)
		return time.Time{}, false
	}
	arrives = c.free.Add(c.Delay)
	if c.Jitter > 0 {
		arrives = arrives.Add(time.Duration(c.rng.Int64N(int64(c.Jitter))))
	}
	if arrives.Before(c.last) {
		arrives = c.last
	}
	c.last = arrives
	c.passed.Add(1)
	return arrives, true
}
