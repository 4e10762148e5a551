package journal

import (
	"errors"
	"fmt"
	"sort"
	"time"
)

// DumpRecord is a record as it stands in a journal volume.
type DumpRecord struct {
	Record
	JournalVolume int      // number, from 1
	FileOffset    int64    // of the header in the journal volume's file
	Size          int      // bytes, header included
	Synced        Position // durable mark when the record was made
	Err           error    // why the record is not valid, wraps ErrCorrupt; nil for a good one. Payload is nil then.
}

// DumpVolume is a journal volume as its header describes it.
type DumpVolume struct {
	Index int // its number, from 1
	Name  string
	Bytes int64    // of the data area
	Since Position // where the layout begins that added it; 0 for those that Create made
}

// DumpSpan is a stretch of positions that a layout gives to a journal volume.
type DumpSpan struct {
	Start, End Position
	Volume     int // number of the journal volume
}

// DumpLayout is where records stand. Positions before the first span, or before Base without one, were freed.
type DumpLayout struct {
	Generation uint64     // changes of the layout, and one for the layout file itself; 0: there is none, and Base and Past are not known
	Past       []DumpSpan // filled under earlier layouts
	Base       Position   // from here on the cycle is filled round after round
	Cycle      []int      // numbers of the journal volumes in this order
}

// DumpSummary is what Dump knows of a journal besides its records.
type DumpSummary struct {
	ID          [16]byte
	Created     time.Time
	Volumes     []DumpVolume
	Layout      DumpLayout
	Capacity    int64    // of the data areas of the cycle
	Records     int      // without pads
	Pads        int      //
	Bad         int      // records with Err
	First, Last Position // of the oldest record, and the end of the newest; a journal does not know itself what was freed
	LastSeq     Seq      // of the newest record
}

// dumpRun is a chain of records without a gap in one journal volume.
type dumpRun struct {
	vol        *volume
	start, end uint64 // in the data area
	pos        Position
}

// Dump reads a journal without opening it and calls fn for every record that can be recognised, pads included, by position: the
// oldest first, those of earlier laps that were not overwritten yet among them. It changes nothing; on a journal in use it may show a torn newest record as bad.
// A nil fsys means OS, a nil fn wants the summary only. Errors: ErrVersion, ErrCorrupt if the journal volumes do not belong together, the disk's, or fn's.
func Dump(fsys FS, dir string, fn func(*DumpRecord) error) (sum DumpSummary, err error) {
	o := Options{FS: fsys}
	v, err := openVolumes(o.fsys(), dir, false)
	if err != nil {
		return sum, err
	}
	defer func() { err = errors.Join(err, v.close()) }()
	m := v.plan.Load()
	sum = DumpSummary{ID: v.id, Created: time.Unix(0, v.created), Layout: dumpLayout(v.generation, m), Capacity: int64(m.capacity)}
	var runs []dumpRun
	for _, vol := range m.table {
		sum.Volumes = append(sum.Volumes, DumpVolume{vol.number, volumeName(vol.number), int64(vol.data), vol.since})
		d := dumper{v: v, vol: vol}
		found, err := d.runs()
		if err != nil {
			return sum, fmt.Errorf("dump journal %s: %w", dir, err)
		}
		runs = append(runs, found...)
	}
	sort.Slice(runs, func(a, b int) bool { return runs[a].pos < runs[b].pos })
	for _, r := range runs {
		d := dumper{v: v, vol: r.vol}
		if err := d.show(r, &sum, fn); err != nil {
			return sum, fmt.Errorf("dump journal %s: %w", dir, err)
		}
	}
	return sum, nil
}

// dumpLayout describes a plan.
func dumpLayout(generation uint64, m *plan) DumpLayout {
	l := DumpLayout{Generation: generation, Base: m.base}
	for _, s := range m.past {
		l.Past = append(l.Past, DumpSpan{s.start, s.end, s.vol.number})
	}
	for _, v := range m.cycle {
		l.Cycle = append(l.Cycle, v.number)
	}
	return l
}

// dumper reads one journal volume by offsets in its data area.
type dumper struct {
	v          *volumes
	vol        *volume
	buf        []byte
	start, end uint64
}

// at gives up to n bytes at off, fewer only at the end of the data area.
func (d *dumper) at(off uint64, n int) ([]byte, error) {
	if d.buf == nil {
		d.buf = alignedBuf(windowSize)
	}
	if off < d.start || min(off+uint64(n), d.vol.data) > d.end {
		d.start = off &^ (PageSize - 1)
		d.end = min(d.start+windowSize, d.vol.data)
		if got, err := d.vol.file.ReadAt(d.buf[:d.end-d.start], int64(d.start+PageSize)); got < int(d.end-d.start) {
			d.end = d.start
			return nil, fmt.Errorf("read journal volume %d at %d: %w", d.vol.number, off, err)
		}
	}
	return d.buf[off-d.start : min(off+uint64(n), d.end)-d.start], nil
}

// runs finds the chains of records of the volume. Where a chain ends it looks at each following place for the next one.
func (d *dumper) runs() (list []dumpRun, err error) {
	for off := uint64(0); off < d.vol.data; {
		b, err := d.at(off, HeaderSize)
		if err != nil {
			return nil, err
		}
		if !sealed(d.v.seed, b) {
			off += HeaderSize
			continue
		}
		r, size, err := parseHeader(b)
		if b[2] > recordVersion {
			return nil, fmt.Errorf("%w: record at offset %d of journal volume %d; use the program that wrote it", ErrVersion, off, d.vol.number)
		}
		if err != nil || off+uint64(size) > d.vol.data {
			off += HeaderSize
			continue
		}
		if n := len(list); n > 0 && list[n-1].end == off && r.Position == list[n-1].pos+Position(off-list[n-1].start) {
			list[n-1].end += uint64(size)
		} else {
			list = append(list, dumpRun{d.vol, off, off + uint64(size), r.Position})
		}
		off += uint64(size)
	}
	return list, nil
}

// show calls fn for the records of a chain.
func (d *dumper) show(run dumpRun, sum *DumpSummary, fn func(*DumpRecord) error) error {
	for off := run.start; off < run.end; {
		b, err := d.at(off, MaxRecord)
		if err != nil {
			return err
		}
		r, size, bad := parseBody(b)
		if bad != nil {
			r, size, err = parseHeader(b)
			if err != nil {
				return err
			}
		}
		x := DumpRecord{Record: r, JournalVolume: run.vol.number, FileOffset: int64(off) + PageSize, Size: size, Synced: syncedMark(b, r.Position), Err: bad}
		sum.count(&x)
		if fn != nil {
			if err := fn(&x); err != nil {
				return err
			}
		}
		off += uint64(size)
	}
	return nil
}

// count takes a record into the summary.
func (s *DumpSummary) count(x *DumpRecord) {
	if s.Records+s.Pads+s.Bad == 0 {
		s.First = x.Position
	}
	switch {
	case x.Err != nil:
		s.Bad++
	case x.Kind == KindPad:
		s.Pads++
	default:
		s.Records++
	}
	s.Last, s.LastSeq = x.Position+Position(x.Size), x.Seq
}
