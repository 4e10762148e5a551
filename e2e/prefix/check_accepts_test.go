package prefix

import (
	"math/rand/v2"
	"testing"
)

// TestCheckAccepts gives the checker histories that are right, however unlikely they look.
func TestCheckAccepts(t *testing.T) {
	rows := []accepted{
		{"nothing written", func(*model) Demand { return Acknowledged }},
		{"everything there", func(m *model) Demand {
			m.write(0, 0, 8)
			m.write(1, 0, 8)
			m.write(0, 4, 8)
			return Acknowledged
		}},
		{"of two that went straight to a store each is over the other in some sectors", func(m *model) Demand {
			a, b := m.begin(0, 0, 8), m.begin(0, 0, 8)
			m.apply(a)
			m.applyPart(b, 4, 8)
			for _, n := range []uint64{a, b} {
				m.h.Direct(n)
				m.h.Ack(n)
			}
			return Acknowledged
		}},
		{"the newest write of each volume is missing", func(m *model) Demand {
			m.write(0, 0, 8)
			m.drop(1, 0, 8)
			m.drop(0, 2, 2)
			return Nothing
		}},
		{"of two concurrent writes only the one that began later is there", func(m *model) Demand {
			a := m.begin(0, 0, 8)
			m.write(1, 0, 8)
			m.h.Ack(a)
			return Nothing
		}},
		{"an unacknowledged write is there", func(m *model) Demand {
			m.write(0, 0, 8)
			m.apply(m.begin(0, 4, 8))
			return Acknowledged
		}},
		{"an unacknowledged write is not there, though later ones are", func(m *model) Demand {
			m.begin(0, 0, 8)
			m.write(0, 4, 8)
			m.write(1, 4, 8)
			return Acknowledged
		}},
		{"a synchronous write without the one that was under way when it began", func(m *model) Demand {
			a := m.begin(0, 0, 8)
			c := m.beginSync(0, 8, 8)
			m.apply(c)
			m.h.Ack(c)
			m.h.Ack(a)
			return Synced
		}},
		{"of two discards that nobody acknowledged only the later one is there", func(m *model) Demand {
			m.write(0, 4, 8)
			m.h.Begin(Write{Volume: 0, Off: 4 * Sector, Len: 8 * Sector, Zero: true})
			m.apply(m.h.Begin(Write{Volume: 0, Off: 2 * Sector, Len: 4 * Sector, Zero: true}))
			return Acknowledged
		}},
		{"a synchronous write that nobody acknowledged is missing", func(m *model) Demand {
			m.beginSync(0, 8, 8)
			return Synced
		}},
		{"what was synced later than a look is missing", func(m *model) Demand {
			m.drop(0, 0, 8)
			must := m.h.SyncedSoFar()
			m.h.Synced(m.h.Now())
			m.h.Ack(m.beginSync(0, 8, 8))
			return must
		}},
		{"a write of 1 MiB", func(m *model) Demand {
			m.grow(0, 2*mib)
			m.write(0, 100, mib)
			return Acknowledged
		}},
		{"a discard as the last", func(m *model) Demand {
			m.write(0, 0, 8)
			m.write(1, 0, 8)
			m.discard(0, 2, 3, true)
			return Acknowledged
		}},
		{"an unacknowledged discard that happened", func(m *model) Demand {
			m.write(0, 0, 8)
			c := m.h.Begin(Write{Volume: 0, Off: 0, Len: 8 * Sector, Zero: true})
			m.apply(c)
			return Acknowledged
		}},
		{"a discard that is missing with all after it", func(m *model) Demand {
			m.write(0, 0, 8)
			m.discard(0, 0, 8, false)
			m.drop(0, 0, 8)
			return Nothing
		}},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) { accepts(t, row) })
	}
}

// TestCheckPrefixes cuts random serial histories at every place: each cut is a prefix, and its size is found.
func TestCheckPrefixes(t *testing.T) {
	seed := testSeed(t)
	rng := rand.New(rand.NewPCG(seed, 1))
	for range 4 {
		m := newModel(3, 64)
		for cut := range 40 {
			for range cut {
				s := rng.IntN(60)
				m.write(rng.IntN(3), s, 1+rng.IntN(4))
			}
			kept := m.snapshot()
			m.drop(0, 0, 1)
			dropped := m.drop(1, 1, 1)
			p, err := m.check(Nothing)
			if err != nil {
				t.Fatalf("cut after %d: %v", cut, err)
			}
			if p.Writes > m.h.Len()-2 || p.Last < 2 {
				t.Fatalf("prefix %+v holds one of the last two of %d writes", p, m.h.Len())
			}
			m.apply(dropped)
			if _, err := m.check(Nothing); err == nil {
				t.Fatalf("a gap before write %d was not found", dropped)
			}
			m.vols = kept
			m = newModel(3, 64)
		}
	}
}
