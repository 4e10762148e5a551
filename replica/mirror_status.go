package replica

import "time"

// mirrorFacts are what the status of a mirror and its journal follows from.
type mirrorFacts struct {
	role       Role
	pairs      []PairState
	peerHalts  bool          // secondary: the primary says that a pair is Suspending
	over       bool          // primary: the journal is over its high-water mark
	silent     time.Duration // how long the mirror has been down, 0 while it is up
	unrestored uint64        // records that the S-VOLs do not have: the reference's Q-CNT
}

// counts of the pairs' statuses.
func (f mirrorFacts) count() (active, halting, deleting, operator, full, failed int) {
	for _, p := range f.pairs {
		switch {
		case p.Status == Suspending:
			halting++
		case p.Status == Deleting:
			deleting++
		case p.Status.active():
			active++
		case p.Status == PFUS:
			full++
		case p.Status == PSUE:
			failed++
		default:
			operator++
		}
	}
	return
}

// word is the mirror's status as the reference's console names it: Initial without pairs; Active, with a warning if some pair is split;
// HaltAccept on a restore group whose primary is splitting; Halting, Stopping and Stopped.
func (f mirrorFacts) word() string {
	active, halting, deleting, operator, full, failed := f.count()
	split := operator + full + failed
	switch {
	case len(f.pairs) == 0:
		return "Initial"
	case f.role == Secondary && f.peerHalts && active > 0:
		return "HaltAccept"
	case halting > 0:
		return "Halting"
	case active > 0 && split > 0:
		return "Active (warning)"
	case active > 0:
		return "Active"
	case deleting > 0:
		return "Stopping"
	}
	return "Stopped"
}

// code is the journal's status as the reference's command line names it, after P for a master and S for a restore journal: JNN normal, JNF
// over the high-water mark, JSN suspended by operation, JSF by a full journal, JSE by a failure, or no read-journal for activeWatch. The
// worst of the pairs that are not replicated counts when none is.
func (f mirrorFacts) code() string {
	active, halting, deleting, operator, full, failed := f.count()
	side := "P"
	if f.role == Secondary {
		side = "S"
	}
	switch {
	case len(f.pairs) == 0 || deleting == len(f.pairs):
		return "SMPL"
	case f.role == Primary && active+halting > 0 && f.silent >= activeWatch:
		return "PJSE"
	case active > 0 && f.over:
		return side + "JNF"
	case active > 0:
		return side + "JNN"
	case failed > 0:
		return side + "JSE"
	case full > 0 || halting > 0 && f.haltsFull():
		return side + "JSF"
	case operator+halting > 0:
		return side + "JSN"
	}
	return "SMPL"
}

// haltsFull reports whether the flush that is under way is that of a full journal.
func (f mirrorFacts) haltsFull() bool {
	for _, p := range f.pairs {
		if p.Status == Suspending && p.Suspend == JournalOverflow {
			return true
		}
	}
	return false
}

// splitLeft estimates how long a flush still takes: what is left over what the journal gets rid of, as the reference does. 0 is unknown.
func splitLeft(left int64, drain float64) time.Duration {
	if left <= 0 || drain < 1 {
		return 0
	}
	return time.Duration(float64(left) / drain * float64(time.Second))
}
