package journal_test

import (
	"testing"

	"pairfs/journal"
)

// TestWakeAt: a flush wakes whom it concerns, once, and at once if it is durable already; a later call replaces an earlier one.
func TestWakeAt(t *testing.T) {
	j, _, _ := newJournal(t, 1)
	defer closeOK(t, j)
	ch := make(chan struct{}, 1)
	woken := func() bool {
		select {
		case <-ch:
			return true
		default:
			return false
		}
	}
	add := func() journal.Position {
		grow(t, j, 8192)
		return j.Marks().Durable
	}
	end := add()
	if j.WakeAt(end, ch); !woken() {
		t.Error("what is durable already wakes nobody")
	}
	if add(); woken() {
		t.Error("a call was made twice")
	}
	end = j.Marks().Durable
	j.WakeAt(end+1<<20, ch)
	if add(); woken() {
		t.Error("woken before the position")
	}
	j.WakeAt(end+16<<10, ch)
	for j.Marks().Durable < end+16<<10 {
		if woken() {
			t.Error("woken before the position")
		}
		add()
	}
	if !woken() {
		t.Error("nobody was woken")
	}
	for j.Marks().Durable < end+2<<20 {
		add()
	}
	if woken() {
		t.Error("a call that was replaced was made")
	}
}
