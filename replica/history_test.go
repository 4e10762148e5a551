package replica

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"pairfs/e2e/prefix"
)

// The tests of this package count in blocks and speak of the history of one writer. What a block holds, what a history remembers and how an image
// is judged is package prefix's.

// blockSize is the unit of the tests' writes, but for those of the simulated ring.
const blockSize = 4096

// fillBlock writes the content that block number of volume vol has after a write n of that block alone.
func fillBlock(b []byte, n uint64, vol int, block int64) {
	prefix.Fill(b, prefix.Mark{Counter: n, Volume: uint32(vol), Offset: block * int64(len(b))})
}

// readBlock returns the write that the block belongs to, 0 for zeroes. Anything but the exact content of a write is an error.
func readBlock(b []byte, vol int, block int64) (uint64, error) {
	n := uint64(0)
	for i := 0; i < len(b); i += prefix.Sector {
		m, zero, ok := prefix.ParseMark(b[i : i+prefix.Sector])
		at := block*int64(len(b)) + int64(i)
		switch {
		case !zero && !ok:
			return 0, fmt.Errorf("volume %d block %d holds what nobody wrote: %x…", vol, block, b[i:i+16])
		case ok && (m.Volume != uint32(vol) || m.Offset+int64(m.Index)*prefix.Sector != at):
			return m.Counter, fmt.Errorf("volume %d block %d is of write %d, at another place", vol, block, m.Counter)
		case i > 0 && m.Counter != n:
			return n, fmt.Errorf("volume %d block %d is no whole block of write %d", vol, block, n)
		}
		n = m.Counter
	}
	return n, nil
}

// op is one host write or discard of whole blocks.
type op struct {
	n, run     uint64 // its number, in the history of that run
	unit       int64  // bytes of a block
	vol        int
	block, len int64
	zero       bool
}

// payload is what op o writes.
func (o *op) payload() []byte {
	p := prefix.AlignedBuffer(int(o.len * o.unit))
	prefix.Fill(p, prefix.Mark{Run: o.run, Counter: o.n, Volume: uint32(o.vol), Offset: o.block * o.unit})
	return p
}

// history is what hosts did to the volumes of one group. Safe for concurrent use.
type history struct {
	*prefix.History
	unit int64 // bytes of a block, blockSize unless a test writes smaller ones
}

// runs numbers the histories of a process.
var runs atomic.Uint64

func newHistory() *history { return &history{prefix.NewHistory(runs.Add(1)), blockSize} }

// begin notes that an op is about to be issued. A synchronous one survives a power cut once it is acknowledged.
func (h *history) begin(vol int, block, n int64, zero, sync bool) *op {
	c := h.Begin(prefix.Write{Volume: vol, Off: block * h.unit, Len: n * h.unit, Zero: zero, Sync: sync})
	return &op{n: c, run: h.Run(), unit: h.unit, vol: vol, block: block, len: n, zero: zero}
}

// ended notes how an op ended: acknowledged, or with an error, and then it may be there or not.
func (h *history) ended(o *op, err error) error {
	if err != nil {
		h.Fail(o.n)
	} else {
		h.Ack(o.n)
	}
	return err
}

// atLeast says which ops an image must hold besides those that it shows.
type atLeast = prefix.Demand

// whatever, everyAck and everySynced are what a secondary, a primary, and a primary behind a power cut have at least.
var whatever, everyAck, everySynced = prefix.Nothing, prefix.Acknowledged, prefix.Synced

// check proves that images, of some volumes of the group, are the image of one prefix of the history that holds what must demands.
func (h *history) check(images map[int][]byte, must atLeast) error {
	pictures, err := pictures(images)
	if err == nil {
		_, err = h.Check(pictures, must)
	}
	return err
}

// pictures reads images by the number of their volume.
func pictures(images map[int][]byte) ([]*prefix.Picture, error) {
	var all []prefix.Image
	for _, vol := range slices.Sorted(maps.Keys(images)) {
		all = append(all, prefix.ImageOf(vol, images[vol]))
	}
	return prefix.Read(all...)
}

// testSeed gives the seed of a test's random choices and says how to repeat it.
func testSeed(t testing.TB) uint64 {
	t.Helper()
	seed := uint64(time.Now().UnixNano()) % 1e9
	if s := os.Getenv("PAIRFS_SEED"); s != "" {
		n, err := strconv.ParseUint(s, 10, 64)
		if err != nil {
			t.Fatalf("PAIRFS_SEED: %v", err)
		}
		seed = n
	}
	t.Logf("seed %d: PAIRFS_SEED=%d repeats the choices", seed, seed)
	return seed
}

func newRand(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 0x70616972)) }
