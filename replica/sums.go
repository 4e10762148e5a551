package replica

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"pairfs/journal"
)

// A store has no checksums of its own: it is what hosts read, and a bit that turns over on its disk is theirs. But of a pair there are two stores,
// and what may differ between them is known: what a bitmap marks, and what a record changes that a journal still holds. So checksums of all other
// regions have to be the same on both sides. Sums writes those of one side down, and CompareSums compares them with the stores of the other side:
// both sites are stopped then. Between the two neither may start unless the pair is split: what is restored later is in no journal any more, and on
// one side only.
//
//	pairfs sums 1
//	pair NAME GENERATION SIZE SITE VOLUME     generation 16 hexadecimal digits, size decimal bytes
//	OFFSET SUM                                of each region (64 KiB; the last one may be shorter) that is not all zeroes, ascending: CRC32C, 8 hexadecimal digits
//	OFFSET -                                  of each region that may differ, or cannot be read
//	end
//
// Lines from "pair" to "end" come for each pair that can be compared, by name.
const sumsHead = "pairfs sums 1"

// mostDiffering bounds how many ranges of one volume are named.
const mostDiffering = 100

// regionSum is what is known of one region that is not all zeroes.
type regionSum struct {
	region int64
	sum    uint32
	differ bool // it may differ from the other side: there is no sum
}

// sumsOf is one pair whose store can be compared.
type sumsOf struct {
	name, site, volume string
	generation         uint64
	size               int64
	maybe              *bitmap // regions that may differ
}

// Sums writes the checksums of the stores of all pairs of a site that is not running, and reports which pairs have none and why. It changes nothing.
func Sums(stateDir string, w io.Writer, report func(Finding)) error {
	return withChecker(stateDir, report, func(c *checker) error {
		out := bufio.NewWriter(w)
		fmt.Fprintln(out, sumsHead)
		for _, name := range slices.Sorted(maps.Keys(c.pairs)) {
			p, why := c.sumsOf(name)
			if why != "" {
				c.say(true, "pair/"+name, "has no checksums: %s", why)
				continue
			}
			fmt.Fprintf(out, "pair %s %016x %d %s %s\n", name, p.generation, p.size, p.site, p.volume)
			summed := int64(0)
			c.regions(p, func(r regionSum) bool {
				if r.differ {
					fmt.Fprintf(out, "%d -\n", r.region*regionSize)
				} else {
					fmt.Fprintf(out, "%d %08x\n", r.region*regionSize, r.sum)
				}
				summed++
				return true
			})
			fmt.Fprintln(out, "end")
			c.say(false, "pair/"+name, "checksums of volume %s: %s with data, %s are left out because they may differ", p.volume, counted(int(summed), "region"), counted(int(p.maybe.count()), "region"))
		}
		return out.Flush()
	})
}

// CompareSums compares the stores of a site that is not running with what Sums wrote at the other site, and reports for each pair the ranges that
// differ although nothing says that they may. It changes nothing.
func CompareSums(stateDir string, r io.Reader, report func(Finding)) error {
	return withChecker(stateDir, report, func(c *checker) error {
		in := &sumsReader{in: bufio.NewScanner(r)}
		if !in.next() || in.text != sumsHead {
			return in.wrong("it does not begin with %q", sumsHead)
		}
		for in.next() {
			their, err := in.pair()
			if err == nil {
				err = c.compare(their, in)
			}
			if err != nil {
				return err
			}
		}
		return in.in.Err()
	})
}

// sumsOf looks whether a pair can be compared, and says why not.
func (c *checker) sumsOf(name string) (p *sumsOf, why string) {
	rec := c.pairs[name]
	g, haveGroup := c.groups[rec.Group]
	ring, left := c.rings[rec.Group]
	_, haveVolume := c.volumes[rec.Volume]
	switch {
	case !haveGroup || !haveVolume:
		return nil, "its volume or group is missing; see the findings without checksums"
	case g.Failed != "":
		return nil, "its journal was given up: start and stop the site first"
	case left && ring.Boot == c.boot:
		return nil, "the site was killed, and its staging ring holds writes: start and stop it first"
	case rec.State.Status == Deleting:
		return nil, "it is being deleted"
	}
	p = &sumsOf{name: name, site: c.site, volume: rec.Volume, generation: rec.Generation, size: rec.Size, maybe: newBitmap(max(rec.Size, 0))}
	if err := c.d.loadBitmap(name, p.maybe); err != nil {
		return nil, err.Error()
	}
	_, _, bad, err := c.records(rec.Group, func(r *journal.DumpRecord) {
		if r.Volume == rec.Number && r.Kind != journal.KindPad && r.Kind != journal.KindControl && r.Kind != journal.KindSkip && int64(r.Offset) >= 0 && int64(r.Length) >= 0 {
			p.maybe.setRange(int64(r.Offset), int64(r.Length))
		}
	})
	if err = errors.Join(err, bad); err != nil {
		return nil, fmt.Sprintf("its journal is not as it should be: %v", err)
	}
	return p, ""
}

// regions calls visit for each region of a pair's store that may differ or is not all zeroes, ascending, until it returns false. What cannot be
// read is reported, and may differ.
func (c *checker) regions(p *sumsOf, visit func(regionSum) bool) {
	f, err := os.OpenFile(filepath.Join(c.dir, "volumes", p.volume), os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0) // a pipe does not hold it up
	if err != nil {
		c.say(true, "volume/"+p.volume, "its store cannot be opened: %v", err)
		return
	}
	defer f.Close()
	_ = unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED) // what the disk has, and not what memory has of it
	buf, zero := make([]byte, regionSize), make([]byte, regionSize)
	data := int64(0) // nothing but a hole from the region on to here
	for r := int64(0); r < p.maybe.regions; r++ {
		if p.maybe.test(r) {
			if !visit(regionSum{region: r, differ: true}) {
				return
			}
			continue
		}
		off := r * regionSize
		end := min(off+regionSize, p.size)
		if data < off {
			switch data, err = unix.Seek(int(f.Fd()), off, unix.SEEK_DATA); {
			case errors.Is(err, unix.ENXIO):
				data = p.size // a hole up to the end
			case err != nil:
				data = off
			}
		}
		if data >= end {
			continue
		}
		n, err := f.ReadAt(buf[:end-off], off)
		clear(buf[n:])
		if err != nil && !errors.Is(err, io.EOF) {
			c.say(true, "volume/"+p.volume, "%d bytes at offset %d of its store cannot be read: %v", end-off, off, err)
			if !visit(regionSum{region: r, differ: true}) {
				return
			}
			continue
		}
		if bytes.Equal(buf[:end-off], zero[:end-off]) {
			continue
		}
		if !visit(regionSum{region: r, sum: crc32.Checksum(buf[:end-off], castagnoli)}) {
			return
		}
	}
}

// sumsReader reads what Sums wrote, line by line.
type sumsReader struct {
	in   *bufio.Scanner
	text string
	line int
}

func (s *sumsReader) next() bool {
	if !s.in.Scan() {
		return false
	}
	s.text, s.line = s.in.Text(), s.line+1
	return true
}

func (s *sumsReader) wrong(format string, args ...any) error {
	if err := s.in.Err(); err != nil {
		return fmt.Errorf("read the checksums: %w", err)
	}
	return refuse(KindInvalid, "line %d is not what pairfs check --sums writes: %s", s.line, fmt.Sprintf(format, args...))
}

// pair reads the line that begins a pair.
func (s *sumsReader) pair() (p *sumsOf, err error) {
	w := strings.Fields(s.text)
	p = &sumsOf{}
	if len(w) == 6 && w[0] == "pair" {
		p.name, p.site, p.volume = w[1], w[4], w[5]
		var errs [2]error
		p.generation, errs[0] = strconv.ParseUint(w[2], 16, 64)
		p.size, errs[1] = strconv.ParseInt(w[3], 10, 64)
		if errors.Join(errs[:]...) == nil && p.size >= 0 {
			return p, nil
		}
	}
	return nil, s.wrong("%q does not begin a pair", s.text)
}

// region reads the line of a region behind another one; more is false at the end of the pair.
func (s *sumsReader) region(behind int64) (r regionSum, more bool, err error) {
	if !s.next() {
		return r, false, s.wrong("it ends in the middle of a pair")
	}
	if s.text == "end" {
		return r, false, nil
	}
	off, sum, _ := strings.Cut(s.text, " ")
	at, err := strconv.ParseInt(off, 10, 64)
	if err == nil && sum != "-" {
		var v uint64
		v, err = strconv.ParseUint(sum, 16, 32)
		r.sum = uint32(v)
	}
	r.region, r.differ = at/regionSize, sum == "-"
	if err != nil || at%regionSize != 0 || r.region <= behind {
		return r, false, s.wrong("%q is no region behind offset %d", s.text, behind*regionSize)
	}
	return r, true, nil
}

// compare compares the store of a pair with the other side's checksums.
func (c *checker) compare(their *sumsOf, in *sumsReader) error {
	object := "pair/" + their.name
	rec, known := c.pairs[their.name]
	var mine *sumsOf
	why := "this site has no such pair"
	if known {
		mine, why = c.sumsOf(their.name)
	}
	switch {
	case why != "":
	case their.site == c.site:
		why = "the checksums are of this site and not of the other one"
	case their.generation != rec.Generation || their.size != rec.Size:
		why = "the checksums are of another history: both sides have to be stopped, and to know of the last takeover"
	}
	if why != "" {
		c.say(true, object, "is not compared with site %s: %s", their.site, why)
		for at := int64(-1); ; {
			r, more, err := in.region(at)
			if err != nil || !more {
				return err
			}
			at = r.region
		}
	}
	d := differing{c: c, mine: mine, their: their}
	next, more, err := in.region(-1)
	c.regions(mine, func(r regionSum) bool {
		for err == nil && more && next.region < r.region {
			d.look(regionSum{region: next.region}, next)
			next, more, err = in.region(next.region)
		}
		if err == nil && more && next.region == r.region {
			d.look(r, next)
			next, more, err = in.region(next.region)
		} else if err == nil {
			d.look(r, regionSum{region: r.region})
		}
		return err == nil
	})
	for err == nil && more {
		d.look(regionSum{region: next.region}, next)
		next, more, err = in.region(next.region)
	}
	if err == nil {
		d.end()
	}
	return err
}

// differing gathers what differs between two stores.
type differing struct {
	c           *checker
	mine, their *sumsOf
	first, n    int64 // the run of regions that is being gathered
	ranges      int
	bytes, left int64
}

// look compares one region; a sum of zero without differ stands for zeroes, or is one by chance, of 4 billion.
func (d *differing) look(mine, their regionSum) {
	switch {
	case mine.region >= d.mine.maybe.regions:
		return // the sizes are the same, so it is no region of the volume
	case mine.differ || their.differ:
		d.left += d.length(mine.region, 1)
		return
	case mine.sum == their.sum:
		return
	}
	if d.n > 0 && d.first+d.n == mine.region {
		d.n++
		return
	}
	d.tell()
	d.first, d.n = mine.region, 1
}

func (d *differing) length(first, n int64) int64 {
	return min((first+n)*regionSize, d.mine.size) - first*regionSize
}

// tell names the run.
func (d *differing) tell() {
	if d.n == 0 {
		return
	}
	d.ranges++
	n := d.length(d.first, d.n)
	d.bytes += n
	if d.ranges <= mostDiffering {
		d.c.say(true, "volume/"+d.mine.volume, "%d bytes at offset %d are not what site %s has, and nothing says that they may differ: one of the stores is damaged", n, d.first*regionSize, d.their.site)
	}
	d.n = 0
}

func (d *differing) end() {
	d.tell()
	object := "pair/" + d.mine.name
	if d.ranges > 0 {
		d.c.say(true, object, "%s in %s of volume %s differ from site %s; find out which side is right (a file system check, a backup), and go on as docs/runbooks.md says (Damaged store)", iec(d.bytes), counted(d.ranges, "range"), d.mine.volume, d.their.site)
		return
	}
	d.c.say(false, object, "volume %s is the same at site %s, but for %s that may differ", d.mine.volume, d.their.site, iec(d.left))
}
