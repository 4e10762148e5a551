package main

import (
	"slices"
	"strings"
)

// waitWords are the statuses that can be waited for, as they are written and as they are seen.
var waitWords = map[string][]raidStatus{
	"smpl": {raidSMPL},
	"copy": {raidCOPY},
	"rcpy": {raidCOPY},
	"pair": {raidPAIR, raidPFUL},
	"psus": {raidPSUS, raidPFUS, raidSSWS},
	"ssus": {raidPSUS, raidPFUS, raidSSWS},
	"psue": {raidPSUE, raidPDUB},
	"pdub": {raidPSUE, raidPDUB},
}

var oneStatus = oneOf("smpl", "copy", "rcpy", "pair", "psus", "ssus", "psue", "pdub")

var pairevtwaitOptions = []raidOption{
	{name: "-s", min: 1, max: 8, operands: "STATUS…", check: oneStatus, help: "wait until the P-VOLs are in one of smpl, copy, pair, psus, psue"},
	{name: "-ss", min: 1, max: 8, operands: "STATUS…", check: oneStatus, help: "wait until the S-VOLs are"},
	{name: "-t", min: 1, max: 2, operands: "SECONDS [INTERVAL]", check: numbers(1, waitSecondsMax), help: "how long; a change is seen at once, whatever the interval"},
	{name: "-nowait", help: "do not wait: leave the status of the P-VOLs as exit status"},
	{name: "-nowaits", help: "the same of the S-VOLs"},
	{name: "-l", help: "go by the volumes of this host alone"},
}

// sideWait is a status that is waited for on one side of the pairs.
type sideWait struct {
	side   raidSide              // whose status counts, SMPL for the volumes here
	wanted []raidStatus          // any of them
	seen   map[string]raidStatus // of each member, when it was looked at last
}

// pairevtwait waits for statuses, or tells one by its exit status.
func pairevtwait(r *raidCall) (int, error) {
	now := r.args.last("-nowait", "-nowaits")
	waits := r.sideWaits()
	switch {
	case now == "" && len(waits) == 0:
		return 0, raidf(exREQARG, "-s says what to wait for, or -nowait not to wait")
	case now == "" && !r.args.has("-t"):
		return 0, raidf(exREQARG, "-t has to say for how many seconds to wait at most")
	}
	t, err := r.target()
	if err != nil {
		return 0, err
	}
	if now != "" {
		return r.statusNow(t, r.sideFor(map[string]raidSide{"-nowait": sideP, "-nowaits": sideS}[now]))
	}
	err = r.waitFor(t, r.args.number("-t", 0), func() (bool, error) {
		done := true
		for _, w := range waits {
			there, err := w.look(t)
			if err != nil {
				return false, err
			}
			done = done && there
		}
		return done, nil
	})
	if err == nil {
		r.say("Wait status done.")
	}
	return 0, err
}

// sideFor is the side that counts for an option: with -l the volumes here do for both.
func (r *raidCall) sideFor(side raidSide) raidSide {
	if r.args.has("-l") {
		return sideSMPL
	}
	return side
}

// sideWaits are the waits that -s and -ss ask for; both if both are given.
func (r *raidCall) sideWaits() []*sideWait {
	var waits []*sideWait
	for _, o := range []struct {
		option string
		side   raidSide
	}{{"-s", sideP}, {"-ss", sideS}} {
		if !r.args.has(o.option) {
			continue
		}
		w := &sideWait{side: r.sideFor(o.side), seen: map[string]raidStatus{}}
		for _, word := range r.args.operands(o.option) {
			w.wanted = append(w.wanted, waitWords[strings.ToLower(word)]...)
		}
		waits = append(waits, w)
	}
	return waits
}

// statusFor is the status of a member on a side.
func statusFor(side raidSide, m raidMember) raidStatus {
	if side == sideSMPL {
		return m.status()
	}
	return statusAt(side, m.st)
}

// statusNow returns the exit status for the status that all members have.
func (r *raidCall) statusNow(t *raidTarget, side raidSide) (int, error) {
	code := raidStatusCodes[raidSMPL].evtwait
	for i, m := range t.members {
		c := raidStatusCodes[statusFor(side, m)].evtwait
		if i > 0 && c != code {
			return 0, raidf(exENQVOL, "the volumes of group %s are not all in one status: %s", t.shown, t.statuses())
		}
		code = c
	}
	return code, nil
}

// look reports whether all members are in a wanted status. One that was suspended meanwhile ends the wait, unless that is what is wanted.
func (w *sideWait) look(t *raidTarget) (bool, error) {
	done := true
	for _, m := range t.members {
		s := statusFor(w.side, m)
		before, known := w.seen[m.dev]
		w.seen[m.dev] = s
		if slices.Contains(w.wanted, s) {
			continue
		}
		done = false
		if w.hopeless(before, known, s) {
			return false, raidf(exEWSUSE, "%s, which is not what is waited for", t.statuses())
		}
	}
	return done, nil
}

// hopeless reports whether a status that is not the wanted one is a suspension that ends the wait: by a failure at any time, by a split if
// that came while it was waited. Who waits for the end of a pair waits on.
func (w *sideWait) hopeless(before raidStatus, known bool, now raidStatus) bool {
	if !slices.ContainsFunc(w.wanted, func(s raidStatus) bool { return s != raidSMPL }) {
		return false
	}
	running := known && (before == raidCOPY || before == raidPAIR || before == raidPFUL)
	return now == raidPSUE || running && (now == raidPSUS || now == raidPFUS)
}
