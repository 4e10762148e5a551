package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/dustin/go-humanize"
	"golang.org/x/sys/unix"
)

// printJSON writes one value as one line.
func printJSON(w io.Writer, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("make JSON: %w", err)
	}
	_, err = fmt.Fprintf(w, "%s\n", b)
	return err
}

// table writes rows of cells in columns; the first row is the heading.
func table(w io.Writer, rows [][]string) error {
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	for _, r := range rows {
		fmt.Fprintln(t, strings.Join(r, "\t"))
	}
	return t.Flush()
}

// printStates prints states as JSON, or as a table with the given columns: pairs of heading and cell.
func (a *app) printStates(states []state, kinds map[string]valueKind, asJSON bool, columns []column) error {
	if asJSON {
		return printJSON(a.stdout, objects(states, kinds))
	}
	head := make([]string, len(columns))
	for i, c := range columns {
		head[i] = c.head
	}
	rows := [][]string{head}
	for _, s := range states {
		row := make([]string, len(columns))
		for i, c := range columns {
			row[i] = c.cell(s)
		}
		rows = append(rows, row)
	}
	return table(a.stdout, rows)
}

// column is one column of a table.
type column struct {
	head string
	cell func(state) string
}

// word shows a value as it is.
func word(head, key string) column {
	return column{head, func(s state) string { return s.get(key) }}
}

// bytesOf shows a value as a rounded size.
func bytesOf(head, key string) column {
	return column{head, func(s state) string { return sizeText(s.get(key)) }}
}

// percentOf shows a value with a percent sign.
func percentOf(head, key string) column {
	return column{head, func(s state) string { return percentText(s.get(key)) }}
}

// sizeText rounds a number of bytes for the eye, in IEC units.
func sizeText(v string) string {
	n, err := strconv.ParseUint(v, 10, 64)
	if err != nil {
		return v
	}
	text := strings.ReplaceAll(humanize.IBytes(n), " ", "")
	if unit, ok := strings.CutPrefix(text, "1024"); ok && unit != "B" && unit != "EiB" {
		return "1.0" + string("MGTPE"[strings.IndexByte("KMGTP", unit[0])]) + "iB" // rounded up to the next unit
	}
	return text
}

// percentText adds the sign.
func percentText(v string) string {
	if v == "-" {
		return v
	}
	return v + "%"
}

// secondsText rounds a number of seconds for the eye; none is "-".
func secondsText(v string) string {
	f, err := strconv.ParseFloat(v, 64)
	if err != nil {
		return v
	}
	if f == 0 {
		return "-"
	}
	d := time.Duration(f * float64(time.Second))
	switch {
	case d >= time.Minute:
		d = d.Round(time.Second)
	case d >= time.Second:
		d = d.Round(100 * time.Millisecond)
	default:
		d = d.Round(time.Millisecond)
	}
	return d.String()
}

// isTerminal reports whether w is a terminal.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}
