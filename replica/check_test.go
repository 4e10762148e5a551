package replica

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pairfs/journal"
)

// findings examines the state directory of a site that was closed, and gives what was said of each object, "BAD " before what is wrong.
func (n *node) findings() map[string]string {
	n.t.Helper()
	said := map[string]string{}
	err := Check(n.cfg.StateDir, func(f Finding) {
		if said[f.Object] != "" {
			n.t.Errorf("%s was looked at twice", f.Object)
		}
		said[f.Object] = f.Text
		if f.Bad {
			said[f.Object] = "BAD " + f.Text
		}
	})
	must(n.t, err)
	return said
}

// checked makes a site with a pair and closes it.
func checked(t *testing.T) *duo {
	d := newDuo(t)
	d.a.group("g")
	d.a.volume("x")
	d.a.pair("g", "x")
	must(t, newWriter(d.a, "x").write(t.Context(), 0, 1, 1, true))
	d.a.close()
	return d
}

func TestCheckOfASoundSite(t *testing.T) {
	t.Parallel()
	d := checked(t)
	said := d.a.findings()
	for _, object := range []string{"site.db", "volume/x", "pair/x", "group/g"} {
		if said[object] == "" {
			t.Errorf("nothing was said of %s", object)
		}
	}
	for object, text := range said {
		if strings.HasPrefix(text, "BAD") {
			t.Errorf("%s: %s", object, text)
		}
	}
	if len(said) != 4 || said["site.db"] != "1 volume, 1 group, 1 pair" {
		t.Errorf("%q", said)
	}
}

// What lies in the state directory and in no entry of the database is named: what may go, and what may be the only copy of something.
func TestCheckNamesStrays(t *testing.T) {
	t.Parallel()
	d := checked(t)
	path := func(parts ...string) string { return filepath.Join(append([]string{d.a.cfg.StateDir}, parts...)...) }
	must(t, os.WriteFile(path("volumes", "empty"), nil, 0o600))
	must(t, os.WriteFile(path("volumes", "full"), make([]byte, 4096), 0o600))
	must(t, os.Link(path("volumes", "x"), path("volumes", "renamed"))) // as a crash in the middle of a rename leaves it
	must(t, journal.Create(journal.Options{Dir: path("journals", "gone")}, journalMin))
	said := d.a.findings()
	for object, want := range map[string]string{
		"store/empty":   "belongs to no volume of the site and holds nothing of its own",
		"store/renamed": "belongs to no volume of the site and holds nothing of its own",
		"store/full":    "BAD belongs to no volume of the site and holds data",
		"journal/gone":  "belongs to no group of the site",
	} {
		if !strings.HasPrefix(said[object], want) {
			t.Errorf("%s: %q, want %q", object, said[object], want)
		}
	}
	if len(said) != 8 {
		t.Errorf("%q", said)
	}
}

// What the database knows and the directory lacks is bad.
func TestCheckNamesWhatIsMissing(t *testing.T) {
	t.Parallel()
	d := checked(t)
	must(t, os.Truncate(filepath.Join(d.a.cfg.StateDir, "volumes", "x"), 4096))
	must(t, os.RemoveAll(filepath.Join(d.a.cfg.StateDir, "journals", "g")))
	said := d.a.findings()
	for _, object := range []string{"pair/x", "group/g"} {
		if !strings.HasPrefix(said[object], "BAD") {
			t.Errorf("%s: %q", object, said[object])
		}
	}
}
