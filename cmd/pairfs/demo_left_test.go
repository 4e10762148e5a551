package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestDemoNamesWhatIsLeft names the folder of the rings as well as the working directory, and only what is there.
func TestDemoNamesWhatIsLeft(t *testing.T) {
	d := &demo{dir: t.TempDir(), rings: t.TempDir()}
	if err := d.left(); err == nil || !strings.Contains(err.Error(), d.dir+" and "+d.rings+":") {
		t.Errorf("it says %v", err)
	}
	rings := d.rings
	d.dir = filepath.Join(d.dir, "gone")
	if err := d.remove(); err == nil {
		t.Error("a working directory that is gone was emptied")
	}
	if _, err := os.Lstat(rings); !os.IsNotExist(err) {
		t.Errorf("the rings were forgotten: %v", err)
	}
	if err := d.left(); err != nil {
		t.Errorf("nothing is there, and it says %v", err)
	}
}
