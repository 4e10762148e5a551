package e2e

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/hanwen/go-fuse/v2/posixtest"
)

// notPosix are the tests of go-fuse's suite for what a mount of volumes does not have, and why; package fs says so too.
var notPosix = map[string]string{
	"DirSeek": "no directories", "MkdirRmdir": "no directories", "OpenAt": "no directories", "RenameOpenDir": "no directories", "RenameOverwriteDestNoExist": "no directories",
	"Link": "no hard links", "LinkUnlinkRename": "no hard links",
	"OpenSymlinkRace": "no symbolic links", "SetattrSymlink": "no symbolic links", "SymlinkReadlink": "no symbolic links",
	"XAttr": "no extended attributes", "XAttrLarge": "no extended attributes",
	"NlinkZero": "a rename never replaces a volume", "RenameOverwriteDestExist": "a rename never replaces a volume",
	"FcntlFlockLocksFile": "locks of one process do not exclude each other, as POSIX has it",
	"FileBasic":           "the mode of a volume is fixed", "ReadDirBasic": "a mount has .ctl as well",
}

// TestSuitePosix runs the file system tests of go-fuse, but those for what volumes are not.
func TestSuitePosix(t *testing.T) {
	t.Parallel()
	a := Start(t, "tokyo")
	for _, name := range slices.Sorted(maps.Keys(posixtest.All)) {
		t.Run(name, func(t *testing.T) {
			if why := notPosix[name]; why != "" {
				t.Skip(why)
			}
			posixtest.All[name](t, a.Mnt)
		})
		for _, volume := range list(t, a.Mnt) {
			if volume != ".ctl" {
				if err := os.Remove(filepath.Join(a.Mnt, volume)); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	for name := range notPosix {
		if posixtest.All[name] == nil {
			t.Errorf("the suite has no test %s any more", name)
		}
	}
}
