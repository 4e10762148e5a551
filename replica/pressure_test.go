package replica

import (
	"testing"
	"time"

	"pairfs/journal"
)

// drained is a model of a master journal: hosts write what they may, a link takes what it can, checkpoints free what was taken.
type drained struct {
	capacity, host, link, freed, taken, written, step float64

	meter drainMeter
	now   time.Time
	over  bool
	turns int // how often over changed
}

// run lets some seconds pass and returns the least and the most use, and the least and the most rate of hosts.
func (d *drained) run(seconds float64) (least, most, slowest, fastest float64) {
	const tick = 0.02
	high, full := levels(int64(d.capacity))
	least, slowest = d.capacity, d.host
	for ; seconds > 0; seconds -= tick {
		d.now = d.now.Add(time.Duration(tick * float64(time.Second)))
		d.taken = min(d.written, d.taken+d.link*tick)
		if d.taken-d.freed >= d.step {
			d.freed = d.taken
		}
		u := journal.Usage{Used: int64(d.written - d.freed), Capacity: int64(d.capacity)}
		level := d.meter.sample(u, journal.Position(d.taken), journal.Position(d.freed), d.taken < d.written, d.now)
		if over := overMark(d.over, u.Used, level, high, full); over != d.over {
			d.over = over
			d.turns++
		}
		rate := d.host
		if limit := inflowRate(d.meter.rate, level, high, full); limit > 0 {
			rate = min(rate, limit)
		}
		rate = min(rate, (d.capacity-float64(u.Used))/tick)
		d.written += rate * tick
		least, most = min(least, float64(u.Used)), max(most, float64(u.Used))
		slowest, fastest = min(slowest, rate), max(fastest, rate)
	}
	return least, most, slowest, fastest
}

// TestInflowSettles: hosts that write more than the link takes come to its pace and stay there, though the journal is freed in steps that
// are larger than the way from the high-water mark to full; when they write less the journal is below its mark again, told once.
func TestInflowSettles(t *testing.T) {
	const mib = 1 << 20
	for name, d := range map[string]*drained{
		"16 MiB":                {capacity: 16 * mib, host: 20 * mib, link: mib, step: 2 * mib},
		"32 MiB":                {capacity: 32 * mib, host: 16 * mib, link: 4 * mib, step: 5 * mib},
		"32 MiB, fast hosts":    {capacity: 32 * mib, host: 500 * mib, link: 4 * mib, step: 5 * mib},
		"1 GiB":                 {capacity: 1024 * mib, host: 500 * mib, link: 100 * mib, step: 140 * mib},
		"1 GiB over a slow one": {capacity: 1024 * mib, host: 500 * mib, link: 2 * mib, step: 6 * mib},
	} {
		t.Run(name, func(t *testing.T) {
			d.now = time.Unix(1, 0)
			d.run(60)
			_, full := levels(int64(d.capacity))
			least, most, slowest, fastest := d.run(30)
			t.Logf("settled: use %.1f–%.1f MiB of %.0f, full at %.1f, hosts at %.2f–%.2f MiB/s of %.0f", least/mib, most/mib, d.capacity/mib, float64(full)/mib, slowest/mib, fastest/mib, d.link/mib)
			if most >= float64(full) {
				t.Errorf("the journal is used up to %.1f MiB, it is full at %.1f", most/mib, float64(full)/mib)
			}
			if slowest < d.link/2 || fastest > d.link*2 {
				t.Errorf("hosts write at %.2f to %.2f MiB/s, the link takes %.2f", slowest/mib, fastest/mib, d.link/mib)
			}
			d.host = d.link / 4
			d.run(2 * d.capacity / d.link)
			if d.over || d.turns != 2 {
				t.Errorf("over=%v after %d changes, want 2", d.over, d.turns)
			}
		})
	}
}
