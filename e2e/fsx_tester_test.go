package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"math/rand/v2"
	"strings"

	"golang.org/x/sys/unix"
)

// fsx does random operations to some files and compares them with models, as the program of that name does to one.
type fsx struct {
	fsxPlan
	open   func(file int) (fsxChannel, error)
	files  []fsxChannel
	number int // of the operation, from 1
	recent []string
	log    io.Writer
	unsure int // pages that were written through a mapping and not synced when the daemon died
	lost   int // those of them that died with it
	buf    []byte
}

// fsxRecent is how many operations a failure shows.
const fsxRecent = 40

// newFsx opens the files, which hold zeroes.
func newFsx(seed uint64, models []*fsxModel, log io.Writer, open func(file int) (fsxChannel, error)) (*fsx, error) {
	f := &fsx{fsxPlan: fsxPlan{rng: rand.New(rand.NewPCG(seed, 0)), models: models}, open: open, log: log}
	most := int64(0)
	for _, m := range models {
		most = max(most, m.limit)
	}
	f.buf = make([]byte, most+4*fsxPage)
	f.files = make([]fsxChannel, len(models))
	return f, f.reopen()
}

// reopen opens all files.
func (f *fsx) reopen() (err error) {
	for i := range f.files {
		if f.files[i], err = f.open(i); err != nil {
			return err
		}
	}
	return nil
}

// close closes all files.
func (f *fsx) close() error {
	var errs []error
	for i, c := range f.files {
		if c != nil {
			errs = append(errs, c.Close())
		}
		f.files[i] = nil
	}
	return errors.Join(errs...)
}

// sync makes all files durable and compares all there is.
func (f *fsx) sync() error {
	for i, c := range f.files {
		if err := c.Sync(false); err != nil {
			return f.failure(fmt.Errorf("fsync of file %d: %w", i, err))
		}
		f.models[i].flushed(0, math.MaxInt64)
		for _, how := range []fsxKind{fsxReadView, fsxReadDirect} {
			if err := f.read(i, how, 0, f.models[i].limit); err != nil {
				return f.failure(err)
			}
		}
	}
	return nil
}

// run does n operations.
func (f *fsx) run(n int) error {
	for range n {
		op := f.next()
		f.number++
		line := fmt.Sprintf("%7d  %v", f.number, op)
		f.recent = append(f.recent, line)
		f.recent = f.recent[max(0, len(f.recent)-fsxRecent):]
		if _, err := fmt.Fprintln(f.log, line); err != nil {
			return err
		}
		err := f.do(op)
		if err == nil {
			err = f.look(op)
		}
		if err != nil {
			return f.failure(err)
		}
	}
	return nil
}

// failure says what was found and what had been done before.
func (f *fsx) failure(err error) error {
	return fmt.Errorf("operation %d: %w\nthe last operations:\n%s", f.number, err, strings.Join(f.recent, "\n"))
}

// same compares what an operation returned with what it had to.
func same(n int64, err error, wantN int64, want error) error {
	if n == wantN && (err == nil) == (want == nil) && (want == nil || errors.Is(err, want)) {
		return nil
	}
	return fmt.Errorf("it did %#x bytes and returned %v; want %#x and %v", n, err, wantN, want)
}

// do carries out an operation on the file and on the model.
func (f *fsx) do(op fsxOp) error {
	c, m := f.files[op.File], f.models[op.File]
	switch op.Kind {
	case fsxRead, fsxReadDirect, fsxReadMapped, fsxReadView:
		return f.read(op.File, op.Kind, op.Off, op.Len)
	case fsxPunch:
		m.zero(f.number, op.Off, op.Len)
		return same(0, c.Fallocate(unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, op.Off, op.Len), 0, nil)
	case fsxZeroKeep:
		m.zero(f.number, op.Off, op.Len)
		return same(0, c.Fallocate(unix.FALLOC_FL_ZERO_RANGE|unix.FALLOC_FL_KEEP_SIZE, op.Off, op.Len), 0, nil)
	case fsxAllocateKeep:
		return same(0, c.Fallocate(unix.FALLOC_FL_KEEP_SIZE, op.Off, op.Len), 0, nil)
	case fsxZero, fsxAllocate:
		mode, want := uint32(0), m.mayGrow(op.Off+op.Len)
		if want == nil {
			m.grow(f.number, op.Off+op.Len)
		}
		if op.Kind == fsxZero {
			mode = unix.FALLOC_FL_ZERO_RANGE
			if want == nil {
				m.zero(f.number, op.Off, op.Len)
			}
		}
		return same(0, c.Fallocate(mode, op.Off, op.Len), 0, want)
	case fsxTruncate:
		var want error
		if m.fixed && op.Off != m.size() {
			want = unix.EBUSY
		} else {
			m.resize(f.number, op.Off)
		}
		return same(0, c.Truncate(op.Off), 0, want)
	case fsxCopy:
		return f.copy(op)
	case fsxFsync, fsxFdatasync:
		err := c.Sync(op.Kind == fsxFdatasync)
		m.flushed(0, math.MaxInt64)
		return same(0, err, 0, nil)
	case fsxReopen:
		if err := c.Close(); err != nil {
			return err
		}
		var err error
		f.files[op.File], err = f.open(op.File)
		return err
	case fsxHoles:
		return f.holes(op.File)
	}
	return f.write(op)
}

// write is every kind of write. One through the view leaves its pages unsure.
func (f *fsx) write(op fsxOp) error {
	m := f.models[op.File]
	p := f.buf[op.Fill%fsxPage:][:op.Len] // where it begins in its page is nothing that a host has to care for
	fsxFill(p, op.Fill)
	var was map[int64][]byte
	if op.Kind == fsxWriteView {
		if was = m.before(op.Off, op.Len); was == nil {
			op.Kind = fsxWriteMapped
		}
	}
	n, err := f.files[op.File].Write(op.Kind, p, op.Off)
	wantN, want := m.write(f.number, p, op.Off)
	maps.Copy(m.unsure, was)
	return same(n, err, wantN, want)
}

// copy is copy_file_range, which the range that is read and the one that is written must not overlap in.
func (f *fsx) copy(op fsxOp) error {
	m, src := f.models[op.File], f.models[op.From]
	n, err := f.files[op.File].CopyFrom(f.files[op.From], op.FromOff, op.Off, op.Len)
	have := min(op.Len, max(0, src.size()-op.FromOff))
	switch {
	case have == 0:
		return same(n, err, 0, nil)
	case op.From == op.File && op.Off < op.FromOff+have && op.FromOff < op.Off+have:
		return same(n, err, 0, unix.EINVAL)
	}
	wantN, want := m.write(f.number, bytes.Clone(src.data[op.FromOff:op.FromOff+have]), op.Off)
	src.flushed(op.FromOff, wantN)
	return same(n, err, wantN, want)
}

// look compares after an operation: the size always, what lies around the range mostly, by one of the ways to read.
func (f *fsx) look(op fsxOp) error {
	size, err := f.files[op.File].Size()
	if want := f.models[op.File].size(); err != nil || size != want {
		return fmt.Errorf("file %d has %#x bytes (%v), want %#x", op.File, size, err, want)
	}
	const around = 5000
	from := max(0, op.Off-around)
	n := min(op.Off+op.Len+around, f.models[op.File].limit+fsxPage) - from
	if how := f.rng.IntN(6); how <= int(fsxReadView) && n > 0 {
		return f.read(op.File, fsxKind(how), from, n)
	}
	return nil
}

// read reads a range, as far as the file goes, and compares.
func (f *fsx) read(file int, how fsxKind, off, n int64) error {
	m := f.models[file]
	switch how {
	case fsxReadDirect:
		end := (off + n + fsxPage - 1) &^ (fsxPage - 1)
		off &^= fsxPage - 1
		n = end - off
	case fsxReadMapped, fsxReadView:
		if n = min(n, m.pageEnd()-off); n <= 0 {
			return nil
		}
	}
	p := f.buf[:n]
	for i := range p {
		p[i] = 0xa5 // what a read leaves as it is must not look right
	}
	got, err := f.files[file].Read(how, p, off)
	want := m.want(off, n, how.mapped())
	if err := same(got, err, int64(len(want)), nil); err != nil {
		return fmt.Errorf("%v of file %d, %#x bytes at %#x: %w", how, file, n, off, err)
	}
	if i := firstDifference(want, p); i >= 0 {
		return fmt.Errorf("%v of file %d, %#x bytes at %#x: %s", how, file, n, off, m.difference(off+int64(i), p[i:len(want)], want[i:]))
	}
	if !how.mapped() {
		m.flushed(off, n)
	}
	return nil
}

// difference says how two ranges that begin to differ at off do so.
func (m *fsxModel) difference(off int64, got, want []byte) string {
	count, last := 0, 0
	for i := range want {
		if got[i] != want[i] {
			count, last = count+1, i
		}
	}
	return fmt.Sprintf("%#x bytes differ from %#x to %#x, which operation %d changed last: %x, want %x",
		count, off, off+int64(last), m.by[off/fsxPage], got[:min(16, len(want))], want[:min(16, len(want))])
}

// fsxHoleSteps is how often a restore may come between two questions for holes.
const fsxHoleSteps = 100

// firstDifference returns where b first differs from a, which is not longer, -1 if it does not.
func firstDifference(a, b []byte) int {
	for i := range a {
		if a[i] != b[i] {
			return i
		}
	}
	return -1
}

// holes proves that what SEEK_DATA and SEEK_HOLE call a hole reads as zeroes, and that both make progress. The kernel asks the site, which does
// not know of pages that were written through a mapping until they are synced. A paired volume is all data until what was written is restored, which
// may come between the two questions: a hole is found then where there was data, and from there the next question goes on.
func (f *fsx) holes(file int) error {
	c, m := f.files[file], f.models[file]
	sure := m.surely()
	size := m.size()
	for at, steps := int64(0), size/fsxPage+fsxHoleSteps; at < size; steps-- {
		if steps == 0 {
			return fmt.Errorf("SEEK_DATA and SEEK_HOLE have come as far as %#x of %#x and do not get on", at, size)
		}
		data, err := c.Seek(at, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) {
			data, err = size, nil
		}
		if err != nil || data < at || data > size {
			return fmt.Errorf("SEEK_DATA from %#x of %#x gave %#x, %v", at, size, data, err)
		}
		if i := firstDifference(sure[at:data], make([]byte, data-at)); i >= 0 {
			return fmt.Errorf("SEEK_DATA from %#x gave %#x, and there is data at %#x, which operation %d changed last", at, data, at+int64(i), m.by[(at+int64(i))/fsxPage])
		}
		if data == size {
			break
		}
		if at, err = c.Seek(data, unix.SEEK_HOLE); err != nil || at < data || at == data && !m.fixed || at > size {
			return fmt.Errorf("SEEK_HOLE from %#x of %#x gave %#x, %v", data, size, at, err)
		}
	}
	for _, whence := range []int{unix.SEEK_DATA, unix.SEEK_HOLE} {
		if at, err := c.Seek(size, whence); !errors.Is(err, unix.ENXIO) {
			return fmt.Errorf("lseek from the end gave %#x, %v; want ENXIO", at, err)
		}
	}
	return nil
}

// revive opens the files after the daemon has died, or has been stopped, and finds out which of the unsure pages it had been given.
func (f *fsx) revive() error {
	if err := f.reopen(); err != nil {
		return err
	}
	for i, m := range f.models {
		there := make([]byte, m.size())
		n, err := f.files[i].Read(fsxRead, there, 0)
		if err := same(n, err, m.size(), nil); err != nil {
			return f.failure(fmt.Errorf("file %d after a restart: %w", i, err))
		}
		f.unsure += len(m.unsure)
		lost, err := m.settle(there)
		f.lost += lost
		if err == nil {
			err = f.read(i, fsxRead, 0, m.limit)
		}
		if err != nil {
			return f.failure(fmt.Errorf("file %d after a restart: %w", i, err))
		}
	}
	return nil
}
