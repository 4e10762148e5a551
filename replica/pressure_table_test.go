package replica

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"pairfs/journal"
)

// TestLevels: the high-water mark is 80 % and full 90 % of a journal, less in a small one, so that there is a way between them and a rest
// behind them.
func TestLevels(t *testing.T) {
	for _, c := range []struct{ capacity, high, full int64 }{
		{1000 << 20, 800 << 20, 900 << 20},
		{40 << 20, 32 << 20, 36 << 20},
		{32 << 20, 32 << 20 / 10 * 8, 28 << 20},
		{16 << 20, 10 << 20, 12 << 20},
	} {
		if high, full := levels(c.capacity); full != c.full || max(high-c.high, c.high-high) > 16 {
			t.Errorf("a journal of %d: %d and %d, want %d and %d", c.capacity, high, full, c.high, c.full)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		capacity := rapid.Int64Range(journalMin-journal.PageSize, volumeMax).Draw(t, "capacity")
		high, full := levels(capacity)
		if high < capacity/2 || high > capacity/10*8 || full-high < pressureBand || capacity-full < overflowReserve || capacity-full < capacity/10 {
			t.Fatalf("a journal of %d: high-water mark %d, full %d", capacity, high, full)
		}
	})
}

// TestInflowRate: no limit below the high-water mark; then never more than four times what the journal gets rid of, just that in the middle,
// a quarter of it when it is full, falling all the way, and never a stall.
func TestInflowRate(t *testing.T) {
	const drain, high, full = 64 << 20, 80 << 20, 90 << 20
	for used, want := range map[int64]float64{0: 0, high - 1: 0, high: 4 * drain, (high + full) / 2: drain, full: drain / 4, full + 1<<20: drain / 4} {
		if have := inflowRate(drain, used, high, full); have != want {
			t.Errorf("%d used: %v, want %v", used, have, want)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		capacity := rapid.Int64Range(journalMin, 1<<40).Draw(t, "capacity")
		high, full := levels(capacity)
		drain := rapid.Float64Range(0, 1e10).Draw(t, "drain")
		used := rapid.Int64Range(0, capacity).Draw(t, "used")
		more := rapid.Int64Range(used, capacity).Draw(t, "more")
		rate, less := inflowRate(drain, used, high, full), inflowRate(drain, more, high, full)
		switch {
		case used < high && rate != 0:
			t.Fatalf("hosts are slowed to %v below the high-water mark", rate)
		case used >= high && (rate < inflowMin || rate > max(4*drain, inflowMin)):
			t.Fatalf("the rate is %v at a drain of %v", rate, drain)
		case used >= high && less > rate:
			t.Fatalf("the rate rises from %v to %v as the journal fills", rate, less)
		case used >= full && drain > 4*inflowMin && rate >= drain:
			t.Fatalf("a full journal lets hosts write %v, it gets rid of %v", rate, drain)
		}
	})
}

// TestJudge is the table of what a full journal means.
func TestJudge(t *testing.T) {
	const watch = time.Minute
	for _, c := range []struct {
		what string
		f    fullness
		in   Input
		ok   bool
	}{
		{"not full", fullness{used: 99, full: 100, linked: true}, 0, false},
		{"not full, inflow control", fullness{used: 99, full: 100, linked: true, inflow: true, watch: watch}, 0, false},
		{"full", fullness{used: 100, full: 100, linked: true}, EvOverflow, true},
		{"full, the link is down", fullness{used: 100, full: 100}, EvFull, true},
		{"full, draining already", fullness{used: 100, full: 100, linked: true, draining: true}, 0, false},
		{"full, inflow control", fullness{used: 100, full: 100, linked: true, inflow: true, watch: watch, fullFor: watch - 1}, 0, false},
		{"full for long, inflow control", fullness{used: 100, full: 100, linked: true, inflow: true, watch: watch, fullFor: watch}, EvOverflow, true},
		{"full for long, inflow control, the link is down", fullness{used: 100, full: 100, inflow: true, watch: watch, fullFor: watch}, EvFull, true},
		{"full, inflow control, no watch", fullness{used: 100, full: 100, linked: true, inflow: true}, EvOverflow, true},
		{"no room", fullness{used: 100, full: 100, linked: true, blocked: true}, EvFull, true},
		{"no room before it is full", fullness{used: 98, full: 100, linked: true, blocked: true}, EvFull, true},
		{"no room, draining", fullness{used: 100, full: 100, linked: true, draining: true, blocked: true}, EvFull, true},
		{"no room, inflow control", fullness{used: 100, full: 100, linked: true, inflow: true, watch: watch, fullFor: watch - 1, blocked: true}, 0, false},
		{"no room for long, inflow control", fullness{used: 100, full: 100, linked: true, inflow: true, watch: watch, fullFor: watch, blocked: true}, EvFull, true},
	} {
		if in, ok := c.f.judge(); ok != c.ok || ok && in != c.in {
			t.Errorf("%s: %s, %v, want %s, %v", c.what, in, ok, c.in, c.ok)
		}
	}
}
