package e2e

import (
	"bytes"
	"fmt"
	"maps"
	"slices"

	"golang.org/x/sys/unix"
)

// fsxModel is what a file has to hold, and what it has to refuse.
type fsxModel struct {
	fixed bool  // paired: the size stays
	limit int64 // size up to which the tester lets it grow
	data  []byte
	by    []int // number of the operation that changed a page last

	// unsure are pages that were written through a mapping and are still the kernel's alone, as they were before: after the death of the daemon
	// each is there or is not, as a whole.
	unsure map[int64][]byte
}

func newFsxModel(fixed bool, size, limit int64) *fsxModel {
	m := &fsxModel{fixed: fixed, limit: limit, unsure: map[int64][]byte{}, by: make([]int, limit/fsxPage+4)}
	m.data = make([]byte, size, limit)
	return m
}

func (m *fsxModel) size() int64 { return int64(len(m.data)) }

// touched notes that an operation changed a range, which the kernel holds back no more.
func (m *fsxModel) touched(number int, off, n int64) {
	if n <= 0 {
		return
	}
	for p := off / fsxPage; p <= (off+n-1)/fsxPage; p++ {
		m.by[p] = number
	}
	m.flushed(off, n)
}

// flushed notes that the site has the pages of a range.
func (m *fsxModel) flushed(off, n int64) {
	maps.DeleteFunc(m.unsure, func(p int64, _ []byte) bool { return (p+1)*fsxPage > off && p*fsxPage < off+n })
}

// write puts p at off and returns how many bytes fit and the errno of the rest.
func (m *fsxModel) write(number int, p []byte, off int64) (int64, error) {
	n, err := int64(len(p)), error(nil)
	if m.fixed && off+n > m.size() {
		n, err = max(0, m.size()-off), unix.ENOSPC
	}
	if n > 0 {
		m.grow(number, off+n)
		copy(m.data[off:], p[:n])
		m.touched(number, off, n)
	}
	return n, err
}

// before returns the pages of a range as they are, nil where one of them is unsure already: it would have more than two pasts.
func (m *fsxModel) before(off, n int64) map[int64][]byte {
	was := map[int64][]byte{}
	for p := off / fsxPage; p <= (off+n-1)/fsxPage; p++ {
		if m.unsure[p] != nil {
			return nil
		}
		was[p] = slices.Clone(m.data[p*fsxPage : min((p+1)*fsxPage, m.size())])
	}
	return was
}

// zero clears a range as far as the file goes.
func (m *fsxModel) zero(number int, off, n int64) {
	if end := min(off+n, m.size()); off < end {
		clear(m.data[off:end])
		m.touched(number, off, end-off)
	}
}

// grow makes the file at least as long as size.
func (m *fsxModel) grow(number int, size int64) {
	if size > m.size() {
		m.resize(number, size)
	}
}

// resize sets the size: what is cut off is gone for ever.
func (m *fsxModel) resize(number int, size int64) {
	old := m.size()
	from, to := min(old, size), max(old, size)
	for p := from / fsxPage; p*fsxPage < to; p++ {
		m.by[p] = number
	}
	m.data = m.data[:size]
	if size > old {
		clear(m.data[old:])
	}
	for p, was := range m.unsure {
		switch left := size - p*fsxPage; {
		case left <= 0:
			delete(m.unsure, p)
		case left < int64(len(was)):
			m.unsure[p] = was[:left]
		default:
			m.unsure[p] = append(was, make([]byte, min(left, fsxPage)-int64(len(was)))...)
		}
	}
}

// mayGrow returns what a file answers to a request that would make it longer than size bytes.
func (m *fsxModel) mayGrow(size int64) error {
	if m.fixed && size > m.size() {
		return unix.EBUSY
	}
	return nil
}

// want is what a read of n bytes at off returns, through a mapping with the zeroes that follow in the last page.
func (m *fsxModel) want(off, n int64, mapped bool) []byte {
	if off >= m.size() && !mapped {
		return nil
	}
	end := min(off+n, m.size())
	out := slices.Clone(m.data[min(off, end):end])
	if mapped {
		out = append(out, make([]byte, off+n-max(off, end))...)
	}
	return out
}

// surely is what the site holds at least: pages that may still be the kernel's alone are as they were before.
func (m *fsxModel) surely() []byte {
	out := slices.Clone(m.data)
	for p, was := range m.unsure {
		copy(out[p*fsxPage:], was)
	}
	return out
}

// pageEnd is where the last page of the file ends.
func (m *fsxModel) pageEnd() int64 { return (m.size() + fsxPage - 1) / fsxPage * fsxPage }

// settle decides for each page that is unsure, after the daemon has died, whether it was written, by what is there now.
func (m *fsxModel) settle(there []byte) (lost int, err error) {
	for _, p := range slices.Sorted(maps.Keys(m.unsure)) {
		was := m.unsure[p]
		from, to := p*fsxPage, min((p+1)*fsxPage, m.size(), int64(len(there)))
		now := there[min(from, to):to]
		switch {
		case bytes.Equal(now, m.data[from:to]):
		case bytes.Equal(now, was[:len(now)]):
			copy(m.data[from:], was)
			lost++
		default:
			return lost, fmt.Errorf("the page at %#x, which was written through a mapping and not synced before the daemon died, is neither as before nor as after it", from)
		}
	}
	clear(m.unsure)
	return lost, nil
}
