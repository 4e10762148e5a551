package prefix

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"iter"
)

// Image is what one volume holds at one site at one moment: nothing may change it while it is read.
type Image struct {
	Volume int         // number in the history
	Size   int64       // bytes, a multiple of [Sector]
	Data   io.ReaderAt // may be a file that is open for direct I/O
}

// memory is an image that needs no copy.
type memory struct {
	*bytes.Reader
	all []byte
}

// ImageOf returns the image of a volume of which p is all that it holds.
func ImageOf(volume int, p []byte) Image {
	return Image{Volume: volume, Size: int64(len(p)), Data: memory{bytes.NewReader(p), p}}
}

// Picture is an image as the writes that its sectors name. It was read once and may be checked often.
type Picture struct {
	volume  int
	sectors int
	extents []extent // one behind the other, over all of it
}

// extent is a run of sectors that hold zeroes, or sectors of one write that follow each other.
type extent struct {
	at, n int // sectors
	zero  bool
	mark  Mark // of the first sector
}

// lookPiece is how much of an image is read at once, in bytes.
const lookPiece = 1 << 20

// Read makes a picture of each image. A sector that is neither zeroes nor where its write put it is a *[Defect].
func Read(images ...Image) ([]*Picture, error) {
	pictures := make([]*Picture, len(images))
	for i, img := range images {
		pictures[i] = new(Picture)
		if err := pictures[i].Read(img); err != nil {
			return nil, err
		}
	}
	return pictures, nil
}

// Read makes p the picture of another image.
func (p *Picture) Read(img Image) error {
	if img.Size%Sector != 0 {
		return fmt.Errorf("volume %d: its size of %d bytes is no multiple of %d", img.Volume, img.Size, Sector)
	}
	p.volume, p.sectors, p.extents = img.Volume, 0, p.extents[:0]
	if m, ok := img.Data.(memory); ok {
		return p.add(m.all)
	}
	buf := AlignedBuffer(int(min(lookPiece, img.Size)))
	for off := int64(0); off < img.Size; off += lookPiece {
		b := buf[:min(lookPiece, img.Size-off)]
		if n, err := img.Data.ReadAt(b, off); n < len(b) {
			if err == nil || errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return fmt.Errorf("volume %d: read %d bytes at %d: %w", img.Volume, len(b), off, err)
		}
		if err := p.add(b); err != nil {
			return err
		}
	}
	return nil
}

// Counters gives the writes of a run that the picture shows, some more than once.
func (p *Picture) Counters(run uint64) iter.Seq[uint64] {
	return func(yield func(uint64) bool) {
		for _, e := range p.extents {
			if !e.zero && e.mark.Run == run && !yield(e.mark.Counter) {
				return
			}
		}
	}
}

// add takes the sectors that follow those which it has.
func (p *Picture) add(b []byte) error {
	for ; len(b) > 0; b = b[Sector:] {
		m, zero, ok := ParseMark(b[:Sector])
		off := int64(p.sectors) * Sector
		switch {
		case !zero && !ok:
			return &Defect{Kind: Damaged, Volume: p.volume, Offset: off, Detail: fmt.Sprintf("begins with %x", b[:16])}
		case ok && (m.Volume != uint32(p.volume) || m.Offset+int64(m.Index)*Sector != off):
			return &Defect{Kind: Misplaced, Volume: p.volume, Offset: off,
				Detail: fmt.Sprintf("belongs to volume %d offset %d (write %d of run %x)", m.Volume, m.Offset+int64(m.Index)*Sector, m.Counter, m.Run)}
		}
		if !p.extend(m, zero) {
			p.extents = append(p.extents, extent{at: p.sectors, n: 1, zero: zero, mark: m})
		}
		p.sectors++
	}
	return nil
}

// extend adds a sector to the last extent, if it goes on there.
func (p *Picture) extend(m Mark, zero bool) bool {
	if len(p.extents) == 0 {
		return false
	}
	last := &p.extents[len(p.extents)-1]
	m.Index -= uint32(last.n)
	if last.zero != zero || !zero && last.mark != m {
		return false
	}
	last.n++
	return true
}
