package replica

import "pairfs/journal"

// A fast host fills a small journal between two looks at a clock. So each look also says at which positions of the journal the next has to come
// earlier: a host write that passes one kicks the loop. At a farther one, with inflow control, it closes the way behind itself as well: the
// writes that follow wait for the look, some microseconds, and not for room in a journal that has become full. Both cost a write that
// passes none of them nothing, see journal.SetAlarms; a look re-arms them, so while the peer keeps up nobody ever passes the second.

// ahead are positions at which the pressure on a journal is looked at before its time.
type ahead struct{ kick, hold journal.Position }

// lookAhead gives them for a journal that is used up to level between two checkpoints: the middle of the journal, the high-water mark, and
// from there on each eighth of the way to full; hosts are held at the mark, and then when they came half of the way to full without a look.
// Both lie an eighth of that way ahead at least.
func lookAhead(u journal.Usage, level, high, full int64, freed, reserved journal.Position) ahead {
	step := journal.Position((full - high) / 8)
	mark := freed + journal.Position(max(high-(level-u.Used), 0))
	half := freed + journal.Position(u.Capacity/2)
	a := ahead{min(half, mark), mark}
	switch {
	case reserved >= mark:
		a = ahead{reserved + step, reserved + 4*step}
	case reserved >= half:
		a.kick = mark
	}
	return ahead{max(a.kick, reserved+step), max(a.hold, reserved+step)}
}

// arm sets the alarms for the next look. watched says that pairs are replicated, inflow that hosts may be held.
func (g *group) arm(a ahead, watched, inflow bool) {
	look := func() { kick(g.lookReq) }
	switch {
	case !watched:
		g.journal.SetAlarms()
	case !inflow:
		g.journal.SetAlarms(journal.Alarm{At: a.kick, Call: look})
	default:
		g.journal.SetAlarms(journal.Alarm{At: a.kick, Call: look}, journal.Alarm{At: a.hold, Call: func() { g.slow.hold(); look() }})
	}
}

// disarm ends the watch: hosts that wait for a look go on.
func (g *group) disarm() {
	g.journal.SetAlarms()
	g.slow.set(0)
}
