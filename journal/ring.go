package journal

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	ringMagic   = "PAIRFSR1"
	ringVersion = 1
	// ringDurableAt is where the ring's own copy of the durable mark stands; it is stored after each flush and not covered by the crc.
	ringDurableAt = 64
)

// ring is the staging ring: one header page and size bytes of shared memory, the latter mapped twice back to back, so that every
// record and every flush is contiguous in memory. Position p stands at p modulo size.
type ring struct {
	path string // "" for anonymous memory
	file *os.File
	size uint64
	head []byte // the header page
	base unsafe.Pointer
	mem  []byte // both mappings
}

// createRing makes a ring of size bytes without content; init makes it valid. An existing file of that name is replaced.
func createRing(path string, size int) (*ring, error) {
	f, err := createRingFile(path)
	if err != nil {
		return nil, fmt.Errorf("create staging ring %s: %w", path, err)
	}
	for {
		if err = unix.Fallocate(int(f.Fd()), 0, 0, int64(size)+PageSize); err != unix.EINTR {
			break
		}
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("create staging ring %s: %d bytes of memory are not to be had, make the ring smaller: %w", path, size, err)
	}
	return mapRing(path, f, size)
}

// createRingFile opens the file, or memory without a name.
func createRingFile(path string) (*os.File, error) {
	if path == "" {
		fd, err := unix.MemfdCreate("pairfs-ring", unix.MFD_CLOEXEC)
		if err != nil {
			return nil, err
		}
		return os.NewFile(uintptr(fd), "pairfs-ring"), nil
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, err
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	return os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL|unix.O_NOFOLLOW, 0o600)
}

// openRing maps an existing ring file, whatever is in it. Without a file the error wraps fs.ErrNotExist.
func openRing(path string) (*ring, error) {
	f, err := os.OpenFile(path, os.O_RDWR|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, err
	}
	st, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, err
	}
	size := st.Size() - PageSize
	if size < MinRingSize || size > MaxRingSize || size&(size-1) != 0 {
		f.Close()
		return nil, fmt.Errorf("%w: staging ring %s has %d bytes", ErrCorrupt, path, st.Size())
	}
	return mapRing(path, f, int(size))
}

// mapRing maps the file. It owns f from here on.
func mapRing(path string, f *os.File, size int) (*ring, error) {
	r := &ring{path: path, file: f, size: uint64(size)}
	fd, prot := int(f.Fd()), unix.PROT_READ|unix.PROT_WRITE
	var err error
	if r.head, err = unix.Mmap(fd, 0, PageSize, prot, unix.MAP_SHARED); err == nil {
		// One reservation of address space first: the two fixed mappings may replace nothing but it.
		r.base, err = unix.MmapPtr(-1, 0, nil, uintptr(2*size), unix.PROT_NONE, unix.MAP_PRIVATE|unix.MAP_ANON)
	}
	for i := 0; i < 2 && err == nil; i++ {
		_, err = unix.MmapPtr(fd, PageSize, unsafe.Add(r.base, i*size), uintptr(size), prot, unix.MAP_SHARED|unix.MAP_FIXED)
	}
	if err != nil {
		r.close(false)
		return nil, fmt.Errorf("map staging ring %s: %w", path, err)
	}
	r.mem = unsafe.Slice((*byte)(r.base), 2*size)
	return r, nil
}

// fits reports whether the ring was left by this journal since the machine was last started.
func (r *ring) fits(id, boot [16]byte) bool {
	h := r.head
	return string(h[:8]) == ringMagic && le.Uint32(h[60:]) == crc32.Checksum(h[:60], castagnoli) && le.Uint32(h[8:]) == ringVersion &&
		[16]byte(h[16:32]) == id && [16]byte(h[32:48]) == boot && le.Uint64(h[48:]) == r.size
}

// init empties the ring and makes it valid for a journal whose records up to durable are on disk. Its header is invalid meanwhile.
func (r *ring) init(id, boot [16]byte, durable Position) {
	clear(r.head)
	clear(r.mem[:r.size])
	r.setDurable(durable)
	h := r.head
	le.PutUint32(h[8:], ringVersion)
	copy(h[16:], id[:])
	copy(h[32:], boot[:])
	le.PutUint64(h[48:], r.size)
	copy(h, ringMagic)
	le.PutUint32(h[60:], crc32.Checksum(h[:60], castagnoli))
}

// setDurable keeps the durable mark where a restart finds it: a tail before it is damage, not a torn write.
func (r *ring) setDurable(p Position) {
	atomic.StoreUint64((*uint64)(unsafe.Pointer(&r.head[ringDurableAt])), uint64(p))
}

func (r *ring) durable() Position {
	return Position(atomic.LoadUint64((*uint64)(unsafe.Pointer(&r.head[ringDurableAt]))))
}

// at is the memory of n bytes at p, n at most size.
func (r *ring) at(p Position, n uint64) []byte {
	off := uint64(p) & (r.size - 1)
	return r.mem[off : off+n : off+n]
}

// setWordAtomic publishes (or marks as reserved) the header b in ring memory: one aligned store of crc and seal.
func setWordAtomic(b []byte, crc, seal uint32) {
	var w [8]byte
	le.PutUint32(w[:], crc)
	le.PutUint32(w[4:], seal)
	atomic.StoreUint64((*uint64)(unsafe.Pointer(&b[atWord])), binary.NativeEndian.Uint64(w[:]))
}

// word reads crc and seal of the header b in ring memory.
func word(b []byte) (crc, seal uint32) {
	var w [8]byte
	binary.NativeEndian.PutUint64(w[:], atomic.LoadUint64((*uint64)(unsafe.Pointer(&b[atWord]))))
	return le.Uint32(w[:]), le.Uint32(w[4:])
}

// close unmaps the ring. With remove its file goes too: that is right only when everything in it is durable.
func (r *ring) close(remove bool) error {
	var errs []error
	if remove && r.path != "" {
		errs = append(errs, os.Remove(r.path))
	}
	if r.base != nil {
		errs = append(errs, unix.MunmapPtr(r.base, uintptr(2*r.size)))
		r.base, r.mem = nil, nil
	}
	if r.head != nil {
		errs = append(errs, unix.Munmap(r.head))
		r.head = nil
	}
	errs = append(errs, r.file.Close())
	return errors.Join(errs...)
}

// BootID tells this run of the machine from every other: a staging ring of another run is not used.
func BootID() (string, error) {
	id, err := bootID()
	return hex.EncodeToString(id[:]), err
}

// bootID tells this run of the machine from every other.
func bootID() (id [16]byte, err error) {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return id, fmt.Errorf("read the machine's boot id: %w", err)
	}
	text := strings.ReplaceAll(strings.TrimSpace(string(b)), "-", "")
	if n, err := hex.Decode(id[:], []byte(text[:min(len(text), 32)])); err != nil || n != len(id) {
		return id, fmt.Errorf("read the machine's boot id: %q is none", b)
	}
	return id, nil
}
