package journaltest

import (
	"encoding/binary"
	"fmt"

	"pairfs/journal"
)

// Fill writes the payload that belongs to a number: every 8 bytes follow from the number and their place.
func Fill(seq journal.Seq, b []byte) {
	x := uint64(seq)*0x9E3779B97F4A7C15 + 1
	for ; len(b) >= 8; b = b[8:] {
		binary.LittleEndian.PutUint64(b, x)
		x = x*6364136223846793005 + 1442695040888963407
	}
	for i := range b {
		b[i] = byte(x >> (8 * i))
	}
}

// CheckFill says where the payload of a record differs from Fill.
func CheckFill(rec *journal.Record) error {
	want := make([]byte, len(rec.Payload))
	Fill(rec.Seq, want)
	for i := range want {
		if rec.Payload[i] != want[i] {
			return fmt.Errorf("%s: byte %d of the payload is %#02x, not %#02x", rec, i, rec.Payload[i], want[i])
		}
	}
	return nil
}
