package prefix

import "testing"

// TestCheckRejectsWriters gives the checker writes that overlap and were under way together, in no one order.
func TestCheckRejectsWriters(t *testing.T) {
	rows := []rejected{
		{"each of two is over the other in some sectors", Torn, func(m *model) Demand {
			a, b := m.begin(0, 0, 8), m.begin(0, 0, 8)
			m.apply(a)
			m.applyPart(b, 4, 8)
			return Nothing
		}},
		{"each of two is over the other, and one of them has an order", Torn, func(m *model) Demand {
			a, b := m.begin(0, 0, 8), m.begin(0, 0, 8)
			m.apply(a)
			m.applyPart(b, 4, 8)
			m.h.Direct(b)
			return Nothing
		}},
		{"two without an order, of which the later is under the earlier in some sectors", Torn, func(m *model) Demand {
			a := m.begin(0, 0, 8)
			m.apply(a)
			m.h.Direct(a)
			m.h.Ack(a)
			b := m.begin(0, 0, 8)
			m.applyPart(b, 4, 8)
			m.h.Direct(b)
			return Nothing
		}},
		{"each of two is over the other, on either side of a third", Torn, func(m *model) Demand {
			a, b := m.begin(0, 0, 16), m.begin(0, 0, 16)
			m.apply(a)
			m.applyPart(b, 8, 16)
			m.write(0, 6, 4)
			m.h.Ack(a)
			m.h.Ack(b)
			return Acknowledged
		}},
		{"a write and a discard, each over the other in some sectors", Torn, func(m *model) Demand {
			a := m.begin(0, 0, 8)
			b := m.h.Begin(Write{Volume: 0, Len: 8 * Sector, Zero: true})
			m.apply(a)
			m.applyPart(b, 4, 8)
			m.h.Ack(a)
			m.h.Ack(b)
			return Acknowledged
		}},
		{"over a write that hosts knew to be later than another over it", Disorder, func(m *model) Demand {
			long := m.begin(0, 0, 16)
			m.apply(long)
			m.write(0, 8, 4)
			m.drop(0, 4, 2) // later than what is over the long one, and under that
			m.h.Ack(long)
			return Acknowledged
		}},
		{"a write that failed is over one that began later", Disorder, func(m *model) Demand {
			a := m.begin(0, 0, 8)
			m.h.Fail(a)
			m.drop(0, 0, 8)
			m.apply(a)
			m.write(1, 0, 8)
			return Nothing
		}},
		{"a write of a host that was killed is over one that began later", Lost, func(m *model) Demand {
			a := m.begin(0, 0, 8)
			m.h.FailAll()
			m.drop(0, 0, 8)
			m.apply(a)
			return Acknowledged
		}},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) { rejects(t, row) })
	}
}

// TestCheckAcceptsWriters gives it such that have one.
func TestCheckAcceptsWriters(t *testing.T) {
	rows := []accepted{
		{"the one that began first is over the other", func(m *model) Demand {
			a := m.begin(0, 0, 8)
			m.write(0, 4, 8)
			m.apply(a)
			m.h.Ack(a)
			return Acknowledged
		}},
		{"one of two over the other, a third over both", func(m *model) Demand {
			a, b := m.begin(0, 0, 16), m.begin(0, 0, 16)
			m.apply(b)
			m.apply(a)
			m.write(0, 6, 4)
			m.h.Ack(a)
			m.h.Ack(b)
			return Acknowledged
		}},
		{"a write that nobody heard of again is over one that began later", func(m *model) Demand {
			a := m.begin(0, 0, 8)
			m.write(0, 0, 8)
			m.apply(a)
			return Acknowledged
		}},
		{"a write over a discard of the same time", func(m *model) Demand {
			b := m.h.Begin(Write{Volume: 0, Len: 8 * Sector, Zero: true})
			a := m.begin(0, 4, 8)
			m.apply(b)
			m.apply(a)
			m.h.Ack(a)
			m.h.Ack(b)
			return Acknowledged
		}},
		{"a discard over a write of the same time, that began later", func(m *model) Demand {
			b := m.h.Begin(Write{Volume: 0, Len: 8 * Sector, Zero: true})
			m.write(0, 4, 8)
			m.apply(b)
			m.h.Ack(b)
			return Acknowledged
		}},
		{"zeroes by a later discard, not by the one that the write is over", func(m *model) Demand {
			b := m.h.Begin(Write{Volume: 0, Len: 8 * Sector, Zero: true})
			m.write(0, 0, 8)
			m.h.Ack(b)
			d := m.h.Begin(Write{Volume: 0, Off: 4 * Sector, Len: 4 * Sector, Zero: true})
			m.apply(d)
			return Acknowledged
		}},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) { accepts(t, row) })
	}
}
