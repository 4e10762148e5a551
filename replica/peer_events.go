package replica

import (
	"fmt"
	"log/slog"

	"golang.org/x/time/rate"
)

// Some events a peer brings about as often as it likes: requests that are refused, connections and mirrors that come and go, batches that are damaged. One that
// is broken, or hostile, must not push out what else is remembered of the site, nor fill its log. So after the first ones they are told now and
// then, with how many were left out.

// peerEventsBurst are told at once, a tenth of what is remembered; then peerEventsRate.
const (
	peerEventsBurst = eventsMax / 10
	peerEventsRate  = rate.Limit(1.0 / 5) // in a second
)

// peerEvents counts the events that one peer brings about.
type peerEvents struct {
	told *rate.Limiter
	left int // that were left out since the last one was told
}

// tellOf records an event that is brought about by a peer, with its code or "", unless there are too many of them. It may be called with any lock
// held.
func (s *Site) tellOf(peer string, level slog.Level, object, code, format string, args ...any) {
	s.refusedMu.Lock()
	e := s.brought[peer]
	if e == nil {
		e = &peerEvents{told: rate.NewLimiter(peerEventsRate, peerEventsBurst)}
		s.brought[peer] = e
	}
	if !e.told.Allow() {
		e.left++
		s.refusedMu.Unlock()
		return
	}
	left := e.left
	e.left = 0
	s.refusedMu.Unlock()
	text := fmt.Sprintf(format, args...)
	if left > 0 {
		text = fmt.Sprintf("%s (%s before it that %s brought about were left out)", text, counted(left, "event"), peer)
	}
	s.events.addCode(level, object, code, "%s", text)
}
