package replica

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"
	"unicode"
)

// eventLog keeps the newest events of a site in memory and wakes readers. Every event is a line of the log too.
type eventLog struct {
	log  *slog.Logger
	wall func() time.Time

	mu     sync.Mutex
	ring   []Event // oldest first, at most eventsMax
	lastID uint64
	wake   chan struct{} // closed and replaced with each event
	closed bool
}

func newEventLog(log *slog.Logger, wall func() time.Time) *eventLog {
	return &eventLog{log: log, wall: wall, wake: make(chan struct{})}
}

// add records one event. It may be called with any lock held: it calls nothing back.
func (l *eventLog) add(level slog.Level, object, format string, args ...any) {
	l.addCode(level, object, "", format, args...)
}

// addCode is add for an event that has a code of the reference, "" for none.
func (l *eventLog) addCode(level slog.Level, object, code, format string, args ...any) {
	text := strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) { // a peer's words may be in it
			return ' '
		}
		return r
	}, fmt.Sprintf(format, args...))
	fields := []any{"object", object}
	if code != "" {
		fields = append(fields, "code", code)
	}
	l.log.Log(context.Background(), level, text, fields...)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lastID++
	if len(l.ring) == eventsMax {
		copy(l.ring, l.ring[1:])
		l.ring = l.ring[:eventsMax-1]
	}
	l.ring = append(l.ring, Event{ID: l.lastID, Time: l.wall(), Level: strings.ToLower(level.String()), Object: object, Code: code, Text: text})
	close(l.wake)
	l.wake = make(chan struct{})
}

func (l *eventLog) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.closed {
		l.closed = true
		close(l.wake)
		l.wake = make(chan struct{})
	}
}

// errEventsClosed ends readers when the site closes.
var errEventsClosed = errors.New("the site is closed")

// EventReader reads the events of a site one after the other. It is not safe for concurrent use.
type EventReader struct {
	log   *eventLog
	after uint64
}

// Next returns the next event; it waits for one. It fails when ctx ends or the site is closed. Events that were dropped before they
// were read are skipped: the IDs show the gap.
func (r *EventReader) Next(ctx context.Context) (Event, error) {
	for {
		r.log.mu.Lock()
		ring, wake, closed := r.log.ring, r.log.wake, r.log.closed
		for _, e := range ring {
			if e.ID > r.after {
				r.after = e.ID
				r.log.mu.Unlock()
				return e, nil
			}
		}
		r.log.mu.Unlock()
		if closed {
			return Event{}, errEventsClosed
		}
		select {
		case <-wake:
		case <-ctx.Done():
			return Event{}, ctx.Err()
		}
	}
}

// Close ends the reader. It holds nothing that must be given back; it is there so that callers can say so.
func (r *EventReader) Close() {}

// Subscribe returns a reader of the events with an ID larger than after; 0 reads all that are remembered.
func (s *Site) Subscribe(after uint64) *EventReader { return &EventReader{log: s.events, after: after} }

// Events returns the events that are remembered, oldest first.
func (s *Site) Events() []Event {
	s.events.mu.Lock()
	defer s.events.mu.Unlock()
	return append([]Event(nil), s.events.ring...)
}

// Note records an event from outside of the package: a refused command, for example. It is no last error of a pair, though the object may
// be named like one: a create of a name that is taken says nothing about the pair that has it.
func (s *Site) Note(level slog.Level, object, text string) {
	s.events.add(level, object, "%s", text)
}
