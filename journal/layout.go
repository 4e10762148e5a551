package journal

import (
	"bytes"
	"fmt"
	"hash/crc32"
)

const (
	layoutName  = "layout"
	layoutMagic = "PAIRFSJL"
	// Where the lists begin in a page of the layout file, and the bytes of their entries.
	layoutVolumesAt, layoutVolumeSize = 64, 24
	layoutPastAt, layoutSpanSize      = 2048, 16
	layoutCycleAt, layoutPlaceSize    = 3584, 4
	// maxPast bounds the spans of the past: no journal volume is in two of them but the one in which the oldest needed byte lies.
	maxPast = MaxVolumes + 1
)

// layout is a page of the layout file.
type layout struct {
	next       uint32 // number for the journal volume that is added next
	id         [16]byte
	generation uint64
	created    int64
	plan       *plan // its volumes have no files
}

// encode gives the page.
func (l *layout) encode() []byte {
	b, m := alignedBuf(PageSize), l.plan
	copy(b, layoutMagic)
	le.PutUint32(b[8:], formatVersion)
	le.PutUint32(b[12:], l.next)
	copy(b[16:], l.id[:])
	le.PutUint64(b[32:], l.generation)
	le.PutUint64(b[40:], uint64(l.created))
	le.PutUint64(b[48:], uint64(m.base))
	b[56], b[57], b[58] = byte(len(m.table)), byte(len(m.past)), byte(len(m.cycle))
	place := map[*volume]uint32{}
	for i, v := range m.table {
		place[v] = uint32(i)
		e := b[layoutVolumesAt+i*layoutVolumeSize:]
		le.PutUint32(e, uint32(v.number))
		le.PutUint64(e[8:], v.data)
		le.PutUint64(e[16:], uint64(v.since))
	}
	for i, s := range m.past {
		e := b[layoutPastAt+i*layoutSpanSize:]
		le.PutUint64(e, uint64(s.start))
		le.PutUint32(e[8:], place[s.vol])
	}
	for i, v := range m.cycle {
		le.PutUint32(b[layoutCycleAt+i*layoutPlaceSize:], place[v])
	}
	le.PutUint32(b[60:], layoutCRC(b))
	return b
}

// same reports whether two pages stand for one layout.
func (l *layout) same(o *layout) bool {
	c := *o
	c.generation = l.generation
	return bytes.Equal(l.encode(), c.encode())
}

// layoutCRC covers the whole page but the checksum itself.
func layoutCRC(b []byte) uint32 {
	return crc32.Update(crc32.Checksum(b[:60], castagnoli), castagnoli, b[64:PageSize])
}

// decodeLayout reads a page of the layout file called name.
func decodeLayout(name string, b []byte) (*layout, error) {
	switch version := le.Uint32(b[8:]); {
	case string(b[:8]) != layoutMagic:
		return nil, fmt.Errorf("%w: %s does not begin like the layout of a journal", ErrCorrupt, name)
	case le.Uint32(b[60:]) != layoutCRC(b):
		return nil, fmt.Errorf("%w: %s fails its checksum", ErrCorrupt, name)
	case version > formatVersion:
		return nil, fmt.Errorf("%w: %s has version %d, this program knows %d; use a newer program", ErrVersion, name, version, formatVersion)
	}
	l := &layout{next: le.Uint32(b[12:]), generation: le.Uint64(b[32:]), created: int64(le.Uint64(b[40:]))}
	copy(l.id[:], b[16:])
	table, err := layoutVolumes(b, int64(l.next))
	var past []span
	base := Position(le.Uint64(b[48:]))
	if err == nil {
		past, err = layoutPast(b, table, base)
	}
	var cycle []*volume
	if err == nil {
		cycle, err = layoutCycle(b, table)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %s %w", ErrCorrupt, name, err)
	}
	l.plan = newPlan(past, base, cycle)
	// What is not zero where zeroes belong, a number twice, or a volume that nothing needs shows here.
	if l.generation == 0 || len(l.plan.table) != len(table) || !bytes.Equal(l.encode(), b[:PageSize]) {
		return nil, fmt.Errorf("%w: %s has version %d and bytes that break its rules", ErrCorrupt, name, le.Uint32(b[8:]))
	}
	return l, nil
}

// layoutVolumes reads the list of journal volumes.
func layoutVolumes(b []byte, next int64) (table []*volume, err error) {
	n := int(b[56])
	if n < 1 || n > MaxVolumes {
		return nil, fmt.Errorf("lists %d journal volumes", n)
	}
	total := uint64(0)
	for i := range n {
		e := b[layoutVolumesAt+i*layoutVolumeSize:]
		v := &volume{number: int(le.Uint32(e)), data: le.Uint64(e[8:]), since: Position(le.Uint64(e[16:]))}
		if v.number == 0 || int64(v.number) >= next || v.data < PageSize || v.data%PageSize != 0 || v.data > maxVolumeSize || i > 0 && v.number <= table[i-1].number {
			return nil, fmt.Errorf("lists journal volume %d with %d bytes", v.number, v.data)
		}
		if total += v.data; total > maxTotal {
			return nil, fmt.Errorf("lists journal volumes of more than %d bytes", uint64(maxTotal))
		}
		table = append(table, v)
	}
	return table, nil
}

// layoutPast reads the spans before base.
func layoutPast(b []byte, table []*volume, base Position) (past []span, err error) {
	n := int(b[57])
	if n > maxPast || base%PageSize != 0 || base > MaxPosition {
		return nil, fmt.Errorf("has %d spans before position %d", n, base)
	}
	end := base
	past = make([]span, n)
	for i := n - 1; i >= 0; i-- {
		e := b[layoutPastAt+i*layoutSpanSize:]
		start, place := Position(le.Uint64(e)), int64(le.Uint32(e[8:]))
		if place >= int64(len(table)) || start%PageSize != 0 || start >= end || uint64(end-start) > table[place].data {
			return nil, fmt.Errorf("has a span from position %d to %d in journal volume %d of its list", start, end, place)
		}
		past[i] = span{start, end, table[place]}
		end = start
	}
	return past, nil
}

// layoutCycle reads the volumes that are filled from base on.
func layoutCycle(b []byte, table []*volume) (cycle []*volume, err error) {
	n, seen := int(b[58]), uint64(0)
	if n < 1 || n > len(table) {
		return nil, fmt.Errorf("fills %d journal volumes", n)
	}
	for i := range n {
		place := int64(le.Uint32(b[layoutCycleAt+i*layoutPlaceSize:]))
		if place >= int64(len(table)) || seen>>place&1 != 0 {
			return nil, fmt.Errorf("fills journal volume %d of its list", place)
		}
		seen |= 1 << place
		cycle = append(cycle, table[place])
	}
	return cycle, nil
}
