package main

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

// referenceAcceptance is RAID Manager's table of what a status accepts; what is neither rejected nor no-op is the new status.
const referenceAcceptance = `
SMPL COPY     PAIR     rejected rejected no-op rejected
COPY no-op    no-op    PSUS     rejected SMPL  no-op
PAIR no-op    no-op    PSUS     PSUS     SMPL  no-op
PSUS rejected rejected no-op    no-op    SMPL  COPY
PSUE rejected rejected no-op    no-op    SMPL  COPY
PDUB rejected rejected rejected rejected SMPL  COPY
`

func TestAcceptanceIsThatOfTheReference(t *testing.T) {
	rows := 0
	for line := range strings.Lines(strings.TrimSpace(referenceAcceptance)) {
		f := strings.Fields(line)
		s := seenAs(f[0], "", "")
		if f[0] == "PDUB" {
			s = raidPDUB
		}
		rows++
		for ask, want := range f[1:] {
			verdict := raidAccept[s][ask]
			if (want == "rejected") != (verdict == rejected) || (want == "no-op") != (verdict == noOp) {
				t.Errorf("%s, request %d: verdict %d, the reference has %s", f[0], ask, verdict, want)
			}
		}
	}
	if rows != 6 || raidAccept[raidPFUL] != raidAccept[raidPAIR] || raidAccept[raidPFUS] != raidAccept[raidPSUS] {
		t.Error("PFUL is PAIR and PFUS is PSUS, and there are six rows")
	}
	if raidAccept[raidSSWS][askResync] != rejected {
		t.Error("a pair that was taken over is resynchronised without a swap")
	}
}

// memberIn makes a member in a status.
func memberIn(name, role, status string) raidMember {
	return raidMember{dev: name, pair: name, volume: name, group: "g", st: pairOf(role, status, "-", "yes")}
}

func TestDecide(t *testing.T) {
	p := func(name, status string) raidMember { return memberIn(name, "P-VOL", status) }
	over := memberIn("o", "P-VOL", "PSUS")
	over.st.set("peer-status", "SSWS")
	for _, row := range []struct {
		name    string
		members []raidMember
		ask     raidRequest
		todo    string // names
		code    raidCode
		says    string
	}{
		{"resync of a split pair", []raidMember{p("a", "PSUS")}, askResync, "a", raidCode{}, ""},
		{"resync of a group, one in step", []raidMember{p("a", "PAIR"), p("b", "PSUE")}, askResync, "b", raidCode{}, ""},
		{"all no-op", []raidMember{p("a", "PAIR"), p("b", "COPY")}, askCreate, "", raidCode{}, ""},
		{"create over a split pair", []raidMember{p("a", "PSUS")}, askCreate, "", exINVSTP, "pairresync"},
		{"purge of a copy", []raidMember{p("a", "COPY")}, askPurge, "", exINVSTP, "wait for PAIR"},
		{"purge of a copy among others", []raidMember{p("a", "PAIR"), p("b", "COPY")}, askPurge, "", exINCSTG, "b in COPY"},
		{"split of nothing", []raidMember{memberIn("a", "-", "SMPL")}, askSplit, "", exINVVOL, "paircreate makes one"},
		{"split of an empty group", nil, askSplit, "", exINVVOL, "has no pairs"},
		{"end of an empty group", nil, askDelete, "", raidCode{}, ""},
		{"resync after a takeover", []raidMember{over}, askResync, "", exINVSTP, "-swaps"},
		{"the site decides of what is changing", []raidMember{p("a", "Suspending"), p("b", "Deleting")}, askResync, "a b", raidCode{}, ""},
	} {
		todo, err := decide(row.members, row.ask)
		var names []string
		for _, m := range todo {
			names = append(names, m.name())
		}
		if got := strings.Join(names, " "); got != row.todo {
			t.Errorf("%s: to do %q, want %q", row.name, got, row.todo)
		}
		var e *raidError
		if errors.As(err, &e) != (row.code != raidCode{}) || e != nil && (e.code != row.code || !strings.Contains(fmt.Sprint(err), row.says)) {
			t.Errorf("%s: %v, want %s and %q", row.name, err, row.code.name, row.says)
		}
	}
}
