package e2e

import (
	"bytes"
	"fmt"
	"io"
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

// TestVolumeAgainstModel does random operations on an unpaired volume and on a P-VOL and compares with bytes in memory after each.
func TestVolumeAgainstModel(t *testing.T) {
	t.Parallel()
	s := Two(t)
	const size = 8 * mib
	for _, name := range []string{"smpl", "pvol"} {
		s.A.MakeVolume(name, size)
	}
	s.CreatePair("pair0", "pvol", "")
	s.WaitBoth("pair0", "PAIR")
	for i, name := range []string{"smpl", "pvol"} {
		t.Run(name, func(t *testing.T) {
			m := newFileModel(t, s.A.Path(name), size, rand.New(rand.NewPCG(s.Seed, uint64(i))))
			for range scale(600, 20) {
				m.step(name == "smpl")
			}
			m.compare(0, int64(len(m.want)))
			m.close()
		})
	}
	s.A.AwaitDrained("pair0")
	s.SameVolumes("pvol")
}

// fileModel is a volume and what it has to hold.
type fileModel struct {
	t              *testing.T
	rng            *rand.Rand
	want           []byte
	file, sync, dx *os.File
	last           string
}

func newFileModel(t *testing.T, path string, size int64, rng *rand.Rand) *fileModel {
	m := &fileModel{t: t, rng: rng, want: make([]byte, size)}
	for f, flags := range map[**os.File]int{&m.file: 0, &m.sync: unix.O_SYNC, &m.dx: unix.O_DIRECT} {
		var err error
		if *f, err = os.OpenFile(path, os.O_RDWR|flags, 0); err != nil {
			t.Fatal(err)
		}
	}
	return m
}

func (m *fileModel) close() {
	for _, f := range []*os.File{m.file, m.sync, m.dx} {
		if err := f.Close(); err != nil {
			m.t.Error(err)
		}
	}
}

// step does one operation; resize allows those that change the size.
func (m *fileModel) step(resize bool) {
	m.t.Helper()
	size := int64(len(m.want))
	off := m.rng.Int64N(size)
	n := min(1+m.rng.Int64N(200000), size-off)
	if m.rng.IntN(3) == 0 {
		off, n = off&^4095, (n+4095)&^4095
		n = min(n, size-off)
	}
	var err error
	kinds := 8
	if resize {
		kinds = 10
	}
	switch m.rng.IntN(kinds) {
	case 0, 1:
		err = m.write(m.file, "write", off, n)
	case 2:
		err = m.write(m.sync, "write O_SYNC", off, n)
	case 3:
		off, n = off&^4095, n&^4095
		err = m.write(m.dx, "write O_DIRECT", off, n)
	case 4:
		m.last = fmt.Sprintf("punch %d at %d", n, off)
		err = fallocate(m.file, unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, off, n)
		clear(m.want[off : off+n])
	case 5:
		m.last = fmt.Sprintf("zero range %d at %d", n, off)
		err = fallocate(m.file, unix.FALLOC_FL_ZERO_RANGE|unix.FALLOC_FL_KEEP_SIZE, off, n)
		clear(m.want[off : off+n])
	case 6:
		m.last = fmt.Sprintf("allocate %d at %d", n, off)
		err = fallocate(m.file, unix.FALLOC_FL_KEEP_SIZE, off, n)
	case 7:
		m.last = "mmap"
		err = m.mmapWrite(off&^4095, min(n, 65536))
	case 8:
		to := mib + m.rng.Int64N(8*mib)
		m.last = fmt.Sprintf("truncate to %d", to)
		err = m.file.Truncate(to)
		m.resize(to)
	case 9:
		off = size
		n = min(n, 9*mib-min(size, 9*mib))
		m.resize(size + n)
		err = m.write(m.file, "append", off, n)
	}
	if err != nil {
		m.t.Fatalf("%s: %v", m.last, err)
	}
	if m.rng.IntN(10) == 0 {
		if err := m.file.Sync(); err != nil {
			m.t.Fatal(err)
		}
	}
	m.compare(max(0, off-5000), min(int64(len(m.want)), off+n+5000))
	m.holes()
}

func (m *fileModel) resize(to int64) {
	if to <= int64(len(m.want)) {
		m.want = m.want[:to:to]
		return
	}
	m.want = append(m.want, make([]byte, to-int64(len(m.want)))...)
}

func (m *fileModel) write(f *os.File, what string, off, n int64) error {
	m.last = fmt.Sprintf("%s %d at %d", what, n, off)
	p := AlignedBuffer(int(n))
	for i := range p {
		p[i] = byte(m.rng.Uint32())
	}
	copy(m.want[off:], p)
	_, err := f.WriteAt(p, off)
	return err
}

// mmapWrite changes bytes through a shared mapping.
func (m *fileModel) mmapWrite(off, n int64) error {
	if n == 0 {
		return nil
	}
	b, err := unix.Mmap(int(m.file.Fd()), off, int(n), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return err
	}
	if !bytes.Equal(b, m.want[off:off+n]) {
		m.t.Errorf("a new mapping of %d bytes at %d does not show the volume", n, off)
	}
	for i := 0; i < len(b); i += 1 + m.rng.IntN(1000) {
		b[i] = byte(m.rng.Uint32())
		m.want[off+int64(i)] = b[i]
	}
	if err := unix.Msync(b, unix.MS_SYNC); err != nil {
		return fmt.Errorf("msync: %w", err)
	}
	return unix.Munmap(b)
}

func (m *fileModel) compare(from, to int64) {
	m.t.Helper()
	if from >= to {
		return
	}
	got := make([]byte, to-from)
	if n, err := m.file.ReadAt(got, from); err != nil && err != io.EOF || n != len(got) {
		m.t.Fatalf("after %s: read %d of %d bytes at %d: %v", m.last, n, len(got), from, err)
	}
	if i := firstDifference(got, m.want[from:to]); i >= 0 {
		m.t.Fatalf("after %s: byte %d is %#x, want %#x", m.last, from+int64(i), got[i], m.want[from+int64(i)])
	}
	if st, err := m.file.Stat(); err != nil || st.Size() != int64(len(m.want)) {
		m.t.Fatalf("after %s: size %d, want %d (%v)", m.last, st.Size(), len(m.want), err)
	}
}

func firstDifference(a, b []byte) int {
	for i := range a {
		if a[i] != b[i] {
			return i
		}
	}
	return -1
}

// holes proves that what SEEK_DATA and SEEK_HOLE call a hole reads as zeroes, and that both make progress.
func (m *fileModel) holes() {
	m.t.Helper()
	size := int64(len(m.want))
	for at := int64(0); at < size; {
		data, err := unix.Seek(int(m.file.Fd()), at, unix.SEEK_DATA)
		if err == unix.ENXIO {
			data = size
		} else if err != nil {
			m.t.Fatalf("SEEK_DATA from %d: %v", at, err)
		}
		if data < at || data > size {
			m.t.Fatalf("SEEK_DATA from %d of %d gave %d", at, size, data)
		}
		if i := firstDifference(m.want[at:data], make([]byte, data-at)); i >= 0 {
			m.t.Fatalf("after %s: the hole from %d to %d has data at %d", m.last, at, data, at+int64(i))
		}
		if data == size {
			return
		}
		hole, err := unix.Seek(int(m.file.Fd()), data, unix.SEEK_HOLE)
		if err != nil || hole <= data || hole > size {
			m.t.Fatalf("SEEK_HOLE from %d of %d gave %d, %v", data, size, hole, err)
		}
		at = hole
	}
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
