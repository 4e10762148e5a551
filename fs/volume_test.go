package fs

import (
	"bytes"
	"fmt"
	"math/rand"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

func TestVolumeLife(t *testing.T) {
	c := serve(t)
	if out, err := c.shell("truncate -s 10M db && echo hello | dd of=db conv=notrunc status=none && head -c 5 db"); err != nil || out != "hello" {
		t.Fatalf("%q, %v", out, err)
	}
	st, err := os.Stat(c.path("db"))
	if err != nil || st.Size() != 10<<20 || st.Mode() != 0o600 {
		t.Fatalf("%+v, %v", st, err)
	}
	if sys := st.Sys().(*syscall.Stat_t); sys.Blocks != 8 || sys.Ino < firstVolumeIno {
		t.Errorf("%d blocks, inode %d", sys.Blocks, sys.Ino)
	}
	if err := os.Rename(c.path("db"), c.path("db2")); err != nil {
		t.Fatal(err)
	}
	c.volume("other", 0)
	wantErrno(t, "rename onto a volume", os.Rename(c.path("other"), c.path("db2")), unix.EEXIST)
	wantErrno(t, "rename to a bad name", os.Rename(c.path("other"), c.path("a b")), unix.EINVAL)
	wantErrno(t, "exchange", unix.Renameat2(unix.AT_FDCWD, c.path("other"), unix.AT_FDCWD, c.path("db2"), unix.RENAME_EXCHANGE), unix.EINVAL)
	wantErrno(t, "rename into .ctl", os.Rename(c.path("other"), c.path(".ctl", "x")), unix.EPERM)
	if got := c.names("."); !cmp.Equal(got, []string{".ctl", "db2", "other"}) {
		t.Errorf("names: %q", got)
	}
	if out, err := c.shell("ls -a"); err != nil || out != ".\n..\n.ctl\ndb2\nother" {
		t.Errorf("ls -a: %q, %v", out, err)
	}
	held := c.open(c.path("db2"), os.O_RDONLY)
	if err := os.Remove(c.path("db2")); err != nil {
		t.Error(err)
	}
	if st, err := held.Stat(); err != nil || st.Sys().(*syscall.Stat_t).Nlink != 0 {
		t.Errorf("an open volume that was removed has %d names, %v", st.Sys().(*syscall.Stat_t).Nlink, err)
	}
	_, err = os.Stat(c.path("db2"))
	wantErrno(t, "stat of a removed volume", err, unix.ENOENT)
}

// names lists a directory of the mount.
func (c *child) names(dir string) []string {
	c.t.Helper()
	list, err := os.ReadDir(c.path(dir))
	if err != nil {
		c.t.Fatal(err)
	}
	var names []string
	for _, e := range list {
		names = append(names, e.Name())
	}
	return names
}

func TestNoOtherFiles(t *testing.T) {
	c := serve(t)
	v := c.volume("v", 1)
	wantErrno(t, "mkdir", os.Mkdir(c.path("d"), 0o755), unix.EPERM)
	wantErrno(t, "symlink", os.Symlink("v", c.path("s")), unix.EPERM)
	wantErrno(t, "link", os.Link(v, c.path("l")), unix.EPERM)
	wantErrno(t, "mkfifo", unix.Mkfifo(c.path("p"), 0o600), unix.EPERM)
	wantErrno(t, "rmdir .ctl", unix.Rmdir(c.path(".ctl")), unix.EBUSY)
	wantErrno(t, "unlink .ctl", unix.Unlink(c.path(".ctl")), unix.EISDIR)
	wantErrno(t, "rename .ctl", os.Rename(c.path(".ctl"), c.path("x")), unix.EBUSY)
	wantErrno(t, "bad name", os.WriteFile(c.path(".hidden"), nil, 0o600), unix.EINVAL)
	wantErrno(t, "long name", os.WriteFile(c.path(string(bytes.Repeat([]byte{'a'}, 101))), nil, 0o600), unix.EINVAL)
	_, err := unix.Open(c.dir, unix.O_TMPFILE|unix.O_RDWR, 0o600)
	wantErrno(t, "O_TMPFILE", err, unix.EOPNOTSUPP)
	wantErrno(t, "setxattr", unix.Setxattr(v, "user.x", []byte("y"), 0), unix.EOPNOTSUPP)
	_, err = unix.Getxattr(v, "user.x", nil)
	wantErrno(t, "getxattr", err, unix.EOPNOTSUPP)
	wantErrno(t, "chown", os.Chown(v, 12, 0), unix.EPERM)
	wantErrno(t, "chmod of the owner", os.Chmod(v, 0o400), unix.EPERM)
	if err := os.Chmod(v, 0o644); err != nil {
		t.Errorf("chmod that leaves the owner alone: %v", err)
	}
	if err := os.Chtimes(v, time.Unix(1, 0), time.Unix(1, 0)); err != nil {
		t.Errorf("utimes: %v", err)
	}
}

func TestMountShows(t *testing.T) {
	c := serve(t)
	if typ, err := mountedAt(c.dir); typ != "fuse.pairfs" || err != nil {
		t.Errorf("type %q, %v", typ, err)
	}
	var st unix.Statfs_t
	if err := unix.Statfs(c.dir, &st); err != nil || st.Blocks != 1000 || st.Bavail != 500 || st.Namelen != maxName {
		t.Errorf("statfs: %+v, %v", st, err)
	}
}

// aligned returns a page-aligned buffer, as direct I/O of one request needs.
func aligned(t *testing.T, n int) []byte {
	t.Helper()
	p, err := unix.Mmap(-1, 0, n, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Munmap(p) })
	return p
}

func TestOneWriteIsOneRequest(t *testing.T) {
	c := serve(t)
	f := c.open(c.volume("v", 4<<20), os.O_RDWR)
	p := aligned(t, maxRequest)
	rand.New(rand.NewSource(1)).Read(p)
	if _, err := f.WriteAt(p, maxRequest); err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte("abc"), 5); err != nil {
		t.Fatal(err)
	}
	r := c.do(order{Op: "look", Volume: "v"})
	if diff := cmp.Diff([]fakeWrite{{maxRequest, maxRequest, false}, {5, 3, false}}, r.Writes); diff != "" {
		t.Error(diff)
	}
	got := make([]byte, maxRequest)
	if _, err := f.ReadAt(got, maxRequest); err != nil || !bytes.Equal(got, p) {
		t.Errorf("read back differs (%v)", err)
	}
}

func TestDurabilityFlagsReachTheSite(t *testing.T) {
	c := serve(t)
	path := c.volume("v", 1<<20)
	for _, k := range []struct {
		name  string
		flags int
		rwf   int
		sync  bool
	}{
		{"plain", 0, 0, false},
		{"O_DSYNC", unix.O_DSYNC, 0, true},
		{"O_SYNC", unix.O_SYNC, 0, true},
		{"O_DIRECT", unix.O_DIRECT, 0, false},
		{"O_DIRECT and O_DSYNC", unix.O_DIRECT | unix.O_DSYNC, 0, true},
		{"RWF_DSYNC", 0, unix.RWF_DSYNC, true},
		{"RWF_SYNC", 0, unix.RWF_SYNC, true},
	} {
		f := c.open(path, os.O_RDWR|k.flags)
		if _, err := unix.Pwritev2(int(f.Fd()), [][]byte{aligned(t, 4096)}, 8192, k.rwf); err != nil {
			t.Fatal(k.name, err)
		}
		r := c.do(order{Op: "look", Volume: "v"})
		if diff := cmp.Diff([]fakeWrite{{8192, 4096, k.sync}}, r.Writes); diff != "" || r.Syncs != 0 {
			t.Errorf("%s: %d syncs, %s", k.name, r.Syncs, diff)
		}
	}
	f := c.open(path, os.O_RDWR)
	for _, sync := range []func(int) error{unix.Fsync, unix.Fdatasync} {
		if err := sync(int(f.Fd())); err != nil {
			t.Error(err)
		}
	}
	if r := c.do(order{Op: "look", Volume: "v"}); r.Syncs != 2 {
		t.Errorf("%d syncs", r.Syncs)
	}
}

func TestNotWritable(t *testing.T) {
	c := serve(t)
	path := c.volume("v", 8192)
	f := c.open(path, os.O_RDWR)
	c.do(order{Op: "readonly", Volume: "v", On: true})
	_, err := f.WriteAt([]byte("x"), 0)
	wantErrno(t, "write on a handle that was opened before", err, unix.EROFS)
	_, err = os.OpenFile(path, os.O_RDWR, 0)
	wantErrno(t, "open for writing", err, unix.EROFS)
	_, err = os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
	wantErrno(t, "open for appending", err, unix.EROFS)
	r := c.open(path, os.O_RDONLY)
	if _, err := r.ReadAt(make([]byte, 10), 0); err != nil {
		t.Error(err)
	}
	until(t, "mode 0400", func() bool { // names and attributes are cached for a moment
		st, err := os.Stat(path)
		return err == nil && st.Mode() == 0o400
	})
}

func TestPairedVolume(t *testing.T) {
	c := serve(t)
	path := c.volume("v", 8192)
	c.do(order{Op: "paired", Volume: "v", On: true})
	wantErrno(t, "remove", os.Remove(path), unix.EBUSY)
	wantErrno(t, "rename", os.Rename(path, c.path("w")), unix.EBUSY)
	wantErrno(t, "truncate", os.Truncate(path, 4096), unix.EBUSY)
	if err := os.Truncate(path, 8192); err != nil {
		t.Errorf("truncate to the size it has: %v", err)
	}
	_, err := os.OpenFile(path, os.O_RDWR|os.O_TRUNC, 0)
	wantErrno(t, "O_TRUNC", err, unix.EBUSY)
	f := c.open(path, os.O_RDWR|os.O_APPEND)
	_, err = f.Write([]byte("x"))
	wantErrno(t, "append", err, unix.ENOSPC)
	c.do(order{Op: "paired", Volume: "v"})
	if out, err := c.shell("echo new > v && cat v"); out != "new" || err != nil {
		t.Errorf("%q, %v", out, err)
	}
}

func TestFallocateAndSeek(t *testing.T) {
	c := serve(t)
	f := c.open(c.volume("v", 4*fakeBlock), os.O_RDWR)
	fd := int(f.Fd())
	if _, err := f.Write(bytes.Repeat([]byte{1}, 4*fakeBlock)); err != nil {
		t.Fatal(err)
	}
	for _, k := range []struct {
		mode   uint32
		off, n int64
		want   error
	}{
		{unix.FALLOC_FL_PUNCH_HOLE | unix.FALLOC_FL_KEEP_SIZE, fakeBlock, fakeBlock, nil},
		{unix.FALLOC_FL_ZERO_RANGE, 3 * fakeBlock, 2 * fakeBlock, nil},
		{unix.FALLOC_FL_ZERO_RANGE | unix.FALLOC_FL_KEEP_SIZE, 5 * fakeBlock, fakeBlock, nil},
		{unix.FALLOC_FL_KEEP_SIZE, 0, 7 * fakeBlock, nil},
		{0, 0, 6 * fakeBlock, nil},
		{unix.FALLOC_FL_COLLAPSE_RANGE, 0, fakeBlock, unix.EOPNOTSUPP},
		{unix.FALLOC_FL_INSERT_RANGE, 0, fakeBlock, unix.EOPNOTSUPP},
	} {
		if err := unix.Fallocate(fd, k.mode, k.off, k.n); err != k.want {
			t.Errorf("mode %#x: %v, want %v", k.mode, err, k.want)
		}
	}
	want := make([]byte, 6*fakeBlock)
	copy(want, bytes.Repeat([]byte{1}, 3*fakeBlock))
	clear(want[fakeBlock : 2*fakeBlock])
	if got := c.do(order{Op: "look", Volume: "v"}).Data; !bytes.Equal(got, want) {
		t.Error("content differs")
	}
	if st, _ := f.Stat(); st.Size() != 6*fakeBlock {
		t.Errorf("size %d", st.Size())
	}
	if err := unix.Fallocate(fd, unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, fakeBlock, fakeBlock); err != nil {
		t.Fatal(err)
	}
	for _, k := range []struct {
		off    int64
		whence int
		want   int64
		err    error
	}{
		{0, unix.SEEK_HOLE, fakeBlock, nil},
		{fakeBlock + 1, unix.SEEK_DATA, 2 * fakeBlock, nil},
		{2 * fakeBlock, unix.SEEK_HOLE, 6 * fakeBlock, nil},
		{6 * fakeBlock, unix.SEEK_DATA, -1, unix.ENXIO},
		{0, unix.SEEK_END, 6 * fakeBlock, nil},
	} {
		if got, err := unix.Seek(fd, k.off, k.whence); err != k.err || err == nil && got != k.want {
			t.Errorf("seek %d from %d: %d, %v", k.whence, k.off, got, err)
		}
	}
}

func TestMappedVolumeSeesRestoredBytes(t *testing.T) {
	c := serve(t)
	f := c.open(c.volume("v", 1<<20), os.O_RDWR)
	m, err := unix.Mmap(int(f.Fd()), 0, 1<<20, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Munmap(m)
	copy(m[5000:], "mapped")
	if err := unix.Msync(m, unix.MS_SYNC); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 6)
	if _, err := f.ReadAt(got, 5000); err != nil || string(got) != "mapped" {
		t.Errorf("%q, %v", got, err)
	}
	for i := range 50 {
		text := fmt.Sprintf("restored %d", i)
		c.do(order{Op: "restore", Volume: "v", Off: int64(i * 20000), Data: []byte(text)})
		until(t, text, func() bool { return string(m[i*20000:][:len(text)]) == text })
	}
}

func TestManyWritersOneVolume(t *testing.T) {
	const writers, blocks = 16, 32
	c := serve(t)
	path := c.volume("v", writers*blocks*4096)
	want := make([]byte, writers*blocks*4096)
	rand.New(rand.NewSource(7)).Read(want)
	var group sync.WaitGroup
	for w := range writers {
		f := c.open(path, os.O_RDWR)
		group.Go(func() {
			for b := range blocks {
				off := int64((b*writers + w) * 4096)
				if _, err := f.WriteAt(want[off:off+4096], off); err != nil {
					t.Error(err)
				}
				got := make([]byte, 4096)
				if _, err := f.ReadAt(got, off); err != nil || !bytes.Equal(got, want[off:off+4096]) {
					t.Errorf("block at %d differs (%v)", off, err)
				}
			}
		})
	}
	group.Wait()
	if r := c.do(order{Op: "look", Volume: "v"}); !bytes.Equal(r.Data, want) || r.Handles != [2]int{0, writers} {
		t.Errorf("content differs or handles %v", r.Handles)
	}
}

func TestCopyBetweenVolumes(t *testing.T) {
	c := serve(t)
	c.volume("a", 3<<20)
	if out, err := c.shell("printf abc | dd of=a conv=notrunc bs=1 seek=1000000 status=none && cp --sparse=never a b && cmp a b && cp -p a c && cmp a c && mv c d"); err != nil {
		t.Errorf("%s: %v", out, err)
	}
	from, to := c.open(c.path("a"), os.O_RDONLY), c.open(c.path("d"), os.O_RDWR)
	if n, err := unix.CopyFileRange(int(from.Fd()), nil, int(to.Fd()), nil, 1000, 0); n != 1000 || err != nil {
		t.Errorf("copy_file_range: %d, %v", n, err)
	}
}
