package replica

import (
	"time"

	"pairfs/quicwire"
)

// How many further paths a feed session has: it looks at what they carry, and asks the secondary for more or lets some go.

// pathMark is a moment of a session.
type pathMark struct {
	at    time.Time
	sent  uint64
	busy  time.Duration
	ready int32
}

// steer looks at what the paths carry when it is time, and asks for more or lets some go.
func (f *feedSession) steer() error {
	p := &f.paths
	if f.knows&quicwire.FeaturePaths == 0 {
		return nil
	}
	now, option := time.Now(), f.g.opts.Load().Paths
	if option == p.option && now.Before(p.due) {
		return nil
	}
	if option != p.option {
		if p.option > 0 {
			p.plan = newPathPlan(p.option) // what was set is as good a guess as any
		}
		p.option, p.mark = option, pathMark{}
	}
	rtt := f.stream.RTT()
	p.due = now.Add(max(pathLook, pathLookTrips*rtt))
	want := p.option
	if want == 0 {
		want = f.judge(now, rtt)
		f.g.mu.Lock()
		f.g.pathsGood = p.plan.worth()
		f.g.mu.Unlock()
	}
	return f.provide(want, now)
}

// judge takes a sample, if the time since the last look is one, and returns how many paths are wanted.
func (f *feedSession) judge(now time.Time, rtt time.Duration) int {
	p := &f.paths
	was := p.mark
	p.mark = pathMark{now, f.sent.Load(), p.busy, p.ready.Load()}
	p.mu.Lock()
	missing := p.asked
	p.mu.Unlock()
	switch {
	case missing > 0 && now.Sub(p.since) < pathWait:
		p.due = now.Add(pathAsk)
		return p.plan.now
	case missing > 0:
		return p.plan.fewer(int(p.mark.ready), now)
	case was.at.IsZero():
		return p.plan.now
	case was.ready != p.mark.ready:
		p.due = now.Add(max(pathSettle, pathSettleTrips*rtt))
		p.mark.at = time.Time{} // a new one is left alone before
		return p.plan.now
	}
	d := now.Sub(was.at).Seconds()
	return p.plan.look(pathSample{at: now, rtt: rtt, rate: float64(f.sent.Load()-was.sent) / d, busy: (p.busy - was.busy).Seconds() / d})
}

// provide asks for the paths that are missing, or lets some go. One path is the mirror stream; more are all further ones.
func (f *feedSession) provide(n int, now time.Time) error {
	p := &f.paths
	if n == 1 {
		n = 0
	}
	if n > 0 && p.memory.Load() == 0 {
		if p.memory.Store(f.g.site.paths.take()); p.memory.Load() == 0 {
			p.plan.fewer(1, now)
			n = 0 // other mirrors have all there is
		}
	}
	missing := p.change(n, now)
	if missing == 0 {
		return nil
	}
	p.due = now.Add(pathAsk)
	f.stream.Provide(n)
	for i := range missing {
		if err := f.stream.Send(f.ctx, &quicwire.MirrorPath{Session: f.id, Path: uint8(n - i)}); err != nil {
			return err
		}
	}
	return nil
}

// change lets go of paths beyond n, or returns how many are to be asked for. A peer that cannot open them is not asked again and again.
func (p *feedPaths) change(n int, now time.Time) (missing int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.asked > 0 && now.Sub(p.since) >= pathWait {
		p.asked = 0 // one that comes yet is taken
		p.again = now.Add(pathPauseMin)
	}
	p.want = n
	have := len(p.streams) - p.leaving
	for ; have > n; have-- {
		p.leaving++
		p.ready.Add(-1)
		p.retire <- struct{}{} // as many as there are paths fit
	}
	if missing = min(n-have, quicwire.MaxPaths-len(p.streams)) - p.asked; missing <= 0 || now.Before(p.again) {
		return 0
	}
	p.asked += missing
	p.since = now
	return missing
}
