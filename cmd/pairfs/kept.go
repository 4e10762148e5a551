package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"pairfs/fs"
	"pairfs/replica"
)

// keptCmd holds the commands about kept sets: regions of a volume that were kept aside before a resync overwrote them.
type keptCmd struct {
	List   keptListCmd   `cmd:"" help:"Show what is kept aside; .ctl/kept.d/NAME/list of the mount has the ranges of a set."`
	Export keptExportCmd `cmd:"" help:"Write what was kept to a file, checked."`
	Drop   keptDropCmd   `cmd:"" help:"Remove what was kept; it is gone then."`
}

// keptArgs say where the kept sets are: at a running site, or in a state directory.
type keptArgs struct {
	State string `placeholder:"DIR" help:"State directory to look into, without its site."`
}

// sets returns the lines of the sets that there are.
func (k keptArgs) sets(a *app) ([]state, error) {
	text := ""
	if k.State != "" {
		all, err := replica.KeptSets(k.State)
		if err != nil {
			return nil, err
		}
		text = fs.KeptLines(all)
	} else {
		s, err := a.site()
		if err != nil {
			return nil, err
		}
		if text, err = s.text("kept"); err != nil {
			return nil, err
		}
	}
	return parseKept(text)
}

// parseKept reads the text of .ctl/kept.
func parseKept(text string) ([]state, error) {
	var all []state
	for line := range strings.Lines(text) {
		name, rest, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		words, ok := parseWords(rest)
		if !ok || name == "" {
			return nil, fmt.Errorf("the site wrote a line about a kept set that is none: %q", line)
		}
		s := state{values: map[string]string{}}
		s.set("name", name)
		for _, key := range words.keys {
			s.set(key, words.get(key))
		}
		all = append(all, s)
	}
	return all, nil
}

// find returns the set of that name, or why there is none that can be read.
func (k keptArgs) find(a *app, name string) (state, error) {
	all, err := k.sets(a)
	if err != nil {
		return state{}, err
	}
	for _, s := range all {
		if s.get("name") == name {
			return s, nil
		}
	}
	return state{}, fmt.Errorf("there is no kept set %s: pairfs kept list shows them", name)
}

// open opens a set, as the mount or the state directory shows it.
func (k keptArgs) open(a *app, name string) (*replica.KeptSet, error) {
	if err := checkName(name); err != nil {
		return nil, err
	}
	set, err := k.find(a, name)
	switch {
	case err != nil:
		return nil, err
	case set.has("bad"):
		return nil, errors.New(set.get("bad"))
	case k.State != "":
		return replica.OpenKeptSet(filepath.Join(k.State, "kept", name))
	}
	s, err := a.site()
	if err != nil {
		return nil, err
	}
	return replica.OpenKeptSet(s.path(filepath.Join("kept.d", name)))
}

type keptListCmd struct {
	keptArgs
	jsonFlag
}

// Run prints the sets.
func (c *keptListCmd) Run(a *app) error {
	all, err := c.sets(a)
	if err != nil {
		return err
	}
	if len(all) == 0 && !c.JSON {
		_, err := fmt.Fprintln(a.stdout, "nothing is kept aside")
		return err
	}
	err = a.printStates(all, keptKinds, c.JSON, []column{
		word("NAME", "name"), word("PAIR", "pair"), word("VOLUME", "volume"), word("ROLE", "role"), word("KEPT", "kept"), word("RANGES", "ranges"),
		bytesOf("BYTES", "range-bytes"), bytesOf("ALLOCATED", "allocated-bytes"), word("WHY", "why"),
	})
	for _, s := range all {
		if err == nil && !c.JSON && s.has("bad") {
			_, err = fmt.Fprintf(a.stdout, "%s: %s\n", s.get("name"), s.get("bad"))
		}
	}
	return err
}

type keptDropCmd struct {
	Names []string `arg:"" optional:"" name:"name" help:"Sets to remove."`
	Older string   `placeholder:"AGE" help:"Remove all that are older than that instead: a number with s, m, h or d, as in 30d."`
	keptArgs
}

// Run removes the sets, all that are named or none, and says how much that frees.
func (c *keptDropCmd) Run(a *app) error {
	if (len(c.Names) == 0) == (c.Older == "") {
		return usagef("name the kept sets to drop, or give --older=AGE")
	}
	for _, n := range c.Names {
		if err := checkName(n); err != nil {
			return err
		}
	}
	if c.Older != "" {
		if _, err := replica.ParseAge(c.Older); err != nil {
			return usagef("--older: %v", err)
		}
	}
	if c.State != "" {
		return c.offline(a.stdout)
	}
	for _, n := range c.Names {
		if _, err := c.find(a, n); err != nil {
			return err
		}
	}
	lines := []string{"drop older=" + c.Older}
	if c.Older == "" {
		lines = lines[:0]
		for _, n := range c.Names {
			lines = append(lines, "drop name="+n)
		}
	}
	s, err := a.site()
	if err != nil {
		return err
	}
	for _, line := range lines {
		said, err := s.do("kept", line, false)
		if err != nil {
			return err
		}
		for one := range strings.SplitSeq(said, "; ") {
			if _, err := fmt.Fprintln(a.stdout, one); err != nil {
				return err
			}
		}
	}
	return nil
}

// offline removes sets from a state directory.
func (c *keptDropCmd) offline(w io.Writer) error {
	age, err := replica.ParseAge(c.Older)
	if c.Older == "" {
		err = nil
	}
	if err != nil {
		return err
	}
	if _, err := os.Stat(c.State); err != nil {
		return fmt.Errorf("look into the state directory: %w", err)
	}
	dropped := 0
	err = replica.DropKeptSets(c.State, c.Names, age, func(name string, freed int64) {
		dropped++
		fmt.Fprintf(w, "%s dropped, %s freed\n", name, sizeText(fmt.Sprint(freed)))
	})
	if err == nil && dropped == 0 {
		_, err = fmt.Fprintf(w, "no kept set is older than %s\n", c.Older)
	}
	return err
}

// keptNote says how many sets there are, and what they take.
func keptNote(sets int, bytes string) string {
	return fmt.Sprintf("%d kept %s (%s, pairfs kept list)", sets, oneOr(sets, "set", "sets"), sizeText(bytes))
}

// oneOr chooses the word for one or for several.
func oneOr(n int, one, several string) string {
	if n == 1 {
		return one
	}
	return several
}
