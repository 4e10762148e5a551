package quicwire

import (
	"encoding/binary"
	"iter"
)

// Run is Skip regions that are equal followed by Len that may differ. An element of Bitmap, not a frame.
type Run struct {
	Skip uint64 // 0 is valid
	Len  uint64 // at least 1
}

// Bitmap carries a piece of a volume's difference bitmap in run-length form. The piece begins at region First and ends
// with its last run; the regions behind the last run of the last piece are equal. Pieces of one pair come in ascending order.
type Bitmap struct {
	Pair    string
	Region  uint32 // bytes of a region
	Regions uint64 // regions of the whole volume
	First   uint64 // first region of this piece
	Runs    []Run  // their sum does not pass Regions; at most MaxRunBytes encoded
	Last    bool   // no further piece of this pair follows
}

// Type gives TypeBitmap.
func (*Bitmap) Type() Type { return TypeBitmap }

// Spans gives the regions that may differ as (first region, number of regions), ascending.
func (f *Bitmap) Spans() iter.Seq2[uint64, uint64] {
	return func(yield func(uint64, uint64) bool) {
		at := f.First
		for _, run := range f.Runs {
			at += run.Skip
			if !yield(at, run.Len) {
				return
			}
			at += run.Len
		}
	}
}

// Bitmaps cuts the spans (first region, number of regions; ascending, apart, within regions) of a bitmap into frames of
// the right size. There is always at least one, and the last one is marked.
func Bitmaps(pair string, region uint32, regions uint64, spans iter.Seq2[uint64, uint64]) iter.Seq[*Bitmap] {
	return func(yield func(*Bitmap) bool) {
		f := &Bitmap{Pair: pair, Region: region, Regions: regions}
		var at uint64
		size := 0
		for first, n := range spans {
			run := Run{Skip: first - at, Len: n}
			need := uvarintLen(run.Skip) + uvarintLen(run.Len)
			if size+need > MaxRunBytes {
				if !yield(f) {
					return
				}
				f = &Bitmap{Pair: pair, Region: region, Regions: regions, First: at}
				size = 0
			}
			f.Runs = append(f.Runs, run)
			size += need
			at = first + n
		}
		f.Last = true
		yield(f)
	}
}

func (f *Bitmap) encode(w *writer) {
	w.str("pair", f.Pair, MaxName)
	w.u32(f.Region)
	w.u64(f.Regions)
	w.u64(f.First)
	w.bool(f.Last)
	start := len(w.b)
	if bad := f.fault(); bad != "" {
		w.invalid("runs", bad)
	}
	for _, run := range f.Runs {
		w.b = binary.AppendUvarint(w.b, run.Skip)
		w.b = binary.AppendUvarint(w.b, run.Len)
	}
	w.limit("runs", len(w.b)-start, MaxRunBytes)
}

func (f *Bitmap) decode(r *reader) {
	f.Pair = r.str("pair", MaxName)
	f.Region = r.u32()
	f.Regions = r.u64()
	f.First = r.u64()
	f.Last = r.bool("last")
	if len(r.b) > MaxRunBytes {
		r.fail("runs have %d bytes, at most %d", len(r.b), MaxRunBytes)
	}
	for r.err == nil && len(r.b) > 0 {
		f.Runs = append(f.Runs, Run{Skip: r.uvarint("skip"), Len: r.uvarint("length")})
	}
	if bad := f.fault(); bad != "" {
		r.fail("%s", bad)
	}
}

// fault says what is wrong with the place of the runs, "" if nothing: whoever walks the spans need not check again.
func (f *Bitmap) fault() string {
	if f.First > f.Regions {
		return "first region outside the volume"
	}
	left := f.Regions - f.First
	for _, run := range f.Runs {
		if run.Len == 0 {
			return "empty run"
		}
		if run.Skip > left || run.Len > left-run.Skip {
			return "run passes the end of the volume"
		}
		left -= run.Skip + run.Len
	}
	return ""
}

func uvarintLen(v uint64) int {
	var b [binary.MaxVarintLen64]byte
	return binary.PutUvarint(b[:], v)
}
