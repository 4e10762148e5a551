package replica

// The rows of the tables that deal with takeover, and with what comes behind it. A takeover without the primary's help is SSWS: hosts write
// the S-VOL, and two histories may go on from one moment. From then on until roles were exchanged, one history was given up or the pair was
// deleted, both sides remember it ([PairState].TookOver): the S-VOL stays writable whatever else happens to the pair, the P-VOL, once it has
// heard of it, is not written any more, and no plain resync is taken.

// takenRules hold while the S-VOL has been taken over. They come before all other rows.
var takenRules = []rule{
	// Secondary: hosts write here.
	{Secondary, in(SSWS, PSUE), CmdTakeover, NoOp, 0, 0, nil, ""},
	{Secondary, in(SSWS), CmdSuspend, Refuse, 0, 0, nil, "it was taken over and is split by that: resync mode=swap copies it back, delete ends the pair"},
	{Secondary, in(SSWS), CmdPurge, Refuse, 0, 0, nil, "it was taken over and is split by that: resync mode=swap copies it back, delete ends the pair"},
	{Secondary, in(SSWS, PSUE), CmdResync, Refuse, 0, 0, nil, "it was taken over, and a resync from the old primary would overwrite it: resync mode=swap makes this side the primary"},
	{Secondary, in(SSWS, PSUE), CmdDiscard, Refuse, 0, 0, nil, "the old primary has to begin that"},
	{Secondary, in(SSWS, PSUE), CmdSwap, Accept, COPY, NoSuspend, do(ActAskPeer, ActStart), ""},
	{Secondary, in(SSWS), CmdDelete, Accept, Deleting, NoSuspend, do(ActSettle, ActRelease, ActTellPeer), ""},
	{Secondary, in(SSWS), CmdForceDelete, Accept, Deleting, NoSuspend, do(ActSettle, ActRelease, ActTellPeer), ""},
	{Secondary, in(SSWS), EvCopied, Ignore, 0, 0, nil, ""},
	{Secondary, in(SSWS), EvDrained, Ignore, 0, 0, nil, ""},
	{Secondary, in(SSWS), EvPathLost, Ignore, 0, 0, nil, ""},
	{Secondary, in(SSWS), EvPeerSplit, Ignore, 0, 0, nil, ""},
	{Secondary, in(SSWS), EvPeerError, Ignore, 0, 0, nil, ""},
	{Secondary, in(SSWS), EvOverflow, Ignore, 0, 0, nil, ""},
	{Secondary, in(SSWS), EvPeerDeleted, Ignore, 0, 0, nil, ""},
	{Secondary, in(SSWS), EvRestoreFailed, Ignore, 0, 0, nil, ""},
	{Secondary, in(SSWS), EvPeerOff, Ignore, 0, 0, nil, ""},
	{Secondary, in(SSWS), EvPeerBack, Ignore, 0, 0, nil, ""},
	{Secondary, in(SSWS), EvPeerTookOver, Ignore, 0, 0, nil, ""},
	{Secondary, in(SSWS), EvSwapped, Refuse, 0, 0, nil, "it was taken over: resync mode=swap"},
	{Secondary, in(SSWS), EvPeerDelete, Accept, Deleting, NoSuspend, do(ActSettle, ActRelease), ""},
	{Secondary, in(SSWS), EvFailure, Accept, PSUE, SVOLFailure, do(ActDirect, ActTellPeer), ""},
	{Secondary, in(SSWS), EvConflict, Accept, PSUE, BothWritten, nil, ""},
	{Secondary, in(PSUE), EvConflict, Ignore, 0, 0, nil, ""},
	{Secondary, in(SSWS, PSUE), EvPeerResync, Refuse, 0, 0, nil, "the S-VOL was taken over and hosts write it: resync mode=swap there, or resync discard=there at the old primary, which gives up what was written at the S-VOL"},
	{Secondary, in(SSWS, PSUE), EvPeerDiscard, Accept, COPY, NoSuspend, do(ActReadOnly, ActSettle), ""},
	{Secondary, in(SSWS, PSUE), EvPeerSwap, Accept, COPY, NoSuspend, do(ActReadOnly, ActSettle), ""}, // both sides were taken over

	// Primary: it has heard of it. Nobody writes here.
	{Primary, in(PSUS, PSUE, PFUS), CmdTakeover, Refuse, 0, 0, nil, "the S-VOL was taken over: resync mode=swap makes this side its secondary, and takeover then brings the roles back"},
	{Primary, in(PSUS, PSUE, PFUS), CmdResync, Refuse, 0, 0, nil, "the S-VOL was taken over and may be the newer one: resync mode=swap makes this side its secondary; resync discard=there goes on from here and gives up what was written there"},
	{Primary, in(PSUS, PSUE, PFUS), CmdDiscard, Accept, COPY, NoSuspend, do(ActAskPeer, ActStart), ""},
	{Primary, in(PSUS, PSUE, PFUS), CmdSwap, Refuse, 0, 0, nil, "the side that was taken over has to begin that"},
	{Primary, in(PSUS), EvConflict, Accept, PSUE, BothWritten, do(ActTellPeer), ""},
	{Primary, in(PSUE, PFUS), EvConflict, Ignore, 0, 0, nil, ""},
	{Primary, in(PSUS, PSUE, PFUS), EvPeerTookOver, Ignore, 0, 0, nil, ""},
	{Primary, in(PSUS, PSUE, PFUS), EvPeerSwap, Accept, COPY, NoSuspend, do(ActReadOnly, ActSettle), ""},
}

// bothRules are the exceptions where both sides have what the other lacks: nothing but naming what is given up ends that.
var bothRules = []rule{
	{Primary, in(PSUE), CmdResync, Refuse, 0, 0, nil, "both sides have what the other lacks, so neither a plain resync nor mode=swap is taken: resync discard=here gives up what was written here, discard=there what was written at the S-VOL; it is kept aside first"},
	{Primary, in(PSUE), CmdTakeover, Refuse, 0, 0, nil, "both sides have what the other lacks: resync discard=here or discard=there first, which gives up what was written on that side, seen from here; it is kept aside first"},
	{Secondary, in(PSUE), CmdResync, Refuse, 0, 0, nil, "both sides have what the other lacks, so neither a plain resync nor mode=swap is taken: resync discard=here gives up what was written here, discard=there what was written at the old primary; it is kept aside first"},
}

// takeoverRules are the rows of the same inputs while nothing was taken over.
var takeoverRules = []rule{
	{RoleNone, in(SMPL), CmdTakeover, Refuse, 0, 0, nil, "there is no such pair"},
	{RoleNone, in(SMPL), CmdSwap, Refuse, 0, 0, nil, "there is no such pair: create it first"},
	{RoleNone, in(SMPL), CmdDiscard, Refuse, 0, 0, nil, "there is no such pair: create it first"},

	{Primary, in(COPY, PAIR, PSUS, PSUE, PFUS, Suspending), CmdTakeover, NoOp, 0, 0, nil, ""},
	{Primary, in(Deleting), CmdTakeover, Refuse, 0, 0, nil, "the pair is being deleted"},
	{Primary, in(COPY, PAIR, PSUS, PSUE, PFUS, Suspending), CmdSwap, Refuse, 0, 0, nil, "the S-VOL was not taken over, as far as is known here: takeover at the secondary first"},
	{Primary, in(Deleting), CmdSwap, Refuse, 0, 0, nil, "the pair is being deleted"},
	{Primary, in(COPY, PAIR), CmdDiscard, NoOp, 0, 0, nil, ""},
	{Primary, in(PSUS, PSUE, PFUS), CmdDiscard, Accept, COPY, NoSuspend, do(ActAskPeer, ActStart), ""},
	{Primary, in(Suspending), CmdDiscard, Refuse, 0, 0, nil, "the pair is still being suspended: wait for PSUS (pair wait), then resync"},
	{Primary, in(Deleting), CmdDiscard, Refuse, 0, 0, nil, "the pair is being deleted"},
	{Primary, in(COPY), EvPeerTookOver, Accept, PSUS, TakenOver, do(ActReadOnly, ActClearMap, ActMark, ActTellPeer), ""}, // the S-VOL had come to PAIR
	{Primary, in(PAIR, Suspending), EvPeerTookOver, Accept, PSUS, TakenOver, do(ActReadOnly, ActMark, ActTellPeer), ""},
	{Primary, in(PSUS, PSUE, PFUS), EvPeerTookOver, Accept, PSUS, TakenOver, do(ActReadOnly, ActTellPeer), ""},
	{Primary, in(Deleting), EvPeerTookOver, Ignore, 0, 0, nil, ""},
	{Primary, in(COPY, PAIR, PSUS, PSUE, PFUS, Suspending, Deleting), EvConflict, Ignore, 0, 0, nil, ""},
	{Primary, in(COPY, PAIR, PSUS, PSUE, PFUS, Suspending), EvPeerSwap, Refuse, 0, 0, nil, "the S-VOL was not taken over, as far as is known here"},
	{Primary, in(Deleting), EvPeerSwap, Refuse, 0, 0, nil, "the pair is being deleted"},
	{Primary, in(PAIR), EvSwapped, Accept, PAIR, NoSuspend, do(ActReadOnly, ActClearMap), ""},
	{Primary, in(COPY, PSUS, PSUE, PFUS, Suspending, Deleting), EvSwapped, Refuse, 0, 0, nil, "roles are exchanged without a copy in PAIR only"},

	{Secondary, in(PAIR, PSUS, PSUE, PFUS), CmdTakeover, Accept, SSWS, NoSuspend, do(ActSettle, ActTellPeer), ""},
	{Secondary, in(COPY), CmdTakeover, Refuse, 0, 0, nil, "the copy is not complete, so the S-VOL is no image of anything yet"},
	{Secondary, in(Suspending, Deleting), CmdTakeover, Refuse, 0, 0, nil, "the pair is changing its state: wait for the end"},
	{Secondary, in(COPY, PAIR, PSUS, PSUE, PFUS, Suspending), CmdSwap, Refuse, 0, 0, nil, "the S-VOL was not taken over, so nothing is to be swapped: a plain resync copies from the primary; a takeover at the S-VOL exchanges the roles"},
	{Secondary, in(Deleting), CmdSwap, Refuse, 0, 0, nil, "the pair is being deleted"},
	{Secondary, in(COPY, PAIR, PSUS, PSUE, PFUS, Suspending), CmdDiscard, Refuse, 0, 0, nil, "a resync copies from the primary: run it there"},
	{Secondary, in(Deleting), CmdDiscard, Refuse, 0, 0, nil, "the pair is being deleted"},
	{Secondary, in(COPY, PAIR, PSUS, PSUE, PFUS, Suspending, Deleting), EvPeerTookOver, Ignore, 0, 0, nil, ""},
	{Secondary, in(COPY, PAIR, PSUS, PFUS, PSUE, Suspending, Deleting), EvConflict, Ignore, 0, 0, nil, ""},
	{Secondary, in(COPY, PAIR, PSUS, PSUE, PFUS), EvPeerSwap, Accept, COPY, NoSuspend, do(ActReadOnly, ActSettle), ""}, // granted before, and not begun
	{Secondary, in(Suspending, Deleting), EvPeerSwap, Refuse, 0, 0, nil, "the pair is changing its state: wait for the end"},
	{Secondary, in(COPY, PAIR, PSUS, PSUE, PFUS), EvPeerDiscard, Accept, COPY, NoSuspend, do(ActReadOnly, ActSettle), ""},
	{Secondary, in(Suspending, Deleting), EvPeerDiscard, Refuse, 0, 0, nil, "the pair is changing its state: wait for the end"},
	{Secondary, in(PAIR), EvSwapped, Accept, PAIR, NoSuspend, do(ActClearMap, ActStart), ""},
	{Secondary, in(COPY, PSUS, PSUE, PFUS, Suspending, Deleting), EvSwapped, Refuse, 0, 0, nil, "roles are exchanged without a copy in PAIR only"},
}
