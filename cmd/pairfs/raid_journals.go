package main

import (
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

var raidvchkscanOptions = []raidOption{
	{name: "-v", min: 1, max: 2, operands: "jnl|jnlt [0]", check: journalView, help: "the journals of the site; jnlt: with their times"},
	{name: "-s", min: 1, max: 1, operands: "SEQ#", help: "those of the site of that name alone"},
}

// journalView takes what -v may ask for. There is one unit, 0.
func journalView(ops []string) error {
	if !slices.Contains([]string{"jnl", "jnlt"}, ops[0]) {
		return raidf(exENOSUP, "%q cannot be viewed: jnl and jnlt can", ops[0])
	}
	return numbers(0, 0)(ops[1:])
}

// raidvchkscan shows the journals of the site.
func raidvchkscan(r *raidCall) (int, error) {
	if !r.args.has("-v") {
		return 0, raidf(exREQARG, "-v jnl says what to show: the journals")
	}
	s, err := r.app.site()
	if err != nil {
		return 0, attached(err)
	}
	names, err := s.names("groups")
	if err != nil {
		return 0, attached(err)
	}
	slices.Sort(names)
	return 0, r.showJournals(s, names, r.args.value("-v", ""))
}

// journals are the journal groups of the members, or the group alone.
func (t *raidTarget) journals() []string {
	if t.group != "" {
		return []string{t.group}
	}
	var names []string
	for _, m := range t.members {
		if m.group != "" && !slices.Contains(names, m.group) {
			names = append(names, m.group)
		}
	}
	return names
}

// activePathWatch is the last column of jnlt: after so many seconds without read-journal the journal of a primary counts as cut off.
const activePathWatch = 40

// The forms of a line of -v jnl: what both views have, and the ends of both.
const (
	journalForm = "%3s %2s %3s %4s %2s %4s %10s %8s %9s %7s"
	jnlForm     = " %3s %5s"
	jnltForm    = " %3s %7s %3s"
)

// showJournals prints journals. A group that goes away meanwhile is left out.
func (r *raidCall) showJournals(s site, groups []string, view string) error {
	st, err := s.read("site")
	if err != nil {
		return attached(err)
	}
	if want := r.args.value("-s", st.get("name")); want != st.get("name") {
		return raidf(exENQSER, "-s %s: the site here is %s", want, st.get("name"))
	}
	head := fmt.Sprintf(journalForm, "JID", "MU", "CTG", "JNLS", "AP", "U(%)", "Q-Marker", "Q-CNT", "D-SZ(BLK)", "Seq#")
	if view == "jnl" {
		head += fmt.Sprintf(jnlForm, "Num", "LDEV#")
	} else {
		head += fmt.Sprintf(jnltForm, "DOW", "PBW", "APW")
	}
	fmt.Fprintln(r.app.stdout, head)
	for _, name := range groups {
		g, err := s.read(filepath.Join("groups", name))
		if err != nil {
			continue
		}
		fmt.Fprintln(r.app.stdout, journalLine(g, rankOf(s, name), st.get("name"), view))
	}
	return nil
}

// journalLine is the line of one journal.
func journalLine(g state, rank, seq, view string) string {
	jid, mu, ctg, path, used, marker, left := rank, "-", "-", "-", "-", "-", "-"
	if n, err := strconv.Atoi(rank); err == nil {
		jid = fmt.Sprintf("%03d", n)
	}
	if g.has("pairs") {
		mu, ctg, path, used, left = "0", rank, activePaths(g), wholeText(g.get("used-percent")), g.get("unrestored-records")
		if n, err := strconv.ParseUint(g.get("appended"), 10, 64); err == nil {
			marker = fmt.Sprintf("%08x", n)
		}
	}
	blocks := g.get("capacity-bytes")
	if n, err := strconv.ParseInt(blocks, 10, 64); err == nil {
		blocks = strconv.FormatInt(n/512, 10)
	}
	line := fmt.Sprintf(journalForm, jid, mu, ctg, g.get("journal-status"), path, used, marker, left, blocks, seq)
	if view == "jnl" {
		return line + fmt.Sprintf(jnlForm, g.get("journal-volumes"), firstVolume(g))
	}
	watch := secondsOf(g, "path-watch")
	if g.get("journal-status") == "SMPL" {
		watch = "0"
	}
	return line + fmt.Sprintf(jnltForm, secondsOf(g, "overflow-watch"), watch, strconv.Itoa(activePathWatch))
}

// firstVolume is the number of the journal's first volume.
func firstVolume(g state) string {
	for _, key := range g.keys {
		if n, ok := strings.CutPrefix(key, "journal-volume-"); ok {
			return n
		}
	}
	return "-"
}

// secondsOf returns an option that is a time, in seconds.
func secondsOf(g state, option string) string {
	for _, o := range strings.Split(g.get("options"), ",") {
		value, ok := strings.CutPrefix(o, option+"=")
		if !ok {
			continue
		}
		if days, err := strconv.Atoi(strings.TrimSuffix(value, "d")); err == nil && strings.HasSuffix(value, "d") {
			return strconv.Itoa(days * 24 * 60 * 60)
		}
		if d, err := time.ParseDuration(value); err == nil {
			return strconv.FormatFloat(d.Seconds(), 'f', 0, 64)
		}
	}
	return "-"
}
