package journal

import "fmt"

// window reads a journal in large aligned pieces and keeps the last one. For one goroutine.
type window struct {
	v          *volumes
	size       int
	buf        []byte // made at the first read
	start, end Position
	// forward says that it reads ahead from where one piece has followed another. Whoever sets it calls stop.
	forward bool
	ahead   *readAhead
	lent    []byte // the buffer of ahead that buf is in, if any
}

func newWindow(v *volumes, size int) *window { return &window{v: v, size: size} }

// at gives n bytes at p, which all lie before limit, a multiple of PageSize, and in one volume span. They are valid until the next call.
func (w *window) at(p Position, n int, limit Position) ([]byte, error) {
	if p < w.start || p+Position(n) > w.end {
		if err := w.fill(p, limit); err != nil {
			return nil, err
		}
		if p+Position(n) > w.end {
			return nil, fmt.Errorf("%w: %d bytes at position %d reach beyond %d", ErrCorrupt, n, p, w.end)
		}
	}
	off := int(p - w.start)
	return w.buf[off : off+n : off+n], nil
}

// fill reads the piece that begins with the page of p. What the window has of it is kept: large records that follow each other would be read twice.
func (w *window) fill(p, limit Position) error {
	start := pageFloor(p)
	if w.forward && start > w.start && start <= w.end {
		if done, err := w.follow(start, limit); done || err != nil {
			return err
		}
	}
	w.stop()
	if w.buf == nil {
		w.buf = alignedBuf(w.size)
	}
	_, end := w.v.span(p)
	end = min(end, limit, start+Position(w.size))
	if end <= start {
		w.start, w.end = 0, 0
		return fmt.Errorf("%w: position %d is at or beyond %d", ErrCorrupt, p, limit)
	}
	have := start
	if start >= w.start && start < w.end {
		have = min(w.end, end)
		copy(w.buf, w.buf[start-w.start:have-w.start])
	}
	w.start, w.end = 0, 0
	if have < end {
		if err := w.v.read(have, w.buf[have-start:end-start]); err != nil {
			return err
		}
	}
	w.start, w.end = start, end
	return nil
}

// follow takes the piece behind the window's, and puts before it what the window has from start on. It does nothing where there is none.
func (w *window) follow(start, limit Position) (done bool, err error) {
	if w.ahead == nil {
		w.ahead = startReadAhead(w.v, w.end, limit)
	}
	next, ok := <-w.ahead.pieces
	if !ok || next.err != nil {
		return false, next.err
	}
	kept := w.buf[start-w.start : w.end-w.start]
	from := windowSize - len(kept)
	copy(next.buf[from:], kept)
	if w.lent != nil {
		w.ahead.free <- w.lent
	}
	w.lent, w.buf = next.buf, next.buf[from:]
	w.start, w.end = start, next.end
	return true, nil
}

// stop ends reading ahead. The window may be read on, without.
func (w *window) stop() {
	if w.ahead == nil {
		return
	}
	w.ahead.stop()
	w.ahead, w.forward = nil, false
	if w.lent != nil {
		// Its piece stays what the window holds, but in a buffer that further pieces may not fit in.
		w.lent, w.buf, w.start, w.end = nil, nil, 0, 0
	}
}

// headerAt reads the header of the record at p, published or not, and the record's size: from the ring while it is there, else from
// disk through w. life is held. ErrFreed if the position was freed meanwhile.
func (j *Journal) headerAt(w *window, p Position) (Record, int, error) {
	if p >= Position(j.floor.Load()) {
		r, size, err := parseHeader(j.ring.at(p, HeaderSize))
		if p >= Position(j.floor.Load()) {
			if err == nil && r.Position != p {
				err = fmt.Errorf("%w: ring holds %s at position %d", ErrCorrupt, r, p)
			}
			return r, size, err
		}
	}
	r, size, err := j.diskHeader(w, p)
	if err != nil && p < Position(j.freed.Load()) {
		err = fmt.Errorf("%w: position %d", ErrFreed, p)
	}
	return r, size, err
}

// diskHeader reads and checks the header at p from disk.
func (j *Journal) diskHeader(w *window, p Position) (Record, int, error) {
	b, err := w.at(p, HeaderSize, Position(j.durable.Load()))
	if err != nil {
		return Record{}, 0, err
	}
	return checkHeader(j.vols.seed, b, p)
}

// checkHeader checks that b is the sealed header of a record of this version at p.
func checkHeader(seed uint32, b []byte, p Position) (Record, int, error) {
	if !sealed(seed, b) {
		return Record{}, 0, fmt.Errorf("%w: no record header at position %d", ErrCorrupt, p)
	}
	r, size, err := parseHeader(b)
	if err == nil && r.Position != p {
		err = fmt.Errorf("%w: header at position %d belongs to %s", ErrCorrupt, p, r)
	}
	return r, size, err
}
