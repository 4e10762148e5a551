package journal

import "fmt"

// staged is one record that only the ring holds.
type staged struct {
	pos  Position
	size int
	as   stagedAs
}

// stagedAs says what becomes of a staged record.
type stagedAs uint8

const (
	asItIs    stagedAs = iota // it was published: taken whole
	asSkip                    // it was reserved only, so never acknowledged: its number is stepped over
	asLocal                   // a host wrote it behind a received record that is dropped: taken with the number before that
	asNothing                 // received, and sent again by the peer: its place becomes a pad
)

// replay finds the records in the ring that follow the tail of the scan without a gap. A record that was published is taken whole; one
// that was reserved only is stepped over, its size is known. The walk ends at the first place that holds neither. A record that is
// there but does not fit is damage: it was acknowledged. If s.received, a numbered record that was reserved only and everything received
// behind it are left to the peer to be sent again; what hosts of this side wrote behind it stays. See Options.
func (s *scan) replay(r *ring) (list []staged, err error) {
	at := *s
	resent := false
	for at.pos-s.pos < Position(min(r.size, maxUnflushed)) {
		b := r.at(at.pos, MaxRecord)
		if le.Uint16(b) != recordMagic || Position(le.Uint64(b[atPosition:])) != at.pos {
			break
		}
		crc, mark := word(b)
		reserved := crc == 0 && mark == seal(s.v.seed, b, 0)^reservedMark
		if !reserved && mark != seal(s.v.seed, b, crc) {
			break
		}
		rec, size, err := parseHeader(b)
		if err == nil {
			err = at.fitsHere(&rec, size)
		}
		if err == nil && !reserved {
			_, _, err = parseBody(b)
		}
		if err != nil {
			return nil, fmt.Errorf("staging ring %s holds an acknowledged record that cannot be taken; remove the file to go on without it and resync: %w", r.path, err)
		}
		resent = resent || s.received && reserved && rec.Advances()
		list = append(list, staged{at.pos, size, takenAs(&rec, reserved, resent)})
		at.last, at.pos = rec.Seq, at.pos+Position(size)
	}
	for n := len(list); n > 0 && list[n-1].as == asNothing; n-- {
		list = list[:n-1]
	}
	return list, nil
}

// takenAs decides about one staged record: reserved and not published, and at or behind the first that the peer sends again.
func takenAs(rec *Record, reserved, resent bool) stagedAs {
	switch {
	case resent && !reserved && rec.Flags&FlagLocal != 0:
		return asLocal
	case resent:
		return asNothing
	case reserved:
		return asSkip
	}
	return asItIs
}

// image builds the pages that complete the journal: the recovered part of the page in which the tail lies, the staged records, and a pad to the end of the
// page. It gives the pages, their position, and the tail after them.
func (s *scan) image(list []staged, r *ring) (pages []byte, base, tail Position, err error) {
	base, tail = pageFloor(s.pos), s.pos
	if n := len(list); n > 0 {
		tail = list[n-1].pos + Position(list[n-1].size)
	}
	pages = alignedBuf(int(pageCeil(tail) - base))
	if n := int(s.pos - base); n > 0 {
		b, err := s.win.at(base, n, s.limit)
		if err != nil {
			return nil, 0, 0, err
		}
		copy(pages, b)
	}
	last := s.last
	for _, x := range list {
		dst, src := pages[x.pos-base:][:x.size], r.at(x.pos, uint64(x.size))
		switch x.as {
		case asItIs:
			copy(dst, src)
		case asLocal:
			renumber(dst, src, s.v.seed, last)
		case asSkip:
			stepOver(dst, src, s.v.seed)
		case asNothing:
			writePad(dst, s.v.seed, x.pos, last, uint64(x.size))
		}
		last = Seq(le.Uint64(dst[atSeq:]))
	}
	if rest := pageCeil(tail) - tail; rest > 0 {
		writePad(pages[tail-base:], s.v.seed, tail, last, uint64(rest))
	}
	return pages, base, pageCeil(tail), nil
}

// renumber writes into dst a record without a number of its own, behind another one than it was written behind. Its bytes were checked.
func renumber(dst, src []byte, seed uint32, last Seq) {
	copy(dst, src)
	le.PutUint64(dst[atSeq:], uint64(last))
	rec := getHeader(dst)
	n := 0
	if hasPayload(rec.Kind, rec.Flags) {
		n = int(rec.Length)
	}
	setWord(dst, seed, checksum(dst[:HeaderSize], dst[HeaderSize:HeaderSize+n]))
}

// stepOver writes into dst what takes the place of a record that was reserved but never published, and so never acknowledged: a skip
// with its number, so that numbers stay dense, and a pad over the payload; or a pad alone if it had no number.
func stepOver(dst, header []byte, seed uint32) {
	rec := getHeader(header)
	size := uint64(len(dst))
	if !rec.Advances() {
		writePad(dst, seed, rec.Position, rec.Seq, size)
		return
	}
	rec.Kind, rec.Flags = KindSkip, rec.Flags&FlagEpoch
	putHeader(dst, &rec, 0)
	setWord(dst, seed, checksum(dst[:HeaderSize], nil))
	if size > HeaderSize {
		writePad(dst[HeaderSize:], seed, rec.Position+HeaderSize, rec.Seq, size-HeaderSize)
	}
}

// writePad writes a pad of size bytes into plain memory that is zero behind the header.
func writePad(dst []byte, seed uint32, p Position, last Seq, size uint64) {
	putHeader(dst, &Record{Kind: KindPad, Seq: last, Length: size, Position: p}, 0)
	setWord(dst, seed, checksum(dst[:HeaderSize], nil))
}
