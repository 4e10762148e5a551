package replica

import "fmt"

// Role says which side of a pair a volume is on.
type Role uint8

// The roles. Stored and sent; only add.
const (
	RoleNone  Role = iota // in no pair
	Primary               // P-VOL: hosts write here
	Secondary             // S-VOL: restored from the peer
)

// String returns "-", "P-VOL" or "S-VOL".
func (r Role) String() string {
	switch r {
	case Primary:
		return "P-VOL"
	case Secondary:
		return "S-VOL"
	}
	return "-"
}

// Status is a pair status, with the reference system's names. Stored and sent; only add.
type Status uint8

// The statuses. PFUL is shown, never stored: it is COPY or PAIR with a journal over its high-water mark.
const (
	SMPL Status = iota
	COPY
	PAIR
	PFUL
	PFUS
	PSUS
	PSUE
	SSWS
	Suspending
	Deleting
	numStatus
)

var statusNames = [numStatus]string{"SMPL", "COPY", "PAIR", "PFUL", "PFUS", "PSUS", "PSUE", "SSWS", "Suspending", "Deleting"}

// String returns the reference's word. An S-VOL in PSUS is shown as SSUS by [Status.On].
func (s Status) String() string {
	if s < numStatus {
		return statusNames[s]
	}
	return fmt.Sprintf("status(%d)", uint8(s))
}

// On returns the word that the side with that role shows: PSUS is SSUS on the secondary.
func (s Status) On(r Role) string {
	if s == PSUS && r == Secondary {
		return "SSUS"
	}
	return s.String()
}

// ParseStatus reads a status word; SSUS reads as PSUS. ok is false for any other word.
func ParseStatus(w string) (s Status, ok bool) {
	if w == "SSUS" {
		return PSUS, true
	}
	for i, n := range statusNames {
		if n == w {
			return Status(i), true
		}
	}
	return 0, false
}

// active reports whether updates of the pair are replicated in this status.
func (s Status) active() bool { return s == COPY || s == PAIR || s == PFUL || s == Suspending }

// suspended reports whether the pair is split, for whatever reason.
func (s Status) suspended() bool { return s == PFUS || s == PSUS || s == PSUE }

// SuspendType says why a pair is suspended, with the reference's names. Stored and sent; only add.
type SuspendType uint8

// The suspend types. See the reference's split types (PSUS) and suspend types (PSUE).
const (
	NoSuspend         SuspendType = iota
	PVOLByOperator                // P: split by user from the primary
	SVOLByOperator                // P, S: split by user from the secondary
	ByMCU                         // S: the primary asked for the split
	ByRCU                         // P: the primary found an error at the secondary, after the copy
	DeletePairToRCU               // P: the pair was deleted at the secondary; cannot be resynchronised
	JournalOverflow               // P, S: the journal was full
	SVOLFailure                   // P, S: the secondary cannot be reached, or cannot receive or restore
	InitialCopyFailed             // P, S: an error, on either side, before the copy of a create or resync ended: the S-VOL is no image of anything
	PVOLFailure                   // P, S: journal or store of the primary failed
	MCUPowerOff                   // S: the primary was switched off in good order; the pair goes on when it is back
	MCUInitialized                // P, S: the primary lost its journal or its records of the pair: everything counts as different
	TakenOver                     // P: the S-VOL was taken over; hosts do not write here until that is settled
	BothWritten                   // P, S: the S-VOL was taken over, and each side has what the other lacks
	numSuspendType
)

var suspendTypeNames = [numSuspendType]string{
	"-", "P-VOL by operator", "S-VOL by operator", "by MCU", "by RCU", "delete pair to RCU", "JNL overflow", "S-VOL failure",
	"initial copy failed", "P-VOL failure", "MCU P/S OFF", "MCU IMPL", "S-VOL taken over", "both written",
}

// String returns the reference's words for the type, "-" for none.
func (t SuspendType) String() string {
	if t < numSuspendType {
		return suspendTypeNames[t]
	}
	return fmt.Sprintf("suspend-type(%d)", uint8(t))
}
