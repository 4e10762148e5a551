package e2e

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime/debug"
	"testing"

	"golang.org/x/sys/unix"
)

// TestVolumeFileOperations does with volumes what a shell does with files.
func TestVolumeFileOperations(t *testing.T) {
	t.Parallel()
	a := Start(t, "tokyo")
	src := filepath.Join(t.TempDir(), "src")
	image := make([]byte, 3*mib+12345)
	rand.NewChaCha8([32]byte{1}).Read(image)
	if err := os.WriteFile(src, image, 0o600); err != nil {
		t.Fatal(err)
	}
	Run(t, "cp", src, a.Path("disk.img"))
	Run(t, "cmp", src, a.Path("disk.img"))
	Run(t, "cp", a.Path("disk.img"), a.Path("second"))
	Run(t, "cmp", src, a.Path("second"))
	Run(t, "mv", a.Path("second"), a.Path("third"))
	Run(t, "cmp", src, a.Path("third"))
	Run(t, "truncate", "-s", "10M", a.Path("third"))
	if st, err := os.Stat(a.Path("third")); err != nil || st.Size() != 10*mib {
		t.Errorf("after truncate -s 10M: %v %v", st, err)
	}
	Run(t, "truncate", "-s", "1M", a.Path("third"))
	if b, err := os.ReadFile(a.Path("third")); err != nil || !bytes.Equal(b, image[:mib]) {
		t.Errorf("after shrinking: %d bytes, %v", len(b), err)
	}
	Run(t, "truncate", "-s", "2M", a.Path("third"))
	if b, err := os.ReadFile(a.Path("third")); err != nil || !bytes.Equal(b[mib:], make([]byte, mib)) {
		t.Errorf("what was cut off came back: %v", err)
	}
	Run(t, "dd", "if="+src, "of="+a.Path("fourth"), "bs=64k", "conv=fsync", "status=none")
	Run(t, "cmp", src, a.Path("fourth"))
	Run(t, "df", a.Mnt)
	if err := os.Remove(a.Path("fourth")); err != nil {
		t.Error(err)
	}
	a.Restart0(t)
	Run(t, "cmp", src, a.Path("disk.img"))
	if _, err := os.Stat(a.Path("fourth")); !os.IsNotExist(err) {
		t.Errorf("a removed volume is back: %v", err)
	}
}

// Restart0 stops the site cleanly and starts it again.
func (s *Site) Restart0(t *testing.T) {
	t.Helper()
	s.Stop()
	s.Restart()
}

// TestVolumeRefusals does what a mount of volumes does not have, or not in this state.
func TestVolumeRefusals(t *testing.T) {
	t.Parallel()
	s := Two(t)
	s.A.MakeVolume("db", 16*mib)
	s.A.MakeVolume("free", 16*mib)
	s.CreatePair("pair0", "db", "")
	s.WaitBoth("pair0", "PAIR")
	open := func(path string, flags int) error {
		f, err := os.OpenFile(path, flags, 0o600)
		if err == nil {
			f.Close()
		}
		return err
	}
	rows := []struct {
		name string
		err  error
		want []string
	}{
		{"mkdir", os.Mkdir(s.A.Path("dir"), 0o700), []string{"EPERM", "ENOTSUP", "ENOSYS"}},
		{"symlink", os.Symlink("db", s.A.Path("link")), []string{"EPERM", "ENOTSUP", "ENOSYS"}},
		{"hard link", os.Link(s.A.Path("free"), s.A.Path("link")), []string{"EPERM", "ENOTSUP", "ENOSYS"}},
		{"mknod", unix.Mknod(s.A.Path("fifo"), unix.S_IFIFO|0o600, 0), []string{"EPERM", "ENOTSUP", "ENOSYS"}},
		{"rm of a P-VOL", os.Remove(s.A.Path("db")), []string{"EBUSY"}},
		{"rm of an S-VOL", os.Remove(s.B.Path("db")), []string{"EBUSY"}},
		{"mv of a P-VOL", os.Rename(s.A.Path("db"), s.A.Path("db2")), []string{"EBUSY"}},
		{"mv onto a volume", os.Rename(s.A.Path("free"), s.A.Path("db")), []string{"EEXIST", "EBUSY"}},
		{"mv into .ctl", os.Rename(s.A.Path("free"), s.A.Path(".ctl/free")), []string{"EPERM", "ENOTSUP", "EINVAL", "EXDEV", "ENOSYS"}},
		{"truncate of a P-VOL", os.Truncate(s.A.Path("db"), mib), []string{"EBUSY"}},
		{"truncate of an S-VOL", os.Truncate(s.B.Path("db"), mib), []string{"EBUSY", "EROFS"}},
		{"O_TRUNC of a P-VOL", open(s.A.Path("db"), os.O_RDWR|os.O_TRUNC), []string{"EBUSY"}},
		{"open of an S-VOL for writing", open(s.B.Path("db"), os.O_RDWR), []string{"EROFS"}},
		{"a name with a blank", open(s.A.Path("a b"), os.O_CREATE|os.O_RDWR), []string{"EINVAL"}},
		{"a name with a dot first", open(s.A.Path(".hidden"), os.O_CREATE|os.O_RDWR), []string{"EINVAL"}},
		{"a name of 101 bytes", open(s.A.Path(string(bytes.Repeat([]byte{'x'}, 101))), os.O_CREATE|os.O_RDWR), []string{"EINVAL", "ENAMETOOLONG"}},
		{"write past the end of a P-VOL", pwrite(s.A.Path("db"), 16*mib-1, 2), []string{"ENOSPC"}},
	}
	for _, row := range rows {
		ok := false
		for _, want := range row.want {
			ok = ok || isErrno(row.err, want)
		}
		if !ok {
			t.Errorf("%s: %v, want %v", row.name, row.err, row.want)
		}
	}
	if st, err := os.Stat(s.B.Path("db")); err != nil || st.Mode().Perm() != 0o400 {
		t.Errorf("mode of an S-VOL: %v %v", st.Mode(), err)
	}
	if got := len(list(t, s.A.Mnt)); got != 3 {
		t.Errorf("the mount has %v, want .ctl and two volumes", list(t, s.A.Mnt))
	}
}

func pwrite(path string, off int64, n int) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	done, err := f.WriteAt(make([]byte, n), off)
	if err == nil {
		return fmt.Errorf("%d bytes were written", done)
	}
	return err
}

func list(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// TestSecondaryMmapIsNeverStale keeps a mapping of an S-VOL while it is restored: it shows what a read shows.
func TestSecondaryMmapIsNeverStale(t *testing.T) {
	t.Parallel()
	debug.SetPanicOnFault(true)
	s := Two(t)
	const size = 4 * mib
	s.A.MakeVolume("db", size)
	s.CreatePair("pair0", "db", "")
	s.WaitBoth("pair0", "PAIR")
	f, err := os.Open(s.B.Path("db"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	view, err := unix.Mmap(int(f.Fd()), 0, size, unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		t.Fatalf("map an S-VOL: %v", err)
	}
	defer unix.Munmap(view)
	p, err := os.OpenFile(s.A.Path("db"), os.O_RDWR|unix.O_DIRECT, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	buf := AlignedBuffer(64 << 10)
	for round := byte(1); round <= 20; round++ {
		off := int64(round%4) * mib
		for i := range buf {
			buf[i] = round
		}
		if view[off] == round {
			t.Fatal("the mapping shows the future")
		}
		if _, err := p.WriteAt(buf, off); err != nil {
			t.Fatal(err)
		}
		s.A.AwaitDrained("pair0")
		Until(t, StatusLimit, fmt.Sprintf("the mapping shows round %d", round), func() bool {
			return bytes.Equal(view[off:off+int64(len(buf))], buf)
		})
	}
}
