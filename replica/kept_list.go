package replica

import (
	"bytes"
	"fmt"
	"hash/crc32"
	"strconv"
	"strings"
	"time"
)

// The format of a kept set, version 1. It is a folder with two files:
//
//	image   a sparse file of the volume's size that holds the kept ranges, each at its offset; zeroes elsewhere
//	list    text that says which ranges those are
//
// The list has three parts. Its head is the line "pairfs kept set 1", then "key: value" lines in the order below, then an empty line. Keys
// that a reader does not know are passed over. Each range follows as a line of three right-aligned columns with a blank between them,
// ascending and apart:
//
//	offset (16)  length (16)  CRC-32C of the bytes in the image (8, hexadecimal), or "zeroes": bytes that are zeroes, a hole in the image
//
// A range with a checksum is at most 1 MiB long. As all lines have one length, a range is found by bisection. Behind the last range come an
// empty line and the foot, of fixed length: how many ranges there are, their bytes, those of them that are not zeroes, and the CRC-32C of
// the list up to the line that holds it.
const (
	keptFormat   = "pairfs kept set 1"
	keptLine     = "%16d %16d %8s\n"
	keptLineSize = 16 + 1 + 16 + 1 + 8 + 1
	keptFoot     = "\nranges: %16d\nbytes: %16d\ndata-bytes: %16d\n"
	keptFootSize = 1 + 8 + 16 + 1 + 7 + 16 + 1 + 12 + 16 + 1
	keptSum      = "crc32c: %08x\n"
	keptSumSize  = 8 + 8 + 1
	keptZeroes   = "zeroes"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Kept is a set of regions of a volume that were kept aside before a resync overwrote them. Sizes are bytes.
type Kept struct {
	Name       string // of its folder: PAIR-TIME
	Site       string // that kept it
	Pair       string
	Volume     string
	Peer       string    // of the pair
	Role       Role      // of the volume when it was kept
	Size       int64     // of the volume
	Generation uint64    // of the pair
	Seq        uint64    // last sequence number that the group had given or received here
	SplitSeq   uint64    // number at which the pair was split, 0 if it was not
	Held       time.Time // of the newest write that the volume held, as far as it is known
	Time       time.Time // when it was kept
	Why        string    // one sentence
	Ranges     int64
	Bytes      int64  // of all ranges
	DataBytes  int64  // of those that are not zeroes
	Allocated  int64  // what the set takes on its file system
	ListBytes  int64  // of its list
	Bad        string // why it cannot be read, "" if its list is whole
}

// KeptRange is one range of a kept set.
type KeptRange struct {
	Offset int64
	Length int64
	Zero   bool   // its bytes are zeroes, and no part of the image
	CRC    uint32 // CRC-32C of its bytes in the image; 0 where they are zeroes
}

// end is the offset behind the range.
func (r KeptRange) end() int64 { return r.Offset + r.Length }

// appendTo writes the line of a range.
func (r KeptRange) appendTo(b []byte) []byte {
	sum := keptZeroes
	if !r.Zero {
		sum = fmt.Sprintf("%08x", r.CRC)
	}
	return fmt.Appendf(b, keptLine, r.Offset, r.Length, sum)
}

// parseKeptRange reads the line of a range in a volume of size bytes.
func parseKeptRange(line []byte, size int64) (r KeptRange, err error) {
	bad := fmt.Errorf("%q is no line of a range", line)
	if len(line) != keptLineSize || line[16] != ' ' || line[33] != ' ' || line[42] != '\n' {
		return r, bad
	}
	column := func(from, to int) string { return string(bytes.TrimLeft(line[from:to], " ")) }
	var err1, err2 error
	r.Offset, err1 = strconv.ParseInt(column(0, 16), 10, 64)
	r.Length, err2 = strconv.ParseInt(column(17, 33), 10, 64)
	if err1 != nil || err2 != nil || r.Offset < 0 || r.Length <= 0 || r.Offset > size || r.Length > size-r.Offset {
		return r, bad
	}
	if column(34, 42) == keptZeroes {
		r.Zero = true
		return r, nil
	}
	crc, err := strconv.ParseUint(string(line[34:42]), 16, 32)
	if err != nil || r.Length > keptPiece {
		return r, bad
	}
	r.CRC = uint32(crc)
	return r, nil
}

// head writes the head of the list.
func (k *Kept) head() []byte {
	var b bytes.Buffer
	fmt.Fprintln(&b, keptFormat)
	for _, f := range keptFields {
		fmt.Fprintf(&b, "%s: %s\n", f.key, oneLine(f.get(k)))
	}
	b.WriteByte('\n')
	return b.Bytes()
}

// oneLine returns a value that is one line of text, "-" for none.
func oneLine(s string) string {
	if s == "" {
		return "-"
	}
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
}

// keptFields are the lines of the head. set reports whether the value is one.
var keptFields = []struct {
	key string
	get func(k *Kept) string
	set func(k *Kept, v string) bool
}{
	{"site", func(k *Kept) string { return k.Site }, func(k *Kept, v string) bool { k.Site = v; return true }},
	{"pair", func(k *Kept) string { return k.Pair }, func(k *Kept, v string) bool { k.Pair = v; return checkName("pair", v) == nil }},
	{"volume", func(k *Kept) string { return k.Volume }, func(k *Kept, v string) bool { k.Volume = v; return checkName("volume", v) == nil }},
	{"peer", func(k *Kept) string { return k.Peer }, func(k *Kept, v string) bool { k.Peer = v; return true }},
	{"role", func(k *Kept) string { return k.Role.String() }, func(k *Kept, v string) bool {
		for _, r := range []Role{RoleNone, Primary, Secondary} {
			if r.String() == v || r.String() == "" && v == "-" {
				k.Role = r
				return true
			}
		}
		return false
	}},
	{"size", func(k *Kept) string { return strconv.FormatInt(k.Size, 10) }, func(k *Kept, v string) (ok bool) {
		k.Size, ok = keptNumber[int64](v)
		return ok && k.Size > 0 && k.Size <= volumeMax
	}},
	{"generation", func(k *Kept) string { return strconv.FormatUint(k.Generation, 10) }, func(k *Kept, v string) (ok bool) {
		k.Generation, ok = keptNumber[uint64](v)
		return ok
	}},
	{"sequence", func(k *Kept) string { return strconv.FormatUint(k.Seq, 10) }, func(k *Kept, v string) (ok bool) {
		k.Seq, ok = keptNumber[uint64](v)
		return ok
	}},
	{"split-sequence", func(k *Kept) string { return strconv.FormatUint(k.SplitSeq, 10) }, func(k *Kept, v string) (ok bool) {
		k.SplitSeq, ok = keptNumber[uint64](v)
		return ok
	}},
	{"held", func(k *Kept) string { return keptStamp(k.Held) }, func(k *Kept, v string) (ok bool) { k.Held, ok = keptTime(v); return ok }},
	{"kept", func(k *Kept) string { return keptStamp(k.Time) }, func(k *Kept, v string) (ok bool) { k.Time, ok = keptTime(v); return ok }},
	{"why", func(k *Kept) string { return clip(k.Why, keptWhyMax) }, func(k *Kept, v string) bool { k.Why = v; return true }},
}

// keptNumber reads a number as it is written here: no sign, no other base.
func keptNumber[T int64 | uint64](v string) (T, bool) {
	n, err := strconv.ParseUint(v, 10, 64)
	return T(n), err == nil && T(n) >= 0 && strconv.FormatUint(n, 10) == v
}

// keptForm is how times are written: to the nanosecond, in UTC.
const keptForm = "2006-01-02T15:04:05.000000000Z"

func keptStamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(keptForm)
}

func keptTime(v string) (time.Time, bool) {
	if v == "-" {
		return time.Time{}, true
	}
	t, err := time.Parse(keptForm, v)
	return t, err == nil
}

// parseKeptHead reads the head at the beginning of a list and returns its length.
func parseKeptHead(b []byte) (k Kept, n int, err error) {
	format, rest, _ := bytes.Cut(b, []byte{'\n'})
	if string(format) != keptFormat {
		if bytes.HasPrefix(format, []byte(strings.TrimSuffix(keptFormat, "1"))) {
			return k, 0, fmt.Errorf("its list begins with %q: it was kept by a newer pairfs, use that one", format)
		}
		return k, 0, fmt.Errorf("its list does not begin with %q", keptFormat)
	}
	head, _, ok := bytes.Cut(rest, []byte("\n\n"))
	if !ok {
		return k, 0, fmt.Errorf("the head of its list has no end in %d bytes", len(b))
	}
	values := map[string]string{}
	for line := range strings.Lines(string(head) + "\n") {
		key, value, ok := strings.Cut(strings.TrimSuffix(line, "\n"), ": ")
		if _, double := values[key]; !ok || double {
			return k, 0, fmt.Errorf("the head of its list has the line %q", line)
		}
		values[key] = value
	}
	for _, f := range keptFields {
		v, ok := values[f.key]
		if !ok || !f.set(&k, v) {
			return k, 0, fmt.Errorf("the head of its list has no valid %q", f.key)
		}
	}
	return k, len(format) + 1 + len(head) + 2, nil
}

// foot writes the foot without its last line.
func (k *Kept) foot() []byte { return fmt.Appendf(nil, keptFoot, k.Ranges, k.Bytes, k.DataBytes) }

// parseKeptFoot reads the foot, the last line included, and returns the checksum of the list.
func (k *Kept) parseKeptFoot(b []byte) (crc uint32, err error) {
	bad := fmt.Errorf("its list does not end as one does: it was cut off or damaged")
	if len(b) != keptFootSize+keptSumSize {
		return 0, bad
	}
	n, err := fmt.Sscanf(string(b), keptFoot+keptSum, &k.Ranges, &k.Bytes, &k.DataBytes, &crc)
	if err != nil || n != 4 || !bytes.Equal(fmt.Appendf(k.foot(), keptSum, crc), b) || k.Ranges < 0 || k.Bytes < k.DataBytes || k.DataBytes < 0 || k.Bytes > k.Size {
		return 0, bad
	}
	return crc, nil
}
