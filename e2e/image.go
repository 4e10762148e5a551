package e2e

import (
	"bytes"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// comparePiece is how much of two images is read at once to compare them, in bytes.
const comparePiece = 1 << 20

// OpenImage opens the file for checking, with O_DIRECT, so that what is read is what the daemon answers now. The caller closes it.
func OpenImage(path string, volume int) (Image, *os.File, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_DIRECT, 0)
	if err != nil {
		return Image{}, nil, err
	}
	st, err := f.Stat()
	if err != nil {
		f.Close()
		return Image{}, nil, err
	}
	return Image{Volume: volume, Size: st.Size(), Data: f}, f, nil
}

// SameFile compares two files byte by byte and says where they differ first.
func SameFile(a, b string) error {
	ia, fa, err := OpenImage(a, 0)
	if err != nil {
		return err
	}
	defer fa.Close()
	ib, fb, err := OpenImage(b, 0)
	if err != nil {
		return err
	}
	defer fb.Close()
	if err := SameImage(ia, ib); err != nil {
		return fmt.Errorf("%s and %s: %w", a, b, err)
	}
	return nil
}

// SameImage compares two images byte by byte and says where they differ first.
func SameImage(a, b Image) error {
	if a.Size != b.Size {
		return fmt.Errorf("they have %d and %d bytes", a.Size, b.Size)
	}
	bufA, bufB := AlignedBuffer(comparePiece), AlignedBuffer(comparePiece)
	for off := int64(0); off < a.Size; off += comparePiece {
		n := min(comparePiece, a.Size-off)
		if err := readFull(a.Data, bufA[:n], off); err != nil {
			return err
		}
		if err := readFull(b.Data, bufB[:n], off); err != nil {
			return err
		}
		if !bytes.Equal(bufA[:n], bufB[:n]) {
			i := int64(0)
			for bufA[i] == bufB[i] {
				i++
			}
			return fmt.Errorf("they differ first at byte %d (%#x and %#x)", off+i, bufA[i], bufB[i])
		}
	}
	return nil
}

// readFull reads all of p at off or says what was missing.
func readFull(f io.ReaderAt, p []byte, off int64) error {
	n, err := f.ReadAt(p, off)
	if n == len(p) {
		return nil
	}
	if err == nil || err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return fmt.Errorf("read %d bytes at %d: %w", len(p), off, err)
}
