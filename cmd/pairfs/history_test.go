package main

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const historyText = `2026-11-22T19:00:00.000Z kind=command by="uid 0 pid 12" uid=0 pid=12 object=pair/db group=g what="suspend mode=purge" result=EBUSY code=- text="pair db is \"COPY\" here: wait"
2026-11-22T19:00:01.000Z kind=status by=pairfs uid=- pid=- object=pair/db group=g what=PSUE result="S-VOL failure" code=DC0x text="the mirror was down"
2026-11-22T19:00:02.000Z kind=command by="uid 0 pid 12" uid=0 pid=12 object=peer/osaka group=- what=remove result=ok code=- text=-
`

func TestParseHistory(t *testing.T) {
	all, err := parseHistory(historyText)
	if err != nil {
		t.Fatal(err)
	}
	show := func(c historyCmd, since time.Time) string {
		var b strings.Builder
		if err := c.print(&b, c.chosen(all, since)); err != nil {
			t.Fatal(err)
		}
		return b.String()
	}
	want := `TIME                      BY            OBJECT      WHAT                RESULT
2026-11-22T19:00:00.000Z  uid 0 pid 12  pair/db     suspend mode=purge  EBUSY: pair db is "COPY" here: wait
2026-11-22T19:00:01.000Z  pairfs        pair/db     PSUE                S-VOL failure DC0x: the mirror was down
2026-11-22T19:00:02.000Z  uid 0 pid 12  peer/osaka  remove              ok
`
	if d := cmp.Diff(want, show(historyCmd{}, time.Time{})); d != "" {
		t.Errorf("history (-want +got):\n%s", d)
	}
	at := time.Date(2026, 11, 22, 19, 0, 1, 0, time.UTC)
	json := historyCmd{Name: "g", jsonFlag: jsonFlag{JSON: true}}
	want = `[{"time":"2026-11-22T19:00:01.000Z","kind":"status","by":"pairfs","uid":null,"pid":null,"object":"pair/db","group":"g","what":"PSUE",` +
		`"result":"S-VOL failure","code":"DC0x","text":"the mirror was down"}]` + "\n"
	if d := cmp.Diff(want, show(json, at)); d != "" {
		t.Errorf("history of a group (-want +got):\n%s", d)
	}
	if got := show(historyCmd{Name: "osaka"}, time.Time{}); got != "nothing is remembered of that\n" {
		t.Errorf("a peer is no pair: %q", got)
	}
	// A command may have been anything, also one quote of a pair whose other one is in the sentence that refused it.
	for line, want := range map[string]string{
		"2026-11-22T19:00:00Z kind=command by=x object=pair/db what=`abc result=EINVAL text=\"\\\"`abc\\\" is no command\"": "`abc",
		"2026-11-22T19:00:00Z kind=command by=x object=pair/db what='x' result=EINVAL":                                      "'x'",
		"2026-11-22T19:00:00Z kind=command by=x object=pair/db what=\"a \\\"b\\\" \\\\c\" result=EINVAL":                    `a "b" \c`,
	} {
		if e, err := parseEntry(line); err != nil || e.What != want || e.Result == nil || *e.Result != "EINVAL" {
			t.Errorf("%s: %+v, %v", line, e, err)
		}
	}
	for _, bad := range []string{"x", "2026-11-22T19:00:00Z", "2026-11-22T19:00:00Z kind=command", `2026-11-22T19:00:00Z kind="command"by=x object=y what=z`} {
		if e, err := parseEntry(bad); err == nil {
			t.Errorf("%q was read as %+v", bad, e)
		}
	}
}

func TestParseSince(t *testing.T) {
	now := time.Date(2026, 11, 22, 19, 0, 0, 0, time.FixedZone("x", 3600))
	for text, want := range map[string]time.Time{
		"90m": now.Add(-90 * time.Minute), "0s": now, "2026-11-22T10:00:00Z": time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC),
		"2026-11-22": time.Date(2026, 11, 22, 0, 0, 0, 0, now.Location()), "2026-11-22T10:30": time.Date(2026, 11, 22, 10, 30, 0, 0, now.Location()),
	} {
		if got, err := parseSince(text, now); err != nil || !got.Equal(want) {
			t.Errorf("%s: %v, %v", text, got, err)
		}
	}
	for _, bad := range []string{"-1h", "yesterday", "", "2026-13-01"} {
		if got, err := parseSince(bad, now); err == nil || exitCode(err) != exitUsage {
			t.Errorf("%q is %v, %v", bad, got, err)
		}
	}
}
