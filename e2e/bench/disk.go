package main

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"text/tabwriter"

	"golang.org/x/sys/unix"
)

// traffic is what was written to a disk.
type traffic struct {
	writes float64 // requests, as the disk got them
	bytes  float64
}

func (t traffic) since(before traffic) traffic {
	return traffic{t.writes - before.writes, t.bytes - before.bytes}
}

// written returns what was written to the disk of the run since the host was started, or nothing where the kernel does not count that.
func (b *benchmark) written() traffic {
	var st unix.Stat_t
	if unix.Stat(b.r.dir, &st) != nil {
		return traffic{}
	}
	text, err := os.ReadFile(fmt.Sprintf("/sys/dev/block/%d:%d/stat", unix.Major(st.Dev), unix.Minor(st.Dev)))
	if err != nil {
		return traffic{}
	}
	return parseTraffic(string(text))
}

// parseTraffic reads the line of a block device: the fifth number is of writes, the seventh of sectors of 512 bytes.
func parseTraffic(line string) (t traffic) {
	var skip, sectors float64
	if n, _ := fmt.Sscan(line, &skip, &skip, &skip, &skip, &t.writes, &skip, &sectors); n < 7 {
		return traffic{}
	}
	t.bytes = sectors * 512
	return t
}

// diskBytes is how many bytes the disk got for each of the host's, diskWrites how many requests for each 4 KiB.
func (s sample) diskBytes() float64  { return s.perByte(s.disk.bytes) }
func (s sample) diskWrites() float64 { return s.perByte(s.disk.writes) * 4096 }

func (s sample) perByte(v float64) float64 {
	if s.bytes == 0 {
		return 0
	}
	return v / s.bytes
}

// printDisk writes what the jobs that write made of the disk, if that is known.
func printDisk(w io.Writer, names []string, rows []row) error {
	known := slices.ContainsFunc(rows, func(r row) bool {
		return slices.ContainsFunc(r.cells, func(c cell) bool { return median(c.samples).disk.writes > 0 })
	})
	if !known {
		return nil
	}
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(tw, "\nDISK, REQUESTS FOR EACH 4 KiB / BYTES FOR EACH BYTE\t%s\n", strings.Join(names, "\t"))
	for _, r := range rows {
		if r.job.read || r.job.inserts != "" {
			continue
		}
		fmt.Fprint(tw, r.job.name)
		for _, c := range r.cells {
			m := median(c.samples)
			fmt.Fprintf(tw, "\t%.2f/%.1f", m.diskWrites(), m.diskBytes())
		}
		fmt.Fprintln(tw)
	}
	return tw.Flush()
}

// still brings what lies in the page cache to the disk, so that a job pays for what it wrote, and no other does.
func (b *benchmark) still() error {
	dir, err := os.Open(b.r.dir)
	if err != nil {
		return err
	}
	defer dir.Close()
	if err := unix.Syncfs(int(dir.Fd())); err != nil {
		return fmt.Errorf("flush the file system of %s: %w", b.r.dir, err)
	}
	return nil
}
