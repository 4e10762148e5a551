package main

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
)

// historyCmd shows what was done and what became of it.
type historyCmd struct {
	Name  string `arg:"" optional:"" name:"name" help:"Pair or group to show; a group is shown with its pairs. All if none is named."`
	Since string `placeholder:"TIME" help:"Show what is younger: an age like 90m or 24h, or a time like 2026-11-22T19:00:00Z or 2026-11-22."`
	jsonFlag
}

// Run prints the history, oldest first.
func (c *historyCmd) Run(a *app) error {
	var since time.Time
	if c.Since != "" {
		var err error
		if since, err = parseSince(c.Since, time.Now()); err != nil {
			return err
		}
	}
	if c.Name != "" {
		if err := checkName(c.Name); err != nil {
			return err
		}
	}
	s, err := a.site()
	if err != nil {
		return err
	}
	text, err := s.text("history")
	if err != nil {
		return err
	}
	entries, err := parseHistory(text)
	if err != nil {
		return err
	}
	return c.print(a.stdout, c.chosen(entries, since))
}

// parseSince reads an age, or a time: one without a zone is of this host's.
func parseSince(text string, now time.Time) (time.Time, error) {
	if age, err := time.ParseDuration(text); err == nil && age >= 0 {
		return now.Add(-age), nil
	}
	for _, form := range []string{time.RFC3339Nano, "2006-01-02T15:04:05", "2006-01-02T15:04", "2006-01-02"} {
		if t, err := time.ParseInLocation(form, text, now.Location()); err == nil {
			return t, nil
		}
	}
	return time.Time{}, usagef("--since=%s is neither an age (90m, 24h) nor a time (2026-11-22T19:00:00Z, 2026-11-22)", text)
}

// historyEntry is one line of .ctl/history.
type historyEntry struct {
	Time   string  `json:"time"`
	Kind   string  `json:"kind"` // command or status
	By     string  `json:"by"`   // "uid 0 pid 4711", "peer osaka", "pairfs"
	UID    *uint32 `json:"uid"`  // of a process of the host; null for what others asked
	PID    *uint32 `json:"pid"`
	Object string  `json:"object"`
	Group  *string `json:"group"`
	What   string  `json:"what"`   // the command, without keys, or the status
	Result *string `json:"result"` // ok, or the errno; the suspend type of a status
	Code   *string `json:"code"`
	Text   *string `json:"text"` // why
}

// parseHistory reads the text of .ctl/history.
func parseHistory(text string) ([]historyEntry, error) {
	var all []historyEntry
	for line := range strings.Lines(text) {
		e, err := parseEntry(strings.TrimSuffix(line, "\n"))
		if err != nil {
			return nil, err
		}
		all = append(all, e)
	}
	return all, nil
}

// parseEntry reads one line: a time, then key=value, a value with blanks in quotes.
func parseEntry(line string) (e historyEntry, err error) {
	bad := fmt.Errorf("the site wrote a line of history that is none: %q", line)
	at, rest, ok := strings.Cut(line, " ")
	if _, err := time.Parse(time.RFC3339, at); err != nil || !ok {
		return e, bad
	}
	s, ok := parseWords(rest)
	if !ok {
		return e, bad
	}
	values := s.values
	e = historyEntry{
		Time: at, Kind: values["kind"], By: values["by"], UID: numberOf(values["uid"]), PID: numberOf(values["pid"]), Object: values["object"],
		Group: textOf(values["group"]), What: values["what"], Result: textOf(values["result"]), Code: textOf(values["code"]), Text: textOf(values["text"]),
	}
	if e.Kind == "" || e.By == "" || e.Object == "" || e.What == "" {
		return e, bad
	}
	return e, nil
}

// parseWords reads key=value words, a value with blanks in quotes.
func parseWords(rest string) (s state, ok bool) {
	s.values = map[string]string{}
	for rest != "" {
		key, after, ok := strings.Cut(rest, "=")
		if !ok || key == "" || strings.ContainsAny(key, ` "`) {
			return s, false
		}
		value, tail, _ := strings.Cut(after, " ")
		if quoted, err := strconv.QuotedPrefix(after); err == nil && quoted[0] == '"' { // other quotes are a part of a command, perhaps half of a pair
			value, _ = strconv.Unquote(quoted)
			tail, ok = strings.CutPrefix(after[len(quoted):], " ")
			if !ok && tail != "" {
				return s, false
			}
		}
		s.set(key, value)
		rest = tail
	}
	return s, true
}

// textOf returns a value, nil for none.
func textOf(v string) *string {
	if v == "" || v == "-" {
		return nil
	}
	return &v
}

// numberOf returns a value that is a number, nil for none.
func numberOf(v string) *uint32 {
	n, err := strconv.ParseUint(v, 10, 32)
	if err != nil {
		return nil
	}
	u := uint32(n)
	return &u
}

// chosen returns the entries that were asked for.
func (c *historyCmd) chosen(all []historyEntry, since time.Time) []historyEntry {
	some := []historyEntry{}
	for _, e := range all {
		named := c.Name == "" || e.Object == "pair/"+c.Name || e.Object == "group/"+c.Name || e.Group != nil && *e.Group == c.Name
		at, err := time.Parse(time.RFC3339, e.Time)
		if named && err == nil && !at.Before(since) {
			some = append(some, e)
		}
	}
	return some
}

// print prints entries as a table or as one JSON array.
func (c *historyCmd) print(w io.Writer, entries []historyEntry) error {
	if c.JSON {
		return printJSON(w, entries)
	}
	if len(entries) == 0 {
		_, err := fmt.Fprintln(w, "nothing is remembered of that")
		return err
	}
	rows := [][]string{{"TIME", "BY", "OBJECT", "WHAT", "RESULT"}}
	for _, e := range entries {
		rows = append(rows, []string{e.Time, e.By, e.Object, e.What, e.outcome()})
	}
	return table(w, rows)
}

// outcome is the last cell of an entry: its result, its code and why.
func (e *historyEntry) outcome() string {
	var words []string
	for _, v := range []*string{e.Result, e.Code} {
		if v != nil {
			words = append(words, *v)
		}
	}
	cell := strings.Join(words, " ")
	switch {
	case e.Text == nil && cell == "":
		return "-"
	case e.Text == nil:
		return cell
	case cell == "":
		return *e.Text
	}
	return cell + ": " + *e.Text
}
