package journal

import "sync"

// front is how far the journal is published and durable. Publishing is one store into the ring and tells nobody; who needs to know
// walks the headers from here. It cannot pass a record that is not published, and ring memory behind it is not reused before it passes.
type front struct {
	mu         sync.Mutex
	pos        Position
	seq        Seq
	durable    Position
	durableSeq Seq
	flush      flushStats
	closed     bool
}

func (f *front) durableMark() (Position, Seq) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.durable, f.durableSeq
}

func (f *front) stats() flushStats {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.flush
}

func (f *front) close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed = true
}

// advance walks on over published records and gives the new end and the number of the last record before it.
func (j *Journal) advance() (Position, Seq) {
	f := &j.front
	f.mu.Lock()
	defer f.mu.Unlock()
	for tail := Position(j.tail.Load()); f.pos < tail && !f.closed; {
		b := j.ring.at(f.pos, HeaderSize)
		crc, mark := word(b)
		if seal(j.vols.seed, b, crc) != mark {
			break
		}
		f.seq = Seq(le.Uint64(b[atSeq:]))
		f.pos += Position(sizeOf(Kind(b[3]), Flags(le.Uint16(b[atFlags:])), le.Uint64(b[atLength:])))
	}
	return f.pos, f.seq
}

// Publish makes a reserved record part of the journal: after it the record survives the death of the process. This is the
// acknowledgement. crc must be the record's end-to-end checksum, from r.Checksum or, for a record of a peer, the one it came with; a
// wrong one makes the record look torn at recovery. It is called once for each reservation and never waits.
func (j *Journal) Publish(r Reservation, crc uint32) {
	setWordAtomic(r.header, crc, seal(j.vols.seed, r.header, crc))
	if j.pubWanted.Load() {
		select {
		case j.published <- struct{}{}:
		default:
		}
	}
	if !j.armed.Load() && j.armed.CompareAndSwap(false, true) {
		select {
		case j.arm <- struct{}{}:
		default:
		}
	}
}

// waitPublished waits until all records before end are published. flushMu is held, so there is one who waits.
func (j *Journal) waitPublished(end Position) {
	if p, _ := j.advance(); p >= end {
		return
	}
	j.pubWanted.Store(true)
	defer j.pubWanted.Store(false)
	for {
		// A Publish that came too early to see pubWanted is seen by this look; a later one rings.
		if p, _ := j.advance(); p >= end {
			return
		}
		<-j.published
	}
}
