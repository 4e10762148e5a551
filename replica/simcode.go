package replica

// The codes of path events. A mirror of this site has no extender, so 2182 (line failure reported by one) is never given.
const (
	simPathBlocked  = "2180" // the mirror is down
	simPathRestored = "2181" // the mirror is up again
)

// simRow is one row of the table of codes for suspended pairs.
type simRow struct {
	role Role
	fact Input       // what led there, or simAnyFact
	typ  SuspendType // what the pair shows, or simAnyType
	code string
}

const (
	simAnyFact = numInput
	simAnyType = numSuspendType
)

// simRows are the reference's service information messages for suspended pairs, with its severity "serious" each; the last digit is a
// place holder there as well. The first row that fits counts. Where the fact and the type differ the fact stands first: a copy that
// failed has one type and many reasons.
//
// The reference has no row for a full journal: it is given as a failure in the primary, whose journal it is, for an operator has to act.
// DC9x (delta resync) and DCEx (reported to hosts) belong to what this system does not have.
var simRows = []simRow{
	{Primary, EvPathLost, PVOLByOperator, ""}, // a split whose flush the path ended: what the operator asked for
	{Primary, EvOverflow, PVOLByOperator, ""},
	{Primary, EvFull, PVOLByOperator, ""},
	{Primary, EvPeerSplit, PVOLByOperator, ""},
	{Primary, EvPathLost, simAnyType, "DC0x"},
	{Primary, EvFailure, simAnyType, "DC1x"},
	{Primary, EvOverflow, simAnyType, "DC1x"},
	{Primary, EvFull, simAnyType, "DC1x"},
	{Primary, EvLost, simAnyType, "DC1x"},
	{Primary, simAnyFact, MCUInitialized, "DC1x"},
	{Primary, EvPeerError, simAnyType, "DC2x"},
	{Primary, EvPeerSplit, simAnyType, "DC4x"},
	{Primary, EvPeerDeleted, simAnyType, "DC5x"},
	{Primary, simAnyFact, PVOLFailure, "DC1x"},
	{Primary, simAnyFact, JournalOverflow, "DC1x"},
	{Primary, simAnyFact, ByRCU, "DC2x"},
	{Primary, simAnyFact, SVOLFailure, "DC2x"},
	{Primary, simAnyFact, SVOLByOperator, "DC4x"},
	{Primary, simAnyFact, DeletePairToRCU, "DC5x"},
	{Primary, simAnyFact, TakenOver, "DC4x"}, // the reference has no row for it: split at the secondary is what it is
	{Primary, simAnyFact, BothWritten, "DC4x"},
	{Secondary, EvPathLost, simAnyType, "DC6x"},
	{Secondary, EvFailure, simAnyType, "DC7x"},
	{Secondary, EvRestoreFailed, simAnyType, "DC7x"},
}

// simCode returns the reference's code for a pair that has come to a state by a fact: "" for one that is not suspended, that an operator
// split, or whose code the other side gives. It is a pure function.
func simCode(s PairState, fact Input) string {
	if !s.Status.suspended() {
		return ""
	}
	for _, r := range simRows {
		if r.role == s.Role && (r.fact == simAnyFact || r.fact == fact) && (r.typ == simAnyType || r.typ == s.Suspend) {
			return r.code
		}
	}
	return ""
}

// simPath returns the code for a mirror that comes up or goes down. The first connection since the daemon started restores nothing.
func simPath(up, before bool) string {
	switch {
	case !up:
		return simPathBlocked
	case before:
		return simPathRestored
	}
	return ""
}
