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
	return &question{text: func(ctx context.Context) (string, error) {
		ctx, cancel := context.WithTimeout(ctx, wait)
		defer cancel()
		st, err := c.WaitMarker(ctx, m)
		if err != nil {
			return "", err
		}
		return formatMarker(&st), nil
	}}
}

// markerWaits counts the questions that wait for a marker.
type markerWaits struct{ waiting atomic.Int32 }

// answer carries a question whose answer is a short text out. It ends early when the mount is about to end.
func (w *markerWaits) answer(ctx, life context.Context, q *question) (*listing, error) {
	defer w.waiting.Add(-1)
	if w.waiting.Add(1) > maxMarkerWaits {
		return nil, kindError(replica.KindBusy, fmt.Sprintf("%d markers are being waited for already: try again, or ask without timeout=", maxMarkerWaits))
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(life, cancel)()
	text, err := q.text(ctx)
	if err != nil {
		return nil, err
	}
	return &listing{rest: []byte(text)}, nil
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
