package main

import (
	"fmt"
	"strings"
	"testing"

	"pairfs/replica"
)

// referenceVolchk is RAID Manager's table of what pairvolchk -ss returns for asynchronous and journal pairs.
const referenceVolchk = `
11 SMPL
42 P-VOL COPY
43 P-VOL PAIR
44 P-VOL PSUS
45 P-VOL PSUE
46 P-VOL PDUB
47 P-VOL PFUL
48 P-VOL PFUS
52 S-VOL COPY
53 S-VOL PAIR
54 S-VOL PSUS
55 S-VOL PSUE
56 S-VOL PDUB
57 S-VOL PFUL
58 S-VOL PFUS
`

func TestVolchkCodesAreThoseOfTheReference(t *testing.T) {
	var got strings.Builder
	fmt.Fprintf(&got, "\n%d SMPL\n", volchkCode(sideSMPL, raidSMPL))
	for _, side := range []raidSide{sideP, sideS} {
		for s := raidCOPY; s <= raidPFUS; s++ {
			fmt.Fprintf(&got, "%d %s %s\n", volchkCode(side, s), side, s)
		}
	}
	if got.String() != referenceVolchk {
		t.Errorf("got%s\nwant%s", got.String(), referenceVolchk)
	}
	if volchkCode(sideS, raidSSWS) != 54 {
		t.Error("an S-VOL that was taken over is not a split one")
	}
	for side, want := range []int{sideSMPL: 1, sideP: 2, sideS: 3} {
		if attributeCodes[side] != want {
			t.Errorf("without -ss %s is %d, want %d", raidSide(side), attributeCodes[side], want)
		}
	}
}

func TestEvtwaitCodesAreThoseOfTheReference(t *testing.T) {
	for want, statuses := range map[int][]raidStatus{
		1: {raidSMPL}, 2: {raidCOPY}, 3: {raidPAIR, raidPFUL}, 4: {raidPSUS, raidPFUS, raidSSWS}, 5: {raidPSUE, raidPDUB},
	} {
		for _, s := range statuses {
			if got := raidStatusCodes[s].evtwait; got != want {
				t.Errorf("%s is %d, want %d", s, got, want)
			}
		}
	}
}

// TestEveryStatusIsSeen walks the statuses of the product, on both sides: each has to be known to RAID Manager's commands.
func TestEveryStatusIsSeen(t *testing.T) {
	for _, role := range []replica.Role{replica.Primary, replica.Secondary} {
		for s := replica.SMPL; s <= replica.Deleting; s++ {
			word := s.On(role)
			known := false
			for _, r := range statusRules {
				known = known || r.word == word && r.typ == "" && r.consistent == ""
			}
			if !known {
				t.Errorf("no rule knows %s in any case", word)
			}
		}
	}
	for _, row := range []struct {
		word, typ, consistent string
		want                  raidStatus
	}{
		{"PAIR", "-", "yes", raidPAIR},
		{"SSUS", "by MCU", "yes", raidPSUS},
		{"PSUE", "MCU P/S OFF", "yes", raidPSUS},
		{"PSUE", "S-VOL failure", "yes", raidPSUE},
		{"Suspending", "P-VOL by operator", "yes", raidPAIR},
		{"Suspending", "P-VOL by operator", "no", raidCOPY},
		{"Suspending", "JNL overflow", "yes", raidPFUS},
		{"HOLD", "-", "yes", raidPSUE},
	} {
		if got := seenAs(row.word, row.typ, row.consistent); got != row.want {
			t.Errorf("%s (%s, consistent %s) is %s, want %s", row.word, row.typ, row.consistent, got, row.want)
		}
	}
}

// TestGroupStatus has the rows of RAID Manager's truth tables: which status a group has, by those of its volumes.
func TestGroupStatus(t *testing.T) {
	all := []raidStatus{raidPAIR, raidPFUL, raidPSUS, raidPFUS, raidPDUB, raidPSUE, raidCOPY}
	for _, row := range []struct {
		name  string
		order []raidStatus
		want  []raidStatus // as the one before is taken away
	}{
		{"-s", groupOrder, []raidStatus{raidCOPY, raidPSUE, raidPDUB, raidPFUS, raidPSUS, raidPFUL, raidPAIR}},
		{"-ss", groupOrderSS, []raidStatus{raidCOPY, raidPSUE, raidPDUB, raidPFUL, raidPAIR, raidPFUS, raidPSUS}},
	} {
		left := append([]raidStatus(nil), all...)
		for _, want := range row.want {
			if got := groupStatus(row.order, left); got != want {
				t.Errorf("%s of %v: %s, want %s", row.name, left, got, want)
			}
			for i, s := range left {
				if s == want {
					left = append(left[:i], left[i+1:]...)
					break
				}
			}
		}
		if got := groupStatus(row.order, left); got != raidSMPL {
			t.Errorf("%s of nothing: %s", row.name, got)
		}
		if len(row.order) != int(numRaidStatus) {
			t.Errorf("%s orders %d of %d statuses", row.name, len(row.order), numRaidStatus)
		}
	}
}

// pairOf makes the state of a pair.
func pairOf(role, status, peerStatus, linked string) state {
	return parseState("name: p\nrole: " + role + "\nstatus: " + status + "\npeer-status: " + peerStatus + "\nlinked: " + linked + "\nconsistent: yes\n")
}

func TestStatusOfTheOtherSide(t *testing.T) {
	for _, row := range []struct {
		p       state
		want    raidStatus
		known   bool
		primary raidStatus // as waited for at this side
	}{
		{pairOf("P-VOL", "PSUS", "SSUS", "yes"), raidPSUS, true, raidPSUS},
		{pairOf("S-VOL", "SSUS", "PAIR", "yes"), raidPAIR, true, raidPAIR},
		{pairOf("S-VOL", "SSUS", "PAIR", "no"), 0, false, raidPSUS},
		{pairOf("S-VOL", "PAIR", "-", "yes"), 0, false, raidPAIR},
		{pairOf("P-VOL", "PSUS", "SMPL", "no"), raidSMPL, true, raidPSUS},
		{pairOf("S-VOL", "PAIR", "Suspending", "yes"), raidPAIR, true, raidPAIR},
	} {
		s, known := remoteStatus(row.p)
		if s != row.want || known != row.known {
			t.Errorf("%v: %s, %v, want %s, %v", row.p.values, s, known, row.want, row.known)
		}
		if got := statusAt(sideP, row.p); got != row.primary {
			t.Errorf("%v: the primary is %s, want %s", row.p.values, got, row.primary)
		}
	}
}

func TestHopelessWaits(t *testing.T) {
	for _, row := range []struct {
		wanted string
		before raidStatus
		known  bool
		now    raidStatus
		want   bool
	}{
		{"pair", raidCOPY, true, raidPSUE, true},
		{"pair", 0, false, raidPSUE, true},
		{"pair", raidCOPY, true, raidPSUS, true},
		{"pair", 0, false, raidPSUS, false}, // somebody may resync it
		{"pair", raidPSUS, true, raidPSUS, false},
		{"psus", raidPAIR, true, raidPSUE, true},
		{"smpl", raidPAIR, true, raidPSUE, false},
		{"pair", raidCOPY, true, raidSMPL, false},
	} {
		w := sideWait{wanted: waitWords[row.wanted]}
		if got := w.hopeless(row.before, row.known, row.now); got != row.want {
			t.Errorf("waiting for %s, %s after %s (%v): %v", row.wanted, row.now, row.before, row.known, got)
		}
	}
}
