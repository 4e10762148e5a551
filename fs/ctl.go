package fs

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"pairfs/replica"
)

// verb is one row of a table of commands.
type verb struct {
	name string
	keys []key                                                                // the options it knows
	run  func(ctx context.Context, c commander, name string, o options) error // nil for a question
}

// key is one option of a verb.
type key struct {
	name     string
	required bool
	words    []string                 // the values it may have, nil for any
	check    func(value string) error // nil, or a check of the value
}

// options are the checked options of a command.
type options map[string]string

// get returns the value of an option, or other if it was not given.
func (o options) get(name, other string) string {
	if v, ok := o[name]; ok {
		return v
	}
	return other
}

// parse splits one line into its verb and its options. The line is what one write(2) brought, with or without its newline; anything but
// printable UTF-8 without further control characters is refused. It knows no verbs: the tables do.
func parse(line []byte) (verb string, opts map[string]string, err error) {
	if len(line) > maxLine {
		return "", nil, invalid("the command is %d bytes long; one command is one line of at most %d bytes", len(line), maxLine)
	}
	text := strings.TrimSuffix(string(line), "\n")
	if err := checkText(text); err != nil {
		return "", nil, err
	}
	words := strings.Fields(text)
	if len(words) == 0 {
		return "", nil, invalid("the command is empty; write one line with a word and its options, as in %q", "suspend mode=flush")
	}
	if len(words) > maxArgs {
		return "", nil, invalid("the command has %d words; the longest has %d", len(words), maxArgs)
	}
	if strings.Contains(words[0], "=") {
		return "", nil, invalid("the command begins with the option %q; write what to do first, as in %q", words[0], "create volume=db")
	}
	opts = make(map[string]string, len(words)-1)
	for _, w := range words[1:] {
		k, v, found := strings.Cut(w, "=")
		if !found || k == "" {
			return "", nil, invalid("%q is no option; options are written key=value, without blanks", w)
		}
		if _, double := opts[k]; double {
			return "", nil, invalid("option %q is given twice", k)
		}
		opts[k] = v
	}
	return words[0], opts, nil
}

// checkText refuses bytes that no command has, so that none reaches a log or a terminal.
func checkText(text string) error {
	for i, r := range text {
		switch {
		case r == '\n':
			return invalid("the write has more than one line; write one command at a time")
		case r == '\uFFFD', r < ' ' && r != '\t', r >= 0x7f && r < 0xa0:
			return invalid("byte %d of the command is no printable text", i)
		}
	}
	return nil
}

// parseFor parses a line against a table of commands and checks the options. object is the word for what the table is of.
func parseFor(table []verb, object string, line []byte) (*verb, options, error) {
	word, opts, err := parse(line)
	if err != nil {
		return nil, nil, err
	}
	i := slices.IndexFunc(table, func(v verb) bool { return v.name == word })
	if i < 0 {
		return nil, nil, invalid("%q is no command of %s; known are %s", word, object, listVerbs(table))
	}
	v := &table[i]
	for name := range opts {
		if !slices.ContainsFunc(v.keys, func(k key) bool { return k.name == name }) {
			return nil, nil, invalid("%q has no option %q; %s", word, name, listKeys(v))
		}
	}
	for _, k := range v.keys {
		value, given := opts[k.name]
		if err := k.verify(word, value, given); err != nil {
			return nil, nil, err
		}
	}
	return v, opts, nil
}

// verify checks one option of a command.
func (k *key) verify(word, value string, given bool) error {
	switch {
	case !given && k.required:
		return invalid("%q needs the option %s=", word, k.name)
	case !given:
		return nil
	case value == "":
		return invalid("option %q has no value", k.name)
	case k.words != nil && !slices.Contains(k.words, value):
		return invalid("%s=%s is unknown; known are %s", k.name, value, strings.Join(k.words, ", "))
	case k.check != nil:
		return k.check(value)
	}
	return nil
}

// listVerbs names the commands of a table.
func listVerbs(table []verb) string {
	names := make([]string, len(table))
	for i, v := range table {
		names[i] = v.name
	}
	return strings.Join(names, ", ")
}

// listKeys says which options a command has.
func listKeys(v *verb) string {
	if len(v.keys) == 0 {
		return "it has none"
	}
	names := make([]string, len(v.keys))
	for i, k := range v.keys {
		names[i] = k.name + "="
		if k.words != nil {
			names[i] += strings.Join(k.words, "|")
		}
	}
	return "known are " + strings.Join(names, ", ")
}

// invalid is a refusal of words or values.
func invalid(format string, args ...any) error {
	return kindError(replica.KindInvalid, fmt.Sprintf(format, args...))
}
