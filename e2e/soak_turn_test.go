package e2e

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"time"
)

// A takeover of a soak is asked for among faults, so what became of it is found out when they have ended. While both sides may have written, two
// streams are checked: that of the primary goes on from all that hosts wrote there, that of the S-VOLs from the prefix that had arrived. One is
// given up in the end, and from then on no check bears what it alone had; that was kept aside first.

// turnLimit is how long a takeover may wait for the primary.
const turnLimit = "timeout=20s"

// mayTurn reports whether the S-VOLs are the image of one prefix, whatever a takeover finds.
func (f *flow) mayTurn() bool {
	return f.inStep && !f.apart && !f.foreign && !f.turning && f.s.tries.ended()
}

// disaster kills the primary, under its hosts' writes or a while behind the last of them, takes over without it and lets hosts write the S-VOLs. Now
// and then their site dies as well.
func (f *flow) disaster() {
	f.s.t.Helper()
	if !f.mayTurn() || !f.from.up() || !f.to.up() {
		return
	}
	if f.s.chance(2) {
		f.main.halt()
		eventually(2*time.Second, f.drained)
	}
	f.turning, f.fenced = true, f.s.chance(2)
	f.s.kill(f.from)
	f.main.halt()
	f.s.note("takeover without the primary", f.to.Name)
	if err := f.to.Ctl(f.restoreGroup(), "takeover "+turnLimit); err != nil {
		f.s.tries.took(f.s, f.to, err)
		return
	}
	if _, to, known := f.roles(); known && to.taken {
		f.fork()
		f.write()
	}
	if f.s.chance(3) {
		f.s.moment(200 * time.Millisecond)
		f.s.kill(f.to)
	}
}

// exchange asks for a takeover while hosts write at the primary, and does not wait for its end.
func (f *flow) exchange() {
	if f.mayTurn() && f.to.up() {
		f.turning = true
		f.try(f.to, "takeover "+turnLimit, f.restoreGroup())
	}
}

// fork lets hosts go on from the prefix that the S-VOLs had when they were taken over.
func (f *flow) fork() {
	f.s.t.Helper()
	p, err := CheckFiles(f.main.h, f.to.Targets(f.size, f.volumes...), 0)
	if err == nil && p.Cut < f.cut {
		err = fmt.Errorf("the image went back from %d to %d", f.cut, p.Cut)
	}
	if err != nil {
		f.s.t.Fatalf("group %s, taken over at %s: %v", f.group, f.to.Name, err)
	}
	_, err = CheckFiles(f.main.h, f.to.Targets(f.size, f.volumes...), Always)
	f.branch = &stream{f: f, at: f.to, h: f.main.h.Fork(f.s.newRun(), p)}
	f.whole, f.base = err == nil, f.branch.h.Len()
	f.s.did("takeovers", 1)
	if !f.whole {
		f.s.did("takeovers that lack something", 1)
	}
}

// decide chooses between two streams while faults go on.
func (f *flow) decide() {
	if f.branch == nil || f.settling || !f.from.up() || !f.to.up() || f.s.cutOff || !f.s.tries.ended() {
		return
	}
	if _, _, known := f.roles(); known {
		h, line := f.choice()
		f.beforeLoss()
		f.try(h, line, f.groupAt(h))
	}
}

// choice is a command that ends the time of two streams, and where it is given.
func (f *flow) choice() (h *host, line string) {
	h = []*host{f.from, f.to}[f.s.rng.IntN(2)]
	if f.s.chance(2) && !f.losesByTurn() {
		return h, "resync mode=swap"
	}
	return h, []string{"resync mode=swap", "resync discard=here", "resync discard=there"}[f.s.rng.IntN(3)]
}

// beforeLoss ends both streams, checks them for the last time, and lets either side be overwritten.
func (f *flow) beforeLoss() {
	f.halt()
	if f.settling {
		return
	}
	for _, st := range f.streams() {
		st.check()
	}
	f.settling = true
}

// role is what a site says of its side of a group.
type role struct {
	primary, taken bool
}

// roles asks both sides for their roles. known is false while one does not answer, or has different ones for different pairs.
func (f *flow) roles() (from, to role, known bool) {
	from, a := f.roleAt(f.from)
	to, b := f.roleAt(f.to)
	return from, to, a && b
}

func (f *flow) roleAt(h *host) (r role, known bool) {
	for i, v := range f.volumes {
		text, err := h.Text(pairName(v))
		if err != nil {
			return r, false
		}
		p := parseState(text)
		is := role{primary: p["role"] == "P-VOL", taken: p["taken-over"] == "yes"}
		if i > 0 && is != r {
			return r, false
		}
		r = is
	}
	return r, true
}

// findRoles finds out which side is the primary after a takeover was asked for, and goes on until one side is. Nothing disturbs it.
func (f *flow) findRoles() {
	f.s.t.Helper()
	if !f.turning {
		return
	}
	var last error
	Until(&soakT{T: f.s.t.T, failed: f.s.t.failed, failing: func() { f.s.t.Logf("group %s: the last refusal: %v", f.group, last); f.s.t.failing() }}, 2*StatusLimit, "one side of group "+f.group+" is the primary", func() bool {
		if f.gone() {
			f.lose()
			return true
		}
		from, to, known := f.roles()
		if known {
			last = f.step(from, to)
		}
		return !f.turning
	})
}

// gone reports whether a pair is missing at a site.
func (f *flow) gone() bool {
	for _, h := range f.s.hosts {
		for _, v := range f.volumes {
			if _, err := h.Text(pairName(v)); os.IsNotExist(err) {
				return true
			}
		}
	}
	return false
}

// lose begins anew: a pair was deleted meanwhile, and what its volumes hold nobody can say.
func (f *flow) lose() {
	f.halt()
	f.branch, f.turning, f.fenced, f.settling, f.inStep, f.spoiled = nil, false, false, false, false, true
}

// step does what leads from the roles of both sides to one primary, and returns why that was refused.
func (f *flow) step(from, to role) error {
	f.s.t.Helper()
	secondary, primary, taken, lost := role{}, role{primary: true}, role{taken: true}, role{primary: true, taken: true}
	switch {
	case from == primary && to == secondary:
		f.won(f.from)
	case from == secondary && to == primary:
		f.won(f.to)
	case from == secondary && to == secondary: // the exchange ended half way
		return f.to.Ctl(f.restoreGroup(), "takeover "+turnLimit)
	case from == lost && to == taken:
		return f.choose()
	case from == secondary && to == taken: // the old primary gave its role up
		return f.to.Ctl(f.restoreGroup(), []string{"resync mode=swap", "resync discard=there"}[f.s.rng.IntN(2)])
	case from == lost && to == secondary: // the S-VOLs were given up
		return f.from.Ctl(f.masterGroup(), "resync discard=there")
	case from.primary && to.primary:
		f.s.t.Fatalf("group %s: both sides are primaries", f.group)
	}
	return nil
}

// choose chooses one of two streams.
func (f *flow) choose() error {
	f.s.t.Helper()
	if f.branch == nil {
		f.main.halt()
		f.fork()
		f.branch.write()
		f.s.moment(200 * time.Millisecond)
	}
	f.beforeLoss()
	h, line := f.choice()
	aside := f.alone(h, line)
	if err := h.Ctl(f.groupAt(h), line); err != nil {
		f.s.tries.took(f.s, h, err)
		return err
	}
	f.s.note(line, h.Name)
	if strings.HasSuffix(line, "swap") && f.losesByTurn() {
		f.s.t.Fatalf("group %s: %q at %s went through, though what hosts had written at %s alone is lost by it", f.group, line, h.Name, f.from.Name)
	}
	aside.check()
	return nil
}

// losesByTurn reports whether the P-VOLs have acknowledged writes that the S-VOLs lack.
func (f *flow) losesByTurn() bool {
	return !f.whole || slices.ContainsFunc(f.main.h.Writes()[f.base:], func(w Write) bool { return w.End != 0 && !w.Zero })
}

// won goes on with the side that is the primary.
func (f *flow) won(h *host) {
	f.s.t.Helper()
	f.halt()
	switch {
	case f.branch == nil && h == f.to:
		f.main.at = f.to
		f.main.check()
		f.s.did("exchanges of the roles", 1)
	case f.branch != nil && h == f.to:
		f.main = f.branch
		f.s.did("streams of the S-VOLs that went on", 1)
	case f.branch != nil:
		f.s.did("streams of the P-VOLs that went on", 1)
	}
	if f.branch != nil {
		f.inStep, f.cut = false, 0
	}
	if h == f.to {
		f.from, f.to = f.to, f.from
	}
	f.branch, f.turning, f.fenced, f.settling = nil, false, false, false
}
