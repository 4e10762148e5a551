package replica

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"
)

// blockSize is the unit of the tests' writes. A block says which write it belongs to, on which volume and where, so that an image tells
// by itself which writes it holds.
const blockSize = 4096

const (
	blockMagic = 0x70616972_66732d62 // first 8 bytes of a block
	blockEnd   = 0x70616972_66732d65 // 8 bytes before its last
)

// fillBlock writes the one content that block number of volume vol has after write n.
func fillBlock(b []byte, n uint64, vol int, block int64) {
	x := blockSeed(n, vol, block)
	for i := 0; i < len(b); i += 8 {
		x = blockNext(x)
		binary.LittleEndian.PutUint64(b[i:], x)
	}
	binary.LittleEndian.PutUint64(b, blockMagic)
	binary.LittleEndian.PutUint64(b[8:], n)
	binary.LittleEndian.PutUint64(b[len(b)-16:], blockEnd)
	binary.LittleEndian.PutUint64(b[len(b)-8:], n)
}

// blockSeed and blockNext make the words of a block.
func blockSeed(n uint64, vol int, block int64) uint64 {
	return n*0x9E3779B97F4A7C15 + uint64(vol)<<40 + uint64(block)
}
func blockNext(x uint64) uint64 { return x*6364136223846793005 + 1442695040888963407 }

// readBlock returns the write that the block belongs to, 0 for zeroes. Anything but the exact content of a write is an error.
func readBlock(b []byte, vol int, block int64) (uint64, error) {
	if isZero(b) {
		return 0, nil
	}
	if binary.LittleEndian.Uint64(b) != blockMagic {
		return 0, fmt.Errorf("volume %d block %d holds what nobody wrote: %x…", vol, block, b[:16])
	}
	n := binary.LittleEndian.Uint64(b[8:])
	x, end := blockSeed(n, vol, block), len(b)-16
	whole := binary.LittleEndian.Uint64(b[end:]) == blockEnd && binary.LittleEndian.Uint64(b[end+8:]) == n
	for i := 0; i < end; i += 8 { // no block is made to compare it with: the checks spend much of their time here
		x = blockNext(x)
		whole = whole && (i < 16 || binary.LittleEndian.Uint64(b[i:]) == x)
	}
	if !whole {
		return n, fmt.Errorf("volume %d block %d is no whole block of write %d", vol, block, n)
	}
	return n, nil
}

// op is one host write or discard of whole blocks. issue and ack are moments on the history's clock; an op that was never acknowledged
// has ack notAcked and may be there or not.
type op struct {
	n          uint64
	unit       int64 // bytes of a block
	vol        int
	block, len int64
	zero       bool
	issue, ack uint64
	synced     bool // a completed fsync of its group followed, or it was synchronous
}

const notAcked = ^uint64(0)

// history is what hosts did to the volumes of one group, in the order in which they could know of it. Safe for concurrent use.
type history struct {
	unit  int64 // bytes of a block, blockSize unless a test writes smaller ones
	mu    sync.Mutex
	clock uint64
	next  uint64
	ops   []*op
	byNum map[uint64]*op
	at    map[[2]int64][]*op // volume and block
	past  map[uint64]bool    // of a history that lost: journals may still hold it
}

func newHistory() *history {
	return &history{unit: blockSize, byNum: map[uint64]*op{}, at: map[[2]int64][]*op{}}
}

// begin notes that an op is about to be issued.
func (h *history) begin(vol int, block, n int64, zero bool) *op {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.add(&op{n: h.next + 1, vol: vol, block: block, len: n, zero: zero})
}

// add takes an op with a number of its own. Requires mu.
func (h *history) add(o *op) *op {
	h.next, o.unit = max(h.next, o.n), h.unit
	h.clock++
	o.issue, o.ack = h.clock, notAcked
	h.ops = append(h.ops, o)
	h.byNum[o.n] = o
	for b := o.block; b < o.block+o.len; b++ {
		k := [2]int64{int64(o.vol), b}
		h.at[k] = append(h.at[k], o)
	}
	return o
}

// acked notes that an op was acknowledged.
func (h *history) acked(o *op) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.clock++
	o.ack = h.clock
}

// now is the moment of the clock; synced notes that everything acknowledged at a moment was flushed.
func (h *history) now() uint64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.clock
}

func (h *history) synced(upTo uint64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, o := range h.ops {
		o.synced = o.synced || o.ack <= upTo
	}
}

// flushed notes that an acknowledged op was synchronous: it survives, and so does what was acknowledged before it was issued.
func (h *history) flushed(o *op) {
	h.synced(o.issue)
	h.mu.Lock()
	defer h.mu.Unlock()
	o.synced = true
}

// payload is what op o writes.
func (o *op) payload() []byte {
	unit := cmp.Or(o.unit, blockSize) // a child process has no history
	p := make([]byte, o.len*unit)
	for i := range o.len {
		fillBlock(p[i*unit:(i+1)*unit], o.n, o.vol, o.block+i)
	}
	return p
}

// atLeast says which ops an image must hold besides those that it shows.
type atLeast func(*op) bool

func whatever(*op) bool   { return false }
func everyAck(o *op) bool { return o.ack != notAcked }
func everySynced(o *op) bool {
	return o.synced
}

// check proves that images, one for each volume of the group, are the image of one prefix of the history: if an op is seen, everything
// that was acknowledged before it was issued is there too, over all volumes, and no op is there in part (I1, I2, I4). What must demands
// has to be there as well, and everything acknowledged before that.
func (h *history) check(images map[int][]byte, must atLeast) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	var edge uint64 // everything acknowledged before it is in the prefix
	inside := map[*op]bool{}
	include := func(o *op) {
		inside[o] = true
		edge = max(edge, o.issue)
	}
	shown := map[[2]int64]*op{}
	for vol, img := range images {
		for b := range int64(len(img)) / h.unit {
			n, err := readBlock(img[b*h.unit:(b+1)*h.unit], vol, b)
			if err != nil {
				return err
			}
			if n == 0 {
				continue
			}
			o := h.byNum[n]
			if o == nil || o.vol != vol || b < o.block || b >= o.block+o.len || o.zero {
				return fmt.Errorf("volume %d block %d holds write %d, which was not made there", vol, b, n)
			}
			shown[[2]int64{int64(vol), b}] = o
			include(o)
		}
	}
	for _, o := range h.ops {
		if must(o) && images[o.vol] != nil {
			include(o)
		}
	}
	for more := true; more; { // a block of zeroes may show that a discard is in the prefix, which moves its edge
		more = false
		for key, list := range h.at {
			if images[int(key[0])] == nil {
				continue
			}
			o, err := checkBlock(key, list, shown[key], inside, edge)
			if err != nil {
				return err
			}
			if o.issue > edge {
				include(o)
				more = true
			}
		}
	}
	return nil
}

// beforeAll is what a block shows to which nothing was written.
var beforeAll = &op{}

// checkBlock proves that what a block shows is not older than what the prefix has there, and returns the earliest op that it can show.
func checkBlock(key [2]int64, list []*op, shows *op, inside map[*op]bool, edge uint64) (*op, error) {
	// A block of zeroes shows any of its discards, or that nothing was written yet.
	var room [8]*op
	candidates := append(room[:0], shows)
	if shows == nil {
		candidates[0] = beforeAll
		for _, o := range list {
			if o.zero {
				candidates = append(candidates, o)
			}
		}
	}
	var missing *op
	for _, c := range candidates {
		missing = nil
		for _, o := range list {
			if o != c && (inside[o] || o.ack < edge) && c.ack < o.issue {
				missing = o
			}
		}
		if missing == nil {
			return c, nil
		}
	}
	last := uint64(0)
	if shows != nil {
		last = shows.n
	}
	return nil, fmt.Errorf("volume %d block %d shows write %d, but write %d (acknowledged at %d) came later and belongs to the prefix up to %d", key[0], key[1], last, missing.n, missing.ack, edge)
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

// TestHistoryCheck proves that the checker of the other tests sees what it is there for.
func TestHistoryCheck(t *testing.T) {
	h := newHistory()
	do := func(vol int, block, n int64, zero bool) *op {
		o := h.begin(vol, block, n, zero)
		h.acked(o)
		return o
	}
	w1, w2, w3 := do(0, 0, 1, false), do(1, 0, 2, false), do(0, 0, 1, false)
	d4 := do(1, 1, 1, true)
	w5 := do(0, 1, 1, false)
	open := h.begin(0, 0, 1, false)
	image := func(ops ...*op) map[int][]byte {
		img := map[int][]byte{0: make([]byte, 2*blockSize), 1: make([]byte, 2*blockSize)}
		for _, o := range ops {
			p := o.payload()
			if o.zero {
				clear(p)
			}
			copy(img[o.vol][o.block*blockSize:], p)
		}
		return img
	}
	torn := image(w1, w2)
	clear(torn[1][blockSize:])
	half := image(w1)
	clear(half[0][:blockSize/2])
	for name, c := range map[string]struct {
		images map[int][]byte
		must   atLeast
		ok     bool
	}{
		"nothing":             {image(), whatever, true},
		"first":               {image(w1), whatever, true},
		"two":                 {image(w1, w2), whatever, true},
		"three":               {image(w1, w2, w3), whatever, true},
		"discarded":           {image(w1, w2, w3, d4, w5), whatever, true},
		"all":                 {image(w1, w2, w3, d4, w5), everyAck, true},
		"one under way":       {image(w1, w2, w3, d4, w5, open), everyAck, true},
		"second without 1st":  {image(w2), whatever, false},
		"third without 2nd":   {image(w1, w3), whatever, false},
		"older over newer":    {image(w1, w2, w5), whatever, false},
		"discard left out":    {image(w1, w2, w3, w5), whatever, false},
		"last is missing":     {image(w1, w2, w3), everyAck, false},
		"part of a write":     {torn, whatever, false},
		"half a block":        {half, whatever, false},
		"of another volume":   {map[int][]byte{1: image(w1)[0], 0: image()[1]}, whatever, false},
		"open without others": {image(open), whatever, false},
	} {
		if err := h.check(c.images, c.must); (err == nil) != c.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
}
