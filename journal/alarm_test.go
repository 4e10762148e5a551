package journal_test

import (
	"context"
	"errors"
	"slices"
	"testing"

	"pairfs/journal"
)

// TestAlarms: each alarm is called by the first record that ends behind its position, once; new ones take the place of the old; freeing and the
// end of the room do not disturb them.
func TestAlarms(t *testing.T) {
	j, _, _ := newJournal(t, 1)
	defer closeOK(t, j)
	var rung []string
	at := func(p journal.Position, name string) journal.Alarm {
		return journal.Alarm{At: p, Call: func() { rung = append(rung, name) }}
	}
	want := func(names ...string) {
		t.Helper()
		if !slices.Equal(rung, names) {
			t.Errorf("called %q, want %q", rung, names)
		}
		rung = nil
	}
	first := update(t, j, 4096)
	j.SetAlarms(at(first.End-1, "passed"))
	want("passed")
	j.SetAlarms(at(first.End+9000, "third"), at(first.End, "second"))
	want()
	update(t, j, 4096)
	want("second")
	r := update(t, j, 4096)
	want()
	j.SetAlarms(at(r.End+2*journal.MaxRecord, "far"), at(r.End+4096+journal.HeaderSize, "exact"))
	update(t, j, 4096)
	want() // it ends at the position, not behind it
	r = update(t, j, 64)
	want("exact")
	j.SetAlarms()
	update(t, j, 4096)
	want()

	syncTo(t, j, r.End)
	free(t, j, r.Pos)
	j.SetAlarms(at(r.End+journal.Position(j.Usage().Capacity)-journal.MaxRecord, "end"))
	for {
		r, err := j.Append(context.Background(), journal.Header{Kind: journal.KindUpdate}, make([]byte, 100_000))
		if errors.Is(err, journal.ErrFull) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		syncTo(t, j, r.End)
		j.Release(r.End)
	}
	want("end")
	if err := j.WaitRoom(t.Context(), 4096); err != nil {
		t.Error(err)
	}
}
