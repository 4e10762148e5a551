package prefix

import "testing"

// lose cuts the power: the volumes keep what they hold now.
func (m *model) lose() {
	p, err := m.check(Synced)
	if err != nil {
		panic(err)
	}
	m.h.Lose(p)
}

// restart goes on from whatever the volumes hold, of this history and of others.
func (m *model) restart(run uint64, others ...*History) {
	pictures, err := m.pictures()
	if err != nil {
		panic(err)
	}
	if m.h, err = Restart(run, pictures, append(others, m.h)...); err != nil {
		panic(err)
	}
}

// TestCheckRejectsBehindLoss gives the checker histories that lost something or began anew, with one defect each.
func TestCheckRejectsBehindLoss(t *testing.T) {
	rows := []rejected{
		{"what was there behind a power cut is missing", Lost, func(m *model) Demand {
			m.write(0, 0, 8)
			m.drop(0, 8, 8)
			m.lose()
			clear(m.vols[0])
			return Acknowledged
		}},
		{"what a power cut took is over what was written behind it", Disorder, func(m *model) Demand {
			lost := m.drop(0, 0, 8)
			m.lose()
			m.write(0, 0, 8)
			m.write(1, 0, 8)
			m.apply(lost)
			return Nothing
		}},
		{"what was synced is gone behind a second power cut", Lost, func(m *model) Demand {
			m.write(0, 0, 8)
			m.lose()
			m.h.Ack(m.beginSync(0, 8, 8))
			return Synced
		}},
		{"what was there when the history began anew is gone", Lost, func(m *model) Demand {
			m.write(0, 0, 8)
			m.restart(8)
			clear(m.vols[0])
			return Nothing
		}},
		{"what was there when the history began anew is over what was written since", Disorder, func(m *model) Demand {
			m.write(0, 0, 8)
			m.restart(8)
			m.drop(0, 4, 8)
			m.write(1, 0, 8)
			return Nothing
		}},
		{"what was there when the history began anew is over a whole write since", Disorder, func(m *model) Demand {
			m.write(0, 0, 8)
			m.restart(8)
			m.drop(0, 0, 8)
			m.write(1, 0, 8)
			return Nothing
		}},
		{"what was not there when the history began anew has come back", Returned, func(m *model) Demand {
			m.write(0, 0, 8)
			late := m.drop(0, 0, 8)
			old := m.h
			m.restart(8)
			m.putOf(old, late)
			return Nothing
		}},
		{"it has come back on a volume that had it in other sectors", Returned, func(m *model) Demand {
			a := m.write(0, 0, 8)
			m.write(0, 4, 4)
			old := m.h
			m.restart(8)
			m.putOf(old, a)
			return Nothing
		}},
		{"of a history before the one that it began anew from", Returned, func(m *model) Demand {
			late := m.drop(0, 0, 8)
			old := m.h
			m.restart(8)
			m.restart(9)
			m.putOf(old, late)
			return Nothing
		}},
		{"of a history that is none of those that it began anew from", Misplaced, func(m *model) Demand {
			m.restart(8)
			Fill(m.vols[0][:Sector], Mark{Run: 99, Counter: 1})
			return Nothing
		}},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) { rejects(t, row) })
	}
}

// TestCheckAcceptsBehindLoss: what is lost is not missed, and what is left may be of several histories.
func TestCheckAcceptsBehindLoss(t *testing.T) {
	rows := []accepted{
		{"what a power cut took is not missed", func(m *model) Demand {
			m.write(0, 0, 8)
			m.drop(0, 4, 8)
			m.lose()
			m.write(1, 0, 8)
			return Acknowledged
		}},
		{"what a power cut left hidden shows in an older image", func(m *model) Demand {
			a, b := m.begin(0, 0, 8), m.begin(0, 0, 8)
			m.apply(b)
			m.h.Ack(a)
			m.h.Ack(b)
			m.lose()
			m.apply(a)
			return Nothing
		}},
		{"what two histories left, and a third writes over", func(m *model) Demand {
			m.write(0, 0, 8)
			m.write(1, 0, 8)
			first, other := m.h, NewHistory(20)
			m.h = other
			m.write(0, 4, 8)
			m.restart(8, first)
			m.write(0, 6, 1)
			m.discard(1, 0, 4, true)
			m.restart(9)
			m.write(0, 0, 1)
			return Acknowledged
		}},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) { accepts(t, row) })
	}
}

// TestRestartKnowsItsHistories: a history cannot begin with what none of the others has written there.
func TestRestartKnowsItsHistories(t *testing.T) {
	m := newModel(1, 16)
	m.write(0, 0, 8)
	pictures, err := m.pictures()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Restart(8, pictures, NewHistory(7)); kindOf(err) != Future {
		t.Errorf("with an empty history of the same run: %v", err)
	}
	if _, err := Restart(8, pictures, NewHistory(6)); kindOf(err) != Misplaced {
		t.Errorf("with another history: %v", err)
	}
	if _, err := Restart(8, pictures); err == nil {
		t.Error("with no history at all")
	}
}
