package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

var pairdisplayOptions = []raidOption{
	{name: "-f", prefix: true, operands: "{c|d|e|x}", check: lettersOf("cdex"), help: "c: the column %, and PFUL, PFUS and SSWS as such; d: paths instead of ports; e: all columns; x: no effect"},
	{name: "-l", help: "the volumes of this host alone"},
	{name: "-CLI", help: "columns with one blank between them at least"},
	{name: "-v", min: 1, max: 2, operands: "jnl|jnlt [0]", check: journalView, help: "the journal of the group instead; jnlt: with its times"},
}

// displayRow is one line of pairdisplay: a volume, here (L) or at the other side (R).
type displayRow struct {
	group, pairVol, lr           string
	path                         string
	seq, ldev, ps, status, fence string // seq is the site, ldev the volume
	percent                      string
	partnerSeq, partner, m       string
	ctg, jid, ap                 string
}

// pairdisplay shows the pairs, a line for each side.
func pairdisplay(r *raidCall) (int, error) {
	t, err := r.target()
	if err != nil {
		return 0, err
	}
	if r.args.has("-v") {
		return 0, r.showJournals(t.site, t.journals(), r.args.value("-v", ""))
	}
	st, err := t.site.read("site")
	if err != nil {
		return 0, attached(err)
	}
	format := r.args.letters("-f")
	d := display{site: st.get("name"), mnt: t.site.mnt, exact: strings.ContainsAny(format, "ce"), groups: map[string]state{}, ranks: map[string]string{}}
	shown := t.shown
	if shown == "" {
		shown = "-"
	}
	var rows []displayRow
	var deaf []string
	for _, m := range t.members {
		if err := d.know(t.site, m.st.get("group")); err != nil {
			return 0, err
		}
		rows = append(rows, d.local(shown, m))
		if m.side() == sideSMPL || r.args.has("-l") {
			continue
		}
		if s, known := remoteStatus(m.st); known {
			rows = append(rows, d.remote(shown, m, s))
		} else {
			deaf = append(deaf, m.name())
		}
	}
	if err := printDisplay(r.app.stdout, rows, format, r.args.has("-CLI")); err != nil {
		return 0, coded(err, exCOMERR)
	}
	if len(deaf) > 0 {
		return 0, raidf(exENORMT, "not linked, so that the other side is not known: %s; -l shows this side alone", strings.Join(deaf, ", "))
	}
	return 0, nil
}

// display knows what the rows are made of.
type display struct {
	site, mnt string
	exact     bool
	groups    map[string]state  // by name
	ranks     map[string]string // their numbers
}

// know reads the state of a journal group, once. Of one that went away meanwhile nothing is known.
func (d *display) know(s site, group string) error {
	if _, done := d.groups[group]; done || group == "-" {
		return nil
	}
	g, err := s.read(filepath.Join("groups", group))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return attached(err)
	}
	d.groups[group], d.ranks[group] = g, rankOf(s, group)
	return nil
}

// local is the row of the volume here.
func (d *display) local(shown string, m raidMember) displayRow {
	row := displayRow{group: shown, pairVol: m.dev, lr: "L", path: filepath.Join(d.mnt, m.volume), seq: d.site, ldev: m.volume, m: "-"}
	if m.side() == sideSMPL {
		row.ps, row.status, row.fence, row.percent, row.partnerSeq, row.partner = "SMPL", "----", "------", "-", "-----", "----"
		row.ctg, row.jid, row.ap = "-", "-", "-"
		return row
	}
	p := m.st
	row.ps, row.status, row.fence = m.side().String(), shownStatus(m.side(), m.status(), d.exact), "ASYNC"
	row.partnerSeq, row.partner = p.get("peer"), p.get("remote-volume")
	row.percent = d.percent(m)
	row.ctg, row.jid, row.ap = d.ranks[p.get("group")], d.ranks[p.get("group")], activePaths(p)
	if n, _ := p.number("different-bytes"); m.side() == sideS && p.get("svol-write") == "yes" && n > 0 {
		row.m = "W" // altered since it was split
	}
	return row
}

// remote is the row of the volume at the other side, as far as it is known here.
func (d *display) remote(shown string, m raidMember, s raidStatus) displayRow {
	row := displayRow{
		group: shown, pairVol: m.dev, lr: "R", path: "-", seq: m.st.get("peer"), ldev: m.st.get("remote-volume"),
		percent: "-", partnerSeq: d.site, partner: m.volume, m: "-", ctg: d.ranks[m.st.get("group")], jid: "-", ap: "-",
	}
	if s == raidSMPL {
		row.ps, row.status, row.fence, row.partnerSeq, row.partner = "SMPL", "----", "------", "-----", "----"
		return row
	}
	side := m.side().other()
	row.ps, row.status, row.fence = side.String(), shownStatus(side, s, d.exact), "ASYNC"
	return row
}

// percent is the column of that name: in COPY what is copied, while it is in step how full the journal is, and else what is equal.
func (d *display) percent(m raidMember) string {
	value := m.st.get("copied-percent")
	if s := m.status(); s == raidPAIR || s == raidPFUL {
		value = d.groups[m.st.get("group")].get("used-percent")
	}
	return wholeText(value)
}

// shownStatus is the word for a status. Unless it is to be exact, PFUL shows as PAIR, PFUS and SSWS as a split.
func shownStatus(side raidSide, s raidStatus, exact bool) string {
	switch {
	case !exact && s == raidPFUL:
		s = raidPAIR
	case !exact && (s == raidPFUS || s == raidSSWS):
		s = raidPSUS
	}
	if side == sideS && s == raidPSUS {
		return "SSUS"
	}
	return s.String()
}

// activePaths is how many paths to the peer are in use.
func activePaths(st state) string {
	if st.get("linked") == "yes" {
		return "1"
	}
	return "0"
}

// rankOf is the number of a journal group: its place among the groups of the site, from 0; "-" if it is none of them.
func rankOf(s site, group string) string {
	names, err := s.names("groups")
	if err != nil {
		return "-"
	}
	slices.Sort(names)
	if i := slices.Index(names, group); i >= 0 {
		return strconv.Itoa(i)
	}
	return "-"
}

// The forms of a line: its beginning, then with ports or paths, then with or without %, then what -fe adds.
const (
	displayPort    = "%-7s %s(%s) (-, -,   -)%5s %5s.%s %4s %-6s,"
	displayPath    = "%-7s %s(%s) %-12s %5s %5s.%s %4s %-6s,"
	displayPartner = "%5s   %4s %s"
	displayPercent = "%5s  %4s %s"
	displayEnd     = " %3s %3s %2s %2s %12s %7s"
)

// printDisplay prints the rows with their heading.
func printDisplay(w io.Writer, rows []displayRow, format string, cli bool) error {
	paths, percent, all := strings.Contains(format, "d"), strings.ContainsAny(format, "ce"), strings.Contains(format, "e")
	if cli {
		return printDisplayCLI(w, rows, paths, percent, all)
	}
	head := "Group   PairVol(L/R) (Port#,TID, LU),Seq#,LDEV#.P/S,Status,Fence,"
	if paths {
		head = "Group   PairVol(L/R) Device_File  ,Seq#,LDEV#.P/S,Status,Fence,"
	}
	if head += " Seq#,P-LDEV# M"; percent {
		head = strings.TrimSuffix(head, " Seq#,P-LDEV# M") + "   %,P-LDEV# M"
	}
	if all {
		head += " CTG JID AP EM       E-Seq# E-LDEV#"
	}
	if _, err := fmt.Fprintln(w, head); err != nil {
		return err
	}
	for _, r := range rows {
		if _, err := fmt.Fprintln(w, r.line(paths, percent, all)); err != nil {
			return err
		}
	}
	return nil
}

// line is the row in the form with blanks as RAID Manager has them.
func (r displayRow) line(paths, percent, all bool) string {
	line := fmt.Sprintf(displayPort, r.group, r.pairVol, r.lr, r.seq, r.ldev, r.ps, r.status, r.fence)
	if paths {
		line = fmt.Sprintf(displayPath, r.group, r.pairVol, r.lr, r.path, r.seq, r.ldev, r.ps, r.status, r.fence)
	}
	if percent {
		line += fmt.Sprintf(displayPercent, r.percent, r.partner, r.m)
	} else {
		line += fmt.Sprintf(displayPartner, r.partnerSeq, r.partner, r.m)
	}
	if all {
		line += fmt.Sprintf(displayEnd, r.ctg, r.jid, r.ap, "-", "-", "-")
	}
	return line
}

// printDisplayCLI prints the rows in columns that programs can tell apart.
func printDisplayCLI(w io.Writer, rows []displayRow, paths, percent, all bool) error {
	head := []string{"Group", "PairVol", "L/R"}
	if paths {
		head = append(head, "Device_File")
	} else {
		head = append(head, "Port#", "TID", "LU")
	}
	head = append(head, "Seq#", "LDEV#", "P/S", "Status", "Fence")
	if percent {
		head = append(head, "%", "P-LDEV#", "M")
	} else {
		head = append(head, "Seq#", "P-LDEV#", "M")
	}
	if all {
		head = append(head, "CTG", "JID", "AP", "EM", "E-Seq#", "E-LDEV#")
	}
	lines := [][]string{head}
	for _, r := range rows {
		line := []string{r.group, r.pairVol, r.lr}
		if paths {
			line = append(line, r.path)
		} else {
			line = append(line, "-", "-", "-")
		}
		line = append(line, r.seq, r.ldev, r.ps, r.status, r.fence)
		if percent {
			line = append(line, r.percent, r.partner, r.m)
		} else {
			line = append(line, r.partnerSeq, r.partner, r.m)
		}
		if all {
			line = append(line, r.ctg, r.jid, r.ap, "-", "-", "-")
		}
		lines = append(lines, line)
	}
	return table(w, lines)
}
