package prefix

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"unsafe"
)

// Sector is the unit in which writes describe themselves and images are checked, in bytes: the smallest direct write of a host.
const Sector = 512

// Mark is what every sector of a write says about itself.
type Mark struct {
	Run     uint64 // the [History] that made it
	Counter uint64 // the write's number in its history, from 1
	Writer  uint32 // who wrote it
	Volume  uint32 // the volume's number in its history
	Offset  int64  // first byte of the whole write
	Length  int64  // bytes of the whole write
	Index   uint32 // this sector's number within the write
}

// The layout of a sector: magic, run, counter, writer, volume, offset, length, index, checksum of all other bytes, then filler.
const (
	markMagic   = "pairfsW1"
	markSumAt   = 52
	markFillAt  = 56
	markSumSize = 4
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli) // the one that processors compute

// Fill makes p, whose length is a multiple of [Sector], the payload of the write that m describes; m.Length and m.Index are set from
// p. The filler differs from sector to sector, so that no two are equal.
func Fill(p []byte, m Mark) {
	m.Length = int64(len(p))
	for i := 0; i < len(p); i += Sector {
		m.Index = uint32(i / Sector)
		fillSector(p[i:i+Sector], m)
	}
}

func fillSector(s []byte, m Mark) {
	le := binary.LittleEndian
	copy(s, markMagic)
	le.PutUint64(s[8:], m.Run)
	le.PutUint64(s[16:], m.Counter)
	le.PutUint32(s[24:], m.Writer)
	le.PutUint32(s[28:], m.Volume)
	le.PutUint64(s[32:], uint64(m.Offset))
	le.PutUint64(s[40:], uint64(m.Length))
	le.PutUint32(s[48:], m.Index)
	x := m.Run ^ m.Counter*0x9e3779b97f4a7c15 ^ uint64(m.Index)<<40
	for i := markFillAt; i < Sector; i += 8 {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
		le.PutUint64(s[i:], x)
	}
	le.PutUint32(s[markSumAt:], sectorSum(s))
}

// sectorSum is the checksum of a sector without the field that holds it.
func sectorSum(s []byte) uint32 {
	sum := crc32.Update(0, castagnoli, s[:markSumAt])
	return crc32.Update(sum, castagnoli, s[markSumAt+markSumSize:])
}

var zeroSector [Sector]byte

// ParseMark reads what a sector says about itself. zero reports a sector of zeroes, which says nothing; when zero and ok are both
// false, the sector is neither: its bytes are damaged or were never written by a workload.
func ParseMark(s []byte) (m Mark, zero, ok bool) {
	if len(s) != Sector || string(s[:8]) != markMagic {
		return Mark{}, bytes.Equal(s, zeroSector[:]), false
	}
	le := binary.LittleEndian
	if le.Uint32(s[markSumAt:]) != sectorSum(s) {
		return Mark{}, false, false
	}
	return Mark{
		Run: le.Uint64(s[8:]), Counter: le.Uint64(s[16:]), Writer: le.Uint32(s[24:]), Volume: le.Uint32(s[28:]),
		Offset: int64(le.Uint64(s[32:])), Length: int64(le.Uint64(s[40:])), Index: le.Uint32(s[48:]),
	}, false, true
}

// alignment is that of buffers of direct I/O, in bytes.
const alignment = 4096

// AlignedBuffer returns n bytes that begin on a page, as O_DIRECT wants them and so that a request of up to 1 MiB is never split.
func AlignedBuffer(n int) []byte {
	b := make([]byte, n+alignment)
	skip := int(-uintptr(unsafe.Pointer(&b[0])) & (alignment - 1))
	return b[skip : skip+n : skip+n]
}
