package replica

import (
	"bufio"
	"context"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// keptNew and keptOld begin the names of folders that are no kept sets: one that is being written, and one that is being removed. What a
// crash leaves of either is removed at the next start: of the first nothing was overwritten yet, the second was given up by a command.
const (
	keptNew = ".new-"
	keptOld = ".old-"
)

// keptWriter writes one kept set.
type keptWriter struct {
	site *Site
	all  *keptDir // the folder of kept sets
	dir  *keptDir // of this one, under its name of an unfinished set
	kept Kept
	from lost
	near neighbours
	tell func(n int64) // bytes of ranges that were kept

	image   *os.File
	begun   int64 // of the image, which the disk was told to write
	written int64 // bytes since then
	list    *os.File
	out     *bufio.Writer
	crc     uint32    // of the list
	zero    KeptRange // the run of zeroes that is being gathered
	line    []byte
	buf     []byte
	public  bool // it has its name
}

// newKeptWriter makes the folder. all is the writer's to use until it is closed.
func newKeptWriter(s *Site, all *keptDir, k Kept, from lost) (*keptWriter, error) {
	w := &keptWriter{site: s, all: all, kept: k, from: from, near: neighbours{site: s, not: from.pair.att.vol, seen: time.Now()}}
	if err := w.step("make", func() error { return all.make(keptNew + k.Name) }); err != nil {
		return nil, keptFault(err, filepath.Join(all.path, keptNew+k.Name), "made")
	}
	return w, nil
}

// begin makes both files and writes the head of the list.
func (w *keptWriter) begin() (err error) {
	if w.dir, err = w.all.sub(keptNew + w.kept.Name); err != nil {
		return err
	}
	err = w.step("create", func() (err error) {
		if w.image, err = w.dir.file("image", true); err == nil {
			w.list, err = w.dir.file("list", true)
		}
		return err
	})
	if err != nil {
		return keptFault(err, w.dir.path, "written")
	}
	if err := w.image.Truncate(w.kept.Size); err != nil {
		return keptFault(err, w.image.Name(), "made as large as the volume")
	}
	w.out, w.buf = bufio.NewWriterSize(w.list, 64<<10), make([]byte, keptPiece)
	return w.text(w.kept.head())
}

// step runs one step, unless a test lets it fail.
func (w *keptWriter) step(what string, do func() error) error {
	if err := w.site.keptStep(what); err != nil {
		return err
	}
	return do()
}

func (s *Site) keptStep(what string) error {
	if s.cfg.keptStep == nil {
		return nil
	}
	return s.cfg.keptStep(what)
}

// text appends to the list.
func (w *keptWriter) text(b []byte) error {
	w.crc = crc32.Update(w.crc, castagnoli, b)
	if _, err := w.out.Write(b); err != nil {
		return keptFault(err, w.list.Name(), "written")
	}
	return nil
}

// copy keeps every region, run after run. ctx ends it between two pieces.
func (w *keptWriter) copy(ctx context.Context) error {
	set := w.from.regions
	for first, n := range set.spans {
		from := int64(first) * regionSize
		if err := w.run(ctx, from, from+set.bytesOf(int64(first), int64(n))); err != nil {
			return err
		}
	}
	return w.flushZero()
}

// run keeps a run of regions.
func (w *keptWriter) run(ctx context.Context, from, to int64) error {
	for from < to {
		if err := context.Cause(ctx); err != nil {
			return err
		}
		end, hole, err := w.from.pair.att.extent(from, to)
		if err != nil {
			return err
		}
		if hole {
			if err := w.zeroes(from, end-from); err != nil {
				return err
			}
			from = end
			continue
		}
		end = min(end, (from/keptPiece+1)*keptPiece)
		began := time.Now()
		if err := w.piece(from, end-from); err != nil {
			return err
		}
		if now := time.Now(); w.near.write(now) {
			rest := w.from.pair.group.opts.Load().CopyPace.rest(now.Sub(began))
			if err := pause(ctx, rest); err != nil {
				return context.Cause(ctx)
			}
		}
		from = end
	}
	return nil
}

// neighbours are the other volumes of a site, which mostly share the disk. Who keeps regions has hosts wait for it, so it takes the whole disk
// while nobody else writes there, and the share of a copy while somebody does.
type neighbours struct {
	site *Site
	not  *Volume
	seen time.Time // when they were looked at last
	busy bool
}

// write reports whether any of them was written lately.
func (n *neighbours) write(now time.Time) bool {
	if now.Sub(n.seen) < keptLook {
		return n.busy
	}
	since := n.seen.UnixNano()
	n.seen, n.busy = now, slices.ContainsFunc(n.site.Volumes(), func(v *Volume) bool { return v != n.not && v.modified.Load() > since })
	return n.busy
}

// extent returns the end of the hole or of the data at from, in whole regions or at to: a region that is only in part a hole counts as data.
func (a *attachment) extent(from, to int64) (end int64, hole bool, err error) {
	if end := a.holeAt(from, to); end > from {
		if end < to {
			end = end / regionSize * regionSize
		}
		if end > from {
			return end, true, nil
		}
	}
	end, err = a.vol.store.seekHole(from)
	if err != nil {
		return to, false, nil // a store that cannot tell is read
	}
	if end = (end + regionSize - 1) / regionSize * regionSize; end <= from {
		end = from + regionSize
	}
	return min(end, to), false, nil
}

// piece keeps n bytes at off, at most a piece: regions of zeroes as such, and between them what is not.
func (w *keptWriter) piece(off, n int64) error {
	p := w.buf[:n]
	if got, err := w.from.pair.att.vol.ReadAt(p, off); err != nil {
		return err
	} else if int64(got) != n {
		return refuse(KindInternal, "volume %s: %d of %d bytes at offset %d could be read", w.kept.Volume, got, n, off)
	}
	region := func(i int64) []byte { return p[i:min(i+regionSize, n)] }
	for i := int64(0); i < n; {
		zero := isZero(region(i))
		j := i + regionSize
		for j < n && isZero(region(j)) == zero {
			j += regionSize
		}
		j = min(j, n)
		var err error
		if zero {
			err = w.zeroes(off+i, j-i)
		} else {
			err = w.data(off+i, p[i:j])
		}
		if err != nil {
			return err
		}
		i = j
	}
	return nil
}

// zeroes keeps a range of zeroes: ranges that touch become one.
func (w *keptWriter) zeroes(off, n int64) error {
	if w.zero.Length > 0 && w.zero.end() == off {
		w.zero.Length += n
		return nil
	}
	err := w.flushZero()
	w.zero = KeptRange{Offset: off, Length: n, Zero: true}
	return err
}

func (w *keptWriter) flushZero() error {
	if w.zero.Length == 0 {
		return nil
	}
	r := w.zero
	w.zero = KeptRange{}
	return w.entry(r)
}

// data keeps a range that is not zeroes.
func (w *keptWriter) data(off int64, p []byte) error {
	if err := w.flushZero(); err != nil {
		return err
	}
	free, reserve, err := w.all.room()
	if err != nil {
		return err
	}
	if n := int64(len(p)); free-reserve < n {
		return noRoomToKeep(w.all.path, n, free, reserve)
	}
	err = w.step("write", func() error { _, err := w.image.WriteAt(p, off); return err })
	if err != nil {
		return keptFault(err, w.image.Name(), fmt.Sprintf("written at offset %d", off))
	}
	if w.written += int64(len(p)); w.written >= keptFlush {
		// Advice only: what fails here is told by the flush at the end.
		_ = unix.SyncFileRange(int(w.image.Fd()), w.begun, off+int64(len(p))-w.begun, unix.SYNC_FILE_RANGE_WRITE)
		w.begun, w.written = off+int64(len(p)), 0
	}
	w.kept.DataBytes += int64(len(p))
	return w.entry(KeptRange{Offset: off, Length: int64(len(p)), CRC: crc32.Checksum(p, castagnoli)})
}

// entry puts a range into the list.
func (w *keptWriter) entry(r KeptRange) error {
	w.kept.Ranges++
	w.kept.Bytes += r.Length
	w.line = r.appendTo(w.line[:0])
	if err := w.text(w.line); err != nil {
		return err
	}
	if w.tell != nil {
		w.tell(r.Length)
	}
	return nil
}

// finish makes the set durable under its name of an unfinished one, and closes its files.
func (w *keptWriter) finish() error {
	if err := w.text(w.kept.foot()); err != nil {
		return err
	}
	if err := w.text(fmt.Appendf(nil, keptSum, w.crc)); err != nil {
		return err
	}
	if err := w.out.Flush(); err != nil {
		return keptFault(err, w.list.Name(), "written")
	}
	if err := w.step("sync image", w.image.Sync); err != nil {
		return keptFault(err, w.image.Name(), "flushed")
	}
	if err := w.step("sync list", w.list.Sync); err != nil {
		return keptFault(err, w.list.Name(), "flushed")
	}
	w.kept.ListBytes, _ = fileSize(w.list)
	w.kept.Allocated = allocatedBy(w.image) + allocatedBy(w.list)
	if err := w.step("sync folder", w.dir.sync); err != nil {
		return keptFault(err, w.dir.path, "flushed")
	}
	w.close()
	return nil
}

// publish gives the set its name, which is durable when the folder of all sets has been flushed.
func (w *keptWriter) publish() error {
	err := w.step("rename", func() error { return w.all.rename(keptNew+w.kept.Name, w.kept.Name) })
	if w.public = err == nil; err != nil {
		return keptFault(err, filepath.Join(w.all.path, w.kept.Name), "made")
	}
	return nil
}

// close closes the files and gives the buffers back. A second close does nothing.
func (w *keptWriter) close() {
	for _, f := range []*os.File{w.image, w.list} {
		if f != nil {
			_ = f.Close() // it was flushed, or is given up
		}
	}
	if w.dir != nil {
		w.dir.close()
	}
	w.image, w.list, w.dir, w.out, w.buf = nil, nil, nil, nil, nil
}

// discard removes what there is of the set. What cannot be removed goes at the next start, or by a command if it has its name already.
func (w *keptWriter) discard() {
	w.close()
	name := keptNew + w.kept.Name
	if w.public {
		name = w.kept.Name
	}
	if err := w.all.remove(name); err != nil {
		w.site.log.Warn("a kept set that is not needed is left", "name", name, "error", err)
	}
}

// allocatedBy returns the bytes that a file takes on its file system.
func allocatedBy(f *os.File) int64 {
	var st unix.Stat_t
	if unix.Fstat(int(f.Fd()), &st) != nil {
		return 0
	}
	return st.Blocks * 512
}

// noRoomToKeep is the refusal for want of room.
func noRoomToKeep(path string, need, free, reserve int64) error {
	size := sizes(need, free, reserve)
	return refuse(KindNoSpace, "%s must be kept aside first, and the file system of %s has %s free, of which %s stay free for volumes: drop older sets (pairfs kept list, pairfs kept drop), or mount a larger file system at %s, then try again", size[0], path, size[1], size[2], path)
}
