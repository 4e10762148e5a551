package replica

import "slices"

// PairState is what decides about a pair: a value, stored with the pair and given to [Step]. The zero value is no pair at all.
type PairState struct {
	Role       Role
	Status     Status
	Suspend    SuspendType
	Consistent bool // secondary: the S-VOL is an image of one moment; primary: as last heard
	SVOLWrite  bool // secondary, suspended: hosts may write the S-VOL
	TookOver   bool `json:",omitempty"` // the S-VOL was taken over; on the primary: and that is known there
	Uncopied   bool `json:",omitempty"` // Suspending, or PSUE (MCU P/S OFF): it was in COPY, so an error ends it as one of the copy; a primary that is back goes on with it
}

// Outcome is the answer of [Step]: the verdict, the state after it and what the engine has to do, in order.
type Outcome struct {
	Verdict Verdict
	State   PairState
	Actions []Action
	Why     string // for Refuse: a sentence that says what to do
}

// Step decides what an input does to a pair. It is a pure function: the same state and input give the same outcome, and nothing is
// touched. The engine persists the state and carries out the actions. Every role, status and input has exactly one outcome; see rules.
func Step(s PairState, i Input) Outcome {
	r, ok := lookup(s, i)
	if !ok {
		return Outcome{Verdict: Impossible, State: s}
	}
	if r.verdict != Accept {
		return Outcome{Verdict: r.verdict, State: s, Why: r.why}
	}
	next := s
	next.Status = r.to
	switch {
	case r.to == PSUS && s.Status == Suspending && r.input != EvPeerDeleted && r.input != EvPeerTookOver:
		next.Suspend = s.Suspend // the reason why the flush began
	case r.to == PSUE && s.Uncopied && r.input != EvLost && r.input != EvCopied:
		next.Suspend = InitialCopyFailed
	default:
		next.Suspend = r.typ
	}
	switch {
	case s.Role == RoleNone:
		next.Role = Primary // the secondary's side of a create is written by its request, not stepped to
		next.Consistent = r.to == PAIR
	case r.input == EvCopied:
		next.Consistent = true
	case s.Role == Primary && r.to == COPY:
		next.Consistent = false
	case r.to == SMPL:
		next = PairState{}
	}
	if !next.Status.suspended() {
		next.SVOLWrite = false
	}
	if r.input == EvPeerBack && s.Uncopied {
		next.Status = COPY
	}
	next.takeOver(r.input)
	next.Uncopied = s.Status == COPY && (next.Status == Suspending || next.Suspend == MCUPowerOff)
	return Outcome{Verdict: Accept, State: next, Actions: r.actions}
}

// takeOver does what an input means for the roles and for what is remembered of a takeover.
func (s *PairState) takeOver(i Input) {
	switch i {
	case CmdTakeover, EvPeerTookOver:
		s.TookOver = true
	case CmdSwap:
		s.Role, s.TookOver, s.Consistent = Primary, false, false
	case EvPeerSwap:
		s.Consistent = s.Consistent || s.Role == Primary // a P-VOL is an image, until something comes over it
		s.Role, s.TookOver = Secondary, false
	case EvSwapped:
		s.Role, s.Consistent = otherRole(s.Role), true
	case CmdDiscard, EvPeerDiscard:
		s.TookOver = false
	}
}

// lookup finds the row of the tables for the input; there is never more than one in each, which a test proves.
func lookup(s PairState, i Input) (rule, bool) {
	if s.TookOver && s.Suspend == BothWritten {
		for _, r := range bothRules {
			if r.fits(s, i) {
				return r, true
			}
		}
	}
	if s.TookOver {
		for _, r := range takenRules {
			if r.fits(s, i) {
				return r, true
			}
		}
	}
	if s.Role == Secondary && !s.Consistent && noImage(s.Status, i) {
		return noImageRule, true
	}
	for _, r := range typedRules {
		if r.typ == s.Suspend && r.fits(s, i) {
			return r.rule, true
		}
	}
	for _, table := range [][]rule{rules, takeoverRules} {
		for _, r := range table {
			if r.fits(s, i) {
				return r, true
			}
		}
	}
	return rule{}, false
}

// noImageRule refuses to take over what was never an image of one moment, or is none any more.
var noImageRule = rule{verdict: Refuse, why: "the S-VOL is no image of one moment, so there is nothing to go on with: resync from the primary, or delete the pair to get at the volume as it is"}

// noImage reports whether hosts would go on with an S-VOL by the input. In PAIR it is no image from the moment on at which it was given up, alone,
// until its pair is suspended for that.
func noImage(s Status, i Input) bool {
	return i == CmdTakeover && (s == PAIR || s.suspended()) || i == EvSwapped && s == PAIR
}

func (r *rule) fits(s PairState, i Input) bool {
	return r.role == s.Role && r.input == i && slices.Contains(r.from, s.Status)
}

// mayWrite says whether hosts may write the volume of a pair in this state, by the reference's table of access: the P-VOL always, the
// S-VOL only when it was split with write enabled or taken over.
func (s PairState) mayWrite() bool {
	switch s.Role {
	case Secondary:
		return s.Status == SSWS || (s.Status.suspended() && (s.SVOLWrite || s.TookOver))
	case Primary:
		return !s.TookOver
	}
	return true
}

// peerInput translates what the other side says about the pair into an input for this side; ok is false when it asks for nothing. lost says that
// path watch time ran out there, which is then what happened here too: each side may be the first to find that out.
// Both sides tell each other their states whenever a mirror connects and whenever one changes, so what was missed while the link was
// down is made up for without a log of messages.
func peerInput(mine PairState, peer Status, typ SuspendType, lost, known bool) (Input, bool) {
	switch {
	case mine.Suspend == MCUPowerOff && known && peer.active():
		return EvPeerBack, true
	case mine.TookOver && mine.Role == Secondary:
		return EvConflict, mine.Status == SSWS && known && peer == PSUE && typ == BothWritten
	case mine.Role == Primary && known && peer == SSWS:
		return EvPeerTookOver, !mine.TookOver
	}
	// A primary that was switched off is back, and has suspended the pair before the mirror was up: there is nothing to wait for any more.
	waits := mine.Status.active() || mine.Suspend == MCUPowerOff
	if !waits && !(mine.Role == Primary && !known) {
		return 0, false
	}
	if mine.Role == Primary && known && peer == PSUE && typ == MCUPowerOff {
		return 0, false // it was told that this side is switched off, and goes on when it hears that it is back
	}
	switch {
	case !known || peer == Deleting:
		return EvPeerDeleted, true
	case peer == PSUS && typ == DeletePairToRCU:
		return EvPeerDeleted, mine.Role == Primary
	case peer == PSUS:
		return EvPeerSplit, true
	case peer == PFUS && mine.Role == Secondary:
		return EvOverflow, true
	case peer == PSUE && lost:
		return EvPathLost, true
	case peer == PSUE || peer == PFUS:
		return EvPeerError, true
	}
	return 0, false
}
