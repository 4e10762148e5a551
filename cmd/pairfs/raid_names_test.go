package main

import (
	"errors"
	"testing"
)

func TestChooseGroup(t *testing.T) {
	group := func(name, peerGroup string) state {
		return parseState("name: " + name + "\npeer-group: " + peerGroup + "\n")
	}
	own, made, other := group("db", "db@tokyo"), group("db@osaka", "db"), group("db@kyoto", "db")
	for _, row := range []struct {
		name   string
		groups []state
		asked  string
		want   string
		code   raidCode
	}{
		{"own name", []state{own}, "db", "db", raidCode{}},
		{"own name before another's", []state{made, own}, "db", "db", raidCode{}},
		{"name at the peer", []state{made}, "db", "db@osaka", raidCode{}},
		{"name in full", []state{made, own}, "db@osaka", "db@osaka", raidCode{}},
		{"name that the peer has for it", []state{own}, "db@tokyo", "db", raidCode{}},
		{"peer not told yet", []state{group("db@osaka", "-")}, "db", "db@osaka", raidCode{}},
		{"several peers", []state{made, other}, "db", "", exINVNAM},
		{"none", []state{made}, "dbx", "", exENOGRP},
		{"nothing is called -", []state{group("new", "-")}, "@", "", exENOGRP},
	} {
		got, err := chooseGroup(row.groups, row.asked, "/mnt")
		var e *raidError
		if got != row.want || errors.As(err, &e) != (row.code != raidCode{}) || e != nil && e.code != row.code {
			t.Errorf("%s: %q, %v, want %q, %s", row.name, got, err, row.want, row.code.name)
		}
	}
}

func TestParsePairs(t *testing.T) {
	got := parsePairs("p0 role=P-VOL status=PSUS volume=db peer=osaka group=g copied-percent=100.0 suspend-type=\"P-VOL by operator\" lag-known=yes\n\np1 role=S-VOL volume=v group=g@x\n")
	want := []pairLine{{"p0", "P-VOL", "db", "g"}, {"p1", "S-VOL", "v", "g@x"}}
	if len(got) != 2 || got[0] != want[0] || got[1] != want[1] {
		t.Errorf("%v, want %v", got, want)
	}
}
