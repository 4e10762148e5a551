package replica

import (
	"time"

	"pairfs/journal"
)

// wall is the wall clock of the site: what people read, what is stored, and what records carry. Somebody may set it at any moment, forth and
// back, so no duration is the difference of two of its times; durations come from [time.Now], which the clock of the machine's run is a part
// of. A time that was stored has lost that part.
func (s *Site) wall() time.Time {
	if s.cfg.wallClock != nil {
		return s.cfg.wallClock()
	}
	return time.Now().Round(0)
}

// agesMax bounds the moments that [ages] remembers. When they are that many every second one is forgotten, and new ones are taken half as often.
const agesMax = 64

// ages remembers when a group's sequence number was where, by the clock of the machine's run, so that a wall clock that was set cannot show a
// lag that there is not, or hide one. It is exact to a tick of pressureLoop, and for a long lag to some hundredths of it.
type ages struct {
	marks []ageMark // in order; numbers up to the first are held by the peer
	every time.Duration
}

// ageMark says that seq was the last number that had been given, at two moments.
type ageMark struct {
	seq      journal.Seq
	from, to time.Time
}

// look takes note of the last number that was given; of numbers up to held nobody will ask any more. Numbers from before the first look may
// be of any age.
func (a *ages) look(last, held journal.Seq, now time.Time) {
	first := 0
	for first+1 < len(a.marks) && a.marks[first+1].seq <= held {
		first++
	}
	a.marks = append(a.marks[:0], a.marks[first:]...)
	n := len(a.marks)
	if n < agesMax/4 {
		a.every /= 2
	}
	switch {
	case n > 0 && a.marks[n-1].seq == last:
		a.marks[n-1].to = now
		return
	case n > 0 && now.Sub(a.marks[n-1].to) < a.every:
		return
	case n == agesMax:
		a.every = max(2*a.every, now.Sub(a.marks[0].to)/(agesMax/2))
		for i := 1; i < n/2; i++ {
			a.marks[i] = a.marks[2*i]
		}
		a.marks = a.marks[:n/2]
	}
	a.marks = append(a.marks, ageMark{last, now, now})
}

func (g *group) lookAtAges(last journal.Seq, now time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.ages.look(last, g.peerDurable, now) // a keep-alive record that counts as held does so while nothing follows it
}

// bound brings what the wall clock says of the age of the number seq to what is known of it.
func (a *ages) bound(seq journal.Seq, age time.Duration, now time.Time) time.Duration {
	for i := len(a.marks) - 1; i >= 0; i-- {
		if m := a.marks[i]; m.seq < seq {
			age = min(age, now.Sub(m.to)) // it was given behind that
			break
		}
	}
	for _, m := range a.marks {
		if m.seq >= seq {
			return max(age, now.Sub(m.from)) // it had been given by then
		}
	}
	return max(age, 0)
}
