package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// maxText bounds what is read from one control file: more than a site can have to say about one thing.
const maxText = 8 << 20

// site is a running site as its control files show it.
type site struct {
	mnt string
}

// site finds the site that the command is meant for.
func (a *app) site() (site, error) {
	mnt, err := findMount(string(a.mount))
	return site{mnt: mnt}, err
}

// path returns the path of a control file.
func (s site) path(name string) string { return filepath.Join(s.mnt, ".ctl", name) }

// do writes one command to a control file and returns what the site adds to its "ok", mostly nothing. The error of a refused command is the
// sentence of the site. With create the file may be one that does not exist yet.
func (s site) do(name, line string, create bool) (string, error) {
	flags := unix.O_RDWR
	if create {
		flags |= unix.O_CREAT
	}
	f, err := os.OpenFile(s.path(name), flags, 0o600)
	if err != nil {
		return "", s.openError(name, err)
	}
	defer f.Close()
	_, refusal := f.WriteString(line + "\n")
	text, err := readAnswer(f)
	_, rest, _ := strings.Cut(text, ":")
	switch {
	case refusal != nil:
		return "", refusedBy(text, err, fmt.Errorf("%s of %s: %w", line, name, refusal))
	case err != nil:
		return "", fmt.Errorf("the command was accepted, but its answer could not be read: %w", err)
	}
	return strings.TrimSpace(rest), nil
}

// refusedBy makes an error of the answer to a refused command: the site's sentence, or the refusal alone where there is none.
func refusedBy(answer string, err, refusal error) error {
	verdict, sentence, _ := strings.Cut(answer, ":")
	if sentence = strings.TrimSpace(sentence); err == nil && verdict == "error" && sentence != "" {
		return &refusedError{sentence: inFlags(sentence), errno: errors.Unwrap(refusal)}
	}
	return refusal
}

// refusedError is a refusal with the sentence for it, mostly in the words of the site; the errno is what the system call returned.
type refusedError struct {
	sentence string
	errno    error
}

// Error returns the sentence.
func (e *refusedError) Error() string { return e.sentence }

// Unwrap returns the errno.
func (e *refusedError) Unwrap() error { return e.errno }

// readAnswer reads the sentence that the site left on the handle of a command.
func readAnswer(f *os.File) (string, error) {
	text, err := io.ReadAll(io.LimitReader(f, maxText))
	return strings.TrimSpace(string(text)), err
}

// text returns the whole text of a control file.
func (s site) text(name string) (string, error) {
	f, err := os.Open(s.path(name))
	if err != nil {
		return "", s.openError(name, err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxText))
	if err != nil {
		return "", s.openError(name, err)
	}
	return string(b), nil
}

// read returns the state of one object: "site", a pair's name, "groups/NAME", "peers/NAME" or "volumes/NAME".
func (s site) read(name string) (state, error) {
	text, err := s.text(name)
	if err != nil {
		return state{}, err
	}
	return parseState(text), nil
}

// names lists the objects of one directory of control files: "groups", "peers" or "volumes"; "" lists the pairs.
func (s site) names(dir string) ([]string, error) {
	if dir == "" {
		return s.pairs()
	}
	entries, err := os.ReadDir(s.path(dir))
	if err != nil {
		return nil, s.openError(dir, err)
	}
	names := make([]string, len(entries))
	for i, e := range entries {
		names[i] = e.Name()
	}
	return names, nil
}

// pairs lists the names of the pairs: the first word of each line of .ctl/pairs.
func (s site) pairs() ([]string, error) {
	text, err := s.text("pairs")
	if err != nil {
		return nil, err
	}
	var names []string
	for line := range strings.Lines(text) {
		if f := strings.Fields(line); len(f) > 0 {
			names = append(names, f[0])
		}
	}
	return names, nil
}

// readAll reads the state of every object of a directory, or of the named ones. An object that goes away meanwhile is left out, unless it
// was named.
func (s site) readAll(dir string, named []string) ([]state, error) {
	names := named
	if len(named) == 0 {
		var err error
		if names, err = s.names(dir); err != nil {
			return nil, err
		}
	}
	all := make([]state, 0, len(names))
	check := checkName
	if dir == "" {
		check = checkPair
	}
	for _, n := range names {
		if err := check(n); err != nil {
			return nil, err
		}
		st, err := s.read(filepath.Join(dir, n))
		if len(named) == 0 && errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		all = append(all, st)
	}
	return all, nil
}

// everyMount are the control files that a mount always has: without them it is none any more.
var everyMount = []string{"site", "pairs", "events", "groups", "peers", "volumes"}

// ctlNames are the names in .ctl that no pair can have.
var ctlNames = append([]string{"metrics", "history", "kept", "kept.d"}, everyMount...)

// checkPair refuses what cannot be the name of a pair. Without it a command would go to another control file; a read of events never ends.
func checkPair(name string) error {
	if slices.Contains(ctlNames, name) {
		return usagef("a pair cannot be named %q: .ctl/%s is a file or directory of the site", name, name)
	}
	return checkName(name)
}

// openError makes a sentence of what opening or reading a control file returned.
func (s site) openError(name string, err error) error {
	said := ""
	switch {
	case errors.Is(err, unix.ENOENT) && slices.Contains(everyMount, name):
		said = fmt.Sprintf("the site of %s was stopped meanwhile", s.mnt)
	case errors.Is(err, unix.ENOENT):
		said = fmt.Sprintf("no %s at the site of %s%s", objectName(name), s.mnt, s.others(name))
	case errors.Is(err, unix.EINVAL):
		said = fmt.Sprintf("%q is not a name for a %s: %s", filepath.Base(name), strings.Fields(objectName(name))[0], nameRule)
	case errors.Is(err, unix.ENOTCONN), errors.Is(err, unix.ECONNABORTED):
		said = fmt.Sprintf("the daemon of %s is gone; start it again with pairfs mount", s.mnt)
	case errors.Is(err, unix.EACCES), errors.Is(err, unix.EPERM):
		said = fmt.Sprintf("the control files of %s are for the user who mounted it; try as that user", s.mnt)
	}
	if said != "" {
		return &refusedError{sentence: said, errno: err}
	}
	return fmt.Errorf("read %s: %w", s.path(name), err)
}

// objectName says what a control file is about.
func objectName(name string) string {
	dir, base := filepath.Split(name)
	if dir == "" {
		return "pair " + base
	}
	return strings.TrimSuffix(filepath.Clean(dir), "s") + " " + base
}

// others says what there is where a name was not found, for who mistyped it or is at the other site.
func (s site) others(name string) string {
	const atMost = 8
	dir, _ := filepath.Split(name)
	entries, err := os.ReadDir(s.path(dir))
	if err != nil {
		return ""
	}
	var names []string
	for _, e := range entries {
		if dir != "" || !e.IsDir() && !slices.Contains(ctlNames, e.Name()) {
			names = append(names, e.Name())
		}
	}
	if len(names) == 0 {
		return ", which has none"
	}
	if len(names) > atMost {
		names = append(names[:atMost], "…")
	}
	return "; there is " + strings.Join(names, ", ")
}

// nameRule is what names are made of.
const nameRule = "1 to 100 letters, digits, '.', '_' and '-', not beginning with '.'"

// checkName refuses a name that would lead out of the directory of control files, or that would break a line into words. The site knows the
// rest of the rule.
func checkName(name string) error {
	if name == "" || name[0] == '.' || strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r == '/' || r == '=' || r == 0x7f }) {
		return usagef("%q is not a name: %s", name, nameRule)
	}
	return nil
}

// siteFor finds the site for a command about one object, and refuses what is no name of one before it looks.
func (a *app) siteFor(dir, name string) (site, error) {
	check := checkName
	if dir == "" {
		check = checkPair
	}
	if err := check(name); err != nil {
		return site{}, err
	}
	return a.site()
}

// command sends a command about one object and prints what the site adds to its answer.
func (a *app) command(dir, name, line string, create bool) error {
	s, err := a.siteFor(dir, name)
	if err != nil {
		return err
	}
	said, err := s.do(filepath.Join(dir, name), line, create)
	if err == nil && said != "" {
		fmt.Fprintln(a.stdout, said)
	}
	return err
}

// checkValue refuses a value that would not be one word of a command.
func checkValue(v string) error {
	if v == "" || strings.ContainsFunc(v, func(r rune) bool { return r <= ' ' || r == 0x7f }) {
		return usagef("%q cannot be a value: it must be one word", v)
	}
	return nil
}
