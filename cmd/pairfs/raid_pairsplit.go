package main

import "slices"

// splitSeconds is how long pairsplit waits for a split or an end, as RAID Manager does unless told otherwise.
const splitSeconds = 7200

// waitSecondsMax bounds times to wait, as RAID Manager does.
const waitSecondsMax = 1999999

var pairsplitOptions = []raidOption{
	{name: "-r", help: "split, with all that was written brought to the S-VOL first; hosts may read it (meant where no option says more)"},
	{name: "-rw", help: "the same, and hosts may write the S-VOL"},
	{name: "-P", help: "split at once, at the P-VOL; what is missing at the S-VOL is marked"},
	{name: "-S", help: "end the pair: at the P-VOL on both sides, at the S-VOL there alone"},
	{name: "-R", help: "end it at the S-VOL's side whatever is missing"},
	{name: "-RS", help: "take the S-VOL over as it is (SSWS), without the primary"},
	{name: "-t", min: 1, max: 1, operands: "SECONDS", check: numbers(1, waitSecondsMax), help: "how long to wait for the end of it (7200)"},
}

// splitMode is what one of the options of pairsplit does.
type splitMode struct {
	option string
	ask    raidRequest
	line   string   // the command of the control file
	side   raidSide // where it may be given, SMPL for both sides
	ends   bool     // the pair ends
}

// splitModes are the options of which the last one given counts.
var splitModes = []splitMode{
	{"-r", askSplit, "suspend", sideSMPL, false},
	{"-rw", askSplit, "suspend svol-write=enable", sideSMPL, false},
	{"-P", askPurge, "suspend mode=purge", sideP, false},
	{"-S", askDelete, "delete", sideSMPL, true},
	{"-R", askDelete, "delete mode=force", sideS, true},
	{"-RS", askSplit, "suspend", sideS, false},
}

// splitMode returns the option that counts.
func (r *raidCall) splitMode() splitMode {
	names := make([]string, len(splitModes))
	for i, m := range splitModes {
		names[i] = m.option
	}
	return splitModes[max(0, slices.Index(names, r.args.last(names...)))]
}

// pairsplit splits or ends pairs. It returns when that has happened.
func pairsplit(r *raidCall) (int, error) {
	t, err := r.target()
	if err != nil {
		return 0, err
	}
	mode := r.splitMode()
	if mode.side != sideSMPL {
		if err := t.allOn(mode.side, exINVVOL, mode.option+" is for the site of the "+mode.side.String()); err != nil {
			return 0, err
		}
	}
	if mode.option == "-RS" {
		return 0, r.cutOff(t)
	}
	todo, err := decide(t.members, mode.ask)
	if err != nil {
		return 0, err
	}
	seconds := r.args.number("-t", splitSeconds)
	if mode.ends {
		if err := r.giveEach(t, todo, mode.line); err != nil { // a group that is deleted as a whole loses its journal
			return 0, err
		}
		return 0, r.waitFor(t, seconds, t.ended)
	}
	if mode.option == "-rw" {
		r.noteReadOnly(t, todo)
	}
	if mode.option == "-rw" && len(t.members) > 0 && t.members[0].side() == sideS {
		todo = t.members // given at the S-VOL's site it is good for one that is split already
	}
	if err := r.give(t, todo, mode.line); err != nil {
		return 0, err
	}
	return 0, r.waitFor(t, seconds, t.split)
}

// noteReadOnly says of which S-VOLs it is not changed that hosts may not write them.
func (r *raidCall) noteReadOnly(t *raidTarget, todo []raidMember) {
	for _, m := range t.members {
		if m.side() == sideP && !slices.ContainsFunc(todo, func(d raidMember) bool { return d.pair == m.pair }) {
			r.say("%s is split already, and its S-VOL stays as it is: give pairsplit -rw at its site to let hosts write it", m.name())
		}
	}
}

// ended reports whether all members are in no pair any more.
func (t *raidTarget) ended() (bool, error) {
	return !slices.ContainsFunc(t.members, func(m raidMember) bool { return m.side() != sideSMPL }), nil
}

// split reports whether all members are split. One that failed meanwhile is an error.
func (t *raidTarget) split() (bool, error) {
	done := true
	for _, m := range t.members {
		switch s := m.status(); {
		case s == raidSMPL:
			return false, raidf(exINVVOL, "%s was deleted while it was being split", m.name())
		case s == raidPSUE:
			return false, raidf(exEWSUSE, "%s", t.statuses())
		case m.changing() || s != raidPSUS && s != raidPFUS && s != raidSSWS:
			done = false
		}
	}
	return done, nil
}

// cutOff takes S-VOLs over without the primary: split here first, so that a takeover has nothing left to bring and no roles to exchange.
func (r *raidCall) cutOff(t *raidTarget) error {
	if err := t.allPaired(); err != nil {
		return err
	}
	todo, err := decide(t.members, askSplit)
	if err != nil {
		return err
	}
	if err := r.give(t, todo, "suspend"); err != nil {
		return err
	}
	seconds := r.args.number("-t", takeoverSeconds)
	err = r.waitFor(t, seconds, func() (bool, error) {
		return !slices.ContainsFunc(t.members, func(m raidMember) bool {
			s, known := remoteStatus(m.st)
			return known && (s == raidCOPY || s == raidPAIR || s == raidPFUL)
		}), nil
	})
	if err != nil {
		return err
	}
	_, err = r.takeover(t, seconds)
	return err
}
