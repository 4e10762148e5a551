package e2e

import (
	"fmt"
	"math/rand/v2"
	"strings"
)

// fsxKind is what a host does to a file.
type fsxKind uint8

// The kinds, reads and writes by the way that they go. The kernel serves all of them from its cache or from the site as it likes; they have to
// agree at every moment.
const (
	fsxRead         fsxKind = iota // pread
	fsxReadDirect                  // pread with O_DIRECT
	fsxReadMapped                  // a mapping made for it
	fsxReadView                    // a mapping that stays as long as the file is open
	fsxWrite                       // pwrite
	fsxWriteSync                   // pwrite with O_DSYNC
	fsxWriteDirect                 // pwrite with O_DIRECT
	fsxWriteVector                 // one pwritev of pieces of odd lengths
	fsxWriteMapped                 // a mapping made for it, and msync
	fsxWriteView                   // the mapping that stays, and no msync
	fsxPunch                       // a hole
	fsxZero                        // FALLOC_FL_ZERO_RANGE, which may grow the file
	fsxZeroKeep                    // the same, which may not
	fsxAllocate                    // a reservation, which may grow the file
	fsxAllocateKeep                // the same, which may not
	fsxTruncate                    // to a size
	fsxCopy                        // copy_file_range, within a file or between two
	fsxFsync
	fsxFdatasync
	fsxReopen // close and open
	fsxHoles  // SEEK_DATA and SEEK_HOLE over the whole file
	fsxKinds  // how many there are
)

// fsxNames are the names of the kinds in a log, and how often each is done.
var fsxNames = [fsxKinds]struct {
	name  string
	often int
}{
	fsxRead: {"read", 8}, fsxReadDirect: {"read O_DIRECT", 4}, fsxReadMapped: {"mapped read", 5}, fsxReadView: {"view read", 8},
	fsxWrite: {"write", 14}, fsxWriteSync: {"write O_DSYNC", 3}, fsxWriteDirect: {"write O_DIRECT", 8}, fsxWriteVector: {"writev", 5},
	fsxWriteMapped: {"mapped write", 6}, fsxWriteView: {"view write", 6},
	fsxPunch: {"punch", 6}, fsxZero: {"zero range", 3}, fsxZeroKeep: {"zero range KEEP_SIZE", 3}, fsxAllocate: {"allocate", 2},
	fsxAllocateKeep: {"allocate KEEP_SIZE", 2}, fsxTruncate: {"truncate", 5}, fsxCopy: {"copy range", 6},
	fsxFsync: {"fsync", 2}, fsxFdatasync: {"fdatasync", 2}, fsxReopen: {"reopen", 1}, fsxHoles: {"seek holes", 2},
}

func (k fsxKind) String() string { return fsxNames[k].name }

// mapped reports whether a kind goes through a mapping, which ends with the file.
func (k fsxKind) mapped() bool {
	return k == fsxReadMapped || k == fsxReadView || k == fsxWriteMapped || k == fsxWriteView
}

// fsxOp is one operation. The same seed gives the same operations, whatever comes of them.
type fsxOp struct {
	Kind     fsxKind
	File     int
	Off, Len int64
	From     int    // file that a copy reads
	FromOff  int64  // and where
	Fill     uint64 // what is written, see fsxFill; 0 is zeroes
}

func (op fsxOp) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%-20s file %d", op.Kind, op.File)
	switch op.Kind {
	case fsxFsync, fsxFdatasync, fsxReopen, fsxHoles:
		return b.String()
	case fsxTruncate:
		fmt.Fprintf(&b, " to %#x", op.Off)
		return b.String()
	}
	fmt.Fprintf(&b, " %#x to %#x (%#x bytes)", op.Off, op.Off+op.Len, op.Len)
	if op.Kind == fsxCopy {
		fmt.Fprintf(&b, " from file %d at %#x", op.From, op.FromOff)
	}
	return b.String()
}

// fsxFill writes what a seed stands for into p.
func fsxFill(p []byte, seed uint64) {
	if seed == 0 {
		clear(p)
		return
	}
	x := seed
	for i := range p {
		if i%8 == 0 {
			x ^= x << 13
			x ^= x >> 7
			x ^= x << 17
		}
		p[i] = byte(x >> (i % 8 * 8))
	}
}

const (
	fsxPage = 4096
	// fsxViewMost is what one write through the view changes at most: each page of it may be lost when the daemon is killed, until it is written.
	fsxViewMost = 16 * fsxPage
)

// fsxPlan chooses operations.
type fsxPlan struct {
	rng    *rand.Rand
	models []*fsxModel
	last   int64 // end of the range that was chosen last
}

// chance is true once in n times.
func (p *fsxPlan) chance(n int) bool { return p.rng.IntN(n) == 0 }

// next chooses an operation by what the files hold now.
func (p *fsxPlan) next() fsxOp {
	op := fsxOp{Kind: p.kind(), File: p.rng.IntN(len(p.models)), Fill: p.rng.Uint64()}
	if p.chance(10) {
		op.Fill = 0
	}
	m := p.models[op.File]
	size := m.size()
	switch {
	case op.Kind.mapped() && size == 0:
		op.Kind = fsxWrite
	case op.Kind == fsxWriteDirect && m.fixed && size < fsxPage:
		op.Kind = fsxWrite
	}
	switch op.Kind {
	case fsxTruncate:
		op.Off = p.resize(m)
	case fsxRead, fsxReadDirect:
		op.Off, op.Len = p.span(m.limit)
	case fsxReadMapped, fsxReadView, fsxWriteMapped, fsxWriteView:
		op.Off, op.Len = p.span(size)
		if op.Kind == fsxWriteView {
			op.Len = min(op.Len, fsxViewMost)
		}
	case fsxPunch, fsxZeroKeep, fsxAllocateKeep:
		op.Off, op.Len = p.span(m.limit + 2*fsxPage)
		if p.chance(2) {
			op.Off, op.Len = p.span(max(size, 1))
		}
	case fsxCopy:
		op.From = p.rng.IntN(len(p.models))
		op.FromOff, op.Len = p.span(max(p.models[op.From].size(), 1))
		op.Off, op.Len = p.growing(m, op.Len)
	default:
		op.Off, op.Len = p.growing(m, 0)
	}
	if op.Kind == fsxReadDirect || op.Kind == fsxWriteDirect {
		op.Off &^= fsxPage - 1
		op.Len = max(op.Len&^(fsxPage-1), fsxPage)
		if op.Kind == fsxWriteDirect && m.fixed && op.Off+op.Len > size && !p.chance(30) {
			op.Len = min(op.Len, size&^(fsxPage-1))
			op.Off = (size - op.Len) &^ (fsxPage - 1)
		}
	}
	p.last = op.Off + op.Len
	return op
}

// kind chooses one by how often it is done.
func (p *fsxPlan) kind() fsxKind {
	total := 0
	for _, k := range fsxNames {
		total += k.often
	}
	at := p.rng.IntN(total)
	for k, row := range fsxNames {
		if at -= row.often; at < 0 {
			return fsxKind(k)
		}
	}
	panic("unreachable")
}

// length chooses how many bytes: mostly few, now and then more than the kernel puts into one request.
func (p *fsxPlan) length() int64 {
	most := int64(16 << 10)
	switch p.rng.IntN(40) {
	case 0:
		most = 3 << 19
	case 1, 2, 3:
		most = 256 << 10
	case 4, 5, 6, 7, 8, 9:
		most = 64
	}
	return 1 + p.rng.Int64N(most)
}

// span chooses a range below end, which is above 0.
func (p *fsxPlan) span(end int64) (off, n int64) {
	n = min(p.length(), end)
	off = p.rng.Int64N(end - n + 1)
	switch p.rng.IntN(8) {
	case 0, 1:
		off &^= fsxPage - 1
	case 2:
		off, n = off&^(fsxPage-1), min((n+fsxPage-1)&^(fsxPage-1), end-off&^(fsxPage-1))
	case 3:
		off = end - n
	case 4:
		off = min(p.last, end-n)
	}
	return off, n
}

// growing chooses a range that may lie behind the end of the file: as far as a file that grows may grow, and, seldom, behind the end of one
// that is fixed, which has to refuse it. n is its length, 0 for any.
func (p *fsxPlan) growing(m *fsxModel, n int64) (int64, int64) {
	end := m.size()
	switch {
	case m.fixed && p.chance(30): // over the end, or a page behind it
		if n == 0 {
			n = min(p.length(), m.limit)
		}
		return max(0, end-p.rng.Int64N(n)) + p.rng.Int64N(2)*fsxPage, n
	case !m.fixed && p.chance(8):
		end = m.limit
	case !m.fixed:
		end = min(m.limit, end+1+p.rng.Int64N(4*fsxPage))
	}
	off, any := p.span(end)
	if n == 0 {
		n = any
	}
	return off, min(n, end-off)
}

// resize chooses a size.
func (p *fsxPlan) resize(m *fsxModel) int64 {
	switch p.rng.IntN(10) {
	case 0:
		return m.size()
	case 1:
		return 0
	case 2, 3:
		return p.rng.Int64N(m.limit/fsxPage+1) * fsxPage
	case 4, 5, 6:
		return max(0, min(m.limit, m.size()+p.rng.Int64N(8*fsxPage)-4*fsxPage))
	}
	return p.rng.Int64N(m.limit + 1)
}
