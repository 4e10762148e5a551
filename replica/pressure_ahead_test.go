package replica

import (
	"context"
	"math"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"pairfs/journal"
)

// TestLookAhead: the next look is always ahead of what is reserved, in steps that are no smaller than an eighth of the way from the high-water
// mark to full; hosts are held at the mark at the latest, or half of that way behind where they are.
func TestLookAhead(t *testing.T) {
	const mib = 1 << 20
	at := func(used, lead int64) ahead {
		high, full := levels(64 * mib)
		u := journal.Usage{Used: used * mib, Capacity: 64 * mib}
		a := lookAhead(u, (used+lead)*mib, high, full, 1000*mib, journal.Position(1000+used)*mib)
		return ahead{(a.kick - 1000*mib) / mib, (a.hold - 1000*mib) / mib}
	}
	for _, c := range []struct {
		used, lead int64
		want       ahead
	}{
		{0, 0, ahead{32, 51}},   // empty: the middle, and the high-water mark
		{31, 10, ahead{32, 41}}, // what is not freed between two checkpoints counts
		{33, 0, ahead{51, 51}},
		{45, 16, ahead{45, 48}}, // over the mark: an eighth, and half, of the way to full
		{53, 0, ahead{53, 56}},
	} {
		if have := at(c.used, c.lead); have != c.want {
			t.Errorf("used %d, and %d more: %v, want %v", c.used, c.lead, have, c.want)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		capacity := rapid.Int64Range(journalMin-journal.PageSize, 1<<45).Draw(t, "capacity")
		used := rapid.Int64Range(0, capacity).Draw(t, "used")
		level := used + rapid.Int64Range(0, capacity/4).Draw(t, "lead")
		freed := rapid.Uint64Range(0, 1<<50).Draw(t, "freed")
		high, full := levels(capacity)
		a := lookAhead(journal.Usage{Used: used, Capacity: capacity}, level, high, full, journal.Position(freed), journal.Position(freed+uint64(used)))
		left := func(p journal.Position) int64 { return int64(p) - int64(freed) - used }
		step := (full - high) / 8
		if left(a.kick) < step || a.hold < a.kick || left(a.hold) > max(high-used, 4*step) {
			t.Fatalf("looked at after %d bytes, held after %d; the mark is %d ahead, a step %d", left(a.kick), left(a.hold), high-level, step)
		}
	})
}

// fastHost is a model of a host that fills a master journal faster than clocks tick, in virtual time.
type fastHost struct {
	capacity, host, link float64 // bytes, and bytes per second
	step                 float64 // bytes between two checkpoints of the peer
	delay                float64 // seconds from the end of such a step until the journal is freed of it
	byPosition           bool    // looks come by position as well

	meter                  drainMeter
	written, taken, freed  float64
	limit, tokens          float64
	kick, hold             float64
	held                   bool
	blocked                int     // writes that found no room
	pause                  float64 // longest time without a write
	most                   float64
	frees                  []freeing
	stepped, nextLook, now float64
	kicked                 float64 // when a look was asked for, or infinity
}

type freeing struct{ at, upTo float64 }

const (
	fastDt    = 20e-6
	fastWrite = 64 << 10
	fastReact = 1e-3 // seconds from a kick to the look: a loop that is woken late
)

func (m *fastHost) run(seconds float64) {
	if m.nextLook == 0 {
		m.kick, m.hold, m.kicked, m.nextLook = math.Inf(1), math.Inf(1), math.Inf(1), fastDt
	}
	last, credit := m.now, 0.0
	m.blocked, m.pause, m.most = 0, 0, 0
	for end := m.now + seconds; m.now < end; m.now += fastDt {
		m.taken = min(m.written, m.taken+m.link*fastDt)
		if m.taken-m.stepped >= m.step {
			m.stepped = m.taken
			m.frees = append(m.frees, freeing{m.now + m.delay, m.taken})
		}
		for len(m.frees) > 0 && m.frees[0].at <= m.now {
			m.freed, m.frees = m.frees[0].upTo, m.frees[1:]
		}
		if m.now >= m.nextLook || m.now >= m.kicked+fastReact {
			m.look()
		}
		credit = min(credit+m.host*fastDt, 16*fastWrite)
		m.tokens = min(m.tokens+m.limit*fastDt, recordMax)
		for credit >= fastWrite && !m.held && (m.limit == 0 || m.tokens >= fastWrite) {
			if m.written-m.freed+fastWrite > m.capacity {
				m.blocked++
				break
			}
			m.written, credit, m.tokens = m.written+fastWrite, credit-fastWrite, m.tokens-fastWrite
			m.pause, last = max(m.pause, m.now-last), m.now
			if m.written > m.kick || m.written > m.hold {
				m.kicked = min(m.kicked, m.now)
			}
			m.held = m.held || m.written > m.hold
		}
		m.most = max(m.most, m.written-m.freed)
	}
	m.pause = max(m.pause, m.now-last)
}

func (m *fastHost) look() {
	high, full := levels(int64(m.capacity))
	u := journal.Usage{Used: int64(m.written - m.freed), Capacity: int64(m.capacity)}
	freed := journal.Position(m.freed)
	level := m.meter.sample(u, journal.Position(m.taken), freed, m.taken < m.written, time.Unix(1, int64(m.now*1e9)))
	m.limit, m.held, m.kicked = m.meter.limit(level, high, full), false, math.Inf(1)
	if m.limit == 0 {
		m.tokens = recordMax
	}
	m.nextLook = m.now + pressureIdle.Seconds()
	if u.Used > u.Capacity/2 {
		m.nextLook = m.now + pressureBusy.Seconds()
	}
	if m.byPosition {
		a := lookAhead(u, level, high, full, freed, journal.Position(m.written))
		m.kick, m.hold = float64(a.kick), float64(a.hold)
	}
}

// TestFastHostOnSmallJournal: hosts that could fill the journal in some milliseconds come to the pace of the link, and find room at any moment,
// because the journal is looked at by position; looked at by the clock alone it is full before anybody sees that it fills.
func TestFastHostOnSmallJournal(t *testing.T) {
	const mib = 1 << 20
	for name, m := range map[string]fastHost{
		"16 MiB, 1 MB/s":   {capacity: 16 * mib, host: 2e9, link: 1e6, step: 2 * mib, delay: 0.06},
		"16 MiB, 30 MB/s":  {capacity: 16 * mib, host: 2e9, link: 30e6, step: 2 * mib, delay: 0.06},
		"16 MiB, 100 MB/s": {capacity: 16 * mib, host: 2e9, link: 100e6, step: 2 * mib, delay: 0.02},
		"64 MiB, 30 MB/s":  {capacity: 64 * mib, host: 3e9, link: 30e6, step: 8 * mib, delay: 0.06},
		"64 MiB, 300 MB/s": {capacity: 64 * mib, host: 3e9, link: 300e6, step: 8 * mib, delay: 0.04},
		"1 GiB, 300 MB/s":  {capacity: 1024 * mib, host: 3e9, link: 300e6, step: 128 * mib, delay: 0.1},
	} {
		t.Run(name, func(t *testing.T) {
			m.byPosition = true
			for _, phase := range []struct {
				name    string
				seconds float64
			}{{"at first", 2}, {"settled", 10}} {
				before := m.written
				m.run(phase.seconds)
				rate := (m.written - before) / phase.seconds
				t.Logf("%s: hosts write %.1f MB/s, longest pause %.0f ms, use up to %.1f MiB", phase.name, rate/1e6, 1e3*m.pause, m.most/mib)
				if m.blocked > 0 {
					t.Errorf("%s: %d writes found no room", phase.name, m.blocked)
				}
				if phase.name == "settled" && (rate < 0.8*m.link || m.pause > 0.01+8*fastWrite/m.link) {
					t.Errorf("%s: hosts write %.1f MB/s over a link of %.1f, the longest pause is %.0f ms", phase.name, rate/1e6, m.link/1e6, 1e3*m.pause)
				}
			}
		})
	}
	m := fastHost{capacity: 16 * mib, host: 2e9, link: 30e6, step: 2 * mib, delay: 0.06}
	if m.run(2); m.blocked == 0 {
		t.Error("looked at by the clock alone the journal has room at any moment: what is this test for?")
	}
}

// TestPacerHolds: what comes to a pacer that holds waits until a rate is set, or none; a hold by who must not wait costs no lock.
func TestPacerHolds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPacer(recordMax)
		ended := make(chan error, 3)
		pass := func(ctx context.Context) { ended <- p.wait(ctx, 4096) }
		for _, rate := range []float64{0, 1e6} {
			p.hold()
			ctx, cancel := context.WithCancel(t.Context())
			go pass(t.Context())
			go pass(t.Context())
			go pass(ctx)
			synctest.Wait()
			if len(ended) != 0 {
				t.Fatal("something passed")
			}
			cancel()
			if err := <-ended; err == nil {
				t.Fatal("a write that was given up passed")
			}
			p.set(rate)
			for range 2 {
				must(t, <-ended)
			}
			p.set(0)
		}
	})
}

// TestSmallJournalHasRoom: hosts that write as fast as they can to a journal of the smallest size, over a line that carries less, are slowed and
// never find it without room.
func TestSmallJournalHasRoom(t *testing.T) {
	t.Parallel()
	d, w, rng := differ(t)
	ctx := context.Background()
	must(t, d.a.site.SetGroup(ctx, "g", map[string]string{"inflow-control": "yes", "overflow-watch": "600s", "line-speed": "30M"}))
	for range 64 { // MiB, into a journal of 16
		must(t, w.write(ctx, rng.IntN(2), int64(rng.IntN(700)), 256, false))
	}
	if g := d.a.groupStatus("g"); g.WaitedRoom > 0 {
		t.Errorf("%d writes waited for room", g.WaitedRoom)
	}
	if len(d.a.told("group/g", "slowed")) == 0 {
		t.Error("hosts were not slowed")
	}
	must(t, d.a.site.SetGroup(ctx, "g", map[string]string{"line-speed": "none"}))
	d.a.suspend("g", SuspendOptions{}, "x", "y")
	w.check(d.b, everyAck)
}
