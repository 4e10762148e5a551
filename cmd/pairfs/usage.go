package main

import (
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
)

// usageKeys are what a group's control file says about what it did lately.
const usageKeys = "window-seconds host-write-rate host-byte-rate copy-byte-rate restore-byte-rate read-journal-rate mirror-byte-rate" +
	" paths response-seconds response-max-seconds " + lagKeys +
	" header-bytes header-percent reconnects checksum-errors"

// lagKeys are the quantiles of a lag, of a group or a pair.
const lagKeys = "lag-p50-seconds lag-p99-seconds lag-max-seconds lag-p50-bytes lag-p99-bytes lag-max-bytes"

// groupPrefix stands before the keys of its group in the JSON of a pair.
const groupPrefix = "group-"

// groupsOf reads the state of each group that pairs are in, by name. One that went away meanwhile is not there.
func (s site) groupsOf(pairs []state) map[string]state {
	groups := map[string]state{}
	for _, p := range pairs {
		name := p.get("group")
		if _, done := groups[name]; done || name == "-" {
			continue
		}
		if g, err := s.read(filepath.Join("groups", name)); err == nil {
			groups[name] = g
		}
	}
	return groups
}

// addGroup gives a pair what its group says about the journal and the mirror.
func addGroup(p *state, g state) {
	p.set("journal-used-percent", g.get("used-percent"))
	for _, key := range troubleKeys {
		p.set(groupPrefix+key, g.get(key))
	}
	for _, key := range strings.Fields(usageKeys) {
		p.set(groupPrefix+key, g.get(key))
	}
}

// addPeers gives each pair what is known of the connection with its peer.
func (s site) addPeers(pairs []state) {
	peers := map[string]state{}
	for i := range pairs {
		p := &pairs[i]
		name := p.get("peer")
		if _, done := peers[name]; !done && name != "-" {
			peers[name], _ = s.read(filepath.Join("peers", name)) // one that went away meanwhile says nothing
		}
		p.set("peer-connected", peers[name].get("connected"))
		p.set("peer-error", peers[name].get("last-error"))
	}
}

// printUsage prints a section for each group, in the order of their names, with the lag of those of its pairs that are shown.
func printUsage(w io.Writer, groups map[string]state, pairs []state) error {
	names := make([]string, 0, len(groups))
	for n := range groups {
		names = append(names, n)
	}
	slices.Sort(names)
	for _, n := range names {
		g := groups[n]
		_, err := fmt.Fprintf(w, "\ngroup %s, %s, peer %s, means of the last %s, lag of the last 5 minutes\n", n, g.get("role"), g.get("peer"), wholeSeconds(g.get("window-seconds")))
		if err != nil {
			return err
		}
		rows := usageRows(g)
		for _, p := range pairs {
			if p.get("group") == n {
				rows = append(rows, lagRow("  lag of "+p.get("name"), p))
			}
		}
		if err := table(w, rows); err != nil {
			return err
		}
	}
	return nil
}

// usageRows is the section of one group.
func usageRows(g state) [][]string {
	return [][]string{
		{"  host writes", g.get("host-write-rate") + "/s", rateText(g.get("host-byte-rate"))},
		{"  copy, restore", rateText(g.get("copy-byte-rate")), rateText(g.get("restore-byte-rate"))},
		{"  journal", percentText(g.get("used-percent")) + " used", percentText(g.get("header-percent")) + " headers"},
		{"  read-journal", g.get("read-journal-rate") + "/s", rateText(g.get("mirror-byte-rate")), "over " + pathsText(g.get("paths"))},
		{"  response", secondsText(g.get("response-seconds")) + " mean", secondsText(g.get("response-max-seconds")) + " max"},
		lagRow("  lag", g),
		{"  different", sizeText(g.get("different-bytes"))},
		{"  since start", g.get("reconnects") + " reconnects", g.get("checksum-errors") + " checksum errors"},
	}
}

// lagRow is the lag of a group or a pair, in seconds and bytes.
func lagRow(title string, s state) []string {
	row := []string{title}
	for _, q := range []string{"p50", "p99", "max"} {
		row = append(row, secondsText(s.get("lag-"+q+"-seconds"))+" "+sizeText(s.get("lag-"+q+"-bytes"))+" "+q)
	}
	return row
}

// rateText rounds bytes a second for the eye.
func rateText(v string) string {
	whole, _, _ := strings.Cut(v, ".")
	if text := sizeText(whole); text != "-" {
		return text + "/s"
	}
	return v
}

// wholeSeconds writes a number of seconds without its fraction.
func wholeSeconds(v string) string {
	whole, _, _ := strings.Cut(v, ".")
	return whole + "s"
}

// pathsText is a number of paths.
func pathsText(n string) string {
	if n == "1" {
		return "1 path"
	}
	return n + " paths"
}
