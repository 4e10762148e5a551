package replica

import (
	"path/filepath"
	"slices"
	"strings"
)

// kept reads every kept set to its end, and names what lies in their folder and is none.
func (c *checker) kept() {
	d, err := openKeptDir(c.dir, false)
	if KindOf(err) == KindNotFound {
		return // a site of before there were kept sets
	}
	if err != nil {
		c.say(true, keptFolder, "%v", err)
		return
	}
	defer d.close()
	names, err := d.names()
	if err != nil {
		c.say(true, keptFolder, "%v", err)
		return
	}
	slices.Sort(names)
	for _, name := range names {
		path := filepath.Join(d.path, name)
		switch {
		case name == "lost+found": // of a file system that is mounted there
		case strings.HasPrefix(name, keptNew):
			c.say(false, "kept/"+name, "was not written to its end, and nothing was overwritten then: it goes at the next start")
		case strings.HasPrefix(name, keptOld):
			c.say(false, "kept/"+name, "was dropped, but not to its end: it goes at the next start")
		case checkKeptName(name) != nil:
			c.say(false, "kept/"+name, "is no kept set: %s may be moved away", path)
		default:
			c.keptSet(d, name)
		}
	}
}

// keptSet reads one kept set to its end.
func (c *checker) keptSet(d *keptDir, name string) {
	k, err := d.open(name)
	if err != nil {
		c.say(true, "kept/"+name, "%v", err)
		return
	}
	defer k.Close()
	if err := k.Verify(); err != nil {
		c.say(true, "kept/"+name, "%v", err)
		return
	}
	info := k.Info()
	c.say(false, "kept/"+name, "%d bytes of volume %s in %s, all with good checksums", info.Bytes, info.Volume, counted(int(info.Ranges), "range"))
}
