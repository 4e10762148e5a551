package replica

import (
	"fmt"

	"github.com/klauspost/compress/s2"

	"pairfs/quicwire"
)

// Batches are packed with s2 where that pays, if both sites know how. QUIC costs each site about two seconds of a processor for 10⁹ bytes, s2 less
// than one to pack and less than half of one to unpack, and next to nothing for data that does not pack, for it gives up early. So a batch that
// became shorter by an eighth is cheaper for both hosts on a fast link, and less to carry on a slow one.
//
// A line speed counts what goes over the line, the read-journal budget what is unpacked: it bounds the memory and the journal of the secondary.

// packer decides which batches are tried. It is pure: it knows of sizes alone.
type packer struct {
	vain int // attempts in a row that did not pay
	rest int // batches that go as they are before the next attempt
}

// tries reports whether a batch of n bytes is to be tried.
func (p *packer) tries(n int) bool {
	if n < packMin {
		return false
	}
	if p.rest > 0 {
		p.rest--
		return false
	}
	return true
}

// pays takes what an attempt made of raw bytes, and reports whether the batch goes packed.
func (p *packer) pays(raw, packed int) bool {
	if packed <= raw-raw/packShare {
		p.vain = 0
		return true
	}
	p.vain = min(p.vain+1, packRestMax)
	p.rest = 1<<p.vain - 1
	return false
}

// pack packs out if that pays, and returns the length that it had and how it is packed.
func (f *feedSession) pack() (raw int, how uint8) {
	raw = len(f.out)
	if f.knows&quicwire.FeatureS2 == 0 || !f.packer.tries(raw) {
		return raw, quicwire.PackNone
	}
	if n := s2.MaxEncodedLen(raw); cap(f.scratch) < n {
		f.scratch = make([]byte, n)
	}
	packed := s2.Encode(f.scratch[:cap(f.scratch)], f.out)
	if !f.packer.pays(raw, len(packed)) {
		return raw, quicwire.PackNone
	}
	f.out, f.scratch = packed, f.out
	f.g.saved.Add(uint64(raw - len(packed)))
	return raw, quicwire.PackS2
}

// unpack gives the records of the batch that is being stored, in the batch's own memory or in that of the last one that was packed. An error
// is a damaged batch, or one that is packed in a way that was not agreed. What it says of its length was bounded when it was received.
func (p *pullSession) unpack(b *quicwire.Batch) ([]byte, error) {
	switch {
	case b.Flags == quicwire.PackNone:
		return b.Data, nil
	case b.Flags != quicwire.PackS2 || p.knows&quicwire.FeatureS2 == 0:
		return nil, fmt.Errorf("group %s: batch %d is packed in a way that was not agreed", p.g.name, b.Ordinal)
	}
	n, err := s2.DecodedLen(b.Data)
	if err == nil && n != int(b.RawLen) {
		err = fmt.Errorf("it says that it unpacks to %d bytes, and its data says %d", b.RawLen, n)
	}
	if err != nil {
		return nil, p.damaged(b, err)
	}
	if cap(p.unpacked) < n {
		p.unpacked = make([]byte, n)
	}
	data, err := s2.Decode(p.unpacked[:n], b.Data)
	if err != nil {
		return nil, p.damaged(b, err)
	}
	p.g.saved.Add(uint64(len(data) - len(b.Data)))
	return data, nil
}
