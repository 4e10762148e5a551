package journal

import "fmt"

// Kind says what a record is. The numbers are part of the format; never change, only add.
type Kind uint8

// The kinds of records. Zero is no kind, so that space never written is not taken for a record.
const (
	// KindPad fills space up to a page boundary or the end of a journal volume. Cursors do not show pads.
	KindPad Kind = 1
	// KindBase is data of an initial copy or a resync. It does not advance the sequence number.
	KindBase Kind = 2
	// KindUpdate is a host write.
	KindUpdate Kind = 3
	// KindDiscard says that a range became zeroes.
	KindDiscard Kind = 4
	// KindControl carries a payload that only the users of the journal understand.
	KindControl Kind = 5
	// KindSkip stands for exactly one sequence number whose record was never acknowledged.
	KindSkip Kind = 6
)

var kindNames = [...]string{"invalid", "pad", "base", "update", "discard", "control", "skip"}

// String gives the kind's name as `pairfs journal dump` prints it.
func (k Kind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return fmt.Sprintf("kind(%d)", uint8(k))
}

// Flags are the properties of a record besides its kind. The bits are part of the format; never change, only add.
type Flags uint16

// The flags of a record. Bits that are not named here are zero, and a record that has one is refused.
const (
	// FlagZero on a base record: the range is zeroes and no payload follows.
	FlagZero Flags = 1 << 0
	// FlagLocal: the record does not advance the sequence number and means nothing to a peer.
	FlagLocal Flags = 1 << 1
	// FlagEpoch on a control record: its sequence number may be any that is higher than the last.
	FlagEpoch Flags = 1 << 2

	flagsKnown = FlagZero | FlagLocal | FlagEpoch
)

// String gives the flags' names joined with "|", or "-" without any.
func (f Flags) String() string {
	s := ""
	for i, name := range [...]string{"zero", "local", "epoch"} {
		if f&(1<<i) != 0 {
			s += "|" + name
		}
	}
	if rest := f &^ flagsKnown; rest != 0 {
		s += fmt.Sprintf("|%#x", uint16(rest))
	}
	if s == "" {
		return "-"
	}
	return s[1:]
}

// Position is a byte position in a journal's endless address space: it only grows and is never used twice. Records start at
// multiples of HeaderSize.
type Position uint64

// Seq is a sequence number of a journal group. The first record has 1; zero means none.
type Seq uint64

// pageFloor is p rounded down to a page.
func pageFloor(p Position) Position { return p &^ (PageSize - 1) }

// pageCeil is p rounded up to a page.
func pageCeil(p Position) Position { return (p + PageSize - 1) &^ (PageSize - 1) }
