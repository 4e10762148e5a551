package main

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"
)

// statusEvery is how often "status --watch" looks again.
const statusEvery = time.Second

// statusCmd shows pairs.
type statusCmd struct {
	Pairs   []string `arg:"" optional:"" name:"pair" help:"Pairs to show; all if none is named."`
	Verbose bool     `short:"v" help:"Show what each group did lately as well: hosts, journal, mirror, lag; --json always has it."`
	Watch   bool     `help:"Show again every second until interrupted."`
	jsonFlag
}

// Run prints the pairs once, or until interrupted.
func (c *statusCmd) Run(a *app) error {
	s, err := a.site()
	if err != nil {
		return err
	}
	if !c.Watch {
		return c.print(a.stdout, s)
	}
	tick := time.NewTicker(statusEvery)
	defer tick.Stop()
	for {
		if err := c.redraw(a.stdout, s); err != nil {
			return err
		}
		select {
		case <-a.ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// redraw prints one picture: over the last one on a terminal, after a blank line elsewhere. JSON stays one array a line.
func (c *statusCmd) redraw(w io.Writer, s site) error {
	var page bytes.Buffer
	if err := c.print(&page, s); err != nil {
		return err
	}
	frame := page.Bytes()
	switch {
	case c.JSON:
	case isTerminal(w):
		frame = append([]byte("\x1b[H\x1b[2J"), frame...)
	default:
		frame = append(frame, '\n')
	}
	_, err := w.Write(frame)
	return err
}

// print prints one picture.
func (c *statusCmd) print(w io.Writer, s site) error {
	pairs, err := s.readAll("", c.Pairs)
	if err != nil {
		return err
	}
	groups := s.groupsOf(pairs)
	for i := range pairs {
		addGroup(&pairs[i], groups[pairs[i].get("group")])
	}
	s.addPeers(pairs)
	if c.JSON {
		return printJSON(w, objects(pairs, pairKinds))
	}
	if len(pairs) == 0 {
		if _, err := fmt.Fprintf(w, "no pairs; pairfs pair create makes one\n"); err != nil {
			return err
		}
		return printKept(w, s, nil)
	}
	if err := printStatus(w, pairs); err != nil {
		return err
	}
	if len(c.Pairs) == 0 {
		if err := printKept(w, s, pairs); err != nil {
			return err
		}
	}
	if !c.Verbose {
		return nil
	}
	return printUsage(w, groups, pairs)
}

// printKept says how much is kept of pairs that are not shown: they were deleted.
func printKept(w io.Writer, s site, shown []state) error {
	all, err := s.read("site")
	if err != nil {
		return err
	}
	sets, _ := all.number("kept-sets")
	bytes, _ := all.number("kept-bytes")
	for _, p := range shown {
		n, _ := p.number("kept-sets")
		b, _ := p.number("kept-bytes")
		sets, bytes = sets-n, bytes-b
	}
	if sets <= 0 {
		return nil
	}
	_, err = fmt.Fprintf(w, "%s are of pairs that are not here any more\n", keptNote(int(sets), strconv.FormatInt(int64(max(bytes, 0)), 10)))
	return err
}

// statusColumns are the table of "status".
var statusColumns = []column{
	word("NAME", "name"), word("ROLE", "role"), word("STATUS", "status"), word("VOLUME", "volume"), word("PEER", "peer"), word("GROUP", "group"),
	percentOf("COPIED", "copied-percent"), {"ETA", func(s state) string { return secondsText(s.get("eta-seconds")) }},
	{"LAG", lagText}, {"LAG-BYTES", lagBytesText},
	percentOf("JOURNAL", "journal-used-percent"),
}

// lagText is how far the S-VOL is behind, "?" where that is not known.
func lagText(s state) string {
	if s.get("lag-known") == "no" {
		return "?"
	}
	return secondsText(s.get("lag-seconds"))
}

// lagBytesText is the same in journal bytes.
func lagBytesText(s state) string {
	if s.get("lag-known") == "no" {
		return "?"
	}
	return sizeText(s.get("lag-bytes"))
}

// printStatus prints the table, and below it a line for each thing that is not as it should be.
func printStatus(w io.Writer, pairs []state) error {
	a := app{stdout: w}
	if err := a.printStates(pairs, pairKinds, false, statusColumns); err != nil {
		return err
	}
	for _, p := range pairs {
		for _, note := range notes(p) {
			if _, err := fmt.Fprintf(w, "%s: %s\n", p.get("name"), note); err != nil {
				return err
			}
		}
	}
	return nil
}

// troubleKeys are the fields of a group that say why its journal or its stores do not work; its pairs' statuses alone mislead then.
var troubleKeys = []string{"failed", "store-error"}

// troubleEnds say what to do where the field does not.
var troubleEnds = map[string]string{"failed": "; mend the disk and restart pairfs (pairfs umount, pairfs mount), then resync"}

// notServed is in what "failed" says of a group that could not be opened, which says itself what to do.
const notServed = " is not served"

// notes says what an operator should know about a pair beyond the table.
func notes(p state) []string {
	var n []string
	gone := p.get("peer-status") == "SMPL"
	switch {
	case gone:
		n = append(n, p.get("peer")+" has no such pair: delete it here too")
	case p.get("linked") == "no" && p.get("status") != "SMPL":
		n = append(n, unlinked(p))
	}
	if p.get("lag-known") == "no" && p.get("role") == "S-VOL" && !gone {
		n = append(n, unheard(p))
	}
	var told []string
	for _, key := range troubleKeys {
		switch why := p.get(groupPrefix + key); {
		case why == "" || why == "-":
		case strings.Contains(why, notServed):
			told = append(told, why)
			n = append(n, inFlags(why))
		default:
			n = append(n, why+troubleEnds[key])
		}
	}
	news := func(key string) bool {
		return p.has(key) && !slices.Contains(told, p.get(key)) && !(gone && strings.Contains(p.get(key), "was deleted at"))
	}
	n = append(n, takeoverNotes(p)...)
	if p.get("status") == "Suspending" {
		left := "the time left is not known"
		if p.get("split-left-seconds") != "0.000" {
			left = "about " + secondsText(p.get("split-left-seconds")) + " left"
		}
		n = append(n, "what is in the journal is brought to "+p.get("peer")+" first, "+left)
	}
	if p.has("suspend-type") {
		n = append(n, "suspended ("+p.get("suspend-type")+"), "+sizeText(p.get("different-bytes"))+" marked as different here")
		if p.get("suspend-reason") != p.get("last-error") && news("suspend-reason") {
			n = append(n, "why: "+inFlags(p.get("suspend-reason")))
		}
		if lacks, _ := p.number("lag-bytes"); p.get("suspend-type") == powerOff && lacks > 0 {
			n = append(n, "up to "+sizeText(p.get("lag-bytes"))+" that "+p.get("peer")+" had when it was switched off are not here; they come when it is back")
		}
		switch {
		case p.get("consistent") != "no" || gone && p.get("role") == "P-VOL":
		case p.get("role") == "S-VOL":
			n = append(n, noImage(p.get("suspend-type"), p.get("peer")))
		default:
			n = append(n, "the S-VOL at "+p.get("peer")+" is no image of one moment; resync")
		}
	}
	if n0, _ := p.number("kept-sets"); n0 > 0 {
		n = append(n, keptNote(int(n0), p.get("kept-bytes"))+oneOr(int(n0), " holds", " hold")+" what was overwritten here")
	}
	if news("last-error") {
		n = append(n, "last error: "+inFlags(p.get("last-error")))
	}
	return n
}

// powerOff is the suspend type of an S-VOL whose primary was switched off in good order.
const powerOff = "MCU P/S OFF"

// unlinked says that a pair has no mirror, and why there is not even a connection with its peer.
func unlinked(p state) string {
	if p.get("peer-connected") == "no" && p.has("peer-error") {
		return "not linked to " + p.get("peer") + ": " + inFlags(p.get("peer-error"))
	}
	return "not linked to " + p.get("peer")
}

// unheard says how long an S-VOL knows nothing of its P-VOL.
func unheard(p state) string {
	if p.get("lag-seconds") == "0.000" {
		return "not heard of " + p.get("peer") + " since this site is up: how far this volume is behind is not known"
	}
	return "not heard of " + p.get("peer") + " for " + secondsText(p.get("lag-seconds")) + ": what was written there since is not known here"
}

// noImage says why a split S-VOL is none.
func noImage(suspendType, peer string) string {
	switch suspendType {
	case "S-VOL failure":
		return "records for it were lost here: this volume is no image of one moment; resync from the primary"
	case powerOff:
		return "the copy was not complete: this volume is no image of anything yet; the copy goes on when " + peer + " is back"
	}
	return "the copy was not complete: this volume is no image of anything yet; resync from the primary"
}
