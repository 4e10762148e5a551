package prefix

import "testing"

// fork goes on as hosts do at an S-VOL that was taken over with what the image has now.
func (m *model) fork(run uint64) {
	p, err := m.check(Nothing)
	if err != nil {
		panic(err)
	}
	m.h = m.h.Fork(run, p)
}

// TestCheckRejectsBehindTakeover gives the checker histories that went on from a prefix, with one defect each.
func TestCheckRejectsBehindTakeover(t *testing.T) {
	rows := []rejected{
		{"a write that a takeover gave up is back", Returned, func(m *model) Demand {
			m.write(0, 0, 8)
			late := m.drop(0, 0, 8)
			m.fork(8)
			m.write(1, 0, 8)
			m.apply(late)
			return Nothing
		}},
		{"what a takeover gave up is back, of a write that nobody acknowledged", Returned, func(m *model) Demand {
			m.write(0, 0, 8)
			late := m.begin(0, 8, 8)
			m.fork(8)
			m.apply(late)
			return Nothing
		}},
		{"of the side that lost, behind the takeover, where the other has a write of that number", Misplaced, func(m *model) Demand {
			m.write(0, 0, 8)
			lost := m.h
			m.fork(8)
			m.write(0, 0, 8)
			c := lost.Begin(Write{Volume: 0, Off: 0, Len: 8 * Sector})
			Fill(m.vols[0][:8*Sector], Mark{Run: lost.Run(), Counter: c})
			return Nothing
		}},
		{"of the side that lost, behind the takeover", Misplaced, func(m *model) Demand {
			m.write(0, 0, 8)
			lost := m.h
			m.fork(8)
			c := lost.Begin(Write{Volume: 0, Off: 0, Len: 8 * Sector})
			Fill(m.vols[0][:8*Sector], Mark{Run: lost.Run(), Counter: c})
			return Nothing
		}},
		{"what was there at the takeover is lost", Lost, func(m *model) Demand {
			m.write(0, 0, 8)
			m.fork(8)
			clear(m.vols[0])
			return Acknowledged
		}},
		{"what was there at the takeover, unacknowledged, is missing below a later write", Disorder, func(m *model) Demand {
			m.apply(m.begin(0, 0, 8))
			m.fork(8)
			m.write(1, 0, 8)
			clear(m.vols[0])
			return Nothing
		}},
		{"a discard that a takeover gave up happens all the same", Torn, func(m *model) Demand {
			m.write(0, 0, 8)
			late := m.discard(0, 0, 4, false)
			m.fork(8)
			m.apply(late)
			return Nothing
		}},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) { rejects(t, row) })
	}
}

// TestCheckAcceptsBehindTakeover: what was given up is not missed, and one takeover may follow another.
func TestCheckAcceptsBehindTakeover(t *testing.T) {
	m := newModel(2, 16)

	m.write(0, 0, 8)
	m.apply(m.begin(1, 0, 8))
	m.drop(0, 4, 8)
	m.discard(0, 0, 8, false)
	m.fork(8)
	m.write(0, 6, 4)
	m.fork(9)
	m.write(1, 6, 4)
	if p, err := m.check(Acknowledged); err != nil {
		t.Fatalf("refused with prefix %+v: %v", p, err)
	}
}
