package main

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"time"
)

// syncwaitUnit is the unit of -t, and syncwaitDefault what counts without it, as RAID Manager has them.
const (
	syncwaitUnit    = 100 * time.Millisecond
	syncwaitDefault = 100
)

var pairsyncwaitOptions = []raidOption{
	{name: "-nowait", help: "do not wait: put a marker and print it"},
	{name: "-m", min: 1, max: 1, operands: "MARKER", help: "wait for this marker, on either side, instead of for one that is put now"},
	{name: "-t", min: 1, max: 1, operands: "TIME", check: numbers(1, waitSecondsMax), help: "how long, in tenths of a second (100)"},
	{name: "-fq", help: "with a column of what is left to bring"},
}

// syncwaitResult is an end of waiting for a marker: the exit status of "pairfs wait --marker", and RAID Manager's word and exit status.
type syncwaitResult struct {
	native int
	word   string
	code   int
}

// syncwaitResults are the ends.
var syncwaitResults = []syncwaitResult{
	{exitDone, "DONE", 0},
	{exitTimeout, "TIMEOUT", 1},
	{exitBroken, "BROKEN", 2},
	{exitChanged, "CHANGED", 3},
}

// pairsyncwait waits until what was written up to a marker is restored at the S-VOLs.
func pairsyncwait(r *raidCall) (int, error) {
	t, err := r.target()
	if err != nil {
		return 0, err
	}
	if err := t.allPaired(); err != nil {
		return 0, err
	}
	if len(t.objectsOf()) > 1 {
		return 0, raidf(exINVNAM, "the volumes of group %s are in several journals, and a marker is of one: name a journal group or a volume", t.shown)
	}
	marker := r.args.value("-m", "")
	if marker == "" {
		if marker, err = r.mark(t); err != nil {
			return 0, err
		}
	} else if err := checkValue(marker); err != nil {
		return 0, raidf(exINVARG, "option -m: %w", err)
	}
	end := syncwaitResult{word: "NOWAIT"}
	if !r.args.has("-nowait") {
		if end, err = r.waitMarker(t, marker); err != nil {
			return 0, err
		}
	}
	return end.code, r.showMarker(t, marker, end)
}

// mark puts a marker into the order of the group. The P-VOLs have to be in PAIR.
func (r *raidCall) mark(t *raidTarget) (string, error) {
	for _, m := range t.members {
		if s := m.status(); m.side() != sideP || s != raidPAIR && s != raidPFUL {
			return "", raidf(exINVVOL, "%s is %s in %s: a marker is put at the P-VOLs, in PAIR; with -m one can be waited for at the S-VOLs", m.name(), m.side(), m.st.get("status"))
		}
	}
	word, _, err := r.answerOf(t.site, t.objectsOf()[0], "mark")
	if err != nil {
		return "", err
	}
	f := strings.Fields(word)
	if len(f) < 2 || f[0] != "marker" {
		return "", raidf(exCMDIOE, "a marker was put, but the answer %q does not name it", word)
	}
	return f[1], nil
}

// waitMarker waits as pairfs itself does.
func (r *raidCall) waitMarker(t *raidTarget, marker string) (syncwaitResult, error) {
	limit := time.Duration(r.args.number("-t", syncwaitDefault)) * syncwaitUnit
	var said bytes.Buffer
	native := run(r.app.ctx, []string{"--mount", t.site.mnt, "wait", "--marker", marker, "--timeout", limit.String()}, io.Discard, &said)
	for _, end := range syncwaitResults {
		if end.native == native {
			return end, nil
		}
	}
	return syncwaitResult{}, raidf(exCMDRJE, "marker %s: %s", marker, strings.TrimPrefix(strings.TrimSpace(said.String()), "pairfs: "))
}

// showMarker prints the table of pairsyncwait.
func (r *raidCall) showMarker(t *raidTarget, marker string, end syncwaitResult) error {
	if r.args.has("-nomsg") {
		return nil
	}
	head, line := "UnitID CTGID   Q-Marker  Status Q-Num", fmt.Sprintf("%6d %5s %10s %7s %5s", 0, rankOf(t.site, t.group), marker, end.word, "-")
	if r.args.has("-fq") {
		left := "-"
		if end.word == "NOWAIT" || end.word == "TIMEOUT" {
			if err := t.refresh(); err != nil {
				return err
			}
			left = t.members[0].st.get("lag-records")
		}
		head, line = head+" QM-Cnt", line+fmt.Sprintf(" %6s", left)
	}
	fmt.Fprintf(r.app.stdout, "%s\n%s\n", head, line)
	return nil
}
