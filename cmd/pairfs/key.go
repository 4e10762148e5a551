package main

import (
	"fmt"
	"os"
	"path/filepath"

	"pairfs/quicwire"
)

// keyCmd prints the public key of a site.
type keyCmd struct {
	State string `required:"" placeholder:"DIR" help:"State directory of the site, which pairfs mount makes."`
	jsonFlag
}

// Run prints the fingerprint. A key that was lost is made anew; in a directory that no site was ever in none is made, for that is a mistyped name.
func (k *keyCmd) Run(a *app) error {
	file := filepath.Join(k.State, "key.pem")
	_, missing := os.Lstat(file)
	if _, err := os.Lstat(filepath.Join(k.State, "site.db")); missing != nil && err != nil {
		return fmt.Errorf("%s is no state directory of a site, which has its key since its first pairfs mount: %w", k.State, err)
	}
	id, err := quicwire.LoadIdentity(file)
	if err != nil {
		return err
	}
	if os.IsNotExist(missing) {
		fmt.Fprintf(a.stderr, "pairfs: a new key was made in %s\n", k.State)
	}
	if k.JSON {
		return printJSON(a.stdout, map[string]string{"fingerprint": id.Fingerprint().String()})
	}
	_, err = fmt.Fprintln(a.stdout, id.Fingerprint())
	return err
}
