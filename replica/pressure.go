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

// levels gives the high-water mark and the mark at which a journal of that capacity counts as full, in bytes.
func levels(capacity int64) (high, full int64) {
	full = capacity - max(capacity/10, overflowReserve)
	return min(capacity/10*8, full-max(full/16, pressureBand)), full
}

// inflowRate is what hosts may write, in bytes per second, when a journal in use as far as used gets rid of drain bytes per second: four
// times that at the high-water mark, just that in the middle between it and full, a quarter when it is full. So the journal settles in the
// middle, and hosts come to that pace without a step that they would notice as a stall. 0 is no limit.
func inflowRate(drain float64, used, high, full int64) float64 {
	if used < high {
		return 0
	}
	p := min(float64(used-high)/float64(full-high), 1)
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

// drainMeter measures how fast a journal is freed, in bytes per second, over some seconds: it is freed by checkpoints, in steps.
type drainMeter struct {
	freed journal.Position
	at    time.Time
	rate  float64
}

func (d *drainMeter) sample(freed journal.Position, now time.Time) {
	took := now.Sub(d.at).Seconds()
	if d.at.IsZero() || took <= 0 {
		d.freed, d.at = freed, now
		return
	}
	share := 1 - math.Exp(-took/drainMeterTime.Seconds())
	d.rate += share * (float64(freed-d.freed)/took - d.rate)
	d.freed, d.at = freed, now
}

// pressureLoop watches how full the journal is, more often when it fills.
func (g *group) pressureLoop() {
	tick := time.NewTicker(pressureIdle)
	defer tick.Stop()
	var d drainMeter
	busy := false
	for {
		blocked := false
		select {
		case <-g.ctx.Done():
			return
		case <-g.blockedReq:
			blocked = true
		case <-tick.C:
		}
		u, m := g.journal.Usage(), g.journal.Marks()
		d.sample(m.Freed, time.Now())
		g.weigh(u, d.rate, blocked)
		if now := u.Used > u.Capacity/2; now != busy {
			busy = now
			tick.Reset(map[bool]time.Duration{false: pressureIdle, true: pressureBusy}[busy])
		}
	}
}

// weigh sets the pace of hosts and reports what a full journal means.
func (g *group) weigh(u journal.Usage, drain float64, blocked bool) {
	o := g.opts.Load()
	high, full := levels(u.Capacity)
	g.mu.Lock()
	g.drainRate = drain
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
	over := u.Used >= high && replicated > 0
	changed := over != g.over
	g.over = over
	g.mu.Unlock()
	limit := 0.0
	if f.inflow {
		limit = inflowRate(drain, u.Used, high, full)
	}
	g.pace(limit)
	if changed {
		g.tellPressure(over, o.InflowControl)
	}
}

// reportFull reports it of every pair that is replicated. Requires mu.
func (g *group) reportFull(in Input) {
	text := fmt.Sprintf("the journal of group %s was full: hosts go on, differences are marked; resync when the link can keep up, or enlarge the journal", g.name)
	for _, p := range g.pairs {
		if p.rec.State.Status.active() {
			g.report(fact{pair: p.name, input: in, text: text})
		}
	}
}

// pace slows the hosts of the group's volumes to so many bytes per second, or lets them go if it is 0.
func (g *group) pace(limit float64) {
	if limit == 0 && !g.slow.on.Load() {
		return
	}
	g.slow.set(limit)
	g.mu.Lock() // a volume that leaves the group meanwhile is not slowed any more
	defer g.mu.Unlock()
	for _, a := range g.members {
		if limit > 0 {
			a.vol.slow.Store(g.slow)
		} else {
			a.vol.slow.Store(nil)
		}
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
