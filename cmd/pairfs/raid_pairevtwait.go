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

// eventWait is what pairevtwait waits for.
type eventWait struct {
	side   raidSide     // whose status counts, SMPL for the local one
	wanted []raidStatus // any of them
	seen   map[string]raidStatus
}

// pairevtwait waits for a status, or tells it by its exit status.
func pairevtwait(r *raidCall) (int, error) {
	w := &eventWait{side: sideP, seen: map[string]raidStatus{}}
	option := r.args.last("-s", "-ss", "-nowait", "-nowaits")
	if option == "-ss" || option == "-nowaits" {
		w.side = sideS
	}
	if r.args.has("-l") {
		w.side = sideSMPL
	}
	waits := option == "-s" || option == "-ss"
	switch {
	case option == "":
		return 0, raidf(exREQARG, "-s says what to wait for, or -nowait not to wait")
	case waits && !r.args.has("-t"):
		return 0, raidf(exREQARG, "%s waits, and -t has to say for how many seconds at most", option)
	}
	for _, word := range r.args.operands(option) {
		w.wanted = append(w.wanted, waitWords[strings.ToLower(word)]...)
	}
	t, err := r.target()
	if err != nil {
		return 0, err
	}
	if !waits {
		return w.now(r, t)
	}
	if err := r.waitFor(t, r.args.number("-t", 0), func() (bool, error) { return w.look(t) }); err != nil {
		return 0, err
	}
	r.say("Wait status done.")
	return 0, nil
}

// status is that of a member on the side that counts.
func (w *eventWait) status(m raidMember) raidStatus {
	if w.side == sideSMPL {
		return m.status()
	}
	return statusAt(w.side, m.st)
}

// now returns the status that all members have.
func (w *eventWait) now(r *raidCall, t *raidTarget) (int, error) {
	code := raidStatusCodes[raidSMPL].evtwait
	for i, m := range t.members {
		c := raidStatusCodes[w.status(m)].evtwait
		if i > 0 && c != code {
			return 0, raidf(exENQVOL, "the volumes of group %s are not all in one status: %s", t.shown, t.statuses())
		}
		code = c
	}
	return code, nil
}

// look reports whether all members are in a wanted status. One that was suspended meanwhile ends the wait, unless that is what is wanted.
func (w *eventWait) look(t *raidTarget) (bool, error) {
	done := true
	for _, m := range t.members {
		s := w.status(m)
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
func (w *eventWait) hopeless(before raidStatus, known bool, now raidStatus) bool {
	if !slices.ContainsFunc(w.wanted, func(s raidStatus) bool { return s != raidSMPL }) {
		return false
	}
	running := known && (before == raidCOPY || before == raidPAIR || before == raidPFUL)
	return now == raidPSUE || running && (now == raidPSUS || now == raidPFUS)
}
