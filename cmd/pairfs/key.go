package main

import (
	"fmt"
	"os"
	"path/filepath"

	"pairfs/quicwire"
)

// keyCmd prints the public key of a site.
type keyCmd struct {
	State string `required:"" placeholder:"DIR" help:"State directory of the site; made on first use."`
	jsonFlag
}

// Run prints the fingerprint, making the key on first use.
func (k *keyCmd) Run(a *app) error {
	if err := os.MkdirAll(k.State, 0o700); err != nil {
		return fmt.Errorf("make the state directory: %w", err)
	}
	file := filepath.Join(k.State, "key.pem")
	_, missing := os.Stat(file)
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
