package main

import (
	"fmt"
	"path/filepath"

	"pairfs/replica"
)

// checkCmd verifies a state directory.
type checkCmd struct {
	State string `required:"" placeholder:"DIR" help:"State directory of a site that is not running."`
	jsonFlag
}

// finding is a [replica.Finding] in JSON.
type finding struct {
	Object string `json:"object"`
	Text   string `json:"text"`
	Bad    bool   `json:"bad"`
}

// Run prints what it looked at and what it found. It changes nothing. It fails if anything is bad.
func (c *checkCmd) Run(a *app) error {
	dir, err := filepath.Abs(c.State)
	if err != nil {
		return fmt.Errorf("find %s: %w", c.State, err)
	}
	bad := 0
	all := []finding{}
	err = replica.Check(dir, func(f replica.Finding) {
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
