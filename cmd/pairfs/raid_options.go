package main

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
)

// Bounds of a command line: more is a mistake.
const (
	raidWordsMax = 64
	raidWordMax  = 4096 // bytes: a path may be as long
)

// fate is what becomes of an option.
type fate uint8

// The fates.
const (
	obeyed  fate = iota
	ignored      // taken, so that scripts go on, and of no effect for the reason given
	refused      // not taken, for the reason given
)

// raidOption is one row of a table of options. RAID Manager's options are words of one dash, with their operands as words of their own.
type raidOption struct {
	name     string
	prefix   bool // what follows the name in the same word is its operand: -I5, -fcx
	min, max int  // operands
	operands string
	fate     fate
	check    func(operands []string) error // nil for any
	help     string                        // or the reason of its fate
}

// raidGiven is one option as it was given.
type raidGiven struct {
	name     string
	operands []string
}

// raidArgs are the options of a command line, in their order.
type raidArgs []raidGiven

// parseRaid reads a command line by its table. Nothing is tried unless all of it makes sense.
func parseRaid(table []raidOption, words []string) (raidArgs, error) {
	if len(words) > raidWordsMax {
		return nil, raidf(ewMAXARG, "the command line has %d words, at most %d make sense", len(words), raidWordsMax)
	}
	var args raidArgs
	for len(words) > 0 {
		word := words[0]
		if len(word) > raidWordMax {
			return nil, raidf(ewLNGARG, "a word of %d bytes is too long: %.20s…", len(word), word)
		}
		o, rest, err := findOption(table, word)
		if err != nil {
			return nil, err
		}
		words = words[1:]
		given := raidGiven{name: o.name}
		if o.prefix {
			given.operands = append(given.operands, rest)
		}
		for n := 0; n < o.max && len(words) > 0 && !strings.HasPrefix(words[0], "-"); n++ {
			given.operands = append(given.operands, words[0])
			words = words[1:]
		}
		if err := o.verify(given); err != nil {
			return nil, err
		}
		args = append(args, given)
	}
	return args, nil
}

// findOption finds the row of a word; one that is written out counts before one that the word begins with.
func findOption(table []raidOption, word string) (*raidOption, string, error) {
	for i := range table {
		if !table[i].prefix && table[i].name == word {
			return &table[i], "", nil
		}
	}
	for i := range table {
		if rest, ok := strings.CutPrefix(word, table[i].name); ok && table[i].prefix {
			return &table[i], rest, nil
		}
	}
	if !strings.HasPrefix(word, "-") {
		return nil, "", raidf(ewMAXARG, "%q belongs to no option; -h shows what there is", word)
	}
	return nil, "", raidf(exUNWOPT, "there is no option %s; -h shows what there is", word)
}

// verify checks the operands of an option, and that it may be given at all.
func (o *raidOption) verify(given raidGiven) error {
	switch {
	case o.fate == refused:
		return raidf(exENOSUP, "option %s: %s", o.name, o.help)
	case !o.prefix && len(given.operands) < o.min:
		return raidf(exREQARG, "option %s is unfinished: it wants %s", o.name, o.operands)
	case o.check != nil:
		if err := o.check(given.operands); err != nil {
			return within("option "+o.name, err, exINVARG)
		}
	}
	return nil
}

// has reports whether the option was given.
func (a raidArgs) has(name string) bool { return a.last(name) == name }

// last returns which of the options was given last, "" if none was.
func (a raidArgs) last(names ...string) string {
	for _, g := range slices.Backward(a) {
		if slices.Contains(names, g.name) {
			return g.name
		}
	}
	return ""
}

// operands returns what stands behind the option where it was given last.
func (a raidArgs) operands(name string) []string {
	for _, g := range slices.Backward(a) {
		if g.name == name {
			return g.operands
		}
	}
	return nil
}

// value returns the first operand of an option, or other.
func (a raidArgs) value(name, other string) string {
	if ops := a.operands(name); len(ops) > 0 {
		return ops[0]
	}
	return other
}

// number returns the first operand of an option that is a number, or other.
func (a raidArgs) number(name string, other int) int {
	n, err := strconv.Atoi(a.value(name, ""))
	if err != nil {
		return other
	}
	return n
}

// letters returns all that was written behind an option which is given with letters, once or more often.
func (a raidArgs) letters(name string) string {
	all := ""
	for _, g := range a {
		if g.name == name {
			all += g.operands[0]
		}
	}
	return all
}

// numbers checks that all operands are whole numbers from lo to hi.
func numbers(lo, hi int) func([]string) error {
	return func(ops []string) error {
		for _, op := range ops {
			if n, err := strconv.Atoi(op); err != nil || n < lo || n > hi {
				return fmt.Errorf("%q is no number from %d to %d", op, lo, hi)
			}
		}
		return nil
	}
}

// oneOf checks that all operands are among the words, in whatever case.
func oneOf(words ...string) func([]string) error {
	return func(ops []string) error {
		for _, op := range ops {
			if !slices.ContainsFunc(words, func(w string) bool { return strings.EqualFold(w, op) }) {
				return fmt.Errorf("%q is none of %s", op, strings.Join(words, ", "))
			}
		}
		return nil
	}
}

// lettersOf checks that an option is written with some of the letters.
func lettersOf(letters string) func([]string) error {
	return func(ops []string) error {
		if bad := strings.Trim(ops[0], letters); bad != "" || ops[0] == "" {
			return raidf(exUNWOPT, "%q is not made of %s", ops[0], letters)
		}
		return nil
	}
}

// onlyMirror0 checks a mirror number. There is one mirror.
func onlyMirror0(ops []string) error {
	for _, op := range ops {
		if op != "0" && op != "h0" {
			return raidf(exINVMUN, "a group has one mirror, 0 (h0); there is no %s", op)
		}
	}
	return nil
}

// printOptions prints the options of a table, each with what it does or why it does nothing.
func printOptions(w io.Writer, options []raidOption) error {
	var rows [][]string
	for _, o := range options {
		name := o.name
		if o.prefix {
			name += o.operands
		} else if o.operands != "" {
			name += " " + o.operands
		}
		rows = append(rows, []string{"  " + name, [...]string{"", "no effect: ", "refused: "}[o.fate] + o.help})
	}
	return table(w, rows)
}
