package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"pairfs/replica"
)

// exportPiece is how much is read and written at once, in bytes: the longest range with one checksum.
const exportPiece = 1 << 20

// keptExportCmd writes a kept set to a file. What it reads is checked, so a damaged set is an error and never data.
type keptExportCmd struct {
	Name string `arg:"" help:"Name of the kept set."`
	File string `arg:"" optional:"" help:"File to make, - for stdout. It becomes a sparse image of the volume's size that holds what was kept, zeroes elsewhere."`
	Raw  bool   `xor:"form" help:"Write only the kept ranges, one behind the other, as the list has them."`
	Over string `xor:"form" placeholder:"IMAGE" help:"Put what was kept over the content of IMAGE, a copy of the volume as it was when the resync began: the old image of this side. Without FILE it is written into IMAGE itself."`
	keptArgs
}

// Run exports the set.
func (c *keptExportCmd) Run(a *app) error {
	switch {
	case c.File == "" && c.Over == "":
		return usagef("name the file to write, or - for stdout")
	case c.File == "-" && isTerminal(a.stdout):
		return usagef("an image is not written to a terminal: name a file, or redirect stdout")
	}
	k, err := c.open(a, c.Name)
	if err != nil {
		return err
	}
	defer k.Close()
	e := &keptExport{ctx: a.ctx, set: k, info: k.Info(), buf: make([]byte, exportPiece)}
	if c.Over != "" {
		if err := e.openBase(c.Over, c.File == ""); err != nil {
			return err
		}
		defer e.base.Close()
	}
	to := c.File
	switch {
	case c.File == "":
		to, err = c.Over, e.inPlace()
	case c.File == "-":
		return e.stream(a.stdout, c.Raw)
	default:
		err = e.toFile(c.File, c.Raw)
	}
	if err != nil {
		return err
	}
	i := e.info
	_, err = fmt.Fprintf(a.stdout, "%s of volume %s in %d %s are in %s\n", sizeText(fmt.Sprint(i.Bytes)), i.Volume, i.Ranges, oneOr(int(i.Ranges), "range", "ranges"), to)
	return err
}

// keptExport is one export under way.
type keptExport struct {
	ctx  context.Context
	set  *replica.KeptSet
	info replica.Kept
	base *os.File // over which the ranges go, nil for zeroes
	buf  []byte
}

// openBase opens the image over which the set goes; it must be as large as the volume was.
func (e *keptExport) openBase(path string, write bool) (err error) {
	flags := os.O_RDONLY
	if write {
		flags = os.O_RDWR
	}
	if e.base, err = os.OpenFile(path, flags, 0); err != nil {
		return fmt.Errorf("open the image to export over: %w", err)
	}
	size, err := e.base.Seek(0, io.SeekEnd) // of a block device too
	if err == nil && size != e.info.Size {
		err = fmt.Errorf("%s has %d bytes and volume %s had %d: give a copy of the volume", path, size, e.info.Volume, e.info.Size)
	}
	if err != nil {
		return errors.Join(err, e.base.Close())
	}
	return nil
}

// toFile makes a file. One that is there is left alone, and what failed half way is removed.
func (e *keptExport) toFile(path string, raw bool) (err error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, os.ErrExist) {
		return fmt.Errorf("%s is there already: name another file, or put the set over it with --over", path)
	}
	if err != nil {
		return fmt.Errorf("make the file of the export: %w", err)
	}
	if raw {
		err = e.raw(f)
	} else if err = f.Truncate(e.info.Size); err == nil {
		if err = e.copyBase(f); err == nil {
			err = e.ranges(f)
		}
	}
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return errors.Join(err, os.Remove(path))
	}
	return syncFolder(filepath.Dir(path))
}

// syncFolder makes the names in a folder durable.
func syncFolder(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// copyBase copies the image to a file of the same size that is all hole, as far as it has data.
func (e *keptExport) copyBase(to *os.File) error {
	if e.base == nil {
		return nil
	}
	for at := int64(0); at < e.info.Size; {
		data, err := unix.Seek(int(e.base.Fd()), at, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) {
			return nil
		}
		if err == nil && data > at { // an image that cannot tell is read
			at = data
		}
		p := e.buf[:min(exportPiece, e.info.Size-at)]
		if err := e.readBase(p, at); err != nil {
			return err
		}
		if !allZero(p) {
			if _, err := to.WriteAt(p, at); err != nil {
				return err
			}
		}
		at += int64(len(p))
	}
	return nil
}

// readBase fills p from the image.
func (e *keptExport) readBase(p []byte, at int64) error {
	if err := e.ctx.Err(); err != nil {
		return fmt.Errorf("the export was interrupted: %w", err)
	}
	_, err := e.base.ReadAt(p, at)
	return err
}

// inPlace writes the set into the image itself, once all of it was read and found right.
func (e *keptExport) inPlace() error {
	if err := e.set.Verify(); err != nil {
		return unread(err)
	}
	err := e.ranges(e.base)
	if err == nil {
		err = e.base.Sync()
	}
	if err != nil {
		return fmt.Errorf("%s holds only a part of the set now, export again: %w", e.base.Name(), err)
	}
	return nil
}

// ranges writes every range at its place.
func (e *keptExport) ranges(to *os.File) error {
	return e.each(func(r replica.KeptRange) error {
		if r.Zero {
			return e.zero(to, r)
		}
		p, err := e.read(r.Offset, r.Length)
		if err != nil {
			return err
		}
		_, err = to.WriteAt(p, r.Offset)
		return err
	})
}

// zero makes a range zeroes: a hole where the file can have one.
func (e *keptExport) zero(to *os.File, r replica.KeptRange) error {
	err := unix.Fallocate(int(to.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, r.Offset, r.Length)
	if err == nil {
		return nil
	}
	clear(e.buf)
	for at, end := r.Offset, r.Offset+r.Length; at < end; at += exportPiece {
		if _, err := to.WriteAt(e.buf[:min(exportPiece, end-at)], at); err != nil {
			return err
		}
	}
	return nil
}

// stream writes to what cannot be written at an offset.
func (e *keptExport) stream(w io.Writer, raw bool) error {
	if raw {
		return e.raw(w)
	}
	for at := int64(0); at < e.info.Size; at += exportPiece {
		p, err := e.over(at, min(exportPiece, e.info.Size-at))
		if err == nil {
			_, err = w.Write(p)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// over returns n bytes at off of the image with the set over it. One piece has a bounded number of ranges, that of its regions.
func (e *keptExport) over(off, n int64) ([]byte, error) {
	if e.base == nil {
		return e.read(off, n)
	}
	p := make([]byte, n)
	if err := e.readBase(p, off); err != nil {
		return nil, err
	}
	i, err := e.set.Find(off)
	for ; err == nil && i < e.info.Ranges; i++ {
		var r replica.KeptRange
		if r, err = e.set.Range(i); err != nil || r.Offset >= off+n {
			break
		}
		from, to := max(r.Offset, off), min(r.Offset+r.Length, off+n)
		_, err = e.set.ReadAt(p[from-off:to-off], from)
	}
	return p, unread(err)
}

// raw writes the ranges one behind the other.
func (e *keptExport) raw(w io.Writer) error {
	return e.each(func(r replica.KeptRange) error {
		for at, end := r.Offset, r.Offset+r.Length; at < end; at += exportPiece {
			p, err := e.read(at, min(exportPiece, end-at))
			if err != nil {
				return err
			}
			if _, err := w.Write(p); err != nil {
				return err
			}
		}
		return nil
	})
}

// each calls do for every range until it fails.
func (e *keptExport) each(do func(replica.KeptRange) error) error {
	for i := range e.info.Ranges {
		r, err := e.set.Range(i)
		if err == nil {
			err = do(r)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// read returns n bytes of the set at off, at most a piece, until the next call.
func (e *keptExport) read(off, n int64) ([]byte, error) {
	if err := e.ctx.Err(); err != nil {
		return nil, fmt.Errorf("the export was interrupted: %w", err)
	}
	p := e.buf[:n]
	_, err := e.set.ReadAt(p, off)
	return p, unread(err)
}

// unread says where an operator finds why a set cannot be read that its site shows: a mount gives an errno alone.
func unread(err error) error {
	if errors.Is(err, unix.EIO) {
		return fmt.Errorf("%w: pairfs events says what of it is damaged", err)
	}
	return err
}

// zeroes is what pieces are compared with. Never written to.
var zeroes [64 << 10]byte

// allZero reports whether p is nothing but zeroes.
func allZero(p []byte) bool {
	for len(p) > len(zeroes) {
		if !bytes.Equal(p[:len(zeroes)], zeroes[:]) {
			return false
		}
		p = p[len(zeroes):]
	}
	return bytes.Equal(p, zeroes[:len(p)])
}
