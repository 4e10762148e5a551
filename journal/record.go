package journal

import (
	"fmt"
	"time"
)

// Record is one record as it is read from a journal or from the bytes that a peer sent.
type Record struct {
	Kind     Kind
	Flags    Flags
	Volume   uint32   // number of the data volume; 0 where none is meant
	Seq      Seq      // own number, or the last one where the record does not advance it
	Offset   uint64   // byte offset in the data volume
	Length   uint64   // bytes affected; equals len(Payload) where a payload follows
	Time     int64    // wall clock when the record entered its first journal, Unix nanoseconds
	CRC      uint32   // checksum over the fields above and the payload; travels unchanged from host to S-VOL
	Position Position // where it stood in the journal that it was read from; not covered by CRC
	Payload  []byte   // valid only as long as the bytes it was parsed from
}

// Advances reports whether the record takes a sequence number of its own.
func (r *Record) Advances() bool { return advances(r.Kind, r.Flags) }

// Size is the number of journal bytes that the record takes, header included.
func (r *Record) Size() int { return int(sizeOf(r.Kind, r.Flags, r.Length)) }

// When is Time as a time.Time.
func (r *Record) When() time.Time { return time.Unix(0, r.Time) }

// Header gives the header to reserve room for this record in another journal, with its sequence number and time explicit.
func (r *Record) Header() Header {
	return Header{Kind: r.Kind, Flags: r.Flags, Volume: r.Volume, Offset: r.Offset, Length: r.Length, Time: r.Time, Seq: r.Seq, exact: true}
}

// String names the record for messages: kind, volume, offset, length, sequence number and position.
func (r Record) String() string {
	return fmt.Sprintf("%s record (volume %d offset %d length %d seq %d at position %d)", r.Kind, r.Volume, r.Offset, r.Length, r.Seq, r.Position)
}

// Header is what a caller says about a record before it is in the journal.
type Header struct {
	Kind   Kind
	Flags  Flags
	Volume uint32
	Offset uint64
	Length uint64 // bytes affected; also the size of the payload for base (without FlagZero), update and control
	Time   int64  // Unix nanoseconds; zero means now
	Seq    Seq    // zero: the journal gives the next number; else a peer's number, which must follow the rule of the package comment

	// AtSeq, if set, is called with the record's number while no other record can be reserved: what it does happens exactly at that
	// number. It must be short and must not call the journal.
	AtSeq func(Seq)

	exact bool // Seq and Time are a record's own, even where they are zero
}

// PayloadLen is the number of payload bytes that follow the header.
func (h *Header) PayloadLen() int {
	if hasPayload(h.Kind, h.Flags) {
		return int(h.Length)
	}
	return 0
}

// hasPayload reports whether Length bytes follow the header of such a record.
func hasPayload(k Kind, f Flags) bool {
	switch k {
	case KindUpdate, KindControl:
		return true
	case KindBase:
		return f&FlagZero == 0
	}
	return false
}

// advances reports whether such a record takes a sequence number.
func advances(k Kind, f Flags) bool {
	switch k {
	case KindUpdate, KindDiscard, KindControl, KindSkip:
		return f&FlagLocal == 0
	}
	return false
}

// follows is the sequence rule: may a record of this kind and number come after the number last?
func follows(k Kind, f Flags, seq, last Seq) bool {
	switch {
	case !advances(k, f):
		return seq == last
	case f&FlagEpoch != 0:
		return seq > last
	default:
		return seq == last+1
	}
}
