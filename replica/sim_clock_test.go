package replica

import (
	"fmt"
	"math/rand/v2"
	"time"

	"pairfs/journal"
)

// setClock sets the wall clock of a site, forth or back, by some milliseconds or by years.
func (w *world) setClock(site *simSite, rng *rand.Rand) {
	span := []time.Duration{time.Second, time.Minute, 24 * time.Hour, 20 * 365 * 24 * time.Hour}[rng.IntN(4)]
	by := time.Duration(rng.Int64N(int64(span)))
	if rng.IntN(2) == 0 {
		by = -by
	}
	w.note("the clock of %s is set by %v to %v", site.cfg.Name, by, site.wall().Add(by))
	site.clock.Add(int64(by))
}

// wall is the wall clock of the site.
func (s *simSite) wall() time.Time {
	return time.Now().Round(0).Add(time.Duration(s.clock.Load()))
}

// simLagSlack is how far the lag may be off beside a share of it: two ticks of what looks at the numbers.
const simLagSlack = 2 * pressureIdle

// ageSeen is what the checks saw of the numbers of a group's primary: at two moments seq was the last that had been given.
type ageSeen struct {
	site     *Site
	seq      journal.Seq
	from, to time.Time
}

// lagIs checks the lag that the primary of a group shows against when the checks saw which numbers, whatever the wall clock says. Numbers
// from before the daemon started may be of any age.
func (g *simGroup) lagIs(home *group) error {
	now, last := time.Now(), home.journal.Marks().LastSeq
	if n := len(g.ages); n > 0 && (g.ages[n-1].site != home.site || g.ages[n-1].seq > last) {
		g.ages = nil
	}
	if n := len(g.ages); n > 0 && g.ages[n-1].seq == last {
		g.ages[n-1].to = now
	} else {
		g.ages = append(g.ages, ageSeen{home.site, last, now, now})
	}
	l := home.lags()
	home.mu.Lock()
	held, active, role := home.heldByPeer(), home.active(), home.role
	home.mu.Unlock()
	if role != Primary {
		return nil // the roles are being exchanged, and who looks still takes it for the home
	}
	if !active || l.seq == 0 {
		if l.time != 0 {
			return fmt.Errorf("a lag of %v, and nothing is outstanding", l.time)
		}
		return nil
	}
	g.home.world.met("lags")
	least, most := time.Duration(0), time.Duration(-1)
	for _, a := range g.ages {
		if a.seq > held {
			least = now.Sub(a.from)
			break
		}
		most = now.Sub(a.to)
	}
	if slack := simLagSlack + least/8; l.time < least-slack {
		return fmt.Errorf("a lag of %v, and number %d was given %v ago at least", l.time, held+1, least)
	}
	if slack := simLagSlack + most/8; most >= 0 && l.time > most+slack {
		return fmt.Errorf("a lag of %v, and number %d was given %v ago at most", l.time, held+1, most)
	}
	return nil
}
