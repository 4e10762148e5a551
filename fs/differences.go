package fs

import (
	"context"
	"fmt"
	"strconv"
	"sync/atomic"
	"time"

	"pairfs/replica"
)

// question is what a command asks for whose answer is more than a word. It changes nothing, so it is carried out by the file that carried
// the command, which has room for few such answers.
type question struct {
	ask    func(ctx context.Context) ([]*replica.Differences, error)
	ranges bool // with the list of ranges, not the totals alone

	// Instead of ask: what became of a marker, and how long that may be waited for.
	marker func(ctx context.Context) (replica.MarkerStatus, error)
	wait   time.Duration
}

// differencesKeys are the options of differences: those of a resync ask what that would overwrite.
var differencesKeys = append([]key{{name: "ranges", words: []string{"yes", "no"}}}, resyncKeys...)

// question returns what a command without a run asks for.
func (o object) question(c commander, opts options) *question {
	if o.kind == siteObject {
		return markerQuestion(c, opts)
	}
	ask := c.PairResyncDifferences
	if o.kind == groupObject {
		ask = c.GroupResyncDifferences
	}
	return &question{
		ask: func(ctx context.Context) ([]*replica.Differences, error) {
			return ask(ctx, o.name, resyncOptions(opts))
		},
		ranges: opts.get("ranges", "yes") == "yes",
	}
}

// listings counts the lists that open files hold: two bitmaps of each pair that is listed, where they are not empty.
type listings struct{ held atomic.Int32 }

// listing is the list of differences in one open file. Its lines are made as they are read: there may be millions.
type listing struct {
	all    []*replica.Differences
	ranges bool
	inside bool   // the head of all[0] was given, its ranges follow
	from   int64  // the ranges behind it
	rest   []byte // of lines that did not fit
	done   func() // gives the place among the listings back

	later func(ctx context.Context) ([]byte, error) // waits for what is read, nil where nothing is waited for
}

// answer carries a question out. A list takes one of the places that there are until it is closed.
func (l *listings) answer(ctx context.Context, q *question) (*listing, error) {
	if l.held.Add(1) > maxListings {
		l.held.Add(-1)
		return nil, kindError(replica.KindBusy, fmt.Sprintf("%d lists of differences are being read already: wait until one is read to its end or closed", maxListings))
	}
	all, err := q.ask(ctx)
	if err != nil {
		l.held.Add(-1)
		return nil, err
	}
	return &listing{all: all, ranges: q.ranges, done: func() { l.held.Add(-1) }}, nil
}

// close gives up what is left of the list. It may be called again, and for none.
func (l *listing) close() {
	if l != nil && l.done != nil {
		l.done()
		l.all, l.rest, l.done, l.later = nil, nil, nil, nil
	}
}

// await waits for what is to be read. An error ends the read and not the wait.
func (l *listing) await(ctx context.Context) error {
	if l == nil || l.later == nil {
		return nil
	}
	text, err := l.later(ctx)
	if err == nil {
		l.rest, l.later = text, nil
	}
	return err
}

// waits reports whether there is something to wait for.
func (l *listing) waits() bool { return l != nil && l.later != nil }

// read fills dest with the next part of the text; 0 is its end.
func (l *listing) read(dest []byte) (n int) {
	for l != nil && n < len(dest) {
		if len(l.rest) == 0 && !l.more() {
			break
		}
		k := copy(dest[n:], l.rest)
		l.rest = l.rest[k:]
		n += k
	}
	return n
}

// more puts the next lines into rest, false behind the last.
func (l *listing) more() bool {
	for len(l.all) > 0 {
		d := l.all[0]
		if !l.inside {
			l.rest, l.inside, l.from = []byte(formatDifferences(d)), l.ranges, 0
			if !l.ranges {
				l.all = l.all[1:]
			}
			return true
		}
		if r, ok := d.Next(l.from); ok {
			l.rest, l.from = appendRange(l.rest[:0], r), r.Offset+r.Length
			return true
		}
		l.all, l.inside = l.all[1:], false
	}
	return false
}

// formatDifferences writes the head of what differs in one pair.
func formatDifferences(d *replica.Differences) string {
	var l lines
	there := ""
	if d.PeerStatus != replica.SMPL {
		there = d.PeerStatus.On(otherRole(d.Role))
	}
	l.put("pair", d.Pair)
	l.put("role", d.Role.String())
	l.put("status", d.Status.On(d.Role))
	l.put("peer", d.Peer)
	l.put("peer-status", there)
	l.known("p-vol-bytes", d.PVOL)
	l.known("s-vol-bytes", d.SVOL)
	l.known("both-bytes", d.Both)
	l.known("overwritten-bytes", d.Overwritten)
	l.known("resync-bytes", d.Copied)
	if d.Loses != 0 {
		l.put("loses", d.Loses.String())
	}
	l.put("note", d.Note)
	return l.String()
}

func otherRole(r replica.Role) replica.Role {
	if r == replica.Secondary {
		return replica.Primary
	}
	return replica.Secondary
}

// appendRange writes one range: where, offset, length.
func appendRange(b []byte, r replica.ChangedRange) []byte {
	b = append(append(b, r.Where.String()...), ' ')
	b = append(strconv.AppendInt(b, r.Offset, 10), ' ')
	return append(strconv.AppendInt(b, r.Length, 10), '\n')
}
