package replica

import (
	"sync"
	"sync/atomic"
	"time"

	"pairfs/journal"
)

// The usage monitor. Where something happens a counter is raised and nothing else: on the path of a host write one addition to a line of
// memory that the write changes anyway. Once a second each group's counters are looked at; what follows from two looks is kept for a
// minute, samples of the lag for five.
const (
	usageTick  = time.Second     // between two looks
	usageStep  = 5 * time.Second // between two values that are kept: 32,768 pairs take 15 MiB at most
	usageSteps = 12 + 1          // kept: rates are those of the last minute
	lagSamples = 300             // lags that are kept: of five minutes, so that the 99th percentile leaves three out
)

// Usage is what a group did lately, as [GroupStatus] shows it. Rates are means of Window, per second.
type Usage struct {
	Window       time.Duration // that the rates are of: a minute, less after a start
	HostWrites   float64       // writes of hosts
	HostBytes    float64       // bytes of them
	CopyRate     float64       // bytes that copies brought into step
	Requests     float64       // read-journal requests: made (secondary), answered (primary)
	Carried      float64       // bytes of records received (secondary), sent (primary)
	Replies      uint64        // since start: how often the response time was measured
	Reply        time.Duration // mean response time in Window, 0 where none was measured. Secondary: from a request, or the batch before it, to a batch, while the primary had more; primary: from durable here to durable there
	ReplyMax     time.Duration // longest one in Window
	RestoreRate  float64       // bytes written to the stores
	HeaderBytes  int64         // part of the journal in use that is headers of records, to within 64 KiB
	LagTime      LagTimes      // of the last five minutes, sampled each second in which it was known; 0 where nothing was outstanding
	LagBytes     LagBytes
	Paths        int    // connections over which the mirror's batches go now, 0 without a mirror
	Different    int64  // bytes that the bitmaps of all pairs mark now
	Reconnects   uint64 // since start: how often the mirror came up again
	BadChecksums uint64 // since start: records, batches and reads whose checksum was wrong
}

// LagTimes are quantiles of the age of the oldest record that the peer does not hold.
type LagTimes struct{ P50, P99, Max time.Duration }

// LagBytes are quantiles of the journal bytes that the peer does not hold.
type LagBytes struct{ P50, P99, Max int64 }

// PairUsage is what one pair did lately, as [PairStatus] shows it. Rates are per second, means of the window of its group.
type PairUsage struct {
	HostWrites float64  // writes of hosts to the volume here
	HostBytes  float64  // bytes of them
	CopyRate   float64  // bytes that the copy brought into step
	LagTime    LagTimes // of the last five minutes, sampled each second in which the pair was replicated and it was known; to within 0.1 %
	LagBytes   LagBytes
}

// usageMeter counts for one group. The counters may be raised from any goroutine; the rest is guarded by mu, which is innermost.
type usageMeter struct {
	requests, restored, damaged, links atomic.Uint64
	moved                              atomic.Bool // the mirror came up or went down before
	replies, replyNanos, replyMax      atomic.Uint64

	mu       sync.Mutex
	at       time.Time // of the last look
	total    groupCounts
	steps    series[groupCounts]
	lagTime  window
	lagBytes window
	probe    journal.Seq // primary: number whose way to the peer is being timed, 0 for none
	probeAt  time.Time
}

// groupCounts are counters of a group at one look, since its start.
type groupCounts struct {
	pairCounts
	requests, carried, restored, replies, replyNanos uint64
	replyMax                                         uint64 // longest between this step and the one before it
}

// pairCounts are counters of a pair at one look, since its start.
type pairCounts struct{ writes, bytes, copied uint64 }

// pairMeter counts for one pair. Guarded by group.mu, but for received.
type pairMeter struct {
	received atomic.Uint64 // secondary: bytes of volume that base records brought
	host     uint64        // what the counter of host writes showed at the last look
	base     uint64        // what received showed
	left     int64         // primary in COPY: bytes that were still to copy; else -1 or 0
	total    pairCounts
	steps    series[pairCounts]
	lagTime  lagWindow
	lagBytes lagWindow
}

// look takes what happened since the last look. left is what is still to copy, -1 where nothing is copied. Requires group.mu.
func (m *pairMeter) look(now time.Time, host uint64, left int64) (d pairCounts) {
	d.writes, d.bytes = hostWrites(host - m.host)
	base := m.received.Load()
	d.copied = base - m.base
	if left >= 0 && m.left > left {
		d.copied += uint64(m.left - left)
	}
	m.host, m.base, m.left = host, base, left
	m.total.add(d)
	if at, ok := m.steps.newest(); !ok || now.Sub(at) >= usageStep {
		m.steps.push(now, m.total)
	}
	return d
}

func (c *pairCounts) add(d pairCounts) {
	c.writes, c.bytes, c.copied = c.writes+d.writes, c.bytes+d.bytes, c.copied+d.copied
}

// picture returns the rates up to the last look. Requires group.mu.
func (m *pairMeter) picture(now time.Time) (u PairUsage) {
	if at, was, ok := m.steps.oldest(); ok {
		d := now.Sub(at)
		u.HostWrites, u.HostBytes = perSecond(was.writes, m.total.writes, d), perSecond(was.bytes, m.total.bytes, d)
		u.CopyRate = perSecond(was.copied, m.total.copied, d)
	}
	t, b := m.lagTime.quantiles(), m.lagBytes.quantiles()
	u.LagTime = LagTimes{time.Duration(t[0]), time.Duration(t[1]), time.Duration(t[2])}
	u.LagBytes = LagBytes{b[0], b[1], b[2]}
	return u
}

// begin starts the window, so that what comes before the first look counts.
func (m *usageMeter) begin(now time.Time) {
	m.at = now
	m.steps.push(now, groupCounts{})
}

// changed takes note that the mirror came up or went down, and returns whether it ever did before.
func (m *usageMeter) changed(up bool) bool {
	if up {
		m.links.Add(1)
	}
	return m.moved.Swap(true)
}

// replied counts one response time.
func (m *usageMeter) replied(d time.Duration) {
	n := uint64(max(d, 0))
	m.replyNanos.Add(n)
	m.replies.Add(1)
	for old := m.replyMax.Load(); n > old && !m.replyMax.CompareAndSwap(old, n); old = m.replyMax.Load() {
	}
}

// look takes what happened since the last look: pairs is that of all pairs, carried the bytes that went over the mirror since the start.
func (m *usageMeter) look(now time.Time, pairs pairCounts, carried uint64, l lag) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.at = now
	m.total.add(pairs)
	m.total.requests, m.total.carried, m.total.restored = m.requests.Load(), carried, m.restored.Load()
	m.total.replies, m.total.replyNanos = m.replies.Load(), m.replyNanos.Load()
	if !l.unknown {
		m.lagTime.add(int64(l.time), lagSamples)
		m.lagBytes.add(l.bytes, lagSamples)
	}
	if at, ok := m.steps.newest(); !ok || now.Sub(at) >= usageStep {
		m.total.replyMax = m.replyMax.Swap(0)
		m.steps.push(now, m.total)
	}
}

// picture returns what is known up to the last look.
func (m *usageMeter) picture() Usage {
	m.mu.Lock()
	defer m.mu.Unlock()
	u := Usage{
		Replies: m.replies.Load(), BadChecksums: m.damaged.Load(), Reconnects: max(m.links.Load(), 1) - 1,
		LagTime: LagTimes{
			time.Duration(m.lagTime.quantile(0.5)), time.Duration(m.lagTime.quantile(0.99)), time.Duration(m.lagTime.quantile(1)),
		},
		LagBytes: LagBytes{m.lagBytes.quantile(0.5), m.lagBytes.quantile(0.99), m.lagBytes.quantile(1)},
	}
	at, was, ok := m.steps.oldest()
	if !ok {
		return u
	}
	now, d := m.total, m.at.Sub(at)
	u.Window = d
	u.HostWrites, u.HostBytes = perSecond(was.writes, now.writes, d), perSecond(was.bytes, now.bytes, d)
	u.CopyRate = perSecond(was.copied, now.copied, d)
	u.Requests, u.Carried = perSecond(was.requests, now.requests, d), perSecond(was.carried, now.carried, d)
	u.RestoreRate = perSecond(was.restored, now.restored, d)
	if n := now.replies - was.replies; n > 0 {
		u.Reply = time.Duration((now.replyNanos - was.replyNanos) / n)
	}
	longest := m.replyMax.Load()
	for i := 1; i < m.steps.n; i++ { // what the oldest step has is older than the window
		longest = max(longest, m.steps.v[(m.steps.next-m.steps.n+i+usageSteps)%usageSteps].replyMax)
	}
	u.ReplyMax = time.Duration(longest)
	return u
}
