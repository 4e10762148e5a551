package journal

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
)

// Places of the fields in a record header. Part of the format; never change, only add. See the drawing in the package comment.
const (
	recordMagic   = 0x4A50 // "PJ"
	recordVersion = 1

	atPosition = 8
	atSeq      = 16
	atOffset   = 24
	atLength   = 32
	atTime     = 40
	atFlags    = 48
	atReserved = 50
	atSynced   = 52
	atWord     = 56 // crc and hcrc: the aligned 8 bytes whose one store publishes the record
	atSeal     = 60

	// reservedMark turns the seal of a record with crc 0 into the mark "reserved, not published".
	reservedMark = 0xA5A5A5A5
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// le is the byte order of the format.
var le = binary.LittleEndian

// putHeader writes bytes 0 to 55 of a record header.
func putHeader(b []byte, r *Record, synced uint32) {
	_ = b[HeaderSize-1]
	le.PutUint64(b, recordMagic|recordVersion<<16|uint64(r.Kind)<<24|uint64(r.Volume)<<32)
	le.PutUint64(b[atPosition:], uint64(r.Position))
	le.PutUint64(b[atSeq:], uint64(r.Seq))
	le.PutUint64(b[atOffset:], r.Offset)
	le.PutUint64(b[atLength:], r.Length)
	le.PutUint64(b[atTime:], uint64(r.Time))
	le.PutUint64(b[atFlags:], uint64(r.Flags)|uint64(synced)<<32)
}

// getHeader reads all fields of a record header but checks none. Payload stays nil.
func getHeader(b []byte) Record {
	_ = b[HeaderSize-1]
	return Record{
		Kind: Kind(b[3]), Volume: le.Uint32(b[4:]), Position: Position(le.Uint64(b[atPosition:])), Seq: Seq(le.Uint64(b[atSeq:])),
		Offset: le.Uint64(b[atOffset:]), Length: le.Uint64(b[atLength:]), Time: int64(le.Uint64(b[atTime:])),
		Flags: Flags(le.Uint16(b[atFlags:])), CRC: le.Uint32(b[atWord:]),
	}
}

// checksum is the end-to-end checksum of a record in its byte form: CRC32C over header bytes 16 to 47 (seq, offset, length, time),
// then volume, flags, kind and a zero byte, then the payload. The order lets the hardware take the first 32 bytes in one piece.
func checksum(header, payload []byte) uint32 {
	c := crc32.Update(0, castagnoli, header[atSeq:atFlags])
	c = updateSmall(c, uint64(le.Uint32(header[4:]))|uint64(le.Uint16(header[atFlags:]))<<32|uint64(header[3])<<48, 8)
	return crc32.Update(c, castagnoli, payload)
}

// ChecksumRecord is the end-to-end checksum over kind, volume, seq, offset, length, time, flags and payload of r; r.CRC is not looked at.
func ChecksumRecord(r *Record) uint32 {
	var b [HeaderSize]byte
	putHeader(b[:], r, 0)
	return checksum(b[:], r.Payload)
}

// updateSmall continues a CRC32C over the n low bytes of v. It is here because slices given to crc32 escape to the heap, which
// would cost the append path an allocation per record.
func updateSmall(crc uint32, v uint64, n int) uint32 {
	crc = ^crc
	for range n {
		crc = castagnoli[byte(crc)^byte(v)] ^ crc>>8
		v >>= 8
	}
	return ^crc
}

// seal is the hcrc of a header with the given crc. The seed is the CRC32C of the journal id, so that a record fits one journal only.
func seal(seed uint32, header []byte, crc uint32) uint32 {
	return updateSmall(crc32.Update(seed, castagnoli, header[:atWord]), uint64(crc), 4)
}

// sealed reports whether header bytes are a record header of the journal with that seed, of whatever version, written whole.
func sealed(seed uint32, header []byte) bool {
	return le.Uint16(header) == recordMagic && seal(seed, header, le.Uint32(header[atWord:])) == le.Uint32(header[atSeal:])
}

// setWord stores crc and hcrc in plain memory. In the ring use ring.setWord.
func setWord(header []byte, seed, crc uint32) {
	le.PutUint32(header[atWord:], crc)
	le.PutUint32(header[atSeal:], seal(seed, header, crc))
}

// syncedMark gives the durable mark that was known when the record was reserved, or 0 where the field was too small for it.
func syncedMark(header []byte, p Position) Position {
	n := le.Uint32(header[atSynced:])
	if back := Position(n) * HeaderSize; n != ^uint32(0) && back <= p {
		return p - back
	}
	return 0
}

// sizeOf is the number of bytes that a record of the given fields takes, header included.
func sizeOf(k Kind, f Flags, length uint64) uint64 {
	switch {
	case k == KindPad:
		return length
	case hasPayload(k, f):
		return HeaderSize + (length+HeaderSize-1)&^(HeaderSize-1)
	}
	return HeaderSize
}

// checkFields checks what the fields of a record may hold, without checksums and without its neighbours.
func checkFields(r *Record) error {
	payload := hasPayload(r.Kind, r.Flags)
	switch {
	case r.Kind == 0 || int(r.Kind) >= len(kindNames):
		return fmt.Errorf("kind %d is not known", r.Kind)
	case r.Flags&^flagsKnown != 0:
		return fmt.Errorf("flags %#x are not known", uint16(r.Flags))
	case r.Flags&FlagZero != 0 && r.Kind != KindBase:
		return fmt.Errorf("flag zero on a record of kind %s", r.Kind)
	case r.Flags&FlagEpoch != 0 && (r.Kind != KindControl && r.Kind != KindSkip || r.Flags&FlagLocal != 0):
		return fmt.Errorf("flag epoch on a record of kind %s and flags %s", r.Kind, r.Flags)
	case r.Flags&FlagLocal != 0 && (r.Kind == KindPad || r.Kind == KindSkip):
		return fmt.Errorf("flag local on a record of kind %s", r.Kind)
	case payload && r.Length > MaxPayload:
		return fmt.Errorf("%w: payload of %d bytes, at most %d are allowed", ErrTooLarge, r.Length, MaxPayload)
	case r.Kind == KindPad && (r.Length < HeaderSize || r.Length > MaxRecord || r.Length%HeaderSize != 0 || r.Volume != 0 || r.Offset != 0):
		return fmt.Errorf("pad of %d bytes, volume %d, offset %d", r.Length, r.Volume, r.Offset)
	case r.Offset > uint64(MaxPosition) || r.Length > uint64(MaxPosition) || r.Offset+r.Length > uint64(MaxPosition):
		return fmt.Errorf("offset %d and length %d reach beyond 2^63", r.Offset, r.Length)
	case r.Seq > Seq(MaxPosition):
		return fmt.Errorf("sequence number %d is beyond 2^63", r.Seq)
	}
	return nil
}

// Parse reads the first record of b in the byte form in which cursors give records and peers send them, and returns it with the
// number of bytes it takes. It checks magic, version, fields, sizes, that reserved bytes are zero, and the end-to-end checksum, but not hcrc,
// which belongs to the journal that the record was read from. The payload is a part of b. Errors: ErrVersion, ErrTooLarge, ErrCorrupt.
func Parse(b []byte) (Record, int, error) {
	if len(b) < HeaderSize {
		return Record{}, 0, fmt.Errorf("%w: %d bytes are no record header", ErrCorrupt, len(b))
	}
	if m := le.Uint16(b); m != recordMagic {
		return Record{}, 0, fmt.Errorf("%w: record begins with %#04x, not %#04x", ErrCorrupt, m, recordMagic)
	}
	if b[2] > recordVersion {
		return Record{}, 0, fmt.Errorf("%w: record has version %d, this program knows %d", ErrVersion, b[2], recordVersion)
	}
	r, size, err := parseBody(b)
	if err == nil && r.Kind == KindPad {
		err = fmt.Errorf("%w: a pad among travelling records", ErrCorrupt)
	}
	if err != nil {
		return Record{}, 0, err
	}
	return r, size, nil
}

// parseHeader checks a header of this version field by field and gives the record without its payload, and its size.
func parseHeader(b []byte) (Record, int, error) {
	r := getHeader(b)
	if b[2] != recordVersion || le.Uint16(b[atReserved:]) != 0 {
		return r, 0, fmt.Errorf("%w: %s has version %d and reserved bytes %#x", ErrCorrupt, r, b[2], le.Uint16(b[atReserved:]))
	}
	if err := checkFields(&r); err != nil {
		return r, 0, fmt.Errorf("%w: %s: %w", ErrCorrupt, r, err)
	}
	return r, int(sizeOf(r.Kind, r.Flags, r.Length)), nil
}

// parseBody parses a header of this version and its payload, pads included. Bytes between payload and the end of the record must be zero.
func parseBody(b []byte) (Record, int, error) {
	r, size, err := parseHeader(b)
	if err != nil {
		return r, 0, err
	}
	end := HeaderSize
	if hasPayload(r.Kind, r.Flags) {
		if size > len(b) {
			return r, 0, fmt.Errorf("%w: %s is cut off after %d bytes", ErrCorrupt, r, len(b))
		}
		end += int(r.Length)
		r.Payload = b[HeaderSize:end:end]
		for _, x := range b[end:size] {
			if x != 0 {
				return r, 0, fmt.Errorf("%w: %s has bytes behind its payload", ErrCorrupt, r)
			}
		}
	}
	if c := checksum(b, r.Payload); c != r.CRC {
		return r, size, fmt.Errorf("%w: %s has checksum %08x, its bytes give %08x", ErrCorrupt, r, r.CRC, c)
	}
	return r, size, nil
}
