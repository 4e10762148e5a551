package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// differencesFlags are the options of a list of differences, of a pair and of a group alike.
type differencesFlags struct {
	Summary bool   `help:"Totals only, without the list of ranges."`
	options string // of the resync that is asked about, each behind a blank; then what it would overwrite is listed
	jsonFlag
}

type pairDifferencesCmd struct {
	Name string `arg:"" name:"pair" help:"Name of the pair."`
	differencesFlags
}

// Run lists what differs in the pair.
func (c *pairDifferencesCmd) Run(a *app) error { return c.print(a, "", c.Name) }

type groupDifferencesCmd struct {
	Name string `arg:"" help:"Name of the group."`
	differencesFlags
}

// Run lists what differs in the pairs of the group.
func (c *groupDifferencesCmd) Run(a *app) error { return c.print(a, "groups", c.Name) }

// dryRunFlag is the option of a resync, of a pair and of a group alike.
type dryRunFlag struct {
	DryRun bool `help:"Change nothing; say what would be copied, and how much of it was written at the S-VOL and would be overwritten. With --swap or --discard list the ranges that the side which loses would give up."`
}

// print asks the site and prints its answer as it comes: the list may be longer than what memory should hold.
func (f differencesFlags) print(a *app, dir, name string) error {
	s, err := a.siteFor(dir, name)
	if err != nil {
		return err
	}
	line := "differences" + f.options
	if f.Summary {
		line += " ranges=no"
	}
	answer, err := s.ask(filepath.Join(dir, name), line)
	if err != nil {
		return err
	}
	defer answer.Close()
	out := bufio.NewWriter(a.stdout)
	var p differencesPrinter = &differencesText{w: out}
	if f.JSON {
		p = &differencesJSON{w: out, ranges: !f.Summary}
	}
	if err := printDifferences(bufio.NewScanner(answer), p); err != nil {
		return err
	}
	return out.Flush()
}

// ask writes a question to a control file and returns what follows the "ok" of its answer. The error of a refused question is the sentence
// of the site.
func (s site) ask(name, line string) (io.ReadCloser, error) {
	f, err := os.OpenFile(s.path(name), unix.O_RDWR, 0)
	if err != nil {
		return nil, s.openError(name, err)
	}
	if _, refusal := f.WriteString(line + "\n"); refusal != nil {
		defer f.Close()
		text, err := readAnswer(f)
		return nil, refusedBy(text, err, fmt.Errorf("%s of %s: %w", line, name, refusal))
	}
	return f, nil
}

// differencesPrinter prints pairs and their ranges as they come.
type differencesPrinter interface {
	head(s state) error
	changed(where string, offset, length int64) error
	end() error
}

// printDifferences reads an answer: "ok", then the "key: value" lines of each pair, from "pair" to "note", each followed by its ranges.
func printDifferences(in *bufio.Scanner, p differencesPrinter) error {
	in.Buffer(nil, 64<<10)
	var head strings.Builder
	for in.Scan() {
		line := in.Text()
		switch where, offset, length, ok := parseRange(line); {
		case ok:
			if err := p.changed(where, offset, length); err != nil {
				return err
			}
		case strings.Contains(line, ": "):
			head.WriteString(line + "\n")
			if !strings.HasPrefix(line, "note: ") {
				continue
			}
			if err := p.head(parseState(head.String())); err != nil {
				return err
			}
			head.Reset()
		case line != "ok":
			return fmt.Errorf("the answer has a line that is not understood: %q", line)
		}
	}
	if err := in.Err(); err != nil {
		return fmt.Errorf("the answer could not be read to its end: %w", err)
	}
	return p.end()
}

// parseRange reads "where offset length".
func parseRange(line string) (where string, offset, length int64, ok bool) {
	f := strings.Fields(line)
	if len(f) != 3 || strings.Contains(f[0], ":") {
		return "", 0, 0, false
	}
	offset, err1 := strconv.ParseInt(f[1], 10, 64)
	length, err2 := strconv.ParseInt(f[2], 10, 64)
	return f[0], offset, length, err1 == nil && err2 == nil
}
