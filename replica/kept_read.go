package replica

import (
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
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

// OpenKeptSet opens the kept set in a folder: in a state directory, or what a mount shows of one. It reads the whole list, whose checksum
// must be right. The name of the set is that of the folder.
func OpenKeptSet(path string) (*KeptSet, error) {
	parent, err := os.Open(filepath.Dir(path))
	if err != nil {
		return nil, keptFault(err, filepath.Dir(path), "opened")
	}
	d := &keptDir{f: parent, path: filepath.Dir(path)}
	defer d.close()
	return d.open(filepath.Base(path))
}

// open opens a set and checks its list.
func (d *keptDir) open(name string) (*KeptSet, error) {
	k, err := d.look(name)
	if err != nil {
		return nil, err
	}
	if err := k.checkList(); err != nil {
		return nil, errors.Join(err, k.Close())
	}
	return k, nil
}

// look opens a set and reads head and foot of its list, and nothing else.
func (d *keptDir) look(name string) (k *KeptSet, err error) {
	if err := checkKeptName(name); err != nil {
		return nil, err
	}
	sub, err := d.sub(name)
	if KindOf(err) == KindNotFound {
		return nil, noSuchSet(name)
	}
	if err != nil {
		return nil, err
	}
	defer sub.close()
	k = &KeptSet{info: Kept{Name: name}}
	defer func() {
		if err != nil {
			err = errors.Join(err, k.Close())
			k = nil
		}
	}()
	if k.list, err = sub.file("list", false); err == nil {
		k.image, err = sub.file("image", false)
	}
	if KindOf(err) == KindNotFound {
		return k, k.damaged(err)
	}
	if err != nil {
		return k, err
	}
	return k, k.outline()
}

// damaged is the error for a set that is not as it was kept.
func (k *KeptSet) damaged(err error) error {
	return fault(KindInternal, err, "kept set %s is damaged", k.info.Name)
}

// outline reads head and foot, and checks that both files have the size that follows.
func (k *KeptSet) outline() error {
	size, err := fileSize(k.list)
	if err != nil {
		return err
	}
	b := make([]byte, min(size, keptHeadMax))
	if _, err := k.list.ReadAt(b, 0); err != nil && !errors.Is(err, io.EOF) {
		return keptFault(err, k.list.Name(), "read")
	}
	info, n, err := parseKeptHead(b)
	if err != nil {
		return k.damaged(err)
	}
	info.Name = k.info.Name
	k.info, k.head = info, int64(n)
	b = make([]byte, keptFootSize+keptSumSize)
	at := size - int64(len(b))
	if at < k.head {
		return k.damaged(errors.New("its list was cut off"))
	}
	if _, err := k.list.ReadAt(b, at); err != nil {
		return keptFault(err, k.list.Name(), "read")
	}
	if k.crc, err = k.info.parseKeptFoot(b); err != nil {
		return k.damaged(err)
	}
	if at-k.head != k.info.Ranges*keptLineSize {
		return k.damaged(fmt.Errorf("its list has %d bytes of lines for %d ranges", at-k.head, k.info.Ranges))
	}
	switch has, err := fileSize(k.image); {
	case err != nil:
		return err
	case has != k.info.Size:
		return k.damaged(fmt.Errorf("its image has %d bytes, its volume had %d", has, k.info.Size))
	}
	k.info.ListBytes = size
	k.info.Allocated = allocatedBy(k.image) + allocatedBy(k.list)
	return nil
}

func fileSize(f *os.File) (int64, error) {
	fi, err := f.Stat()
	if err != nil {
		return 0, keptFault(err, f.Name(), "looked at")
	}
	return fi.Size(), nil
}

// checkList reads the whole list: its checksum, and that its ranges are ascending, apart, and as many bytes as it says.
func (k *KeptSet) checkList() error {
	h := crc32.New(castagnoli)
	if _, err := io.Copy(h, io.NewSectionReader(k.list, 0, k.head+k.info.Ranges*keptLineSize+keptFootSize)); err != nil {
		return keptFault(err, k.list.Name(), "read")
	}
	if h.Sum32() != k.crc {
		return k.damaged(errors.New("the checksum of its list is wrong"))
	}
	var end, all, data int64
	for i := range k.info.Ranges {
		r, err := k.Range(i)
		if err != nil {
			return err
		}
		if r.Offset < end {
			return k.damaged(fmt.Errorf("range %d of its list begins at %d, before the end of the one before", i, r.Offset))
		}
		end = r.end()
		if all += r.Length; !r.Zero {
			data += r.Length
		}
	}
	if all != k.info.Bytes || data != k.info.DataBytes {
		return k.damaged(fmt.Errorf("its list has ranges of %d bytes and says %d", all, k.info.Bytes))
	}
	return nil
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
