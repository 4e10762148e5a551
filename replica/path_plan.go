package replica

import (
	"time"

	"pairfs/quicwire"
)

// pathPlan finds by trial how many paths carry most: as long as the link is what holds the sender up it doubles their number, and goes back where
// that brought little. It is pure: it knows no clock and no link.
type pathPlan struct {
	now   int           // how many are wanted
	good  int           // how many are known to be worth it
	rate  float64       // what these carry, bytes a second
	known int           // how many were worth it in a session before; they are tried at once
	next  time.Time     // nothing more is tried until then
	pause time.Duration // how long nothing will be tried when the next trial is in vain
}

// pathSample is what was seen while the number of paths was the same.
type pathSample struct {
	at   time.Time
	rtt  time.Duration // the least that was seen
	rate float64       // bytes a second
	busy float64       // part of the time in which the link held the sender up
}

func newPathPlan(known int) pathPlan {
	return pathPlan{now: 1, good: 1, known: known, pause: pathPauseMin}
}

// look takes a sample, and returns how many paths are wanted from now on.
func (p *pathPlan) look(s pathSample) int {
	switch {
	case s.rtt < pathRTT:
		p.now, p.good = 1, 1 // a processor or a disk is what holds up, and paths cost time of the first
	case s.busy < pathBusy:
		// Hosts or a line speed decide: this says nothing of the link.
	case p.now == p.good:
		p.rate = s.rate
		if !s.at.Before(p.next) {
			p.now = min(max(2*p.now, p.known), quicwire.MaxPaths)
			p.known = 0
		}
	case s.rate >= pathGain*p.rate:
		p.good, p.rate, p.pause = p.now, s.rate, pathPauseMin
		p.now = min(2*p.now, quicwire.MaxPaths)
	default:
		p.now = p.good
		p.rest(s.at)
	}
	return p.now
}

// worth is how many paths the next session is to begin its trials with.
func (p *pathPlan) worth() int { return max(p.good, p.known) }

// fewer says that no more than so many came about.
func (p *pathPlan) fewer(n int, at time.Time) int {
	p.now = max(n, 1)
	p.good = min(p.good, p.now)
	p.rest(at)
	return p.now
}

// rest lets nothing be tried for a while, each time longer.
func (p *pathPlan) rest(at time.Time) {
	p.next = at.Add(p.pause)
	p.pause = min(2*p.pause, pathPauseMax)
}
