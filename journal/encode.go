package journal

import "fmt"

// EncodeRecord appends r to dst in the byte form in which records travel, with its checksum computed, for records that a peer is sent
// without their having been in this journal. Position and CRC of r are not looked at; the position in the bytes is zero. len(Payload)
// must be Length where a payload follows, else 0. Errors: ErrInvalid, ErrTooLarge; dst is unchanged then.
func EncodeRecord(dst []byte, r *Record) ([]byte, error) {
	want := 0
	if err := checkFields(r); err != nil {
		return dst, fmt.Errorf("%w: encode: %w", ErrInvalid, err)
	}
	if hasPayload(r.Kind, r.Flags) {
		want = int(r.Length)
	}
	if len(r.Payload) != want || r.Kind == KindPad {
		return dst, fmt.Errorf("%w: encode %s with a payload of %d bytes", ErrInvalid, r, len(r.Payload))
	}
	start, size := len(dst), int(sizeOf(r.Kind, r.Flags, r.Length))
	for len(dst) < start+HeaderSize {
		dst = append(dst, 0)
	}
	clear(dst[start:])
	dst = append(dst, r.Payload...)
	for len(dst) < start+size {
		dst = append(dst, 0)
	}
	out := *r
	out.Position = 0
	putHeader(dst[start:], &out, 0)
	le.PutUint32(dst[start+56:], checksum(dst[start:], r.Payload))
	return dst, nil
}
