package journal

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Reservation is room for one record in the staging ring. It is a plain value; the memory it points to is the ring's.
type Reservation struct {
	Pos, End Position // the record's bytes; Sync(End) makes it durable
	Seq      Seq      // its number, or the last one where it does not advance
	Time     int64    // Unix nanoseconds, as in the record
	Payload  []byte   // to be filled completely before Publish; readable until Release passes End
	header   []byte
}

// Checksum computes the end-to-end checksum of the record from its header and the payload that now stands in the ring.
func (r Reservation) Checksum() uint32 { return checksum(r.header, r.Payload) }

// errRingFull says that Reserve has to wait.
var errRingFull = errors.New("staging ring is full")

// Reserve gives the next sequence number, position and ring memory to a record. The caller fills Payload and then calls Publish
// without condition: a reservation that is never published stops the flush of all records behind it. Positions and numbers have the
// order of the calls. Reserve waits while the ring has no room, that is, for flushes and for Release; it ends with the cause of ctx then. Errors: ErrFull at
// once when the journal volumes have no room until Free; ErrSequence if h.Seq does not follow; ErrTooLarge, ErrInvalid, ErrFailed, ErrClosed.
func (j *Journal) Reserve(ctx context.Context, h Header) (Reservation, error) {
	return j.reserve(ctx, &h, h.Seq != 0 || h.exact)
}

func (j *Journal) reserve(ctx context.Context, h *Header, explicit bool) (Reservation, error) {
	rec := Record{Kind: h.Kind, Flags: h.Flags, Volume: h.Volume, Offset: h.Offset, Length: h.Length, Time: h.Time, Seq: h.Seq}
	if err := checkFields(&rec); err != nil {
		return Reservation{}, fmt.Errorf("%w: reserve: %w", ErrInvalid, err)
	}
	if h.Kind == KindPad {
		return Reservation{}, fmt.Errorf("%w: reserve: pads are made by the journal alone", ErrInvalid)
	}
	if rec.Time == 0 && !h.exact {
		rec.Time = time.Now().UnixNano()
	}
	if j.roomWants.Load() == 0 {
		r, err := j.tryReserve(&rec, h.AtSeq, explicit)
		if err != errRingFull {
			return r, err
		}
	}
	return j.reserveSlowly(ctx, &rec, h.AtSeq, explicit)
}

// reserveSlowly waits for ring room, one caller at a time.
func (j *Journal) reserveSlowly(ctx context.Context, rec *Record, atSeq func(Seq), explicit bool) (r Reservation, err error) {
	j.roomWants.Add(1)
	defer j.roomWants.Add(-1)
	select {
	case j.roomQueue <- struct{}{}:
		defer func() { <-j.roomQueue }()
	case <-ctx.Done():
		return r, fmt.Errorf("wait for room in the staging ring: %w", context.Cause(ctx))
	case <-j.stop:
		return r, ErrClosed
	}
	waitErr := j.ringRoom.await(ctx, func() (bool, error) {
		r, err = j.tryReserve(rec, atSeq, explicit)
		if err == errRingFull {
			j.kickCommitter()
			return false, nil
		}
		return true, nil
	})
	if waitErr != nil {
		return Reservation{}, fmt.Errorf("wait for room in the staging ring: %w", waitErr)
	}
	return r, err
}

// tryReserve is Reserve without waiting; errRingFull where it would.
func (j *Journal) tryReserve(rec *Record, atSeq func(Seq), explicit bool) (Reservation, error) {
	size := sizeOf(rec.Kind, rec.Flags, rec.Length)
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.ending {
		return Reservation{}, ErrClosed
	}
	if err := j.Err(); err != nil {
		return Reservation{}, err
	}
	if !explicit {
		rec.Seq = j.last
		if advances(rec.Kind, rec.Flags) {
			rec.Seq++
		}
	} else if !follows(rec.Kind, rec.Flags, rec.Seq, j.last) {
		return Reservation{}, fmt.Errorf("%w: %s of number %d after number %d", ErrSequence, rec.Kind, rec.Seq, j.last)
	}
	pos, err := j.makeRoom(size)
	if err != nil {
		return Reservation{}, err
	}
	rec.Position = pos
	mem := j.place(rec, size)
	n := 0
	if hasPayload(rec.Kind, rec.Flags) {
		n = int(rec.Length)
	}
	clear(mem[HeaderSize+n:])
	if atSeq != nil {
		atSeq(rec.Seq)
	}
	if uint64(pos)+size-j.durable.Load() >= flushThreshold {
		j.kickCommitter()
	}
	return Reservation{Pos: pos, End: pos + Position(size), Seq: rec.Seq, Time: rec.Time, Payload: mem[HeaderSize : HeaderSize+n : HeaderSize+n], header: mem[:HeaderSize:HeaderSize]}, nil
}

// needed gives what a record of size bytes takes behind the tail: the pad before it, if the volume span ends first, and itself. mu is held.
func (j *Journal) needed(size uint64) (pad, need uint64) {
	if tail := Position(j.tail.Load()); tail+Position(size) > j.volEnd {
		pad = uint64(j.volEnd - tail)
	}
	return pad, pad + size
}

// makeRoom finds room for a record of size bytes, pads the rest of the volume span if it does not fit there, and claims the ring memory. mu is held.
func (j *Journal) makeRoom(size uint64) (Position, error) {
	pad, need := j.needed(size)
	end := Position(j.tail.Load()) + Position(need)
	if end > j.bound {
		j.alarm(min(end, j.limit))
	}
	if end > j.limit {
		return 0, fmt.Errorf("%w: %d bytes are needed, %d are free in %s; free some, or add a journal volume", ErrFull, need, j.limit-Position(j.tail.Load()), j.opts.Dir)
	}
	limit := j.ringLimit()
	if end > limit {
		return 0, errRingFull
	}
	if end > j.claimed {
		j.claimed = min((end+floorStep-1)&^(floorStep-1), limit)
		if Position(j.ring.size) < j.claimed && uint64(j.claimed)-j.ring.size > j.floor.Load() {
			// Readers look at floor after they have copied: it must be up before the memory changes.
			j.floor.Store(uint64(j.claimed) - j.ring.size)
		}
	}
	if pad > 0 {
		j.pad(pad)
	}
	if tail := Position(j.tail.Load()); tail == j.volEnd {
		_, j.volEnd = j.vols.span(tail)
	}
	return Position(j.tail.Load()), nil
}

// pad appends a published pad of size bytes. Its space was checked before. mu is held.
func (j *Journal) pad(size uint64) {
	rec := Record{Kind: KindPad, Seq: j.last, Length: size, Position: Position(j.tail.Load())}
	mem := j.ring.at(rec.Position, size)
	clear(mem[HeaderSize:])
	j.place(&rec, size)
	crc := checksum(mem, nil)
	setWordAtomic(mem, crc, seal(j.vols.seed, mem, crc))
}

// place writes the header of a reserved record to the ring and moves the tail behind it. mu is held.
func (j *Journal) place(rec *Record, size uint64) []byte {
	mem := j.ring.at(rec.Position, size)
	// Whatever word an older record left must not seal a header that is half new.
	setWordAtomic(mem, 0, 0)
	putHeader(mem, rec, uint32(min((uint64(rec.Position)-j.durable.Load())/HeaderSize, 1<<32-1)))
	setWordAtomic(mem, 0, seal(j.vols.seed, mem, 0)^reservedMark)
	j.index.add(rec)
	j.last = rec.Seq
	j.tail.Store(uint64(rec.Position) + size)
	return mem
}

// ringLow is the lowest position whose ring memory is in use.
func (j *Journal) ringLow() Position {
	return Position(min(j.durable.Load(), j.released.Load()))
}

// ringLimit is the end of the room in the ring, and of what may be reserved while the layout changes. It is a multiple of PageSize, so a
// flush can always pad to the end of the page. mu is held.
func (j *Journal) ringLimit() Position {
	return min(pageFloor(j.ringLow())+Position(j.ring.size), Position(j.durable.Load())+maxUnflushed, j.barrier)
}

// WaitRoom waits until a record with n payload bytes can be reserved without ErrFull. Errors: the cause of ctx, ErrFailed, ErrClosed, ErrTooLarge.
func (j *Journal) WaitRoom(ctx context.Context, n int) error {
	if n < 0 || n > MaxPayload {
		return fmt.Errorf("%w: %d bytes, at most %d are allowed", ErrTooLarge, n, MaxPayload)
	}
	return j.diskRoom.await(ctx, func() (bool, error) {
		j.mu.Lock()
		defer j.mu.Unlock()
		if j.ending {
			return false, ErrClosed
		}
		_, need := j.needed(sizeOf(KindUpdate, 0, uint64(n)))
		return Position(j.tail.Load())+Position(need) <= j.limit, j.Err()
	})
}

// Append reserves, fills and publishes a record in one. For kinds with a payload Length is set to len(payload). It does not sync.
func (j *Journal) Append(ctx context.Context, h Header, payload []byte) (Reservation, error) {
	if hasPayload(h.Kind, h.Flags) {
		h.Length = uint64(len(payload))
	} else if len(payload) > 0 {
		return Reservation{}, fmt.Errorf("%w: append: a record of kind %s has no payload", ErrInvalid, h.Kind)
	}
	r, err := j.Reserve(ctx, h)
	if err != nil {
		return r, err
	}
	copy(r.Payload, payload)
	j.Publish(r, r.Checksum())
	return r, nil
}

// AppendRecord appends a record that came from another journal, with its own sequence number, time and checksum. The checksum is
// compared with the bytes first: ErrCorrupt if it does not fit. Other errors are those of Reserve.
func (j *Journal) AppendRecord(ctx context.Context, rec *Record) (Reservation, error) {
	h := rec.Header()
	if len(rec.Payload) != h.PayloadLen() {
		return Reservation{}, fmt.Errorf("%w: append: %s comes with %d bytes", ErrInvalid, rec, len(rec.Payload))
	}
	if c := ChecksumRecord(rec); c != rec.CRC {
		return Reservation{}, fmt.Errorf("%w: append: %s has checksum %08x, its bytes give %08x", ErrCorrupt, rec, rec.CRC, c)
	}
	r, err := j.Reserve(ctx, h)
	if err != nil {
		return r, err
	}
	copy(r.Payload, rec.Payload)
	j.Publish(r, rec.CRC)
	return r, nil
}
