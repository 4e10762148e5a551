package main

// raidStatus is a pair status as RAID Manager's commands know it.
type raidStatus uint8

// The statuses, in the order of RAID Manager's tables.
const (
	raidSMPL raidStatus = iota
	raidCOPY
	raidPAIR
	raidPSUS
	raidPSUE
	raidPDUB // never here: a volume is one volume
	raidPFUL
	raidPFUS
	raidSSWS
	numRaidStatus
)

var raidStatusWords = [numRaidStatus]string{"SMPL", "COPY", "PAIR", "PSUS", "PSUE", "PDUB", "PFUL", "PFUS", "SSWS"}

// String returns the word.
func (s raidStatus) String() string { return raidStatusWords[s] }

// raidSide is the attribute of a volume.
type raidSide uint8

// The sides.
const (
	sideSMPL raidSide = iota
	sideP
	sideS
)

var raidSideWords = [...]string{"SMPL", "P-VOL", "S-VOL"}

// String returns the word.
func (s raidSide) String() string { return raidSideWords[s] }

// other returns the side that the other volume of the pair is on.
func (s raidSide) other() raidSide { return [...]raidSide{sideSMPL, sideS, sideP}[s] }

// statusCodes are what a status becomes as an exit status. 0 is a status that the side does not have.
type statusCodes struct {
	volchkP, volchkS int // pairvolchk -ss, of journal pairs: 20 more than those of synchronous pairs
	evtwait          int // pairevtwait -nowait and -nowaits
}

// raidStatusCodes are RAID Manager's tables of both commands, by status. Where a status has no number of its own it has that of the one it is
// a kind of: PFUL is PAIR, PFUS is PSUS, and an S-VOL in SSWS is a split one.
var raidStatusCodes = [numRaidStatus]statusCodes{
	raidSMPL: {11, 11, 1},
	raidCOPY: {42, 52, 2},
	raidPAIR: {43, 53, 3},
	raidPSUS: {44, 54, 4},
	raidPSUE: {45, 55, 5},
	raidPDUB: {46, 56, 5},
	raidPFUL: {47, 57, 3},
	raidPFUS: {48, 58, 4},
	raidSSWS: {44, 54, 4},
}

// attributeCodes are what pairvolchk leaves without -ss.
var attributeCodes = [...]int{sideSMPL: 1, sideP: 2, sideS: 3}

// volchkCode returns what pairvolchk -ss leaves.
func volchkCode(side raidSide, s raidStatus) int {
	if side == sideS {
		return raidStatusCodes[s].volchkS
	}
	return raidStatusCodes[s].volchkP
}

// statusRule says as what RAID Manager's commands see a status of a pair. The first rule that fits counts.
type statusRule struct {
	word       string // as the control file has it
	typ        string // suspend type, "" for any
	consistent string // yes or no, "" for either
	as         raidStatus
}

// statusRules are the statuses. What is on its way is not told, as the arrays do it: the end of what an operator asked for is told when it is
// reached, and what a failure asked for at once.
var statusRules = []statusRule{
	{"SMPL", "", "", raidSMPL},
	{"COPY", "", "", raidCOPY},
	{"PAIR", "", "", raidPAIR},
	{"PFUL", "", "", raidPFUL},
	{"PFUS", "", "", raidPFUS},
	{"PSUS", "", "", raidPSUS},
	{"SSUS", "", "", raidPSUS},
	{"PSUE", "MCU P/S OFF", "", raidPSUS}, // switched off in good order: it goes on by itself
	{"PSUE", "", "", raidPSUE},
	{"SSWS", "", "", raidSSWS},
	{"Suspending", "JNL overflow", "", raidPFUS},
	{"Suspending", "", "yes", raidPAIR},
	{"Suspending", "", "", raidCOPY},
	{"Deleting", "", "", raidCOPY}, // whatever it was, hosts can no longer count on it
}

// seenAs looks a status up. One that no rule knows is PSUE: a script that does not know what is wrong had better stop.
func seenAs(word, typ, consistent string) raidStatus {
	for _, r := range statusRules {
		if r.word == word && (r.typ == "" || r.typ == typ) && (r.consistent == "" || r.consistent == consistent) {
			return r.as
		}
	}
	return raidPSUE
}

// sideOf returns the side of the volume of a pair here.
func sideOf(p state) raidSide {
	switch {
	case p.get("status") == "SMPL":
		return sideSMPL
	case p.get("role") == "P-VOL":
		return sideP
	case p.get("role") == "S-VOL":
		return sideS
	}
	return sideSMPL
}

// localStatus is the status of a pair here.
func localStatus(p state) raidStatus {
	return seenAs(p.get("status"), p.get("suspend-type"), p.get("consistent"))
}

// remoteStatus is the status of a pair at the other side; not known while the mirror is down, since what was heard last may have changed. That
// the pair is gone there does not change.
func remoteStatus(p state) (s raidStatus, known bool) {
	if p.get("peer-status") == "SMPL" {
		return raidSMPL, true
	}
	if sideOf(p) == sideSMPL || p.get("linked") != "yes" || !p.has("peer-status") {
		return 0, false
	}
	return seenAs(p.get("peer-status"), "", p.get("consistent")), true
}

// statusAt is the status on one side of a pair: what is seen here stands for what is not known of there.
func statusAt(side raidSide, p state) raidStatus {
	if s, known := remoteStatus(p); known && sideOf(p) != side {
		return s
	}
	return localStatus(p)
}

// The order in which the statuses of its volumes decide what the status of a group is: the first that one of them has. As RAID Manager's
// truth tables of pairvolchk have it, with -s and with -ss.
var (
	groupOrder   = []raidStatus{raidCOPY, raidPSUE, raidPDUB, raidPFUS, raidPSUS, raidSSWS, raidPFUL, raidPAIR, raidSMPL}
	groupOrderSS = []raidStatus{raidCOPY, raidPSUE, raidPDUB, raidPFUL, raidPAIR, raidPFUS, raidPSUS, raidSSWS, raidSMPL}
)

// groupStatus is the status of a group by one of the orders. A group of nothing is SMPL.
func groupStatus(order, members []raidStatus) raidStatus {
	for _, s := range order {
		for _, m := range members {
			if m == s {
				return s
			}
		}
	}
	return raidSMPL
}
