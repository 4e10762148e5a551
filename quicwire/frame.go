package quicwire

import (
	"encoding/binary"
	"fmt"
)

// Type is the number of a frame, its first byte on the wire. Part of the protocol: never change a number, only add.
type Type uint8

// Frame types. 0 is none, so that a run of zeroes is never a frame.
const (
	TypeHello          Type = 1
	TypeResult         Type = 2
	TypeCreatePair     Type = 3
	TypeDeletePair     Type = 4
	TypeSuspendPair    Type = 5
	TypeResyncPairs    Type = 6
	TypeResyncReady    Type = 7
	TypeBitmap         Type = 8
	TypeMirrorOpen     Type = 9
	TypeMirrorAccept   Type = 10
	TypePairStates     Type = 11
	TypeReadJournal    Type = 12
	TypeBatch          Type = 13
	TypeMirrorPath     Type = 14
	TypeMirrorOptions  Type = 15
	TypeSwapPairs      Type = 16
	TypeMirrorLag      Type = 17
	TypeMirrorSettings Type = 18
	TypePowerOff       Type = 19
)

// headerSize is the type byte and the u32 length of the body.
const headerSize = 5

// Frame is one message between two sites. The set of frames is closed: the structs of this package whose pointer has Type.
type Frame interface {
	// Type gives the frame's number.
	Type() Type
	// encode appends the body.
	encode(w *writer)
	// decode takes the body off r. It may keep slices of it.
	decode(r *reader)
}

// frameSpec is what is known of a frame type before its body is read.
type frameSpec struct {
	name    string
	max     int  // longest body in bytes
	request bool // may be the first frame of a stream and is answered
	make    func() Frame
}

var frames = map[Type]frameSpec{
	TypeHello:          {"hello", maxHelloFrame, false, func() Frame { return new(Hello) }},
	TypeResult:         {"result", 16 << 10, false, func() Frame { return new(Result) }},
	TypeCreatePair:     {"create-pair", 4 << 10, true, func() Frame { return new(CreatePair) }},
	TypeDeletePair:     {"delete-pair", MaxControlFrame, true, func() Frame { return new(DeletePair) }},
	TypeSuspendPair:    {"suspend-pair", MaxControlFrame, true, func() Frame { return new(SuspendPair) }},
	TypeResyncPairs:    {"resync-pairs", MaxControlFrame, true, func() Frame { return new(ResyncPairs) }},
	TypeResyncReady:    {"resync-ready", MaxControlFrame, false, func() Frame { return new(ResyncReady) }},
	TypeBitmap:         {"bitmap", MaxRunBytes + 1024, false, func() Frame { return new(Bitmap) }},
	TypeMirrorOpen:     {"mirror-open", MaxControlFrame, false, func() Frame { return new(MirrorOpen) }},
	TypeMirrorAccept:   {"mirror-accept", MaxControlFrame, false, func() Frame { return new(MirrorAccept) }},
	TypePairStates:     {"pair-states", MaxControlFrame, true, func() Frame { return new(PairStates) }},
	TypeReadJournal:    {"read-journal", 64, false, func() Frame { return new(ReadJournal) }},
	TypeBatch:          {"batch", MaxFrame, false, func() Frame { return new(Batch) }},
	TypeMirrorPath:     {"mirror-path", 64, false, func() Frame { return new(MirrorPath) }},
	TypeMirrorOptions:  {"mirror-options", 64, false, func() Frame { return new(MirrorOptions) }},
	TypeSwapPairs:      {"swap-pairs", MaxControlFrame, true, func() Frame { return new(SwapPairs) }},
	TypeMirrorLag:      {"mirror-lag", 128 << 10, false, func() Frame { return new(MirrorLag) }},
	TypeMirrorSettings: {"mirror-settings", 20 << 10, false, func() Frame { return new(MirrorSettings) }},
	TypePowerOff:       {"power-off", MaxControlFrame, true, func() Frame { return new(PowerOff) }},
}

// String gives the frame's name as messages and logs use it.
func (t Type) String() string {
	if s, ok := frames[t]; ok {
		return s.name
	}
	return fmt.Sprintf("frame type %d", uint8(t))
}

// AppendFrame appends f to b as it goes over the wire. A field over its limit gives ErrTooLong or ErrInvalidField and leaves b as it was.
func AppendFrame(b []byte, f Frame) ([]byte, error) {
	start := len(b)
	w := writer{b: append(b, byte(f.Type()), 0, 0, 0, 0)}
	f.encode(&w)
	size := len(w.b) - start - headerSize
	w.limit("body", size, frames[f.Type()].max)
	if w.err != nil {
		return b, fmt.Errorf("encode %s: %w", f.Type(), w.err)
	}
	binary.LittleEndian.PutUint32(w.b[start+1:], uint32(size))
	return w.b, nil
}

// ParseFrame takes the first frame off b and gives it with its length in bytes. The frame may share memory with b.
// ErrIncomplete means that b is the beginning of a frame; any other error is a *ProtocolError.
func ParseFrame(b []byte) (Frame, int, error) {
	if len(b) < headerSize {
		return nil, 0, ErrIncomplete
	}
	t, size, err := parseHeader(b, MaxFrame)
	if err != nil {
		return nil, 0, err
	}
	if len(b)-headerSize < size {
		return nil, 0, ErrIncomplete
	}
	f, err := decodeBody(t, b[headerSize:headerSize+size])
	return f, headerSize + size, err
}

// parseHeader reads type and body length from the first headerSize bytes of b and checks them against the
// type's own limit and max.
func parseHeader(b []byte, max int) (Type, int, error) {
	t := Type(b[0])
	spec, ok := frames[t]
	if !ok {
		return 0, 0, &ProtocolError{Code: CloseUnknownFrame, Frame: t}
	}
	size := int64(binary.LittleEndian.Uint32(b[1:]))
	if limit := int64(min(spec.max, max)); size > limit {
		return 0, 0, &ProtocolError{Code: CloseTooLarge, Frame: t, Message: fmt.Sprintf("%d bytes, at most %d", size, limit)}
	}
	return t, int(size), nil
}

// decodeBody decodes the whole of body as a frame of type t; bytes left over are a fault.
func decodeBody(t Type, body []byte) (Frame, error) {
	f := frames[t].make()
	r := reader{b: body}
	f.decode(&r)
	if len(r.b) > 0 {
		r.fail("%d bytes too many", len(r.b))
	}
	if r.err != nil {
		return nil, &ProtocolError{Code: CloseMalformed, Frame: t, Message: r.err.Error()}
	}
	return f, nil
}
