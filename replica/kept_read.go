package replica

import (
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"sync"
)

// keptBlock is how many lines of a list are read at once.
const keptBlock = 256

// KeptSet is an open kept set. What is read of its image is checked first: a range whose bytes are not those that were kept is an error,
// never data. It may be removed meanwhile; its bytes then go with the last that is open. Its methods may be called concurrently.
type KeptSet struct {
	info  Kept
	image *os.File
	list  *os.File
	head  int64 // bytes of the head of the list
	crc   uint32

	mu    sync.Mutex
	lines []byte    // lines of the list, from number first on
	first int64     //
	piece KeptRange // that data holds, checked; of length 0 at first
	data  []byte
}

// Verify reads every range and checks it.
func (k *KeptSet) Verify() error {
	p := make([]byte, keptPiece)
	for i := range k.info.Ranges {
		r, err := k.Range(i)
		if err != nil {
			return err
		}
		if r.Zero {
			continue
		}
		if _, err := k.ReadAt(p[:r.Length], r.Offset); err != nil {
			return err
		}
	}
	return nil
}

// Info returns what the list says of the set.
func (k *KeptSet) Info() Kept { return k.info }

// Range returns range i of the list, counted from 0; i must be below Info().Ranges.
func (k *KeptSet) Range(i int64) (KeptRange, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.at(i)
}

// at is Range. Requires mu.
func (k *KeptSet) at(i int64) (KeptRange, error) {
	if n := int64(len(k.lines) / keptLineSize); i < k.first || i >= k.first+n {
		first := i / keptBlock * keptBlock
		b := make([]byte, min(keptBlock, k.info.Ranges-first)*keptLineSize)
		if _, err := k.list.ReadAt(b, k.head+first*keptLineSize); err != nil {
			return KeptRange{}, keptFault(err, k.list.Name(), "read")
		}
		k.lines, k.first = b, first
	}
	at := (i - k.first) * keptLineSize
	r, err := parseKeptRange(k.lines[at:at+keptLineSize], k.info.Size)
	if err != nil {
		return r, k.damaged(err)
	}
	return r, nil
}

// Find returns the number of the first range that ends behind off, Info().Ranges if there is none.
func (k *KeptSet) Find(off int64) (int64, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.find(off)
}

// find is Find. Requires mu.
func (k *KeptSet) find(off int64) (int64, error) {
	lo, hi := int64(0), k.info.Ranges
	if n := int64(len(k.lines) / keptLineSize); n > 0 { // mostly it is near the one before
		last, err := k.at(k.first + n - 1)
		if err != nil {
			return 0, err
		}
		first, err := k.at(k.first)
		if err != nil {
			return 0, err
		}
		if off >= first.Offset && off < last.end() {
			lo, hi = k.first, k.first+n
		}
	}
	for lo < hi {
		mid := lo + (hi-lo)/2
		r, err := k.at(mid)
		if err != nil {
			return 0, err
		}
		if r.end() > off {
			hi = mid
		} else {
			lo = mid + 1
		}
	}
	return lo, nil
}

// ReadAt reads the image: what is not kept reads as zeroes. It returns fewer than len(p) bytes only at the end of the volume, never io.EOF.
func (k *KeptSet) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 || off >= k.info.Size {
		return 0, nil
	}
	p = p[:min(int64(len(p)), k.info.Size-off)]
	k.mu.Lock()
	defer k.mu.Unlock()
	i, err := k.find(off)
	if err != nil {
		return 0, err
	}
	done := 0
	for at := off; done < len(p); at = off + int64(done) {
		rest := p[done:]
		if i == k.info.Ranges {
			clear(rest)
			return len(p), nil
		}
		r, err := k.at(i)
		if err != nil {
			return done, err
		}
		switch {
		case r.Offset > at:
			rest = rest[:min(int64(len(rest)), r.Offset-at)]
			clear(rest)
		case r.Zero:
			rest = rest[:min(int64(len(rest)), r.end()-at)]
			clear(rest)
		default:
			if err := k.load(r); err != nil {
				return done, err
			}
			rest = rest[:copy(rest, k.data[at-r.Offset:])]
		}
		if done += len(rest); off+int64(done) >= r.end() {
			i++
		}
	}
	return done, nil
}

// load reads a range and checks it. Requires mu.
func (k *KeptSet) load(r KeptRange) error {
	if k.piece == r {
		return nil
	}
	if k.data == nil {
		k.data = make([]byte, 0, keptPiece)
	}
	k.piece, k.data = KeptRange{}, k.data[:r.Length]
	if _, err := k.image.ReadAt(k.data, r.Offset); err != nil {
		return keptFault(err, k.image.Name(), fmt.Sprintf("read at offset %d", r.Offset))
	}
	if got := crc32.Checksum(k.data, castagnoli); got != r.CRC {
		return k.damaged(fmt.Errorf("%w: %d bytes at offset %d of its image have %08x, kept was %08x", errChecksum, r.Length, r.Offset, got, r.CRC))
	}
	k.piece = r
	return nil
}

// SeekData returns the first offset at or behind off of which the set has bytes that are not zeroes, false if there is none.
func (k *KeptSet) SeekData(off int64) (int64, bool, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	i, err := k.find(off)
	for ; err == nil && i < k.info.Ranges; i++ {
		var r KeptRange
		if r, err = k.at(i); err == nil && !r.Zero {
			return max(off, r.Offset), true, nil
		}
	}
	return 0, false, err
}

// SeekHole returns the first offset at or behind off of which it has none; the end of the volume is one.
func (k *KeptSet) SeekHole(off int64) (int64, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	i, err := k.find(off)
	for ; err == nil && i < k.info.Ranges; i++ {
		var r KeptRange
		if r, err = k.at(i); err != nil || r.Offset > off || r.Zero {
			break
		}
		off = r.end()
	}
	return min(off, k.info.Size), err
}

// ReadListAt reads the list as it is, like [io.ReaderAt].
func (k *KeptSet) ReadListAt(p []byte, off int64) (int, error) { return k.list.ReadAt(p, off) }

// Close ends the use of the set.
func (k *KeptSet) Close() error {
	var errs []error
	for _, f := range []*os.File{k.image, k.list} {
		if f != nil {
			errs = append(errs, f.Close())
		}
	}
	return errors.Join(errs...)
}
