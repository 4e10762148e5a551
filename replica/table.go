package replica

import "fmt"

// Input is what can happen to a pair: a command of an operator, or a fact that the engine or the peer reports.
type Input uint8

// The inputs of [Step]. The first group are commands and have an acceptance table; the rest are facts.
const (
	CmdCreateFull   Input = iota // create with an initial copy (paircreate)
	CmdCreateNone                // create without one: the operator vouches that both volumes are equal (paircreate -nocopy)
	CmdSuspend                   // split, flush: both sides stop at one sequence number (pairsplit -r)
	CmdPurge                     // split at once, what is not restored yet goes into the bitmap (pairsplit -P)
	CmdResync                    // copy the differences (pairresync)
	CmdDelete                    // both sides back to SMPL (pairsplit -S)
	CmdForceDelete               // this side back to SMPL, whatever the other does
	CmdTakeover                  // hosts are to write the S-VOL (horctakeover)
	CmdSwap                      // an S-VOL that was taken over becomes the primary, the differences are copied back (pairresync -swaps)
	CmdDiscard                   // copy the differences from the P-VOL, giving up what was written at an S-VOL that was taken over
	EvCopied                     // the record that ends the copy: obeyed by the secondary; for the primary, all before it is in the store of the S-VOL
	EvDrained                    // the control record that ends the replication was reached
	EvDrainTimeout               // a flush did not end in time
	EvPathLost                   // the mirror was down longer than path watch time
	EvOverflow                   // the master journal was full for too long; the peer can still take what it holds
	EvFull                       // the master journal has no room left, and what it holds for the peer has to go
	EvPeerSplit                  // the other side says it is split
	EvPeerError                  // the other side says it is suspended by an error
	EvPeerDeleted                // the other side has no such pair any more
	EvPeerResync                 // the primary asks for a resync (secondary only)
	EvPeerDelete                 // the primary asks to delete (secondary only)
	EvFailure                    // journal or store failed here
	EvRestoreFailed              // a store takes no bytes; the journal keeps them
	EvDetached                   // the volume left its group: the end of Deleting
	EvLost                       // the journal of a primary was not there when the site started
	EvPeerOff                    // the primary says that it is being switched off (secondary only)
	EvPeerBack                   // the primary is back and replicates the pair (secondary only)
	EvPeerTookOver               // the S-VOL was taken over (primary only)
	EvConflict                   // both sides have what the other lacks
	EvPeerSwap                   // the S-VOL that was taken over asks to become the primary
	EvPeerDiscard                // the primary asks for a resync that gives up what was written here (secondary only)
	EvSwapped                    // the roles are exchanged with host writes held, without a copy
	numInput
)

var inputNames = [numInput]string{
	"create", "create copy=none", "suspend", "suspend mode=purge", "resync", "delete", "delete mode=force", "takeover", "resync mode=swap", "resync discard=there",
	"copied", "drained", "drain-timeout", "path-lost", "overflow", "full", "peer-split", "peer-error", "peer-deleted", "peer-resync", "peer-delete",
	"failure", "restore-failed", "detached", "lost", "peer-off", "peer-back", "peer-took-over", "conflict", "peer-swap", "peer-discard", "swapped",
}

// String returns the command's words or the fact's name, as the golden table prints them.
func (i Input) String() string {
	if i < numInput {
		return inputNames[i]
	}
	return fmt.Sprintf("input(%d)", uint8(i))
}

// command reports whether an operator can ask for the input.
func (i Input) command() bool { return i <= CmdDiscard }

// Verdict says what becomes of an input in a state.
type Verdict uint8

// The verdicts.
const (
	Impossible Verdict = iota // cannot happen; the daemon reports it as its own failure and changes nothing
	Accept                    // a transition
	NoOp                      // ends normally, nothing done
	Refuse                    // a command that is rejected, with a sentence
	Ignore                    // a fact that is late or known already
)

var verdictNames = [...]string{"impossible", "accept", "no-op", "refuse", "ignore"}

// String returns the word of the verdict.
func (v Verdict) String() string { return verdictNames[v] }

// Action is one thing that the engine must do for a transition, in the order given.
type Action uint8

// The actions of transitions.
const (
	ActStart    Action = iota // append the start record: from its sequence number on the pair's updates are replicated
	ActDrain                  // append the suspend record: up to its sequence number updates are replicated, later ones marked
	ActMark                   // stop replicating now and mark what the peer has not restored in the bitmap
	ActAskPeer                // the request to the peer comes first; nothing changes if it refuses
	ActFillMap                // mark the whole volume
	ActClearMap               // the volumes are equal: unmark everything
	ActSettle                 // restore and checkpoint what was received
	ActWritable               // hosts may write this volume
	ActReadOnly               // hosts may not write this volume
	ActTellPeer               // the peer is told the new state, now or when it is reached again
	ActRelease                // take the volume out of its group, back to plain storage
	ActDirect                 // the journal is lost: writes go straight to the store, marked before
	numAction
)

var actionNames = [numAction]string{
	"start", "drain", "mark", "ask-peer", "fill-map", "clear-map", "settle", "writable", "read-only", "tell-peer", "release", "direct",
}

// String returns the action's word.
func (a Action) String() string { return actionNames[a] }

// rule is one row of the tables: in any of the statuses, the input has the verdict and leads to the status.
type rule struct {
	role    Role
	from    []Status
	input   Input
	verdict Verdict
	to      Status
	typ     SuspendType
	actions []Action
	why     string // the sentence of a refusal: what to do next
}

func in(s ...Status) []Status { return s }

func do(a ...Action) []Action { return a }

// rules are the acceptance table and the transition table in one, in the order of the reference's tables. What no row names is
// [Impossible]; a test walks every role, status and input and compares the result with a golden text. PFUL is no row of its own: it
// is COPY or PAIR whose journal is nearly full.
//
// Refusals and no-ops of commands follow the reference's acceptance matrix (paircreate, pairsplit, pairresync by status).
//
// What an error ends in COPY, by a create or a resync, is "initial copy failed" on both sides, whichever side met it: the event and
// last-error say what it was. Three ends of COPY are no such error and keep their names: a full journal (PFUS, the reference's own row), a
// split, and a primary that lost its journal (MCU IMPL), whose resync copies everything in any case. A primary that is switched off in good order
// ends no copy: the S-VOL shows that (PSUE, MCU P/S OFF) as it does in PAIR, as the reference has it, and the copy goes on when it is back.
var rules = []rule{
	// SMPL: not in a pair.
	{RoleNone, in(SMPL), CmdCreateFull, Accept, COPY, NoSuspend, do(ActAskPeer, ActFillMap, ActStart), ""},
	{RoleNone, in(SMPL), CmdCreateNone, Accept, PAIR, NoSuspend, do(ActAskPeer, ActClearMap, ActStart), ""},
	{RoleNone, in(SMPL), CmdSuspend, Refuse, 0, 0, nil, "there is no such pair: create it first"},
	{RoleNone, in(SMPL), CmdPurge, Refuse, 0, 0, nil, "there is no such pair: create it first"},
	{RoleNone, in(SMPL), CmdResync, Refuse, 0, 0, nil, "there is no such pair: create it first"},
	{RoleNone, in(SMPL), CmdDelete, NoOp, SMPL, 0, nil, ""},
	{RoleNone, in(SMPL), CmdForceDelete, NoOp, SMPL, 0, nil, ""},

	// Primary, commands.
	{Primary, in(COPY, PAIR), CmdCreateFull, NoOp, 0, 0, nil, ""},
	{Primary, in(COPY, PAIR), CmdCreateNone, NoOp, 0, 0, nil, ""},
	{Primary, in(PSUS, PSUE, PFUS), CmdCreateFull, Refuse, 0, 0, nil, "the pair exists and is suspended: use resync, or delete it first"},
	{Primary, in(PSUS, PSUE, PFUS), CmdCreateNone, Refuse, 0, 0, nil, "the pair exists and is suspended: use resync, or delete it first"},
	{Primary, in(Suspending, Deleting), CmdCreateFull, Refuse, 0, 0, nil, "the pair exists and is changing its state: wait for the end"},
	{Primary, in(Suspending, Deleting), CmdCreateNone, Refuse, 0, 0, nil, "the pair exists and is changing its state: wait for the end"},
	{Primary, in(COPY, PAIR), CmdSuspend, Accept, Suspending, PVOLByOperator, do(ActDrain), ""},
	{Primary, in(Suspending), CmdSuspend, NoOp, 0, 0, nil, ""},
	{Primary, in(PSUS, PSUE, PFUS), CmdSuspend, NoOp, 0, 0, nil, ""},
	{Primary, in(Deleting), CmdSuspend, Refuse, 0, 0, nil, "the pair is being deleted"},
	{Primary, in(PAIR, Suspending), CmdPurge, Accept, PSUS, PVOLByOperator, do(ActMark, ActTellPeer), ""},
	{Primary, in(COPY), CmdPurge, Refuse, 0, 0, nil, "the copy is not complete: suspend without mode=purge, or wait for PAIR"},
	{Primary, in(PSUS, PSUE, PFUS), CmdPurge, NoOp, 0, 0, nil, ""},
	{Primary, in(Deleting), CmdPurge, Refuse, 0, 0, nil, "the pair is being deleted"},
	{Primary, in(COPY, PAIR), CmdResync, NoOp, 0, 0, nil, ""},
	{Primary, in(PSUS, PSUE, PFUS), CmdResync, Accept, COPY, NoSuspend, do(ActAskPeer, ActStart), ""},
	{Primary, in(Suspending), CmdResync, Refuse, 0, 0, nil, "the pair is still being suspended: wait for PSUS (pair wait), then resync"},
	{Primary, in(Deleting), CmdResync, Refuse, 0, 0, nil, "the pair is being deleted"},
	{Primary, in(COPY, PAIR, PSUS, PSUE, PFUS, Suspending), CmdDelete, Accept, Deleting, NoSuspend, do(ActAskPeer, ActRelease), ""},
	{Primary, in(Deleting), CmdDelete, Accept, Deleting, NoSuspend, do(ActAskPeer, ActRelease), ""},
	{Primary, in(COPY, PAIR, PSUS, PSUE, PFUS, Suspending, Deleting), CmdForceDelete, Accept, Deleting, NoSuspend, do(ActRelease), ""},

	// Primary, facts.
	{Primary, in(COPY), EvCopied, Accept, PAIR, NoSuspend, do(ActClearMap), ""},
	{Primary, in(PAIR, Suspending, PSUS, PSUE, PFUS, Deleting), EvCopied, Ignore, 0, 0, nil, ""},
	{Primary, in(Suspending), EvDrained, Accept, PSUS, PVOLByOperator, nil, ""},
	{Primary, in(COPY, PAIR, PSUS, PSUE, PFUS, Deleting), EvDrained, Ignore, 0, 0, nil, ""},
	{Primary, in(Suspending), EvDrainTimeout, Accept, PSUS, PVOLByOperator, do(ActMark, ActTellPeer), ""},
	{Primary, in(COPY, PAIR, PSUS, PSUE, PFUS, Deleting), EvDrainTimeout, Ignore, 0, 0, nil, ""},
	{Primary, in(COPY), EvPathLost, Accept, PSUE, InitialCopyFailed, do(ActMark, ActTellPeer), ""},
	{Primary, in(PAIR), EvPathLost, Accept, PSUE, SVOLFailure, do(ActMark, ActTellPeer), ""},
	{Primary, in(Suspending), EvPathLost, Accept, PSUS, PVOLByOperator, do(ActMark, ActTellPeer), ""},
	{Primary, in(PSUS, PSUE, PFUS, Deleting), EvPathLost, Ignore, 0, 0, nil, ""},
	{Primary, in(PAIR), EvOverflow, Accept, Suspending, JournalOverflow, do(ActDrain), ""}, // what the peer can use is still sent
	{Primary, in(COPY), EvOverflow, Accept, PFUS, JournalOverflow, do(ActMark, ActTellPeer), ""},
	{Primary, in(PSUS, PSUE, PFUS, Suspending, Deleting), EvOverflow, Ignore, 0, 0, nil, ""},
	{Primary, in(COPY, PAIR), EvFull, Accept, PFUS, JournalOverflow, do(ActMark, ActTellPeer), ""},
	{Primary, in(Suspending), EvFull, Accept, PSUS, PVOLByOperator, do(ActMark, ActTellPeer), ""},
	{Primary, in(PSUS, PSUE, PFUS, Deleting), EvFull, Ignore, 0, 0, nil, ""},
	{Primary, in(COPY, PAIR), EvPeerSplit, Accept, PSUS, SVOLByOperator, do(ActMark), ""},
	{Primary, in(Suspending), EvPeerSplit, Accept, PSUS, PVOLByOperator, do(ActMark), ""},
	{Primary, in(PSUS, PSUE, PFUS, Deleting), EvPeerSplit, Ignore, 0, 0, nil, ""},
	{Primary, in(COPY), EvPeerError, Accept, PSUE, InitialCopyFailed, do(ActMark), ""},
	{Primary, in(PAIR, Suspending), EvPeerError, Accept, PSUE, ByRCU, do(ActMark), ""},
	{Primary, in(PSUS, PSUE, PFUS, Deleting), EvPeerError, Ignore, 0, 0, nil, ""},
	{Primary, in(COPY, PAIR, PSUS, PSUE, PFUS, Suspending), EvPeerDeleted, Accept, PSUS, DeletePairToRCU, do(ActMark), ""},
	{Primary, in(Deleting), EvPeerDeleted, Ignore, 0, 0, nil, ""},
	{Primary, in(COPY), EvFailure, Accept, PSUE, InitialCopyFailed, do(ActMark, ActTellPeer), ""},
	{Primary, in(PAIR, Suspending), EvFailure, Accept, PSUE, PVOLFailure, do(ActMark, ActTellPeer), ""},
	{Primary, in(PSUS, PSUE, PFUS), EvFailure, Accept, PSUE, PVOLFailure, do(ActMark), ""},
	{Primary, in(Deleting), EvFailure, Ignore, 0, 0, nil, ""},
	{Primary, in(COPY, PAIR, PSUS, PSUE, PFUS, Suspending), EvLost, Accept, PSUE, MCUInitialized, do(ActFillMap), ""},
	{Primary, in(Deleting), EvLost, Ignore, 0, 0, nil, ""},
	{Primary, in(COPY, PAIR, PSUS, PSUE, PFUS, Suspending, Deleting), EvRestoreFailed, Ignore, 0, 0, nil, ""}, // hosts get the error
	{Primary, in(Deleting), EvDetached, Accept, SMPL, NoSuspend, nil, ""},

	// Secondary, commands. Create and resync belong to the primary.
	{Secondary, in(COPY, PAIR, PSUS, PSUE, PFUS, Suspending, Deleting, SSWS), CmdCreateFull, Refuse, 0, 0, nil, "this side is the secondary of an existing pair"},
	{Secondary, in(COPY, PAIR, PSUS, PSUE, PFUS, Suspending, Deleting, SSWS), CmdCreateNone, Refuse, 0, 0, nil, "this side is the secondary of an existing pair"},
	{Secondary, in(COPY, PAIR), CmdSuspend, Accept, PSUS, SVOLByOperator, do(ActSettle, ActTellPeer), ""},
	{Secondary, in(PSUS, PSUE, PFUS, Suspending), CmdSuspend, NoOp, 0, 0, nil, ""},
	{Secondary, in(Deleting), CmdSuspend, Refuse, 0, 0, nil, "the pair is being deleted"},
	{Secondary, in(COPY, PAIR, PSUS, PSUE, PFUS, Suspending, Deleting), CmdPurge, Refuse, 0, 0, nil, "mode=purge belongs to the primary: run it there, or suspend here without it"},
	{Secondary, in(COPY, PAIR, PSUS, PSUE, PFUS, Suspending, Deleting), CmdResync, Refuse, 0, 0, nil, "a resync copies from the primary: run it there"},
	{Secondary, in(COPY, PAIR, PSUS, PSUE, PFUS, Suspending, Deleting), CmdDelete, Accept, Deleting, NoSuspend, do(ActSettle, ActRelease, ActTellPeer), ""},
	{Secondary, in(COPY, PAIR, PSUS, PSUE, PFUS, Suspending, Deleting), CmdForceDelete, Accept, Deleting, NoSuspend, do(ActSettle, ActRelease, ActTellPeer), ""},

	// Secondary, facts.
	{Secondary, in(COPY), EvCopied, Accept, PAIR, NoSuspend, do(ActClearMap), ""},
	{Secondary, in(PAIR, PSUS, PSUE, PFUS, Suspending, Deleting), EvCopied, Ignore, 0, 0, nil, ""},
	{Secondary, in(COPY, PAIR), EvDrained, Accept, PSUS, ByMCU, do(ActSettle), ""},
	{Secondary, in(PSUS, PSUE, PFUS, Suspending, Deleting), EvDrained, Ignore, 0, 0, nil, ""},
	{Secondary, in(COPY), EvPathLost, Accept, PSUE, InitialCopyFailed, do(ActSettle), ""},
	{Secondary, in(PAIR), EvPathLost, Accept, PSUE, SVOLFailure, do(ActSettle), ""},
	{Secondary, in(PSUS, PSUE, PFUS, Suspending, Deleting), EvPathLost, Ignore, 0, 0, nil, ""},
	{Secondary, in(COPY, PAIR), EvPeerSplit, Accept, PSUS, ByMCU, do(ActSettle), ""},
	{Secondary, in(PSUS, PSUE, PFUS, Suspending, Deleting), EvPeerSplit, Ignore, 0, 0, nil, ""},
	{Secondary, in(COPY), EvPeerError, Accept, PSUE, InitialCopyFailed, do(ActSettle), ""},
	{Secondary, in(PAIR), EvPeerError, Accept, PSUE, PVOLFailure, do(ActSettle), ""},
	{Secondary, in(PSUS, PSUE, PFUS, Suspending, Deleting), EvPeerError, Ignore, 0, 0, nil, ""},
	{Secondary, in(COPY, PAIR), EvOverflow, Accept, PFUS, JournalOverflow, do(ActSettle), ""},
	{Secondary, in(PSUS, PSUE, PFUS, Suspending, Deleting), EvOverflow, Ignore, 0, 0, nil, ""},
	{Secondary, in(COPY), EvPeerDeleted, Accept, PSUE, InitialCopyFailed, do(ActSettle), ""},
	{Secondary, in(PAIR), EvPeerDeleted, Accept, PSUE, SVOLFailure, do(ActSettle), ""},
	{Secondary, in(PSUS, PSUE, PFUS, Suspending, Deleting), EvPeerDeleted, Ignore, 0, 0, nil, ""},
	{Secondary, in(PSUS, PSUE, PFUS, COPY, PAIR), EvPeerResync, Accept, COPY, NoSuspend, do(ActReadOnly, ActSettle), ""},
	{Secondary, in(Suspending), EvPeerResync, Refuse, 0, 0, nil, "the secondary is still suspending: wait, then resync"},
	{Secondary, in(Deleting), EvPeerResync, Refuse, 0, 0, nil, "the secondary is deleting the pair: delete it on the primary too"},
	{Secondary, in(COPY, PAIR, PSUS, PSUE, PFUS, Suspending, Deleting), EvPeerDelete, Accept, Deleting, NoSuspend, do(ActSettle, ActRelease), ""},
	{Secondary, in(COPY), EvFailure, Accept, PSUE, InitialCopyFailed, do(ActDirect, ActTellPeer), ""},
	{Secondary, in(PAIR, Suspending), EvFailure, Accept, PSUE, SVOLFailure, do(ActDirect, ActTellPeer), ""},
	{Secondary, in(PSUS, PSUE, PFUS), EvFailure, Accept, PSUE, SVOLFailure, do(ActDirect), ""},
	{Secondary, in(Deleting), EvFailure, Ignore, 0, 0, nil, ""},
	{Secondary, in(COPY), EvRestoreFailed, Accept, PSUE, InitialCopyFailed, do(ActTellPeer), ""},
	{Secondary, in(PAIR), EvRestoreFailed, Accept, PSUE, SVOLFailure, do(ActTellPeer), ""},
	{Secondary, in(PSUS, PSUE, PFUS, Suspending, Deleting), EvRestoreFailed, Ignore, 0, 0, nil, ""},
	{Secondary, in(COPY, PAIR), EvPeerOff, Accept, PSUE, MCUPowerOff, do(ActSettle), ""},
	{Secondary, in(PSUS, PSUE, PFUS, Suspending, Deleting), EvPeerOff, Ignore, 0, 0, nil, ""},
	{Secondary, in(COPY, PAIR, PSUS, PSUE, PFUS, Suspending, Deleting), EvPeerBack, Ignore, 0, 0, nil, ""},
	{Secondary, in(Deleting), EvDetached, Accept, SMPL, NoSuspend, nil, ""},
}

// typedRules are the exceptions: rows that hold only while the pair has a suspend type. They come before [rules].
var typedRules = []struct {
	typ SuspendType
	rule
}{
	// A journal that overflowed is drained as far as its room allows; the end is PFUS however it comes.
	{JournalOverflow, rule{Primary, in(Suspending), EvDrained, Accept, PFUS, JournalOverflow, nil, ""}},
	{JournalOverflow, rule{Primary, in(Suspending), EvDrainTimeout, Accept, PFUS, JournalOverflow, do(ActMark, ActTellPeer), ""}},
	{JournalOverflow, rule{Primary, in(Suspending), EvPathLost, Accept, PFUS, JournalOverflow, do(ActMark, ActTellPeer), ""}},
	{JournalOverflow, rule{Primary, in(Suspending), EvFull, Accept, PFUS, JournalOverflow, do(ActMark, ActTellPeer), ""}},
	{JournalOverflow, rule{Primary, in(Suspending), EvPeerSplit, Accept, PFUS, JournalOverflow, do(ActMark), ""}},
	{JournalOverflow, rule{Primary, in(Suspending), CmdPurge, Accept, PFUS, JournalOverflow, do(ActMark, ActTellPeer), ""}},

	// The reference: a pair that was deleted at the secondary cannot be resynchronised.
	{DeletePairToRCU, rule{Primary, in(PSUS), CmdResync, Refuse, 0, 0, nil, "the pair was deleted at the secondary and cannot be resynchronised: delete it here and create it again"}},

	// The primary was switched off in good order: when it is back the pair goes on by itself, in COPY if it was there ([PairState].Uncopied), unless
	// the operator took the S-VOL out of it meanwhile, or the primary suspended or deleted it before it was heard again. The record that ends a copy
	// may be behind the one that says so.
	{MCUPowerOff, rule{Secondary, in(PSUE), EvPeerBack, Accept, PAIR, NoSuspend, nil, ""}},
	{MCUPowerOff, rule{Secondary, in(PSUE), EvCopied, Accept, PSUE, MCUPowerOff, nil, ""}},
	{MCUPowerOff, rule{Secondary, in(PSUE), EvPeerSplit, Accept, PSUS, ByMCU, nil, ""}},
	{MCUPowerOff, rule{Secondary, in(PSUE), EvPathLost, Accept, PSUE, SVOLFailure, nil, ""}},
	{MCUPowerOff, rule{Secondary, in(PSUE), EvPeerError, Accept, PSUE, PVOLFailure, nil, ""}},
	{MCUPowerOff, rule{Secondary, in(PSUE), EvOverflow, Accept, PFUS, JournalOverflow, nil, ""}},
	{MCUPowerOff, rule{Secondary, in(PSUE), EvPeerDeleted, Accept, PSUE, SVOLFailure, nil, ""}},
	{MCUPowerOff, rule{Secondary, in(PSUE), CmdSuspend, Accept, PSUS, SVOLByOperator, do(ActSettle, ActTellPeer), ""}},
}
