package replica

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// TestWindowIsBruteForce compares quantiles with a sort of the newest values.
func TestWindowIsBruteForce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var w window
		size := rapid.IntRange(1, 40).Draw(t, "size")
		var all []int64
		for range rapid.IntRange(0, 120).Draw(t, "values") {
			v := rapid.Int64Range(-3, 20).Draw(t, "value")
			w.add(v, size)
			all = append(all, v)
			newest := slices.Sorted(slices.Values(all[max(0, len(all)-size):]))
			per := rapid.IntRange(1, 1000).Draw(t, "per mille")
			rank := (per*len(newest) + 999) / 1000 // rounded up
			if got := w.quantile(float64(per) / 1000); got != newest[max(rank, 1)-1] {
				t.Fatalf("quantile %d/1000 of %v is %d", per, newest, got)
			}
			if got := w.quantile(1); got != newest[len(newest)-1] {
				t.Fatalf("the largest of %v is %d", newest, got)
			}
		}
	})
	var none window
	if none.quantile(0.99) != 0 {
		t.Error("nothing has a quantile")
	}
}

// TestHostWriteCountsBoth: one counter has number and bytes, also across its own overflow.
func TestHostWriteCountsBoth(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		start := rapid.Uint64().Draw(t, "start")
		counter, writes, bytes := start, uint64(0), uint64(0)
		for _, n := range rapid.SliceOf(rapid.IntRange(0, recordMax)).Draw(t, "sizes") {
			counter += hostWrite(n)
			writes, bytes = writes+1, bytes+uint64(n)
		}
		if w, b := hostWrites(counter - start); w != writes || b != bytes {
			t.Fatalf("%d writes of %d bytes, want %d of %d", w, b, writes, bytes)
		}
	})
}

// TestRatesSlide looks once a second at counters that grow evenly, then stop: the rate is that of the last minute.
func TestRatesSlide(t *testing.T) {
	var m usageMeter
	var p pairMeter
	now := time.Unix(1000, 0)
	var host, carried uint64
	second := func(writes int) {
		for range writes {
			host += hostWrite(4096)
		}
		carried += uint64(writes) * 100
		m.requests.Add(uint64(writes))
		d := p.look(now, host, -1)
		m.look(now, d, carried, lag{time: time.Duration(writes) * time.Second, bytes: int64(writes)})
		now = now.Add(time.Second)
	}
	if u := m.picture(); u != (Usage{}) {
		t.Errorf("before the first look: %+v", u)
	}
	for range 200 {
		second(8)
	}
	at := now.Add(-time.Second)
	if u, q := m.picture(), p.picture(at); u.HostWrites != 8 || u.HostBytes != 8*4096 || u.Carried != 800 || u.Requests != 8 || u.Window != 64*time.Second ||
		q.HostWrites != 8 || q.HostBytes != 8*4096 {
		t.Errorf("%+v %+v", u, q)
	}
	if l := m.picture().LagTime; l.P50 != 8*time.Second || l.Max != 8*time.Second {
		t.Errorf("lag %+v", l)
	}
	for range lagSamples {
		second(0)
	}
	if u := m.picture(); u.HostWrites != 0 || u.HostBytes != 0 || u.LagTime != (LagTimes{}) || u.LagBytes != (LagBytes{}) {
		t.Errorf("of silence is left: %+v", u)
	}
}

// TestCopyRate: what is left of a copy only counts where it shrinks; what a resync marks is no progress backwards.
func TestCopyRate(t *testing.T) {
	var p pairMeter
	now := time.Unix(1000, 0)
	var copied uint64
	for _, left := range []int64{-1, 100, 40, 90, 0, -1, -1} {
		copied += p.look(now, 0, left).copied
	}
	p.received.Add(7)
	if copied += p.look(now, 0, -1).copied; copied != 60+90+7 {
		t.Errorf("%d bytes copied", copied)
	}
}

// TestReplyIsNoSilence: only batches that the primary had more of are timed, since the request that made room for them.
func TestReplyIsNoSilence(t *testing.T) {
	var m replyMeter
	at := func(s int) time.Time { return time.Unix(int64(s), 0) }
	m.asked(10, at(0))
	if d, ok := m.came(0, true, at(50)); ok {
		t.Errorf("the first batch took %v", d)
	}
	if d, ok := m.came(5, true, at(52)); !ok || d != 2*time.Second {
		t.Errorf("behind the batch before: %v, %v", d, ok)
	}
	m.asked(30, at(60))
	if d, ok := m.came(10, false, at(63)); !ok || d != 3*time.Second {
		t.Errorf("behind the request: %v, %v", d, ok)
	}
	if d, ok := m.came(20, true, at(99)); ok {
		t.Errorf("silence is %v", d)
	}
	for i := range 2 * replyGrants {
		m.asked(uint64(100+i), at(100))
	}
	if len(m.grants) > replyGrants {
		t.Errorf("%d requests are kept", len(m.grants))
	}
}

// TestUsageOfAPair writes to a pair and reads what both sides saw of it.
func TestUsageOfAPair(t *testing.T) {
	t.Parallel()
	d, w, rng := differ(t)
	w.some(rng, 50)
	usage := func(n *node, group string) Usage { return n.groupStatus(group).Usage }
	d.wait("the primary counts", func() bool {
		u := usage(d.a, "g")
		return u.HostWrites > 0 && u.HostBytes >= blockSize*u.HostWrites && u.Carried > 0 && u.Requests > 0 && u.Replies > 0 && u.HeaderBytes >= 0
	})
	d.wait("the secondary counts", func() bool {
		u := usage(d.b, "g@tokyo")
		return u.Carried > 0 && u.Requests > 0 && u.RestoreRate > 0 && u.HostWrites == 0
	})
	d.wait("the pair counts", func() bool { return d.a.status("x").Usage.HostWrites > 0 })
	d.cut()
	w.some(rng, 20)
	d.wait("the lag is seen", func() bool { u := usage(d.a, "g"); return u.LagTime.Max > 0 && u.LagBytes.Max > 0 })
	d.heal()
	d.wait("the mirror came up again", func() bool { return usage(d.a, "g").Reconnects > 0 })
	if n := usage(d.a, "g").BadChecksums + usage(d.b, "g@tokyo").BadChecksums; n != 0 {
		t.Errorf("%d wrong checksums", n)
	}
}

// BenchmarkUsageLook is one look at an idle group: once a second for each.
func BenchmarkUsageLook(b *testing.B) {
	s, _ := benchPair(b)
	g := s.groupByName("g")
	b.ReportAllocs()
	for b.Loop() {
		g.lookAtUsage(time.Now())
	}
}
