package quicwire

import (
	"encoding/binary"
	"fmt"
)

// writer appends the fields of a frame body. The first field that breaks a limit sets err; what follows is then void.
type writer struct {
	b   []byte
	err error
}

func (w *writer) u8(v uint8)   { w.b = append(w.b, v) }
func (w *writer) u16(v uint16) { w.b = binary.LittleEndian.AppendUint16(w.b, v) }
func (w *writer) u32(v uint32) { w.b = binary.LittleEndian.AppendUint32(w.b, v) }
func (w *writer) u64(v uint64) { w.b = binary.LittleEndian.AppendUint64(w.b, v) }

func (w *writer) bool(v bool) {
	if v {
		w.u8(1)
	} else {
		w.u8(0)
	}
}

// str writes a string of at most max bytes (max < 64 Ki) behind its u16 length.
func (w *writer) str(field, v string, max int) {
	if w.limit(field, len(v), max) {
		w.u16(uint16(len(v)))
		w.b = append(w.b, v...)
	}
}

// bytes is str for a byte slice.
func (w *writer) bytes(field string, v []byte, max int) {
	if w.limit(field, len(v), max) {
		w.u16(uint16(len(v)))
		w.b = append(w.b, v...)
	}
}

// count writes the number of elements that follow as u16.
func (w *writer) count(field string, n, max int) {
	if w.limit(field, n, max) {
		w.u16(uint16(n))
	}
}

func (w *writer) limit(field string, n, max int) bool {
	if n > max {
		w.fail(fmt.Errorf("%s has %d, at most %d: %w", field, n, max, ErrTooLong))
	}
	return w.err == nil
}

func (w *writer) invalid(field string, v any) {
	w.fail(fmt.Errorf("%s is %v: %w", field, v, ErrInvalidField))
}

func (w *writer) fail(err error) {
	if w.err == nil {
		w.err = err
	}
}

// reader takes the fields of a frame body off b. The first fault sets err; every later field then reads as zero,
// so a decode function needs no check of its own unless it loops or allocates.
type reader struct {
	b   []byte
	err error
}

// take gives the next n bytes, which alias the body, or nil after a fault.
func (r *reader) take(n int) []byte {
	if r.err != nil {
		return nil
	}
	if n > len(r.b) {
		r.fail("body ends %d bytes early", n-len(r.b))
		return nil
	}
	v := r.b[:n:n]
	r.b = r.b[n:]
	return v
}

func (r *reader) u8() uint8 {
	if v := r.take(1); v != nil {
		return v[0]
	}
	return 0
}

func (r *reader) u16() uint16 {
	if v := r.take(2); v != nil {
		return binary.LittleEndian.Uint16(v)
	}
	return 0
}

func (r *reader) u32() uint32 {
	if v := r.take(4); v != nil {
		return binary.LittleEndian.Uint32(v)
	}
	return 0
}

func (r *reader) u64() uint64 {
	if v := r.take(8); v != nil {
		return binary.LittleEndian.Uint64(v)
	}
	return 0
}

// bool takes a byte that must be 0 or 1, so that each frame has one encoding only.
func (r *reader) bool(field string) bool {
	v := r.u8()
	if v > 1 {
		r.fail("%s is %d, neither 0 nor 1", field, v)
	}
	return v == 1
}

func (r *reader) str(field string, max int) string { return string(r.bytes(field, max)) }

// bytes takes a u16 length of at most max and as many bytes; they alias the body. No bytes are nil.
func (r *reader) bytes(field string, max int) []byte {
	n := int(r.u16())
	if n > max {
		r.fail("%s has %d bytes, at most %d", field, n, max)
	}
	if n == 0 {
		return nil
	}
	return r.take(n)
}

// count takes the number of elements that follow; each needs at least size bytes, so that a count which the body
// cannot hold is refused before room for the elements is made.
func (r *reader) count(field string, max, size int) int {
	n := int(r.u16())
	switch {
	case r.err != nil:
		return 0
	case n > max:
		r.fail("%s has %d elements, at most %d", field, n, max)
		return 0
	case n*size > len(r.b):
		r.fail("%s has %d elements, more than its %d bytes can hold", field, n, len(r.b))
		return 0
	}
	return n
}

// uvarint takes a base-128 number in its shortest form.
func (r *reader) uvarint(field string) uint64 {
	if r.err != nil {
		return 0
	}
	v, n := binary.Uvarint(r.b)
	if n <= 0 || (n > 1 && r.b[n-1] == 0) {
		r.fail("%s is no number in shortest form", field)
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *reader) fail(format string, args ...any) {
	if r.err == nil {
		r.err = fmt.Errorf(format, args...)
	}
}
