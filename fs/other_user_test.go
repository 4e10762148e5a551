package fs

import (
	iofs "io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestOtherUsersAreKeptOut: the mount is open to all users for the kernel, so that root's services may be given volumes; its modes keep everybody else out
// of volumes and control files.
func TestOtherUsersAreKeptOut(t *testing.T) {
	c := serve(t)
	c.volume("v", 4096)
	checked := 0
	err := filepath.WalkDir(c.dir, func(path string, e iofs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		fi, err := e.Info()
		if err != nil {
			return err
		}
		checked++
		want := os.FileMode(0o600)
		switch {
		case path == c.dir:
			want = 0o755 // everybody may see the names of volumes
		case e.IsDir():
			want = 0o700
		}
		if st := fi.Sys().(*syscall.Stat_t); fi.Mode().Perm() != want || int(st.Uid) != os.Geteuid() {
			t.Errorf("%s has mode %04o and belongs to user %d", path, fi.Mode().Perm(), st.Uid)
		}
		return nil
	})
	if err != nil || checked < 10 {
		t.Errorf("%d names were looked at: %v", checked, err)
	}
	for dir := filepath.Dir(c.dir); dir != "/"; dir = filepath.Dir(dir) { // so that nothing but the mount keeps others out
		if err := os.Chmod(dir, 0o755|os.ModeSticky); err != nil && strings.HasPrefix(dir, os.TempDir()+"/") {
			t.Fatal(err)
		}
		if filepath.Dir(dir) == os.TempDir() {
			break
		}
	}
	as := func(script string) (string, error) {
		cmd := exec.Command("/bin/sh", "-c", script)
		cmd.Dir = "/"
		cmd.Env = []string{"PATH=/usr/bin:/bin", "LC_ALL=C", "M=" + c.dir}
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	if out, err := as(`stat -c %F "$M"`); err != nil || out != "directory\n" {
		t.Fatalf("another user does not even see the mount: %q, %v", out, err)
	}
	for _, script := range []string{
		`cat "$M/v"`, `echo x >"$M/v"`, `touch "$M/w"`, `ls "$M/.ctl"`, `cat "$M/.ctl/site"`, `echo stop >"$M/.ctl/site"`, `echo "create volume=v peer=osaka" >"$M/.ctl/p"`, `cat "$M/.ctl/events"`,
		`cat "$M/.ctl/volumes/v"`, `chmod 666 "$M/.ctl/site"`, `rm "$M/v"`,
	} {
		if out, err := as(script); err == nil || !strings.Contains(out, "ermission denied") && !strings.Contains(out, "not permitted") {
			t.Errorf("%s: %q, %v", script, out, err)
		}
	}
	if c.do(order{Op: "calls"}).Stopped {
		t.Error("another user stopped the site")
	}
}
