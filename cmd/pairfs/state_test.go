package main

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// pairText is what the control file of a pair says.
const pairText = `create volume=db peer=osaka remote=db group=default copy=full
name: pair0
volume: 123
role: P-VOL
status: COPY
suspend-type: -
size: 18446744073709551615
linked: yes
consistent: no
copied-percent: 45.3
eta-seconds: -
last-error: peer osaka: not: reachable
`

func TestParseState(t *testing.T) {
	s := parseState(pairText)
	if want := "create volume=db peer=osaka remote=db group=default copy=full"; s.config != want {
		t.Errorf("config is %q, want %q", s.config, want)
	}
	want := []string{"name", "volume", "role", "status", "suspend-type", "size", "linked", "consistent", "copied-percent", "eta-seconds", "last-error"}
	if d := cmp.Diff(want, s.keys); d != "" {
		t.Errorf("keys (-want +got):\n%s", d)
	}
	for key, want := range map[string]string{
		"last-error": "peer osaka: not: reachable", "suspend-type": "-", "no-such-key": "-", "volume": "123",
	} {
		if got := s.get(key); got != want {
			t.Errorf("%s is %q, want %q", key, got, want)
		}
	}
	if s.has("suspend-type") || !s.has("last-error") {
		t.Error("has is wrong about - or about a value")
	}
}

// TestSeveralCommands: a group may need more than one command to be made again.
func TestSeveralCommands(t *testing.T) {
	s := parseState("create size=1GiB volumes=1\nadd-volume size=2GiB\nname: g\n")
	if s.config != "create size=1GiB volumes=1\nadd-volume size=2GiB" || s.get("name") != "g" {
		t.Errorf("%+v", s)
	}
}

func TestStateAsJSON(t *testing.T) {
	b, err := json.Marshal(object{state: parseState(pairText), kinds: pairKinds})
	if err != nil {
		t.Fatal(err)
	}
	want := `{"name":"pair0","volume":"123","role":"P-VOL","status":"COPY","suspend-type":null,"size":18446744073709551615,` +
		`"linked":true,"consistent":false,"copied-percent":45.3,"eta-seconds":null,"last-error":"peer osaka: not: reachable",` +
		`"config":"create volume=db peer=osaka remote=db group=default copy=full"}`
	if d := cmp.Diff(want, string(b)); d != "" {
		t.Errorf("JSON (-want +got):\n%s", d)
	}
}

func TestJSONValue(t *testing.T) {
	for _, row := range []struct {
		value string
		kind  valueKind
		want  string
	}{
		{"a,b", asList, `["a","b"]`},
		{"a b", asList, `["a","b"]`},
		{"-", asList, `[]`},
		{"-", asText, `null`},
		{"12", asText, `"12"`},
		{"12", asNumber, `12`},
		{"012", asNumber, `"012"`}, // no number in JSON: it must not break the line
		{" 12", asNumber, `" 12"`},
		{"true", asNumber, `"true"`},
		{"-1.5e3", asNumber, `-1.5e3`},
		{"yes", asFlag, `true`},
		{"no", asFlag, `false`},
		{"maybe", asFlag, `"maybe"`},
	} {
		b, err := json.Marshal(jsonValue(row.value, row.kind))
		if err != nil || string(b) != row.want {
			t.Errorf("%q as %d is %s (%v), want %s", row.value, row.kind, b, err, row.want)
		}
	}
}

// FuzzState holds that any text becomes a state that becomes JSON.
func FuzzState(f *testing.F) {
	f.Add(pairText)
	f.Add("a:\n: b\nc: \x00\xff\n")
	f.Fuzz(func(t *testing.T, text string) {
		s := parseState(text)
		b, err := json.Marshal(objects([]state{s}, pairKinds))
		if err != nil || !json.Valid(b) {
			t.Fatalf("%q became %s: %v", text, b, err)
		}
		if len(s.keys) != len(s.values) {
			t.Fatalf("%q has %d keys and %d values", text, len(s.keys), len(s.values))
		}
	})
}

func TestStatusTable(t *testing.T) {
	p := parseState(strings.ReplaceAll(pairText, "eta-seconds: -", "eta-seconds: 75.2\nlag-seconds: 0.25\nlag-bytes: 1536"))
	p.set("peer", "osaka")
	p.set("group", "default")
	p.set("linked", "no")
	p.set("status", "PSUE")
	p.set("suspend-type", "JNL overflow")
	p.set("different-bytes", "1048576")
	p.set("journal-used-percent", "80.1")
	var b strings.Builder
	if err := printStatus(&b, []state{p}); err != nil {
		t.Fatal(err)
	}
	want := `NAME   ROLE   STATUS  VOLUME  PEER   GROUP    COPIED  ETA    LAG    LAG-BYTES  JOURNAL
pair0  P-VOL  PSUE    123     osaka  default  45.3%   1m15s  250ms  1.5KiB     80.1%
pair0: not linked to osaka
pair0: suspended (JNL overflow), 1.0MiB marked as different here
pair0: the S-VOL at osaka is no image of one moment; resync
pair0: last error: peer osaka: not: reachable
`
	if d := cmp.Diff(want, b.String()); d != "" {
		t.Errorf("status (-want +got):\n%s", d)
	}
}

// Why there is no connection stands beside the pair; what ended an earlier one does not, when there is one.
func TestStatusSaysWhyThereIsNoLink(t *testing.T) {
	p := parseState("name: p\nrole: P-VOL\nstatus: PAIR\npeer: osaka\nlinked: no\npeer-connected: no\npeer-error: no answer from 192.0.2.2:7110 yet\n")
	if n := notes(p); len(n) != 1 || n[0] != "not linked to osaka: no answer from 192.0.2.2:7110 yet" {
		t.Errorf("%q", n)
	}
	for _, set := range [][2]string{{"peer-error", "-"}, {"peer-connected", "yes"}} {
		q := parseState("name: p\nrole: P-VOL\nstatus: PAIR\npeer: osaka\nlinked: no\npeer-connected: no\npeer-error: the peer was restarted\n")
		q.set(set[0], set[1])
		if n := notes(q); len(n) != 1 || n[0] != "not linked to osaka" {
			t.Errorf("with %s: %q", set, n)
		}
	}
}

// Why a pair is suspended stays to be seen behind a command that was refused, and is not said twice.
func TestStatusSaysWhyAPairIsSuspended(t *testing.T) {
	p := parseState("name: p\nrole: P-VOL\nstatus: PSUE\npeer: osaka\nlinked: yes\nconsistent: yes\nsuspend-type: S-VOL failure\nlast-error: the journal failed\nsuspend-reason: the journal failed\n")
	if n := notes(p); len(n) != 2 || n[1] != "last error: the journal failed" {
		t.Errorf("%q", n)
	}
	p.set("last-error", "pair p is PSUE: resync first")
	if n := notes(p); len(n) != 3 || n[1] != "why: the journal failed" || n[2] != "last error: pair p is PSUE: resync first" {
		t.Errorf("behind a refusal: %q", n)
	}
	p.set("suspend-reason", "the pair was deleted at osaka: delete it here too")
	p.set("peer-status", "SMPL")
	if n := notes(p); slices.ContainsFunc(n, func(s string) bool { return strings.Contains(s, "why: ") }) {
		t.Errorf("the pair is gone there, and that is said twice: %q", n)
	}
}

// An S-VOL does not show what it cannot know: what a copy lacks, and how far it is behind while the mirror is down.
func TestStatusOfAnSVOL(t *testing.T) {
	p := parseState("name: pc\nrole: S-VOL\nstatus: SSUS\npeer: tokyo\nlinked: yes\nconsistent: no\ncopied-percent: -\nsuspend-type: S-VOL by operator\ndifferent-bytes: 0\nlag-seconds: 0.000\nlag-known: yes\n")
	q := parseState("name: q\nrole: S-VOL\nstatus: PAIR\npeer: tokyo\nlinked: no\nconsistent: yes\ncopied-percent: 100.0\nlag-seconds: 20.000\nlag-bytes: -\nlag-known: no\n")
	var b strings.Builder
	if err := printStatus(&b, []state{p, q}); err != nil {
		t.Fatal(err)
	}
	want := `NAME  ROLE   STATUS  VOLUME  PEER   GROUP  COPIED  ETA  LAG  LAG-BYTES  JOURNAL
pc    S-VOL  SSUS    -       tokyo  -      -       -    -    -          -
q     S-VOL  PAIR    -       tokyo  -      100.0%  -    ?    ?          -
pc: suspended (S-VOL by operator), 0B marked as different here
pc: the copy was not complete: this volume is no image of anything yet; resync from the primary
q: not linked to tokyo
q: not heard of tokyo for 20s: what was written there since is not known here
`
	if d := cmp.Diff(want, b.String()); d != "" {
		t.Errorf("status (-want +got):\n%s", d)
	}
	q.set("lag-seconds", "0.000")
	if n := notes(q); len(n) != 2 || !strings.Contains(n[1], "not heard of tokyo since this site is up") {
		t.Errorf("notes %q", n)
	}
	b.Reset()
	if err := printJSON(&b, objects([]state{q, p}, pairKinds)); err != nil || !strings.Contains(b.String(), `"lag-known":false`) || !strings.Contains(b.String(), `"lag-bytes":null`) || !strings.Contains(b.String(), `"copied-percent":null`) {
		t.Errorf("%s, %v", b.String(), err)
	}
}

// A pair that the connected peer does not have is not called one without a link.
func TestStatusOfAPairThatIsGoneThere(t *testing.T) {
	p := parseState("name: p\nrole: P-VOL\nstatus: PSUS\npeer: osaka\nlinked: no\npeer-status: SMPL\nlast-error: the pair was deleted at osaka: delete it here too\n")
	if n := notes(p); len(n) != 1 || n[0] != "osaka has no such pair: delete it here too" {
		t.Errorf("%q", n)
	}
	p = parseState("name: p\nrole: S-VOL\nstatus: SSWS\npeer: tokyo\ngroup: g@tokyo\nlinked: no\npeer-status: SMPL\ntaken-over: yes\ntaken-over-seq: 7\n")
	if n := notes(p); len(n) != 1 || n[0] != "tokyo has no such pair: delete it here too" {
		t.Errorf("of one that was taken over: %q", n)
	}
}

func TestParseEvent(t *testing.T) {
	got, err := parseEvent("7 2026-11-22T19:00:00.000Z warn peer/osaka: connection lost: timeout")
	want := event{ID: "7", Time: "2026-11-22T19:00:00.000Z", Level: "warn", Object: "peer/osaka", Text: "connection lost: timeout"}
	if d := cmp.Diff(want, got); d != "" || err != nil {
		t.Errorf("event (-want +got):\n%s%v", d, err)
	}
	for _, bad := range []string{"", "7", "x time warn peer/osaka: text", "7 time warn: text", "7 time warn peer/osaka text"} {
		if e, err := parseEvent(bad); err == nil {
			t.Errorf("%q was read as %+v", bad, e)
		}
	}
}

// TestStoreTrouble has a note while the stores of a pair's group take no bytes: the status alone misleads.
func TestStoreTrouble(t *testing.T) {
	p, full := parseState("name: pair0\nstatus: PAIR\nlinked: yes\n"), parseState("name: g\nfailed: -\nstore-error: make room\n")
	addGroup(&p, full)
	if n := notes(p); len(n) != 1 || n[0] != "make room" {
		t.Errorf("it says %q", n)
	}
	addGroup(&p, parseState("name: g\nfailed: -\nstore-error: -\n"))
	if n := notes(p); len(n) != 0 {
		t.Errorf("without trouble it says %q", n)
	}
}

// TestPowerOffNotes: an S-VOL whose primary is off says what it lacks, if anything, and that a copy goes on by itself.
func TestPowerOffNotes(t *testing.T) {
	text := "name: p\nrole: S-VOL\npeer: tokyo\nstatus: PSUE\nsuspend-type: MCU P/S OFF\nlinked: no\nlag-known: yes\ndifferent-bytes: 0\n"
	all := strings.Join(notes(parseState(text+"consistent: yes\nlag-bytes: 0\n")), "; ")
	if strings.Contains(all, "not here") || strings.Contains(all, "no image") {
		t.Errorf("it has everything: %s", all)
	}
	if all = strings.Join(notes(parseState(text+"consistent: yes\nlag-bytes: 2097152\n")), "; "); !strings.Contains(all, "up to 2.0MiB that tokyo had when it was switched off are not here; they come when it is back") {
		t.Errorf("it lacks something: %s", all)
	}
	if all = strings.Join(notes(parseState(text+"consistent: no\nlag-bytes: 0\n")), "; "); !strings.Contains(all, "no image of anything yet; the copy goes on when tokyo is back") {
		t.Errorf("it was in COPY: %s", all)
	}
}
