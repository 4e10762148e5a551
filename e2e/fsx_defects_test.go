package e2e

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// fixedFile makes a file refuse what a paired volume refuses.
type fixedFile struct {
	fsxChannel
	size int64
}

func (f fixedFile) Write(how fsxKind, p []byte, off int64) (int64, error) {
	room := f.size - off
	if int64(len(p)) <= room {
		return f.fsxChannel.Write(how, p, off)
	}
	if room <= 0 {
		return 0, unix.ENOSPC
	}
	n, err := f.fsxChannel.Write(fsxWrite, p[:room], off)
	if err == nil {
		err = unix.ENOSPC
	}
	return n, err
}

func (f fixedFile) CopyFrom(from fsxChannel, fromOff, off, n int64) (int64, error) {
	size, err := from.Size()
	if err != nil {
		return 0, err
	}
	n = min(n, max(0, size-fromOff)) // the kernel looks at the source first
	if from.fd() == f.fd() && off < fromOff+n && fromOff < off+n {
		return 0, unix.EINVAL
	}
	room := max(0, f.size-off)
	done, err := f.fsxChannel.CopyFrom(from, fromOff, off, min(n, room))
	if err == nil && n > room {
		err = unix.ENOSPC
	}
	return done, err
}

func (f fixedFile) Truncate(size int64) error {
	if size != f.size {
		return unix.EBUSY
	}
	return nil
}

func (f fixedFile) Fallocate(mode uint32, off, n int64) error {
	if mode&unix.FALLOC_FL_KEEP_SIZE == 0 && off+n > f.size {
		return unix.EBUSY
	}
	return f.fsxChannel.Fallocate(mode, off, n)
}

// hastyFile leaves out the flushes of a disk that is not under test.
type hastyFile struct{ fsxChannel }

func (f hastyFile) Write(how fsxKind, p []byte, off int64) (int64, error) {
	if how == fsxWriteSync {
		how = fsxWrite
	}
	return f.fsxChannel.Write(how, p, off)
}

func (hastyFile) Sync(bool) error { return nil }

// spoiled is a channel some of whose calls go through hooks.
type spoiled struct {
	fsxChannel
	read      func(how fsxKind, p []byte, off int64) (int64, error)
	write     func(how fsxKind, p []byte, off int64) (int64, error)
	fallocate func(mode uint32, off, n int64) error
	truncate  func(size int64) error
	seek      func(off int64, whence int) (int64, error)
	copy      func(from fsxChannel, fromOff, off, n int64) (int64, error)
	sync      func() error
	size      func() (int64, error)
	close     func() error
}

func (s *spoiled) Read(how fsxKind, p []byte, off int64) (int64, error) {
	if s.read != nil {
		return s.read(how, p, off)
	}
	return s.fsxChannel.Read(how, p, off)
}

func (s *spoiled) Write(how fsxKind, p []byte, off int64) (int64, error) {
	if s.write != nil {
		return s.write(how, p, off)
	}
	return s.fsxChannel.Write(how, p, off)
}

func (s *spoiled) Fallocate(mode uint32, off, n int64) error {
	if s.fallocate != nil {
		return s.fallocate(mode, off, n)
	}
	return s.fsxChannel.Fallocate(mode, off, n)
}

func (s *spoiled) Truncate(size int64) error {
	if s.truncate != nil {
		return s.truncate(size)
	}
	return s.fsxChannel.Truncate(size)
}

func (s *spoiled) Seek(off int64, whence int) (int64, error) {
	if s.seek != nil {
		return s.seek(off, whence)
	}
	return s.fsxChannel.Seek(off, whence)
}

func (s *spoiled) CopyFrom(from fsxChannel, fromOff, off, n int64) (int64, error) {
	if s.copy != nil {
		return s.copy(from, fromOff, off, n)
	}
	return s.fsxChannel.CopyFrom(from, fromOff, off, n)
}

func (s *spoiled) Sync(data bool) error {
	if s.sync != nil {
		return s.sync()
	}
	return s.fsxChannel.Sync(data)
}

func (s *spoiled) Size() (int64, error) {
	if s.size != nil {
		return s.size()
	}
	return s.fsxChannel.Size()
}

func (s *spoiled) Close() error {
	if s.close != nil {
		if err := s.close(); err != nil {
			return err
		}
	}
	return s.fsxChannel.Close()
}

// remember makes writes of a kind keep what was there before the last one.
func (s *spoiled) remember(kind func(fsxKind) bool) *pastBytes {
	past, c := &pastBytes{}, s.fsxChannel
	s.write = func(how fsxKind, p []byte, off int64) (int64, error) {
		if kind(how) {
			past.off, past.was = off, make([]byte, len(p))
			n, _ := c.Read(fsxRead, past.was, off)
			past.was = past.was[:n]
		} else {
			past.was = nil
		}
		return c.Write(how, p, off)
	}
	return past
}

// pastBytes is what a range held before it was written.
type pastBytes struct {
	off int64
	was []byte
}

// show puts it where it belongs in what was read at off.
func (b *pastBytes) show(p []byte, off int64) {
	from, to := max(off, b.off), min(off+int64(len(p)), b.off+int64(len(b.was)))
	if from < to {
		copy(p[from-off:to-off], b.was[from-b.off:])
	}
}

func anyWay(fsxKind) bool     { return true }
func unmapped(k fsxKind) bool { return !k.mapped() }
func theView(k fsxKind) bool  { return k == fsxReadView }

// fsxDefects are what may be wrong with a file: how it spoils a channel. strike is true for every second call.
var fsxDefects = []struct {
	name  string
	spoil func(s *spoiled, strike func() bool)
}{
	{"a bit of a read is wrong", func(s *spoiled, strike func() bool) {
		c := s.fsxChannel
		s.read = func(how fsxKind, p []byte, off int64) (int64, error) {
			n, err := c.Read(how, p, off)
			if n > 0 && strike() {
				p[n/2] ^= 1
			}
			return n, err
		}
	}},
	{"a read is a byte short", func(s *spoiled, strike func() bool) {
		c := s.fsxChannel
		s.read = func(how fsxKind, p []byte, off int64) (int64, error) {
			n, err := c.Read(how, p, off)
			if n > 0 && strike() {
				n--
			}
			return n, err
		}
	}},
	{"a write is lost", func(s *spoiled, strike func() bool) {
		c := s.fsxChannel
		s.write = func(how fsxKind, p []byte, off int64) (int64, error) {
			if strike() {
				return int64(len(p)), nil
			}
			return c.Write(how, p, off)
		}
	}},
	{"the second half of a write is lost", func(s *spoiled, strike func() bool) {
		c := s.fsxChannel
		s.write = func(how fsxKind, p []byte, off int64) (int64, error) {
			if strike() {
				_, err := c.Write(fsxWrite, p[:len(p)/2], off)
				return int64(len(p)), err
			}
			return c.Write(how, p, off)
		}
	}},
	{"a write is at the wrong place", func(s *spoiled, strike func() bool) {
		c := s.fsxChannel
		s.write = func(how fsxKind, p []byte, off int64) (int64, error) {
			if off >= 512 && strike() {
				return c.Write(fsxWrite, p, off-512)
			}
			return c.Write(how, p, off)
		}
	}},
	{"what was written through a mapping is never written", func(s *spoiled, strike func() bool) {
		c := s.fsxChannel
		s.write = func(how fsxKind, p []byte, off int64) (int64, error) {
			if how.mapped() && strike() {
				return int64(len(p)), nil
			}
			return c.Write(how, p, off)
		}
	}},
	{"a mapped page is stale behind a write", func(s *spoiled, strike func() bool) { s.stale(unmapped, theView, strike) }},
	{"a read is stale behind a write through a mapping", func(s *spoiled, strike func() bool) { s.stale(fsxKind.mapped, unmapped, strike) }},
	{"the last write is lost when the file is closed", func(s *spoiled, strike func() bool) {
		c := s.fsxChannel
		past := s.remember(anyWay)
		s.close = func() error {
			if len(past.was) == 0 {
				return nil
			}
			_, err := c.Write(fsxWrite, past.was, past.off)
			return err
		}
	}},
	{"a hole is a byte too long", func(s *spoiled, strike func() bool) {
		c := s.fsxChannel
		s.fallocate = func(mode uint32, off, n int64) error {
			if mode&unix.FALLOC_FL_PUNCH_HOLE != 0 && strike() {
				n++
			}
			return c.Fallocate(mode, off, n)
		}
	}},
	{"a hole is not made", func(s *spoiled, strike func() bool) {
		c := s.fsxChannel
		s.fallocate = func(mode uint32, off, n int64) error {
			if mode&unix.FALLOC_FL_PUNCH_HOLE != 0 && strike() {
				return nil
			}
			return c.Fallocate(mode, off, n)
		}
	}},
	{"a zeroed range does not grow the file", func(s *spoiled, strike func() bool) {
		c := s.fsxChannel
		s.fallocate = func(mode uint32, off, n int64) error {
			if mode == unix.FALLOC_FL_ZERO_RANGE {
				mode |= unix.FALLOC_FL_KEEP_SIZE
			}
			return c.Fallocate(mode, off, n)
		}
	}},
	{"a reservation clears the range", func(s *spoiled, strike func() bool) {
		c := s.fsxChannel
		s.fallocate = func(mode uint32, off, n int64) error {
			if mode == 0 && strike() {
				mode = unix.FALLOC_FL_ZERO_RANGE
			}
			return c.Fallocate(mode, off, n)
		}
	}},
	{"what was cut off comes back", func(s *spoiled, strike func() bool) {
		c, past := s.fsxChannel, &pastBytes{}
		s.truncate = func(size int64) error {
			had, _ := c.Size()
			if size < had {
				past.off, past.was = size, make([]byte, had-size)
				c.Read(fsxRead, past.was, size)
			}
			err := c.Truncate(size)
			if err == nil && size > had {
				p := make([]byte, size-had)
				past.show(p, had)
				c.Write(fsxWrite, p, had)
			}
			return err
		}
	}},
	{"a truncation does nothing", func(s *spoiled, strike func() bool) {
		c := s.fsxChannel
		s.truncate = func(size int64) error {
			if strike() {
				return nil
			}
			return c.Truncate(size)
		}
	}},
	{"a paired volume is truncated", func(s *spoiled, strike func() bool) {
		if fixed, ok := s.fsxChannel.(fixedFile); ok {
			s.truncate = fixed.fsxChannel.Truncate
		}
	}},
	{"a refusal has another errno", func(s *spoiled, strike func() bool) {
		c := s.fsxChannel
		s.truncate = func(size int64) error {
			if err := c.Truncate(size); err != nil {
				return unix.EROFS
			}
			return nil
		}
	}},
	{"a paired volume takes what lies behind its end, and forgets it", func(s *spoiled, strike func() bool) {
		c := s.fsxChannel
		s.write = func(how fsxKind, p []byte, off int64) (int64, error) {
			c.Write(how, p, off)
			return int64(len(p)), nil
		}
	}},
	{"a copy begins a byte too early", func(s *spoiled, strike func() bool) {
		c := s.fsxChannel
		s.copy = func(from fsxChannel, fromOff, off, n int64) (int64, error) {
			if strike() {
				fromOff = max(0, fromOff-1)
			}
			return c.CopyFrom(from, fromOff, off, n)
		}
	}},
	{"a copy says more than it did", func(s *spoiled, strike func() bool) {
		c := s.fsxChannel
		s.copy = func(from fsxChannel, fromOff, off, n int64) (int64, error) {
			if n > 1 && strike() {
				done, err := c.CopyFrom(from, fromOff, off, n-1)
				return done + 1, err
			}
			return c.CopyFrom(from, fromOff, off, n)
		}
	}},
	{"a copy onto itself is taken", func(s *spoiled, strike func() bool) {
		c := s.fsxChannel
		s.copy = func(from fsxChannel, fromOff, off, n int64) (int64, error) {
			done, err := c.CopyFrom(from, fromOff, off, n)
			if err == unix.EINVAL {
				return n, nil
			}
			return done, err
		}
	}},
	{"data is taken for a hole", func(s *spoiled, strike func() bool) {
		c := s.fsxChannel
		s.seek = func(off int64, whence int) (int64, error) {
			at, err := c.Seek(off, whence)
			if size, _ := c.Size(); err == nil && whence == unix.SEEK_DATA && at+fsxPage < size && strike() {
				at += fsxPage
			}
			return at, err
		}
	}},
	{"the size is wrong", func(s *spoiled, strike func() bool) {
		c := s.fsxChannel
		s.size = func() (int64, error) {
			n, err := c.Size()
			if strike() {
				n++
			}
			return n, err
		}
	}},
	{"what lies behind the end in its page is not zero", func(s *spoiled, strike func() bool) {
		c := s.fsxChannel
		s.read = func(how fsxKind, p []byte, off int64) (int64, error) {
			n, err := c.Read(how, p, off)
			if size, _ := c.Size(); how.mapped() && off+n > size && strike() {
				p[n-1] = 1
			}
			return n, err
		}
	}},
	{"a sync fails", func(s *spoiled, strike func() bool) {
		s.sync = func() error {
			if strike() {
				return unix.EIO
			}
			return nil
		}
	}},
}

// stale lets some reads of one kind see what was before the last write of another.
func (s *spoiled) stale(written, read func(fsxKind) bool, strike func() bool) {
	c, past := s.fsxChannel, s.remember(written)
	s.read = func(how fsxKind, p []byte, off int64) (int64, error) {
		n, err := c.Read(how, p, off)
		if err == nil && read(how) && len(past.was) > 0 && strike() {
			past.show(p[:n], off)
		}
		return n, err
	}
}

// localFsx starts a tester on two files of this host's own file system, one that grows and one that is fixed.
func localFsx(t *testing.T, seed uint64, spoil func(fsxChannel) fsxChannel) (*fsx, *strings.Builder) {
	t.Helper()
	dir, log := t.TempDir(), &strings.Builder{}
	models := []*fsxModel{newFsxModel(false, 100000, mib/4), newFsxModel(true, 123456, 123456)}
	path := func(i int) string { return filepath.Join(dir, fmt.Sprint("file", i)) }
	for i, m := range models {
		if err := os.WriteFile(path(i), make([]byte, m.size()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	f, err := newFsx(seed, models, log, func(i int) (fsxChannel, error) {
		c, err := openFsx(path(i), os.O_RDWR, models[i].limit)
		if err != nil {
			return nil, err
		}
		c = hastyFile{c}
		if models[i].fixed {
			c = fixedFile{c, models[i].size()}
		}
		if spoil != nil {
			c = spoil(c)
		}
		return c, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.close() })
	if err := f.files[0].Fallocate(unix.FALLOC_FL_ZERO_RANGE|unix.FALLOC_FL_KEEP_SIZE, 0, fsxPage); err == unix.EOPNOTSUPP {
		t.Skipf("the file system of %s knows no FALLOC_FL_ZERO_RANGE: set TMPDIR to one that does, ext4 or xfs", dir)
	}
	return f, log
}

// TestFsxFindsDefects spoils files and demands that the tester finds that, and finds nothing where nothing is wrong.
func TestFsxFindsDefects(t *testing.T) {
	t.Parallel()
	seed := Seed(t)
	const ops = 3000
	f, _ := localFsx(t, seed, nil)
	if err := cmpErr(f.run(ops), f.sync()); err != nil {
		t.Fatalf("nothing is wrong with the files of this host, and yet: %v", err)
	}
	for _, row := range fsxDefects {
		t.Run(row.name, func(t *testing.T) {
			calls := 0
			strike := func() bool { calls++; return calls%2 == 0 }
			f, _ := localFsx(t, seed, func(c fsxChannel) fsxChannel {
				s := &spoiled{fsxChannel: c}
				row.spoil(s, strike)
				return s
			})
			err := f.run(ops)
			if err == nil {
				err = f.sync()
			}
			if err == nil {
				t.Errorf("%d operations found nothing, with %d calls that may be spoiled", ops, calls)
			} else if line, _, _ := strings.Cut(err.Error(), "\n"); !strings.Contains(err.Error(), fmt.Sprintf("%7d  ", f.number)) {
				t.Errorf("the failure does not show the operation: %s", line)
			} else {
				t.Log(line)
			}
		})
	}
}

// TestFsxAfterDeath lets a daemon die below a file: what was written through a mapping and not synced may be there or not, page by page, and
// nothing else may have changed.
func TestFsxAfterDeath(t *testing.T) {
	t.Parallel()
	page := func(b byte) []byte { return bytes.Repeat([]byte{b}, fsxPage) }
	rows := []struct {
		name   string
		sync   bool
		after  []byte // the two pages after the death
		lost   int
		broken bool
	}{
		{"both pages were written", false, append(page(2), page(2)...), 0, false},
		{"one was not", false, append(page(2), page(1)...), 1, false},
		{"neither was", false, append(page(1), page(1)...), 2, false},
		{"half of one was", false, append(page(2), append(page(2)[:100:100], page(1)[100:]...)...), 0, true},
		{"one that was synced was not", true, append(page(2), page(1)...), 0, true},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			f, _ := localFsx(t, 1, nil)
			m := f.models[0]
			write := func(kind fsxKind, p []byte) {
				t.Helper()
				var was map[int64][]byte
				if kind == fsxWriteView {
					was = m.before(fsxPage, int64(len(p)))
				}
				if n, err := f.files[0].Write(kind, p, fsxPage); err != nil || n != int64(len(p)) {
					t.Fatal(n, err)
				}
				m.write(1, p, fsxPage)
				for at, b := range was {
					m.unsure[at] = b
				}
			}
			write(fsxWrite, append(page(1), page(1)...))
			write(fsxWriteView, append(page(2), page(2)...))
			if row.sync {
				if err := f.sync(); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := f.files[0].Write(fsxWrite, row.after, fsxPage); err != nil {
				t.Fatal(err)
			}
			if err := f.close(); err != nil {
				t.Fatal(err)
			}
			err := f.revive()
			if (err != nil) != row.broken || f.lost != row.lost {
				t.Errorf("%d pages are lost, %v; want %d, and an error: %t", f.lost, err, row.lost, row.broken)
			}
			if err == nil && !bytes.Equal(m.data[fsxPage:3*fsxPage], row.after) {
				t.Error("the model does not hold what is there")
			}
		})
	}
}
