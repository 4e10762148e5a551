package e2e

import (
	"bufio"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
)

// A runbook is a section of a Markdown page that an administrator follows, and that a test plays as it stands:
//
//	## TITLE                 a runbook
//	### TITLE                a part of it; what stands before the first one is the part ""
//	<!-- test: WORDS -->     here the test does what WORDS name: a fault, or what an administrator waits for
//	```sh                    commands; "# on HOST" says where those below it are given
//	```text                  what the block before it prints: these lines, in this order, among others; "…" is anything, blanks are any blanks
//
// All else is for readers.

// RunbookPart is a heading with its steps.
type RunbookPart struct {
	Title string
	Steps []RunbookStep
}

// RunbookStep is one step: exactly one of its fields is set besides Line.
type RunbookStep struct {
	Line   int      // of the page, from 1
	Deed   string   // what the test does
	Pastes []Paste  // a block of commands
	Prints []string // what the block before it prints
}

// Paste is what is given to one host at once.
type Paste struct {
	Host  string
	Lines string
}

// Runbook is a runbook of a page.
type Runbook struct {
	Title string
	Parts []RunbookPart
}

// Part returns the part of that title, nil if there is none.
func (r *Runbook) Part(title string) *RunbookPart {
	if i := slices.IndexFunc(r.Parts, func(p RunbookPart) bool { return p.Title == title }); i >= 0 {
		return &r.Parts[i]
	}
	return nil
}

var (
	deedLine = regexp.MustCompile(`^<!-- test: (.+) -->$`)
	hostLine = regexp.MustCompile(`^# on ([a-z]+)$`)
)

// ParseRunbooks reads a page. It fails on a block that names no host, on one of another kind, and on output without a block: what is not
// understood would not be tested.
func ParseRunbooks(page io.Reader) ([]Runbook, error) {
	p := runbookParser{}
	lines := bufio.NewScanner(page)
	for lines.Scan() {
		p.line++
		if err := p.take(lines.Text()); err != nil {
			return nil, fmt.Errorf("line %d: %w", p.line, err)
		}
	}
	if p.fence != "" {
		return nil, fmt.Errorf("a block is not closed at the end of the page")
	}
	return p.books, lines.Err()
}

type runbookParser struct {
	books []Runbook
	line  int
	fence string      // kind of the block that is open, "" outside
	step  RunbookStep // that block
}

func (p *runbookParser) take(line string) error {
	switch {
	case p.fence != "" && line == "```":
		p.fence = ""
		return p.add(p.step)
	case p.fence == "sh":
		return p.command(line)
	case p.fence == "text":
		p.step.Prints = append(p.step.Prints, line)
		return nil
	case strings.HasPrefix(line, "```"):
		return p.open(strings.TrimPrefix(line, "```"))
	case strings.HasPrefix(line, "## "):
		p.books = append(p.books, Runbook{Title: line[3:], Parts: []RunbookPart{{}}})
		return nil
	case strings.HasPrefix(line, "### "):
		if len(p.books) == 0 {
			return fmt.Errorf("%q is a part of no runbook", line)
		}
		last := &p.books[len(p.books)-1]
		last.Parts = append(last.Parts, RunbookPart{Title: line[4:]})
		return nil
	}
	if m := deedLine.FindStringSubmatch(line); m != nil {
		return p.add(RunbookStep{Line: p.line, Deed: m[1]})
	}
	if strings.HasPrefix(line, "<!--") {
		return fmt.Errorf("%q is no step of a test: <!-- test: WORDS --> is one", line)
	}
	return nil
}

func (p *runbookParser) open(kind string) error {
	if kind != "sh" && kind != "text" {
		return fmt.Errorf("a block is sh or text, not %q", kind)
	}
	p.fence, p.step = kind, RunbookStep{Line: p.line}
	return nil
}

// command takes a line of a block of commands.
func (p *runbookParser) command(line string) error {
	if m := hostLine.FindStringSubmatch(line); m != nil {
		p.step.Pastes = append(p.step.Pastes, Paste{Host: m[1]})
		return nil
	}
	if len(p.step.Pastes) == 0 {
		return fmt.Errorf("the block does not begin with \"# on HOST\"")
	}
	p.step.Pastes[len(p.step.Pastes)-1].Lines += line + "\n"
	return nil
}

// add puts a step into the part that is open.
func (p *runbookParser) add(s RunbookStep) error {
	if len(p.books) == 0 {
		return fmt.Errorf("a step before the first runbook")
	}
	parts := p.books[len(p.books)-1].Parts
	part := &parts[len(parts)-1]
	if n := len(part.Steps); s.Prints != nil && (n == 0 || part.Steps[n-1].Pastes == nil) {
		return fmt.Errorf("output without a block of commands before it")
	}
	part.Steps = append(part.Steps, s)
	return nil
}

// Missing returns the first of the lines that a block should have printed which its output does not have behind those before it, "" if it
// has all.
func Missing(prints []string, output string) string {
	said := strings.Split(output, "\n")
	for _, want := range prints {
		pattern := printPattern(want)
		at := slices.IndexFunc(said, pattern.MatchString)
		if at < 0 {
			return want
		}
		said = said[at+1:]
	}
	return ""
}

// printPattern makes a regular expression of a line with "…" in it.
func printPattern(line string) *regexp.Regexp {
	var parts []string
	for _, piece := range strings.Split(line, "…") {
		words := strings.Fields(piece)
		for i, w := range words {
			words[i] = regexp.QuoteMeta(w)
		}
		parts = append(parts, strings.Join(words, `\s+`))
	}
	return regexp.MustCompile(`^\s*` + strings.Join(parts, `.*`) + `\s*$`)
}
