package journal

import (
	"errors"
	"hash/crc32"
)

// What the fuzz test of the recovery needs of the inside: journals made by hand, byte by byte, smaller than Create makes them.

// VolumePage is the first page of journal volume number of count; count 0: of a journal with a layout file.
func VolumePage(id [16]byte, number, count int, data uint64) []byte {
	h := volumeHeader{version: formatVersion, number: uint32(number), id: id, data: data, created: 1, count: uint32(count)}
	if count > 0 {
		h.version = fixedVersion
	}
	return h.encode()
}

// LayoutPage is a page of the layout file of a journal that had its first journal volume alone until base.
func LayoutPage(id [16]byte, generation uint64, base Position, data ...uint64) []byte {
	var all []*volume
	for i, d := range data {
		all = append(all, &volume{number: i + 1, data: d})
	}
	m := newPlan(nil, 0, all)
	if base > 0 && len(all) > 1 {
		all[1].since = base
		m = newPlan([]span{{0, base, all[0]}}, base, append(all[1:len(all):len(all)], all[0]))
	}
	return (&layout{next: uint32(len(all) + 1), id: id, generation: generation, created: 1, plan: m}).encode()
}

// AppendPlaced appends a record as it stands in the journal with that id. The position in r is its place.
func AppendPlaced(b []byte, id [16]byte, r Record, synced Position) []byte {
	at := len(b)
	b = append(b, make([]byte, sizeOf(r.Kind, r.Flags, r.Length))...)
	putHeader(b[at:], &r, uint32((r.Position-synced)/HeaderSize))
	copy(b[at+HeaderSize:], r.Payload)
	setWord(b[at:], seedOf(id), checksum(b[at:at+HeaderSize], r.Payload))
	return b
}

// MendRecords gives all that looks like a record in b its checksums for the journal with that id; those of a bit that is set in unpublished, the
// first one in bit 0, become reservations. If place is not MaxPosition, positions are mended too: b begins there.
func MendRecords(b []byte, id [16]byte, place Position, unpublished uint64) {
	seed, n := seedOf(id), 0
	for off := 0; off+HeaderSize <= len(b); off += HeaderSize {
		if le.Uint16(b[off:]) == recordMagic {
			n++
		}
	}
	for off := (len(b)/HeaderSize - 1) * HeaderSize; off >= 0; off -= HeaderSize { // from behind, for a payload may look like one
		h := b[off:]
		if le.Uint16(h) != recordMagic {
			continue
		}
		n--
		if place != MaxPosition {
			le.PutUint64(h[atPosition:], uint64(place)+uint64(off))
		}
		if unpublished>>n&1 != 0 {
			le.PutUint32(h[atWord:], 0)
			le.PutUint32(h[atSeal:], seal(seed, h, 0)^reservedMark)
			continue
		}
		r, size := getHeader(h), uint64(0)
		if hasPayload(r.Kind, r.Flags) {
			size = min(r.Length, uint64(len(h)-HeaderSize))
		}
		setWord(h, seed, checksum(h[:HeaderSize], h[HeaderSize:HeaderSize+size]))
	}
}

// MendVolume makes the first page of a journal volume fit its file.
func MendVolume(page []byte, size int) {
	le.PutUint64(page[32:], uint64(size-PageSize))
	h := volumeHeader{version: le.Uint32(page[8:]), number: le.Uint32(page[12:]), data: le.Uint64(page[32:]), created: int64(le.Uint64(page[40:])), count: le.Uint32(page[48:])}
	copy(h.id[:], page[16:])
	copy(page, h.encode())
}

// MendLayout gives a page of a layout file its checksum.
func MendLayout(page []byte) { le.PutUint32(page[60:], layoutCRC(page)) }

func seedOf(id [16]byte) uint32 { return crc32.Checksum(id[:], castagnoli) }

// stagedRing is the memory of a ring, made once: a fuzz test runs its inputs one after the other.
var stagedRing = ring{path: "ring", size: MinRingSize, head: make([]byte, PageSize), mem: make([]byte, 2*MinRingSize)}

// hold puts bytes where a ring mapped twice has them.
func (r *ring) hold(at Position, b []byte) {
	off := uint64(at) % r.size
	n := copy(r.mem[off:r.size], b)
	copy(r.mem[off+r.size:], b[:n])
	copy(r.mem, b[n:])
	copy(r.mem[r.size:], b[n:])
}

// Recover is Open up to where the ring is made anew: it recovers the journal in o.Dir with what a ring holds from the position at on, nil for no
// ring, and lets the files go.
func Recover(o Options, head Head, known Position, at Position, staged []byte, visit RecoverFunc) (rec Recovery, err error) {
	if err := o.complete(); err != nil {
		return rec, err
	}
	v, err := openVolumes(o.FS, o.Dir, true)
	if err != nil {
		return rec, err
	}
	defer func() { err = errors.Join(err, v.close()) }()
	if err := v.anchor(head); err != nil {
		return rec, err
	}
	var r *ring
	if staged != nil {
		r = &stagedRing
		r.hold(at, staged)
		defer r.hold(at, make([]byte, len(staged)))
	}
	index := &index{}
	m := v.plan.Load()
	index.init(m.total())
	s := &scan{v: v, win: newWindow(v, min(windowSize, int(m.total()))), pos: head.Position, last: head.Seq, index: index, visit: visit, received: o.Received, limit: m.limit(head.Position)}
	return s.recover(r, known)
}
