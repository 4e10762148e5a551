package prefix

import "testing"

// TestCheckRejects gives the checker histories with one defect each.
func TestCheckRejects(t *testing.T) {
	rows := []rejected{
		{"dropped write of one volume, later write of another is there", Disorder, func(m *model) Demand {
			m.drop(0, 0, 8)
			m.write(1, 0, 8)
			return Nothing
		}},
		{"two ordered writes swapped on one volume", Disorder, func(m *model) Demand {
			a := m.drop(0, 0, 8)
			m.write(0, 0, 8)
			m.apply(a)
			m.write(1, 0, 1)
			return Nothing
		}},
		{"swapped on one sector only", Torn, func(m *model) Demand {
			a := m.write(0, 0, 8)
			m.write(0, 0, 8)
			w := m.h.Writes()[a-1]
			full := make([]byte, w.Len)
			m.put(w, full)
			copy(m.vols[0][3*Sector:4*Sector], full[3*Sector:])
			return Nothing
		}},
		{"torn write: its end is missing", Torn, func(m *model) Demand {
			m.write(0, 0, 8)
			clear(m.vols[0][7*Sector : 8*Sector])
			return Nothing
		}},
		{"torn write of 1 MiB: its last sector is missing", Torn, func(m *model) Demand {
			m.grow(0, 2*mib)
			m.write(0, 100, mib)
			clear(m.vols[0][(100+mib-1)*Sector : (100+mib)*Sector])
			return Nothing
		}},
		{"torn write of 1 MiB over another one: one sector in the middle is of the older", Torn, func(m *model) Demand {
			m.grow(0, mib)
			m.write(0, 0, mib)
			older := m.snapshot()[0]
			m.write(0, 0, mib)
			copy(m.vols[0][(mib/2)*Sector:(mib/2+1)*Sector], older[(mib/2)*Sector:])
			return Nothing
		}},
		{"torn inside a sector", Damaged, func(m *model) Demand {
			m.write(0, 0, 8)
			clear(m.vols[0][Sector+256 : 2*Sector])
			return Nothing
		}},
		{"stale: the older write though a younger one of the other volume is there", Disorder, func(m *model) Demand {
			m.write(0, 4, 4)
			m.drop(0, 4, 4)
			m.write(1, 4, 4)
			return Nothing
		}},
		{"stale under a concurrent writer", Disorder, func(m *model) Demand {
			long := m.begin(1, 0, 1)
			m.drop(0, 0, 1)
			m.apply(long)
			m.write(1, 8, 1)
			m.h.Ack(long)
			return Nothing
		}},
		{"other volume's write", Misplaced, func(m *model) Demand {
			c := m.write(0, 0, 1)
			m.put(m.h.Writes()[c-1], m.vols[1][:Sector])
			return Nothing
		}},
		{"other offset's write", Misplaced, func(m *model) Demand {
			c := m.write(0, 0, 1)
			m.put(m.h.Writes()[c-1], m.vols[0][Sector:2*Sector])
			return Nothing
		}},
		{"other offset's sector of the same write", Misplaced, func(m *model) Demand {
			m.write(0, 0, 8)
			copy(m.vols[0][3*Sector:4*Sector], m.vols[0][5*Sector:6*Sector])
			return Nothing
		}},
		{"other run's write", Misplaced, func(m *model) Demand {
			Fill(m.vols[0][:Sector], Mark{Run: 8, Counter: 1})
			return Nothing
		}},
		{"future: a write that nobody issued", Future, func(m *model) Demand {
			m.write(0, 0, 1)
			Fill(m.vols[1][:Sector], Mark{Run: 7, Counter: 2, Volume: 1})
			return Nothing
		}},
		{"future: a write with another length than was issued", Future, func(m *model) Demand {
			m.drop(0, 0, 2)
			Fill(m.vols[0][:Sector], Mark{Run: 7, Counter: 1})
			return Nothing
		}},
		{"acknowledged write lost at the end", Lost, func(m *model) Demand {
			m.write(0, 0, 8)
			m.drop(0, 8, 8)
			return Acknowledged
		}},
		{"synced write lost, the one after it not promised", Lost, func(m *model) Demand {
			m.drop(0, 0, 8)
			begun := m.h.Now()
			m.h.Synced(begun)
			m.drop(0, 8, 8)
			return Synced
		}},
		{"synchronous write lost, the ones before it not acknowledged when it began", Lost, func(m *model) Demand {
			a := m.begin(0, 0, 8)
			m.h.Ack(m.beginSync(0, 8, 8))
			m.h.Ack(a)
			return Synced
		}},
		{"write lost that a synchronous one promises", Lost, func(m *model) Demand {
			m.drop(0, 0, 8)
			m.h.Ack(m.beginSync(1, 8, 8))
			return Synced
		}},
		{"write lost that was synced at an earlier look", Lost, func(m *model) Demand {
			m.drop(0, 0, 8)
			m.h.Synced(m.h.Now())
			must := m.h.SyncedSoFar()
			m.drop(0, 8, 8)
			return must
		}},
		{"write lost that either of two demands", Lost, func(m *model) Demand {
			m.drop(0, 0, 8)
			return Both(Synced, Before(m.h.Now()))
		}},
		{"discard lost, later write is there", Disorder, func(m *model) Demand {
			m.write(0, 0, 8)
			m.discard(0, 0, 8, false)
			m.write(1, 0, 1)
			return Nothing
		}},
		{"discard half done", Torn, func(m *model) Demand {
			// The zeroes of the first half say that the discard is in, so the second half has to be zeroes too.
			m.write(0, 0, 8)
			m.discard(0, 0, 8, true)
			w := m.h.Writes()[0]
			full := make([]byte, w.Len)
			m.put(w, full)
			copy(m.vols[0][4*Sector:8*Sector], full[4*Sector:])
			return Nothing
		}},
		{"discard from nowhere", Torn, func(m *model) Demand {
			m.write(0, 0, 8)
			clear(m.vols[0][:4*Sector])
			return Nothing
		}},
		{"discard seen demands what was acknowledged before it", Disorder, func(m *model) Demand {
			m.write(0, 0, 2)
			m.drop(1, 0, 1)
			m.discard(0, 0, 1, true)
			return Nothing
		}},
		{"bit flipped", Damaged, func(m *model) Demand {
			m.write(0, 0, 1)
			m.vols[0][300] ^= 0x10
			return Nothing
		}},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) { rejects(t, row) })
	}
}

// five is a history of five writes, one after the other, and of one that nobody heard of again, over two volumes of two blocks of eight sectors.
type five struct {
	*model
	w1, w2, w3, d4, w5, open uint64
}

func newFive() *five {
	f := &five{model: newModel(2, 16)}
	f.w1, f.w2, f.w3 = f.drop(0, 0, 8), f.drop(1, 0, 16), f.drop(0, 0, 8)
	f.d4 = f.discard(1, 8, 8, false)
	f.w5 = f.drop(0, 8, 8)
	f.open = f.begin(0, 0, 8)
	return f
}

// has puts writes on the volumes.
func (f *five) has(counters ...uint64) *five {
	for _, c := range counters {
		f.apply(c)
	}
	return f
}

// TestCheckFive looks at what the volumes can hold of five writes.
func TestCheckFive(t *testing.T) {
	for name, row := range map[string]struct {
		must Demand
		kind DefectKind // none: it is a prefix
		have func(f *five)
	}{
		"nothing":             {Nothing, "", func(f *five) {}},
		"first":               {Nothing, "", func(f *five) { f.has(f.w1) }},
		"two":                 {Nothing, "", func(f *five) { f.has(f.w1, f.w2) }},
		"three":               {Nothing, "", func(f *five) { f.has(f.w1, f.w2, f.w3) }},
		"discarded":           {Nothing, "", func(f *five) { f.has(f.w1, f.w2, f.w3, f.d4, f.w5) }},
		"all":                 {Acknowledged, "", func(f *five) { f.has(f.w1, f.w2, f.w3, f.d4, f.w5) }},
		"one under way":       {Acknowledged, "", func(f *five) { f.has(f.w1, f.w2, f.w3, f.d4, f.w5, f.open) }},
		"second without 1st":  {Nothing, Disorder, func(f *five) { f.has(f.w2) }},
		"third without 2nd":   {Nothing, Disorder, func(f *five) { f.has(f.w1, f.w3) }},
		"older over newer":    {Nothing, Disorder, func(f *five) { f.has(f.w1, f.w2, f.w5) }},
		"discard left out":    {Nothing, Disorder, func(f *five) { f.has(f.w1, f.w2, f.w3, f.w5) }},
		"last is missing":     {Acknowledged, Lost, func(f *five) { f.has(f.w1, f.w2, f.w3) }},
		"part of a write":     {Nothing, Torn, func(f *five) { clear(f.has(f.w1, f.w2).vols[1][:4*Sector]) }},
		"zeroes of a discard": {Nothing, Disorder, func(f *five) { clear(f.has(f.w1, f.w2).vols[1][8*Sector:]) }},
		"half a block":        {Nothing, Torn, func(f *five) { clear(f.has(f.w1).vols[0][:4*Sector]) }},
		"half a sector":       {Nothing, Damaged, func(f *five) { clear(f.has(f.w1).vols[0][:Sector/2]) }},
		"of another volume":   {Nothing, Misplaced, func(f *five) { f.has(f.w1); f.vols[0], f.vols[1] = f.vols[1], f.vols[0] }},
		"open without others": {Nothing, Disorder, func(f *five) { f.has(f.open) }},
	} {
		f := newFive()
		row.have(f)
		_, err := f.check(row.must)
		if kind := kindOf(err); kind != row.kind {
			t.Errorf("%s: %v, want %q", name, err, row.kind)
		}
	}
}
