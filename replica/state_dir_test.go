package replica

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// intruder puts something else in the place of a file.
type intruder struct {
	name string
	put  func(path, away string) error // away is where the file went, "" if there was none
	says string
}

var intruders = []intruder{
	{"a link", func(path, away string) error { return os.Symlink(away, path) }, "a symbolic link"},
	{"a link to nothing", func(path, _ string) error { return os.Symlink(path+".nowhere", path) }, "a symbolic link"},
	{"a pipe", func(path, _ string) error { return unix.Mkfifo(path, 0o600) }, "a pipe"},
	{"a device", func(path, _ string) error { return unix.Mknod(path, unix.S_IFCHR|0o600, int(unix.Mkdev(1, 5))) }, "a device"}, // zero: an endless file
	{"a directory", func(path, _ string) error { return os.Mkdir(path, 0o700) }, "a directory"},
}

// inPlaceOf runs fn while something else stands at path, and puts back what was there.
func inPlaceOf(t *testing.T, path string, i intruder, fn func()) {
	t.Helper()
	away := path + ".away"
	there := os.Rename(path, away) == nil
	if !there {
		must(t, os.WriteFile(away, nil, 0o600))
	}
	must(t, i.put(path, away))
	fn()
	if _, err := os.Lstat(path + ".nowhere"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%s in the place of %s was followed", i.name, path)
	}
	must(t, os.Remove(path))
	if there {
		must(t, os.Rename(away, path))
	} else {
		must(t, os.Remove(away))
	}
}

// TestStateDirHoldsNoLinks puts links, pipes, devices and directories in the place of everything that a site opens in its state directory: it does not
// start, says why, does not wait and follows nothing; with the right thing back it starts.
func TestStateDirHoldsNoLinks(t *testing.T) {
	t.Parallel()
	n := newNode(t, "tokyo", nil)
	n.open()
	n.volume("x")
	n.close()
	for _, name := range siteFiles {
		path := filepath.Join(n.cfg.StateDir, name)
		for _, i := range intruders {
			inPlaceOf(t, path, i, func() {
				before := stateNames(t, n.cfg.StateDir)
				n.refuses(name+": "+i.name, path, i.says)
				if name == "site.db" { // another of the same path may be there when it is looked at offline
					_ = Check(n.cfg.StateDir, func(Finding) {})
				}
				if after := stateNames(t, n.cfg.StateDir); after != before {
					t.Errorf("%s: %s: the start that was refused left %q, there was %q", name, i.name, after, before)
				}
			})
		}
	}
	for _, name := range []string{"volumes", "journals"} {
		path := filepath.Join(n.cfg.StateDir, name)
		for _, i := range intruders[:3] {
			inPlaceOf(t, path, i, func() { n.refuses(name+": "+i.name, path) })
		}
	}
	for _, i := range intruders {
		path := n.storeFile("x")
		inPlaceOf(t, path, i, func() { n.refuses("a store: "+i.name, path) })
	}
	link := n.cfg.StateDir + ".link"
	must(t, os.Symlink(n.cfg.StateDir, link))
	dir := n.cfg.StateDir
	n.cfg.StateDir = link
	n.refuses("the state directory: a link", link, "a symbolic link", "mount what lies on another disk")
	n.cfg.StateDir = dir
	n.open()
	n.close()
}

func (n *node) storeFile(volume string) string {
	return filepath.Join(n.cfg.StateDir, "volumes", volume)
}

// stateNames lists what is in a directory, in one text.
func stateNames(t *testing.T, dir string) string {
	t.Helper()
	list, err := os.ReadDir(dir)
	must(t, err)
	var names []string
	for _, e := range list {
		names = append(names, e.Name())
	}
	return strings.Join(names, " ")
}

// refuses expects that the site does not start, and the words of the reason.
func (n *node) refuses(what string, words ...string) {
	n.t.Helper()
	if err := n.tryOpen(); err == nil {
		n.t.Errorf("%s: the site started", what)
		n.close()
	} else {
		for _, w := range words {
			if !strings.Contains(err.Error(), w) {
				n.t.Errorf("%s: %v; wanted %q", what, err, w)
			}
		}
	}
}

// TestStateDirIsPrivate: what others may write, or what is another user's, is not used, and the sentence says what to do.
func TestStateDirIsPrivate(t *testing.T) {
	t.Parallel()
	n := newNode(t, "tokyo", nil)
	n.open()
	n.close()
	ring := n.ownRings(t)
	for _, row := range []struct {
		name   string
		path   string
		mode   os.FileMode // that is refused
		good   os.FileMode
		advice string
	}{
		{"state directory, readable", n.cfg.StateDir, 0o750, 0o700, "can be read by others (mode 0750): chmod 700"},
		{"state directory, writable", n.cfg.StateDir, 0o770, 0o700, "can be written by others (mode 0770): look at what is in it, then chmod 700"},
		{"volumes", filepath.Join(n.cfg.StateDir, "volumes"), 0o777, 0o700, "chmod 700"},
		{"journals", filepath.Join(n.cfg.StateDir, "journals"), 0o755, 0o700, "chmod 700"},
		{"key, readable", filepath.Join(n.cfg.StateDir, "key.pem"), 0o640, 0o600, "others may use it; make a new key if they could have read it, else chmod 600"},
		{"key, writable", filepath.Join(n.cfg.StateDir, "key.pem"), 0o620, 0o600, "can be written by others"},
		{"reset key", filepath.Join(n.cfg.StateDir, "reset.key"), 0o604, 0o600, "others may use it"},
		{"site.db", filepath.Join(n.cfg.StateDir, "site.db"), 0o660, 0o600, "can be written by others (mode 0660): look at who did, then chmod 600"},
		{"audit log", filepath.Join(n.cfg.StateDir, "audit"), 0o602, 0o600, "chmod 600"},
		{"rings", ring, 0o711, 0o700, "chmod 700"},
	} {
		must(t, os.MkdirAll(ring, 0o700))
		must(t, os.Chmod(row.path, row.mode))
		n.refuses(row.name, row.path, row.advice)
		must(t, os.Chmod(row.path, row.good))
		must(t, os.MkdirAll(ring, 0o700))
		must(t, os.Lchown(row.path, 4242, 4242))
		n.refuses(row.name+" of another user", row.path, "4242", "chown it")
		if err := os.Lchown(row.path, os.Geteuid(), os.Getegid()); !errors.Is(err, os.ErrNotExist) { // an empty folder of rings goes
			must(t, err)
		}
	}
	n.open()
	n.close()
}

// ownRings is the folder of the site's staging rings.
func (n *node) ownRings(t *testing.T) string {
	t.Helper()
	n.open()
	dir := n.site.ringDir
	n.close()
	return dir
}

// TestJournalIsNoLink: a journal, a journal volume or a staging ring that is a link or a pipe holds its group, and nothing else. Nothing is made in its
// place, and nothing waits.
func TestJournalIsNoLink(t *testing.T) {
	t.Parallel()
	d := newDuo(t)
	n := d.a
	n.group("g")
	n.volume("x")
	n.pair("g", "x")
	w := newWriter(n, "x")
	must(t, w.write(t.Context(), 0, 0, 9, true))
	group, ring := n.site.journalDir("g"), n.site.ringPath("g")
	n.crash(nil)
	for _, row := range []struct {
		path string
		with intruder
	}{
		{group, intruders[0]}, {group, intruders[2]}, {filepath.Join(group, "000001"), intruders[0]}, {filepath.Join(group, "000001"), intruders[2]}, {filepath.Join(group, "000001"), intruders[3]},
		{ring, intruders[0]},
	} {
		inPlaceOf(t, row.path, row.with, func() {
			n.open()
			st := n.groupStatus("g")
			if !strings.Contains(st.Failed, "link") && !strings.Contains(st.Failed, "pipe") && !strings.Contains(st.Failed, "neither a file nor a block device") {
				t.Errorf("%s is %s: the group says %q", row.path, row.with.name, st.Failed)
			}
			if _, err := n.vol("x").WriteAt(t.Context(), []byte("x"), 0, true); err == nil {
				t.Errorf("%s is %s: a host's write is taken", row.path, row.with.name)
			}
			n.close()
			if bad := n.findings()["group/g"]; row.path != ring && !strings.HasPrefix(bad, "BAD ") {
				t.Errorf("%s is %s: check says %q", row.path, row.with.name, bad)
			}
		})
	}
	n.open()
	d.wait("the link is up", n.linked)
	n.awaitBoth(PAIR, "x")
	n.suspend("g", SuspendOptions{}, "x")
	w.check(d.b, everyAck)
}
