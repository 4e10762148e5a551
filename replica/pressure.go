package replica

import (
	"fmt"
	"log/slog"
	"math"
	"time"

	"pairfs/journal"
)

// A master journal that fills faster than the peer takes it is dealt with in steps, by the reference's rules:
//
//	over its high-water mark, 80 %    PFUL is shown; with inflow control host writes are slowed to what the journal gets rid of
//	full, 90 %, without inflow        the pairs are suspended: what the peer can use is still sent to it while hosts go on in the rest
//	control, or for longer than       (Suspending, JNL overflow), then the pairs are PFUS
//	data overflow watch with it
//	no room left                      what the journal holds for the peer is marked in the bitmaps and goes: PFUS
//
// The last tenth, at least overflowReserve, is what hosts write into while the rest drains.
//
// What inflow control comes to was measured with hosts that write 20 MB/s or as fast as they can, 33 KB in the mean and up to 1 MiB, over a
// link that a token bucket holds at a rate (e2e TestInflowControl), after the one or two seconds in which it settles:
//
//	journal    link       hosts write    p50      p99       longest without a write    journal in use
//	16 MiB      1 MB/s     0.9 MB/s      90 ms    1200 ms   980 ms                      8–11 MiB
//	16 MiB     30 MB/s    29   MB/s       1 ms      37 ms    60 ms                      5–11 MiB
//	32 MiB      4 MB/s     3.7 MB/s      27 ms     260 ms   270 ms                     21–28 MiB
//	64 MiB      4 MB/s     3.8 MB/s      27 ms     290 ms   290 ms                     45–55 MiB
//	64 MiB     30 MB/s    28   MB/s       3 ms      42 ms    45 ms                     37–55 MiB
//	256 MiB    30 MB/s    28   MB/s       3 ms      42 ms    45 ms                    183–218 MiB
//
// The longest times are those of a write of 1 MiB and of who comes after it: at the rate of the link it takes that long. What keeps a small
// journal smooth over a fast link (e2e TestInflowSmallJournal) is that nothing waits for a clock: the peer makes a checkpoint when an eighth
// of it has arrived, this side when it hears of that, and hosts that fill it are looked at by position (pressure_ahead.go). By the clock alone
// a checkpoint freed half of 16 MiB at 30 MB/s: 21 MB/s, p99 90 ms, in use from 4 to 16 MiB.

// levels gives the high-water mark and the mark at which a journal of that capacity counts as full, in bytes.
func levels(capacity int64) (high, full int64) {
	full = capacity - max(capacity/10, overflowReserve)
	return min(capacity/10*8, full-max(full/16, pressureBand)), full
}

// overMark reports whether a journal counts as over its high-water mark: from the mark on, and until it is below by as much as the mark is
// below full, so that a use that goes up and down with checkpoints is not told of each time.
func overMark(was bool, used, level, high, full int64) bool {
	return used >= high || was && level >= high-(full-high)
}

// inflowRate is what hosts may write, in bytes per second, when a journal that is used up to level between two checkpoints gets rid of drain
// bytes per second: four times that at the high-water mark, just that in the middle between it and full, a quarter when it is full. So the
// journal settles in the middle, and hosts come to that pace without a step that they would notice as a stall. 0 is no limit.
func inflowRate(drain float64, level, high, full int64) float64 {
	if level < high {
		return 0
	}
	p := min(float64(level-high)/float64(full-high), 1)
	return max(drain*math.Pow(4, 1-2*p), inflowMin)
}

// fullness is what decides about a master journal whose pairs are replicated.
type fullness struct {
	used, full int64
	blocked    bool // a host write found no room
	linked     bool // the peer is pulling
	inflow     bool
	draining   bool          // every replicated pair is in Suspending
	fullFor    time.Duration // how long it has been full
	watch      time.Duration // data overflow watch
}

// judge says what a full journal means for its pairs; ok is false if nothing yet.
func (f fullness) judge() (in Input, ok bool) {
	switch {
	case f.used < f.full && !f.blocked:
		return 0, false
	case f.inflow && f.fullFor < f.watch:
		return 0, false // hosts are slowed
	case f.blocked:
		return EvFull, true
	case f.draining:
		return 0, false // there is room for hosts
	case !f.linked:
		return EvFull, true
	}
	return EvOverflow, true
}

// drainMeter measures how a journal drains. It is freed by checkpoints of both sides, in steps that may be larger than the way from the
// high-water mark to full. So the rate is that at which the peer comes to hold records, which moves with every batch, and what it holds and
// is not freed yet counts with the most that it was lately: hosts are paced evenly while the use goes up and down with the steps. It counts
// with a quarter of the journal more than it is at most, so that a journal that a burst has filled is not taken for full when it is free again.
type drainMeter struct {
	at    time.Time
	taken journal.Position // everything before is durable at the peer
	rate  float64          // bytes per second that it took while something waited for it
	busy  float64          // seconds in which something did

	since        time.Time // of most
	most, before int64     // bytes before taken that were not freed, at most in this heldTime and in the one before
}

// sample looks at a journal; waits says that it has something for the peer. It returns how far the use goes up between two steps.
func (d *drainMeter) sample(u journal.Usage, taken, freed journal.Position, waits bool, now time.Time) (level int64) {
	if took := now.Sub(d.at).Seconds(); waits && !d.at.IsZero() && taken >= d.taken && took > 0 {
		d.busy += took
		share := max(1-math.Exp(-took/drainMeterTime.Seconds()), took/d.busy)
		d.rate += share * (float64(taken-d.taken)/took - d.rate)
	}
	d.at, d.taken = now, taken
	held := int64(taken - freed)
	if now.Sub(d.since) > heldTime {
		d.since, d.before, d.most = now, d.most, 0
	}
	d.most = max(d.most, held)
	return u.Used + min(max(d.most, d.before)-held, u.Capacity/4)
}

// takenMark is up to where a peer has records, by the number and by its position.
type takenMark struct {
	seq journal.Seq
	pos journal.Position
}

// taken is the position before which the peer holds everything durably; the end of what is freed if it is to have nothing. last is what it was at
// the look before: the place of a record may have to be read from the disk, and a peer that is gone lacks the same one for long.
func (g *group) taken(m journal.Marks, last *takenMark) journal.Position {
	g.mu.Lock()
	active, seq := g.role == Primary && g.active(), g.peerDurable
	g.mu.Unlock()
	if !active {
		return m.Freed
	}
	if seq == last.seq && last.pos >= m.Freed && last.pos > 0 {
		return last.pos
	}
	pos, ok := g.journal.Locate(seq + 1)
	if *last = (takenMark{}); ok && pos < m.Durable { // else there is no such record yet, and where it will be is not known
		*last = takenMark{seq, pos}
	}
	return max(pos, m.Freed)
}

// limit is what hosts may write when a journal is used up to level, in bytes per second; 0 is no limit. One that has filled before it could be
// measured how it drains gets hosts to a pace at which that can be done before it is full.
func (d *drainMeter) limit(level, high, full int64) float64 {
	if d.busy < pressureBusy.Seconds() && level >= high {
		return max(float64(full-level)/(2*pressureBusy.Seconds()), inflowMin)
	}
	return inflowRate(d.rate, level, high, full)
}

// pressureLoop watches how full the journal is, more often when it fills, and when hosts come to positions that matter.
func (g *group) pressureLoop() {
	tick := time.NewTicker(pressureIdle)
	defer tick.Stop()
	defer g.disarm()
	var d drainMeter
	var last takenMark
	busy := false
	g.lookAtAges(g.journal.Marks().LastSeq, time.Now())
	for {
		blocked := false
		select {
		case <-g.ctx.Done():
			return
		case <-g.blockedReq:
			blocked = true
		case <-g.lookReq:
		case <-tick.C:
		}
		u, m := g.journal.Usage(), g.journal.Marks()
		taken := g.taken(m, &last)
		now := time.Now()
		level := d.sample(u, taken, m.Freed, taken < m.Durable, now)
		g.lookAtAges(m.LastSeq, now)
		watched, inflow := g.weigh(u, level, &d, blocked)
		high, full := levels(u.Capacity)
		g.arm(lookAhead(u, level, high, full, m.Freed, m.Reserved), watched, inflow)
		if now := u.Used > u.Capacity/2; now != busy {
			busy = now
			tick.Reset(map[bool]time.Duration{false: pressureIdle, true: pressureBusy}[busy])
		}
	}
}

// weigh sets the pace of hosts and reports what a full journal means. level is how far the use goes up between two checkpoints. It returns
// whether pairs are replicated, and with inflow control.
func (g *group) weigh(u journal.Usage, level int64, d *drainMeter, blocked bool) (watched, inflow bool) {
	o := g.opts.Load()
	high, full := levels(u.Capacity)
	g.mu.Lock()
	g.drainRate = d.rate
	replicated, draining := 0, 0
	for _, p := range g.pairs {
		switch {
		case p.rec.State.Role != Primary || g.journal.Err() != nil:
		case p.rec.State.Status == Suspending:
			draining++
		case p.rec.State.Status.active():
			replicated++
		}
	}
	switch {
	case u.Used < full && !blocked || replicated+draining == 0:
		g.fullSince = time.Time{}
	case g.fullSince.IsZero():
		g.fullSince = time.Now()
	}
	f := fullness{used: u.Used, full: full, blocked: blocked, linked: g.linked, inflow: o.InflowControl && replicated > 0, draining: replicated == 0, watch: o.OverflowWatch}
	if !g.fullSince.IsZero() {
		f.fullFor = time.Since(g.fullSince)
	}
	if in, ok := f.judge(); ok && replicated+draining > 0 {
		g.reportFull(in)
	}
	over := replicated > 0 && overMark(g.over, u.Used, level, high, full)
	changed := over != g.over
	g.over = over
	g.mu.Unlock()
	limit := 0.0
	if f.inflow {
		limit = d.limit(level, high, full)
	}
	g.pace(limit)
	if changed && replicated > 0 { // of pairs that were suspended it is told that they were
		g.tellPressure(over, o.InflowControl)
	}
	return replicated > 0, f.inflow
}

// reportFull reports it of every pair that is replicated. Requires mu.
func (g *group) reportFull(in Input) {
	text := fmt.Sprintf("the journal of group %s was full: hosts go on, differences are marked; resync when the link can keep up, or enlarge the journal", g.name)
	for _, p := range g.pairs {
		if p.rec.State.Status.active() {
			g.report(fact{pair: p, input: in, text: text})
		}
	}
}

// pace slows the hosts of the group's volumes to so many bytes per second, or lets them go if it is 0.
func (g *group) pace(limit float64) {
	if limit > 0 || g.slow.on.Load() {
		g.slow.set(limit)
	}
}

// tellPressure says that the high-water mark was passed.
func (g *group) tellPressure(over, inflow bool) {
	switch {
	case !over:
		g.site.events.add(slog.LevelInfo, g.object(), "the journal is below its high-water mark again")
	case inflow:
		g.site.events.add(slog.LevelWarn, g.object(), "the journal is over its high-water mark (PFUL): host writes are slowed to what the peer takes")
	default:
		g.site.events.add(slog.LevelWarn, g.object(), "the journal is over its high-water mark (PFUL): when it is full the pairs are suspended; inflow-control=yes would slow hosts instead")
	}
}
