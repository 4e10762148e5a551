package quicwire

import (
	"encoding/binary"
	"fmt"
)

// How the data of a batch is packed: the low two bits of Batch.Flags. The other bits are reserved and 0.
const (
	PackNone uint8 = 0
	PackS2   uint8 = 1 // needs FeatureS2
	PackZstd uint8 = 2 // needs FeatureZstd
)

// BatchOverhead is the size of a Batch's body without its data, in bytes.
const BatchOverhead = 3*8 + 4 + 2*8 + 1 + 4

// Batch carries records from the primary to the secondary. Batches may arrive out of order if a session uses several streams.
type Batch struct {
	Ordinal    uint64 // 1, 2, 3… within the session: the secondary lets only the next one pass
	First      uint64 // sequence number of the first record that has one; First > Last if none has
	Last       uint64 // sequence number of the last record
	Count      uint32 // number of records
	NewestSeq  uint64 // newest sequence number of the master journal when the batch was sent, for the lag in records
	NewestTime uint64 // and its time, wall clock, ns since 1970 UTC, for the lag in seconds
	Flags      uint8  // PackNone, PackS2 or PackZstd
	RawLen     uint32 // bytes of Data when unpacked, at most MaxBatchData; len(Data) if PackNone
	Data       []byte // records one after the other, opaque here; at most MaxBatchData bytes
}

// Type gives TypeBatch.
func (*Batch) Type() Type { return TypeBatch }

func (f *Batch) encode(w *writer) {
	f.encodeHead(w)
	w.b = append(w.b, f.Data...)
}

// encodeHead appends everything before Data.
func (f *Batch) encodeHead(w *writer) {
	w.limit("data", len(f.Data), MaxBatchData)
	w.limit("raw length", int(f.RawLen), MaxBatchData)
	if f.Flags > PackZstd {
		w.invalid("flags", f.Flags)
	}
	if f.Flags == PackNone && int(f.RawLen) != len(f.Data) {
		w.invalid("raw length of unpacked data", f.RawLen)
	}
	w.u64(f.Ordinal)
	w.u64(f.First)
	w.u64(f.Last)
	w.u32(f.Count)
	w.u64(f.NewestSeq)
	w.u64(f.NewestTime)
	w.u8(f.Flags)
	w.u32(f.RawLen)
}

func (f *Batch) decode(r *reader) {
	f.decodeHead(r, len(r.b)-BatchOverhead)
	if n := len(r.b); n > 0 {
		f.Data = r.take(n)
	}
}

// appendBatch appends the beginning of f, as much as makes one good piece to write, and gives the rest of the data uncopied.
func appendBatch(b []byte, f *Batch) (head, rest []byte, err error) {
	w := writer{b: append(b, byte(TypeBatch), 0, 0, 0, 0)}
	f.encodeHead(&w)
	if w.err != nil {
		return b, nil, fmt.Errorf("encode %s: %w", TypeBatch, w.err)
	}
	binary.LittleEndian.PutUint32(w.b[len(b)+1:], uint32(BatchOverhead+len(f.Data)))
	n := min(len(f.Data), writePiece-len(w.b)+len(b))
	return append(w.b, f.Data[:n]...), f.Data[n:], nil
}

// decodeHead takes everything before Data, of which size bytes follow, and checks what can be checked without it.
func (f *Batch) decodeHead(r *reader, size int) {
	f.Ordinal = r.u64()
	f.First = r.u64()
	f.Last = r.u64()
	f.Count = r.u32()
	f.NewestSeq = r.u64()
	f.NewestTime = r.u64()
	f.Flags = r.u8()
	f.RawLen = r.u32()
	if f.RawLen > MaxBatchData {
		r.fail("raw length is %d, at most %d", f.RawLen, MaxBatchData)
	}
	if f.Flags > PackZstd {
		r.fail("flags are %#x", f.Flags)
	}
	if f.Flags == PackNone && int(f.RawLen) != size {
		r.fail("raw length is %d, but %d bytes of data that is not packed", f.RawLen, size)
	}
}
