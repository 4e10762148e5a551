package main

import "strings"

// raidRequest is what a command asks of a pair, as the columns of RAID Manager's acceptance table.
type raidRequest uint8

// The requests.
const (
	askCreate raidRequest = iota // paircreate
	askNocopy                    // paircreate -nocopy
	askSplit                     // pairsplit -r, -rw
	askPurge                     // pairsplit -P
	askDelete                    // pairsplit -S, -R
	askResync                    // pairresync
	numRaidRequest
)

// raidVerdict is what becomes of a request.
type raidVerdict uint8

// The verdicts.
const (
	accepted raidVerdict = iota // carried out
	noOp                        // ends normally, nothing done
	rejected
)

// raidAccept is RAID Manager's table of what a status accepts, in its order; PFUL is PAIR, PFUS is PSUS. A pair that was taken over is
// resynchronised by -swaps or -swapp alone.
var raidAccept = [numRaidStatus][numRaidRequest]raidVerdict{
	//         create    -nocopy   -r, -rw   -P        -S        resync
	raidSMPL: {accepted, accepted, rejected, rejected, noOp, rejected},
	raidCOPY: {noOp, noOp, accepted, rejected, accepted, noOp},
	raidPAIR: {noOp, noOp, accepted, accepted, accepted, noOp},
	raidPSUS: {rejected, rejected, noOp, noOp, accepted, accepted},
	raidPSUE: {rejected, rejected, noOp, noOp, accepted, accepted},
	raidPDUB: {rejected, rejected, rejected, rejected, accepted, accepted},
	raidPFUL: {noOp, noOp, accepted, accepted, accepted, noOp},
	raidPFUS: {rejected, rejected, noOp, noOp, accepted, accepted},
	raidSSWS: {rejected, rejected, noOp, noOp, accepted, rejected},
}

// raidWhy are the sentences for what is rejected: which code, and what to do instead.
var raidWhy = [numRaidRequest]struct{ inSMPL, otherwise string }{
	askCreate: {"", "is suspended: use pairresync, or pairsplit -S first"},
	askNocopy: {"", "is suspended: use pairresync, or pairsplit -S first"},
	askSplit:  {"is in no pair: paircreate makes one", "cannot be split"},
	askPurge:  {"is in no pair: paircreate makes one", "is not copied completely: use pairsplit -r, or wait for PAIR"},
	askResync: {"is in no pair: paircreate makes one", "was taken over: use pairresync -swaps at the S-VOL's site, or -swapp at the P-VOL's"},
}

// decide asks the table for each member. It returns those for which something has to be done, or the refusal of all. A group of no volumes
// is SMPL.
func decide(members []raidMember, ask raidRequest) (todo []raidMember, err error) {
	if len(members) == 0 && raidAccept[raidSMPL][ask] == rejected {
		return nil, raidf(exINVVOL, "the group has no pairs: paircreate makes one")
	}
	var refused []raidMember
	for _, m := range members {
		switch verdict := raidAccept[m.acceptedAs()][ask]; {
		case verdict == accepted, m.changing(): // what is changing its status the site decides itself
			todo = append(todo, m)
		case verdict == rejected:
			refused = append(refused, m)
		}
	}
	if len(refused) == 0 {
		return todo, nil
	}
	first, why := refused[0], raidWhy[ask].otherwise
	code := exINVSTP
	if first.status() == raidSMPL {
		code, why = exINVVOL, raidWhy[ask].inSMPL
	}
	if len(refused) < len(members) {
		names := make([]string, len(refused))
		for i, m := range refused {
			names[i] = m.name() + " in " + m.status().String()
		}
		return nil, raidf(exINCSTG, "nothing was done: of the %d volumes these do not allow it: %s; the first %s", len(members), strings.Join(names, ", "), why)
	}
	return nil, raidf(code, "%s in %s %s", first.name(), first.status(), why)
}
