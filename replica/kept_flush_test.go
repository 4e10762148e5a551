package replica

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestKeptIsFlushed: what is kept would survive a power cut when keeping it has ended: image, list, their folder and the folder of all sets. At
// each of these flushes the file is exchanged for one that cannot be flushed: if that is not met, nobody flushes.
func TestKeptIsFlushed(t *testing.T) {
	t.Parallel()
	var n *node
	at := ""
	d, _ := keptDuo(t, func(name string, c *Config) {
		c.keptStep = func(step string) error {
			if step != at {
				return nil
			}
			return unflushable(func(path string) bool {
				in, inside := strings.CutPrefix(path, n.keptPath())
				switch step {
				case "sync image", "sync list":
					return inside && filepath.Base(in) == strings.TrimPrefix(step, "sync ")
				case "sync folder":
					return inside && strings.HasPrefix(in, "/"+keptNew) && filepath.Dir(in) == "/"
				}
				return inside && in == ""
			})
		}
	})
	n = d.a
	for _, at = range []string{"sync image", "sync list", "sync folder", "sync all"} {
		_, err := d.a.keepMarked(t.Context(), "x")
		if !errors.Is(err, unix.EINVAL) || !strings.Contains(err.Error(), "flushed") {
			t.Errorf("%s: it ended with %v", at, err)
		}
		d.a.reopen() // what could not be removed goes
		all, err := d.a.site.Kept()
		must(t, err)
		for _, k := range all {
			must(t, d.a.site.DropKept(t.Context(), k.Name))
		}
		d.a.wantNoSets()
	}
}

// unflushable puts a pipe, which nothing can flush, in the place of this process's one open file of that path.
func unflushable(is func(path string) bool) error {
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return err
	}
	for _, e := range fds {
		path, err := os.Readlink("/proc/self/fd/" + e.Name())
		if err != nil || !is(path) {
			continue
		}
		var fd int
		if _, err := fmt.Sscan(e.Name(), &fd); err != nil {
			return err
		}
		var pipe [2]int
		if err := unix.Pipe2(pipe[:], unix.O_CLOEXEC); err != nil {
			return err
		}
		defer unix.Close(pipe[0])
		defer unix.Close(pipe[1])
		return unix.Dup3(pipe[0], fd, unix.O_CLOEXEC)
	}
	return errors.New("the file is not open")
}
