package quicwire

import (
	"bytes"
	"errors"
	"testing"
)

// TestResyncModes pins the byte that tells a look from a resync: a peer that took one for the other would overwrite what it should list.
// The modes that are not known yet travel too; who serves them refuses with a sentence instead of ending the connection.
func TestResyncModes(t *testing.T) {
	request := func(mode uint8) *ResyncPairs {
		return &ResyncPairs{Group: "g", Pairs: []PairRef{{Name: "p", Generation: 1}}, Mode: mode}
	}
	want := unhex(t, "06 11000000 0100 67 0100 0100 70 0100000000000000")
	for _, mode := range []uint8{ResyncSame, ResyncSwap, ResyncLook, 3, 255} {
		b := encode(t, request(mode))
		if !bytes.Equal(b, append(bytes.Clone(want), mode)) {
			t.Errorf("mode %d: %x", mode, b)
		}
		got, _, err := ParseFrame(b)
		if err != nil || got.(*ResyncPairs).Mode != mode {
			t.Errorf("mode %d: %+v, %v", mode, got, err)
		}
	}
	if ResyncSame != 0 || ResyncSwap != 1 || ResyncLook != 2 {
		t.Error("a mode has another number than in version 1")
	}
	cut := encode(t, request(ResyncLook))
	cut = cut[:len(cut)-1]
	cut[1]--
	if _, _, err := ParseFrame(cut); !errors.Is(err, &ProtocolError{Code: CloseMalformed}) {
		t.Errorf("a look without its mode: %v", err)
	}
}
