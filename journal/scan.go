package journal

import "fmt"

// scan walks a journal on disk from its head to the first place where no valid record stands.
type scan struct {
	v    *volumes
	win  *window
	pos  Position // of the next record
	last Seq
	// received is Options.Received
	received bool
	limit    Position // of the plan: where the live records from the head on stand again
	index    *index
	visit    RecoverFunc
	records  int

	later Position // last sealed header of this lap that was found behind pos
	bad   error    // what is wrong with the record at pos, for the message
}

// run visits all valid records and says what stands behind the last. An error is that of the disk or of visit.
func (s *scan) run() (next, error) {
	for s.pos < s.limit {
		b, err := s.win.at(s.pos, HeaderSize, s.limit)
		if err != nil {
			return 0, err
		}
		if n, ok := s.classify(b); !ok {
			return n, nil
		}
		r, size, err := parseHeader(b)
		if err == nil {
			err = s.fitsHere(&r, size)
		}
		if err != nil {
			s.bad = err
			return nextBroken, nil
		}
		if b, err = s.win.at(s.pos, size, s.limit); err != nil {
			return 0, err
		}
		if r, _, err = parseBody(b); err != nil {
			s.bad = err
			return nextTorn, nil
		}
		if err := s.accept(&r, size); err != nil {
			return 0, err
		}
	}
	return nextStale, nil
}

// classify tells what is no record of this place and version from what is.
func (s *scan) classify(b []byte) (n next, ok bool) {
	if !sealed(s.v.seed, b) {
		for _, x := range b {
			if x != 0 {
				return nextGarbage, false
			}
		}
		return nextBlank, false
	}
	switch p := getHeader(b).Position; {
	case p < s.pos:
		return nextStale, false
	case p > s.pos:
		return nextGarbage, false
	case b[2] > recordVersion:
		return nextNewer, false
	}
	return 0, true
}

// fitsHere checks a record against its place and the number before it.
func (s *scan) fitsHere(r *Record, size int) error {
	_, end := s.v.span(s.pos)
	if s.pos+Position(size) > min(end, s.limit) {
		return fmt.Errorf("%w: %s reaches beyond the end of its journal volume", ErrCorrupt, r)
	}
	if !follows(r.Kind, r.Flags, r.Seq, s.last) {
		return fmt.Errorf("%w: %s comes after number %d", ErrCorrupt, r, s.last)
	}
	return nil
}

// accept takes a valid record and goes on behind it.
func (s *scan) accept(r *Record, size int) error {
	s.index.add(r)
	s.last = r.Seq
	s.pos += Position(size)
	if r.Kind == KindPad {
		return nil
	}
	s.records++
	if s.visit == nil {
		return nil
	}
	return s.visit(r)
}

// lookAhead looks at every place behind the tail where an interrupted flush may have left a header of this lap. It finds the last
// one, and proof that the tail was durable once.
func (s *scan) lookAhead() (later, proof bool, err error) {
	end := min(s.pos+maxLookahead, s.limit)
	for p := s.pos + HeaderSize; p < end; {
		_, spanEnd := s.v.span(p)
		n := min(windowSize-int(p%PageSize), int(spanEnd-p), int(s.limit-p))
		b, err := s.win.at(p, n, s.limit)
		if err != nil {
			return false, false, err
		}
		for ; len(b) > 0 && p < end; b, p = b[HeaderSize:], p+HeaderSize {
			if le.Uint16(b) != recordMagic || Position(le.Uint64(b[atPosition:])) != p || !sealed(s.v.seed, b[:HeaderSize]) {
				continue
			}
			later, s.later = true, p
			proof = proof || syncedMark(b, p) > s.pos
		}
	}
	return later, proof, nil
}

// erase zeroes what an interrupted flush left behind the tail, so that none of it can ever be taken for a continuation of what is
// written there next: it has the right positions and may even have the right numbers. The page in which the tail lies is written by the caller.
func (s *scan) erase(n next) error {
	from, to := pageCeil(s.pos), s.later
	if n == nextTorn {
		to = max(to, s.pos)
	} else if s.later == 0 {
		return nil
	}
	to = min(pageCeil(to+1), s.limit)
	zero := alignedBuf(zeroPiece)
	for p := from; p < to; p += zeroPiece {
		if err := s.v.write(p, zero[:min(zeroPiece, to-p)]); err != nil {
			return fmt.Errorf("erase the rest of an interrupted flush: %w", err)
		}
	}
	s.win.stop()
	s.win = newWindow(s.v, s.win.size)
	return nil
}
