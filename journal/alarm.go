package journal

import (
	"cmp"
	"slices"
)

// Alarm is something to do when the journal has grown up to a position.
type Alarm struct {
	At   Position
	Call func() // once, while no other record can be reserved: it must be short, and must not call the journal
}

// SetAlarms sets the alarms, in place of those that were set before: each is called once, when the first record is reserved that ends behind its
// position, at once if the journal is there already. When it returns, none of the former ones is called any more. Without one that is due
// Reserve does nothing for it: the nearest alarm stands in for the end of the room, with which each record is compared anyway.
func (j *Journal) SetAlarms(alarms ...Alarm) {
	alarms = slices.Clone(alarms)
	slices.SortFunc(alarms, func(a, b Alarm) int { return cmp.Compare(a.At, b.At) })
	j.mu.Lock()
	defer j.mu.Unlock()
	j.alarms = alarms
	j.alarm(Position(j.tail.Load()))
}

// alarm calls the alarms before end and sets the bound that the next record is compared with. mu is held.
func (j *Journal) alarm(end Position) {
	for len(j.alarms) > 0 && j.alarms[0].At < end {
		call := j.alarms[0].Call
		j.alarms = j.alarms[1:]
		call()
	}
	j.bound = j.limit
	if len(j.alarms) > 0 {
		j.bound = min(j.limit, j.alarms[0].At)
	}
}
