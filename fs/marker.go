package fs

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"pairfs/replica"
)

// markerKeys are the options of the question what became of a marker.
var markerKeys = []key{{name: "marker", required: true, check: isMarker}, {name: "timeout", check: isMarkerTime}}

// isMarker checks that a value is a marker.
func isMarker(value string) error {
	_, err := replica.ParseMarker(value)
	return err
}

// isMarkerTime checks that a value is a time that a question may wait for a marker.
func isMarkerTime(value string) error {
	d, err := time.ParseDuration(value)
	if err != nil || d < 0 || d > maxMarkerWait {
		return invalid("timeout=%s is no time from 0s to %v", value, maxMarkerWait)
	}
	return nil
}

// mark places a marker and lets the answer begin with it.
func mark(ctx context.Context, name string, place func(context.Context, string) (replica.Marker, error)) error {
	m, err := place(ctx, name)
	if err == nil {
		replica.Remark(ctx, "marker "+m.String()+" stands behind everything that was acknowledged before")
	}
	return err
}

// markerQuestion is what a wait for a marker asks.
func markerQuestion(c commander, o options) *question {
	m, _ := replica.ParseMarker(o["marker"])              // isMarker has read it
	wait, _ := time.ParseDuration(o.get("timeout", "0s")) // isMarkerTime has read it
	return &question{wait: wait, marker: func(ctx context.Context) (replica.MarkerStatus, error) { return c.WaitMarker(ctx, m) }}
}

// markerWaits counts the open files whose reads wait for a marker, or will.
type markerWaits struct{ waiting atomic.Int32 }

// answer carries a question for a marker out. What cannot be asked is refused at once; the wait is that of the read which follows: a write
// that waits would hold up every other command to the same control file. The wait ends when the mount is about to end, with the state of that
// moment.
func (w *markerWaits) answer(ctx context.Context, life func() context.Context, q *question) (*listing, error) {
	at, cancel := context.WithCancel(ctx)
	cancel() // at once
	st, err := q.marker(at)
	if err != nil {
		return nil, err
	}
	if st.State != replica.MarkerWaiting || q.wait <= 0 {
		return &listing{rest: []byte(formatMarker(&st))}, nil
	}
	if w.waiting.Add(1) > maxMarkerWaits {
		w.waiting.Add(-1)
		return nil, kindError(replica.KindBusy, fmt.Sprintf("%d markers are being waited for already: try again, or ask without timeout=", maxMarkerWaits))
	}
	end := time.Now().Add(q.wait)
	return &listing{
		later: func(caller context.Context) ([]byte, error) {
			ctx, cancel := context.WithDeadline(caller, end)
			defer cancel()
			ending := life()
			defer context.AfterFunc(ending, cancel)()
			st, err := q.marker(ctx)
			if err == nil && st.State == replica.MarkerWaiting && caller.Err() != nil && ending.Err() == nil {
				err = caller.Err()
			}
			return []byte(formatMarker(&st)), err
		},
		done: func() { w.waiting.Add(-1) },
	}, nil
}

// formatMarker writes what became of a marker.
func formatMarker(st *replica.MarkerStatus) string {
	var l lines
	role := ""
	if st.Group != "" {
		role = st.Role.String()
	}
	l.put("marker", st.Marker.String())
	l.put("state", st.State.String())
	l.put("group", st.Group)
	l.put("role", role)
	l.put("peer", st.Peer)
	l.names("pairs", st.Pairs...)
	l.count("seq", st.Marker.Seq)
	l.count("restored", st.Restored)
	l.put("note", st.Note)
	return l.String()
}
