package replica

import (
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	bolt "go.etcd.io/bbolt"
	"golang.org/x/sys/unix"
)

// fullDirEnv tells this test binary that it runs in a mount namespace of its own, and names a folder in which it may mount.
const fullDirEnv = "PAIRFS_TEST_FULL_DIR"

// onSmallDisk runs test in a process with mounts of its own, in a folder on a file system of so many bytes, and skips it where that cannot be made.
func onSmallDisk(t *testing.T, size string, test func(dir string)) {
	t.Helper()
	if dir := os.Getenv(fullDirEnv); dir != "" {
		must(t, unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""))
		must(t, unix.Mount("tmpfs", dir, "tmpfs", 0, "mode=700,size="+size))
		test(dir)
		return
	}
	if os.Geteuid() != 0 {
		t.Skip("mounts can be made by root alone")
	}
	cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), fullDirEnv+"="+t.TempDir())
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	out, err := cmd.CombinedOutput()
	if errors.Is(err, unix.EPERM) {
		t.Skipf("a mount namespace cannot be made here: %v", err)
	}
	if err != nil || !strings.Contains(string(out), "--- PASS: "+t.Name()) {
		t.Errorf("%v\n%s", err, out)
	}
}

// fill takes the last block of the file system that holds dir, and returns what gives all of them back.
func fill(t *testing.T, dir string) (empty func()) {
	t.Helper()
	f, err := os.Create(filepath.Join(dir, "fill"))
	must(t, err)
	for piece := make([]byte, 1<<20); len(piece) > 0; {
		n, err := f.Write(piece)
		if err == nil {
			continue
		}
		if !errors.Is(err, unix.ENOSPC) {
			t.Fatal(err)
		}
		piece = piece[:len(piece)/2]
		if n > 0 && len(piece) == 0 {
			piece = make([]byte, 1)
		}
	}
	must(t, f.Close())
	return func() { t.Helper(); must(t, os.Remove(filepath.Join(dir, "fill"))) }
}

// TestNewSiteOnFullDisk: a site that cannot be made says what to do, and leaves nothing that stands in the way of the next attempt.
func TestNewSiteOnFullDisk(t *testing.T) {
	onSmallDisk(t, "16M", func(dir string) {
		n := newNode(t, "tokyo", []duoOption{func(_ string, c *Config) { c.StateDir = filepath.Join(dir, "state") }})
		refusals := 0
		for left := int64(0); left <= 48<<10; left += 4 << 10 { // room for nothing, for a part of the database, for all of it and no key
			empty := fill(t, dir)
			fi, err := os.Stat(filepath.Join(dir, "fill"))
			must(t, err)
			must(t, os.Truncate(filepath.Join(dir, "fill"), fi.Size()-left))
			if err := n.tryOpen(); err != nil {
				refusals++
				refused(t, err, KindNoSpace)
				says(t, err, "a new site tokyo cannot be made", "is full", "free 4.0 MiB there", "start again")
				_, db := os.Lstat(filepath.Join(n.cfg.StateDir, "site.db"))
				if _, key := os.Lstat(filepath.Join(n.cfg.StateDir, "key.pem")); db == nil && key != nil {
					t.Errorf("with %d bytes left: a database without a key stays", left)
				}
				empty()
				n.open()
			} else {
				empty()
			}
			n.close()
			must(t, os.RemoveAll(n.cfg.StateDir))
		}
		if refusals < 5 {
			t.Errorf("%d starts were refused", refusals)
		}
	})
}

// TestStateDirectoryFull: the marks of a pair are stored although the file system of the state directory has no block left, a killed site starts
// on it and has them; one of before this room was kept starts as well and says that it has none.
func TestStateDirectoryFull(t *testing.T) {
	onSmallDisk(t, "64M", func(dir string) {
		d := newDuo(t, func(name string, c *Config) {
			if name == "tokyo" {
				c.StateDir = filepath.Join(dir, "state")
			}
		})
		ctx := context.Background()
		for _, n := range []*node{d.a, d.b} {
			v, err := n.site.CreateVolume("big")
			must(t, err)
			must(t, v.Resize(ctx, 1<<40))
		}
		must(t, d.b.site.ReserveVolume(ctx, "big", "tokyo"))
		d.a.group("g")
		must(t, d.a.site.CreatePair(ctx, PairSpec{Name: "big", Volume: "big", Peer: "osaka", Group: "g", CopyNone: true})) // its bitmap never had a page
		d.a.awaitBoth(PAIR, "big")
		d.a.suspend("g", SuspendOptions{}, "big")
		empty := fill(t, dir)
		const marks = 400 // each in a page of the bitmap of its own
		for i := range int64(marks) {
			must(t, d.a.vol("big").Discard(ctx, i<<31, regionSize))
		}
		d.a.restoreAll("g")
		check := func(when string) {
			t.Helper()
			if st := d.a.status("big"); st.Status != PSUS || st.Different < marks*regionSize || !st.LagKnown || d.a.groupStatus("g").Failed != "" {
				t.Errorf("%s: %+v, %s", when, st, d.a.groupStatus("g").Failed)
			}
		}
		check("full")
		d.a.crash(nil)
		d.a.open()
		check("killed")
		d.a.close()

		empty()
		db := filepath.Join(d.a.cfg.StateDir, "site.db")
		withoutRoom(t, db)
		empty = fill(t, dir)
		d.a.open()
		if d.a.tells("site", "there is no room for site.db to grow") != 1 {
			t.Errorf("that there is no room is not told: %v", d.a.site.Events())
		}
		if st := d.a.status("big"); st.Status != PSUS || st.Different < marks*regionSize {
			t.Errorf("without room: %+v", st)
		}
		empty()
		d.wait("the group is served again", func() bool { return d.a.groupStatus("g").Failed == "" })
		d.a.close()
		fi, err := os.Stat(db)
		must(t, err)
		d.a.open()
		if now, err := os.Stat(db); err != nil || now.Size() < fi.Size() {
			t.Errorf("site.db has %d bytes, and had %d: %v", now.Size(), fi.Size(), err)
		}
		must(t, d.a.site.ResyncGroup(ctx, "g"))
		d.a.awaitBoth(PAIR, "big")
	})
}

// withoutRoom makes the file of a closed database anew with what it holds and nothing behind it.
func withoutRoom(t *testing.T, path string) {
	t.Helper()
	from, err := bolt.Open(path, 0o600, &bolt.Options{ReadOnly: true})
	must(t, err)
	small, err := os.OpenFile(path+".small", os.O_CREATE|os.O_WRONLY, 0o600)
	must(t, err)
	must(t, from.View(func(tx *bolt.Tx) error {
		in, err := os.Open(path)
		must(t, err)
		_, err = io.CopyN(small, in, tx.Size())
		return errors.Join(err, in.Close())
	}))
	must(t, errors.Join(from.Close(), small.Close(), os.Rename(path+".small", path)))
}

// TestJournalsOnTheirOwnDisk: whether there is room for a journal is a matter of the disk that the journals are on, not of that of the stores.
func TestJournalsOnTheirOwnDisk(t *testing.T) {
	onSmallDisk(t, "8M", func(dir string) {
		for _, small := range []string{"volumes", "journals"} {
			n := newNode(t, "tokyo", nil)
			path := filepath.Join(n.cfg.StateDir, small)
			must(t, os.Mkdir(path, 0o700))
			must(t, unix.Mount(dir, path, "", unix.MS_BIND, ""))
			n.open()
			err := n.site.CreateGroup(t.Context(), GroupSpec{Name: "g", Size: journalMin})
			if small == "volumes" {
				must(t, err)
			} else {
				refused(t, err, KindNoSpace)
				says(t, err, "needs 16 MiB", "the file system of "+path+" has 8.0 MiB free")
			}
			n.close()
			must(t, unix.Unmount(path, 0))
		}
	})
}
