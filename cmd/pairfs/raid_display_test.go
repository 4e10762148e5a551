package main

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// displayed prints a pair as the two sides of it.
func displayed(t *testing.T, format string, cli bool) string {
	t.Helper()
	p := raidMember{dev: "data", pair: "data", volume: "db", group: "g", st: pairOf("P-VOL", "PFUS", "SSUS", "yes")}
	p.st.set("peer", "osaka")
	p.st.set("remote-volume", "db2")
	p.st.set("group", "g")
	p.st.set("copied-percent", "97.9")
	free := raidMember{dev: "log", volume: "log", st: parseState("status: SMPL\n")}
	d := display{site: "tokyo", mnt: "/mnt/tokyo", exact: strings.ContainsAny(format, "ce"), ranks: map[string]string{"g": "3"}}
	s, known := remoteStatus(p.st)
	if !known {
		t.Fatal("the other side is not known")
	}
	var out bytes.Buffer
	if err := printDisplay(&out, []displayRow{d.local("oradb", p), d.remote("oradb", p, s), d.local("oradb", free)}, format, cli); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// TestPairdisplay has the lines of pairdisplay in the forms of the reference.
func TestPairdisplay(t *testing.T) {
	for _, row := range []struct {
		format string
		cli    bool
		want   string
	}{
		{"", false, `Group   PairVol(L/R) (Port#,TID, LU),Seq#,LDEV#.P/S,Status,Fence, Seq#,P-LDEV# M
oradb   data(L) (-, -,   -)tokyo    db.P-VOL PSUS ASYNC ,osaka    db2 -
oradb   data(R) (-, -,   -)osaka   db2.S-VOL SSUS ASYNC ,tokyo     db -
oradb   log(L) (-, -,   -)tokyo   log.SMPL ---- ------,-----   ---- -
`},
		{"cx", false, `Group   PairVol(L/R) (Port#,TID, LU),Seq#,LDEV#.P/S,Status,Fence,   %,P-LDEV# M
oradb   data(L) (-, -,   -)tokyo    db.P-VOL PFUS ASYNC ,   97   db2 -
oradb   data(R) (-, -,   -)osaka   db2.S-VOL SSUS ASYNC ,    -    db -
oradb   log(L) (-, -,   -)tokyo   log.SMPL ---- ------,    -  ---- -
`},
		{"e", false, `Group   PairVol(L/R) (Port#,TID, LU),Seq#,LDEV#.P/S,Status,Fence,   %,P-LDEV# M CTG JID AP EM       E-Seq# E-LDEV#
oradb   data(L) (-, -,   -)tokyo    db.P-VOL PFUS ASYNC ,   97   db2 -   3   3  1  -            -       -
oradb   data(R) (-, -,   -)osaka   db2.S-VOL SSUS ASYNC ,    -    db -   3   -  -  -            -       -
oradb   log(L) (-, -,   -)tokyo   log.SMPL ---- ------,    -  ---- -   -   -  -  -            -       -
`},
		{"d", false, `Group   PairVol(L/R) Device_File  ,Seq#,LDEV#.P/S,Status,Fence, Seq#,P-LDEV# M
oradb   data(L) /mnt/tokyo/db tokyo    db.P-VOL PSUS ASYNC ,osaka    db2 -
oradb   data(R) -            osaka   db2.S-VOL SSUS ASYNC ,tokyo     db -
oradb   log(L) /mnt/tokyo/log tokyo   log.SMPL ---- ------,-----   ---- -
`},
		{"ce", true, `Group  PairVol  L/R  Port#  TID  LU  Seq#   LDEV#  P/S    Status  Fence   %   P-LDEV#  M  CTG  JID  AP  EM  E-Seq#  E-LDEV#
oradb  data     L    -      -    -   tokyo  db     P-VOL  PFUS    ASYNC   97  db2      -  3    3    1   -   -       -
oradb  data     R    -      -    -   osaka  db2    S-VOL  SSUS    ASYNC   -   db       -  3    -    -   -   -       -
oradb  log      L    -      -    -   tokyo  log    SMPL   ----    ------  -   ----     -  -    -    -   -   -       -
`},
		{"", true, `Group  PairVol  L/R  Port#  TID  LU  Seq#   LDEV#  P/S    Status  Fence   Seq#   P-LDEV#  M
oradb  data     L    -      -    -   tokyo  db     P-VOL  PSUS    ASYNC   osaka  db2      -
oradb  data     R    -      -    -   osaka  db2    S-VOL  SSUS    ASYNC   tokyo  db       -
oradb  log      L    -      -    -   tokyo  log    SMPL   ----    ------  -----  ----     -
`},
		{"d", true, `Group  PairVol  L/R  Device_File     Seq#   LDEV#  P/S    Status  Fence   Seq#   P-LDEV#  M
oradb  data     L    /mnt/tokyo/db   tokyo  db     P-VOL  PSUS    ASYNC   osaka  db2      -
oradb  data     R    -               osaka  db2    S-VOL  SSUS    ASYNC   tokyo  db       -
oradb  log      L    /mnt/tokyo/log  tokyo  log    SMPL   ----    ------  -----  ----     -
`},
	} {
		if d := cmp.Diff(row.want, displayed(t, row.format, row.cli)); d != "" {
			t.Errorf("-f%s, CLI %v (-want +got):\n%s", row.format, row.cli, d)
		}
	}
}

func TestShownStatus(t *testing.T) {
	for _, row := range []struct {
		side          raidSide
		s             raidStatus
		exact, always string
	}{
		{sideP, raidPFUL, "PFUL", "PAIR"},
		{sideP, raidPFUS, "PFUS", "PSUS"},
		{sideS, raidPFUS, "PFUS", "SSUS"},
		{sideS, raidPSUS, "SSUS", "SSUS"},
		{sideS, raidSSWS, "SSWS", "SSUS"},
		{sideP, raidPSUE, "PSUE", "PSUE"},
	} {
		if a, b := shownStatus(row.side, row.s, true), shownStatus(row.side, row.s, false); a != row.exact || b != row.always {
			t.Errorf("%s %s: %s and %s, want %s and %s", row.side, row.s, a, b, row.exact, row.always)
		}
	}
}

func TestDisplayedPercent(t *testing.T) {
	d := display{groups: map[string]state{"g": parseState("used-percent: 81.5\n")}}
	for status, want := range map[string]string{"COPY": "45", "PAIR": "81", "PFUL": "81", "PSUS": "45", "PSUE": "45"} {
		m := raidMember{st: pairOf("P-VOL", status, "-", "yes")}
		m.st.set("group", "g")
		m.st.set("copied-percent", "45.9")
		if got := d.percent(m); got != want {
			t.Errorf("%s: %s, want %s", status, got, want)
		}
	}
	m := raidMember{st: pairOf("S-VOL", "COPY", "-", "yes")} // only the primary knows
	if got := d.percent(m); got != "-" {
		t.Errorf("S-VOL in COPY: %s", got)
	}
}

// TestJournalLine has the reference's example of jnlt, with names where it has numbers of arrays.
func TestJournalLine(t *testing.T) {
	g := parseState("pairs: a,b\njournal-status: PJNN\nlinked: yes\nused-percent: 0.9\nappended: 3190\nunrestored-records: 20\n" +
		"capacity-bytes: 836439943936\njournal-volumes: 2\njournal-volume-3: active size-bytes=1 used-bytes=0\njournal-volume-4: active size-bytes=1 used-bytes=0\n" +
		"options: inflow-control=no,overflow-watch=1m,path-watch=5m\n")
	for _, row := range []struct{ view, want string }{
		{"jnl", "001 0 1 PJNN 1 0 00000c76 20 1633671765 tokyo 2 3"},
		{"jnlt", "001 0 1 PJNN 1 0 00000c76 20 1633671765 tokyo 60 300 40"},
	} {
		if got := strings.Join(strings.Fields(journalLine(g, "1", "tokyo", row.view)), " "); got != row.want {
			t.Errorf("%s: %q, want %q", row.view, got, row.want)
		}
	}
	g = parseState("pairs: -\njournal-status: SMPL\nlinked: no\nused-percent: 0.0\ncapacity-bytes: 512\noptions: overflow-watch=90s,path-watch=2d\n")
	if got := strings.Join(strings.Fields(journalLine(g, "12", "tokyo", "jnlt")), " "); got != "012 - - SMPL - - - - 1 tokyo 90 0 40" {
		t.Errorf("without pairs: %q", got)
	}
	if got := secondsOf(g, "path-watch"); got != "172800" {
		t.Errorf("2d is %s", got)
	}
}

// TestTakeoverCodes has RAID Manager's exit statuses of horctakeover, by the site's answers.
func TestTakeoverCodes(t *testing.T) {
	for code, word := range []string{
		"nop-takeover", "swap-takeover", "SVOL-takeover", "PVOL-SMPL-takeover", "PVOL-PSUE-takeover", "SVOL-SSUS-takeover",
	} {
		got, sentence := splitAnswer("ok: " + word + ": pair0: sequence number 7\n")
		k, err := takeoverOf(got)
		if err != nil || k.code != code || sentence != "pair0: sequence number 7" {
			t.Errorf("%s: %d, %q, %v, want %d", word, k.code, sentence, err, code)
		}
		if got, _ := splitAnswer(word + ": as it is"); got != word {
			t.Errorf("without ok: %q", got)
		}
	}
	var e *raidError
	if _, err := takeoverOf("ok"); !errors.As(err, &e) || e.code != exCMDIOE {
		t.Errorf("an answer that is none: %v", err)
	}
}

func TestRaidHelp(t *testing.T) {
	for _, c := range raidCommands {
		var stdout, stderr bytes.Buffer
		code := run(context.Background(), []string{"raid", c.name, "-g", "-h"}, &stdout, &stderr)
		if code != 0 || !strings.HasPrefix(stdout.String(), c.name+": "+c.native+"\n") || !strings.Contains(stdout.String(), "  -nomsg ") {
			t.Errorf("%s: %d, %q %q", c.name, code, stdout.String(), stderr.String())
		}
	}
}
