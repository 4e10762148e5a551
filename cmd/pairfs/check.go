package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"pairfs/replica"
)

// checkCmd verifies a state directory.
type checkCmd struct {
	State   string `required:"" placeholder:"DIR" help:"State directory of a site that is not running."`
	Sums    string `xor:"sums" placeholder:"FILE" help:"Write checksums of the stores of all pairs into FILE instead, for --compare at the other site."`
	Compare string `xor:"sums" placeholder:"FILE" help:"Compare the stores of all pairs with the checksums in FILE, which --sums wrote at the other site."`
	jsonFlag
}

// finding is a [replica.Finding] in JSON.
type finding struct {
	Object string `json:"object"`
	Text   string `json:"text"`
	Bad    bool   `json:"bad"`
}

// Run prints what it looked at and what it found. It changes nothing in the state directory. It fails if anything is bad.
func (c *checkCmd) Run(a *app) error {
	dir, err := filepath.Abs(c.State)
	if err != nil {
		return fmt.Errorf("find %s: %w", c.State, err)
	}
	bad := 0
	all := []finding{}
	err = c.look(dir, func(f replica.Finding) {
		if f.Bad {
			bad++
		}
		if c.JSON {
			all = append(all, finding(f))
			return
		}
		mark := "ok "
		if f.Bad {
			mark = "BAD"
		}
		fmt.Fprintf(a.stdout, "%s %s: %s\n", mark, f.Object, f.Text)
	})
	if c.JSON {
		if perr := printJSON(a.stdout, all); perr != nil {
			return perr
		}
	}
	switch {
	case err != nil:
		return err
	case bad > 0:
		return fmt.Errorf("findings in %s that are bad: %d; keep a copy of the directory before anything else", dir, bad)
	}
	return nil
}

// look examines the directory in the way that was asked for.
func (c *checkCmd) look(dir string, report func(replica.Finding)) error {
	switch {
	case c.Sums != "":
		f, err := os.OpenFile(c.Sums, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
		if err != nil {
			return fmt.Errorf("write checksums: %w", err)
		}
		if err := errors.Join(replica.Sums(dir, f, report), f.Close()); err != nil {
			return fmt.Errorf("write checksums to %s: %w", c.Sums, err)
		}
		return nil
	case c.Compare != "":
		f, err := os.Open(c.Compare)
		if err != nil {
			return fmt.Errorf("compare checksums: %w", err)
		}
		defer f.Close()
		if err := replica.CompareSums(dir, f, report); err != nil {
			return fmt.Errorf("compare with %s: %w", c.Compare, err)
		}
		return nil
	}
	return replica.Check(dir, report)
}
