package journal

// readAhead reads a journal in order, each piece while the one before it is looked at: a disk and a processor take about as long for it. The pieces
// are as long as lets a disk work on several requests at a time. Behind an error there are no more pieces.
type readAhead struct {
	v      *volumes
	pieces chan piece
	free   chan []byte // buffers that nobody looks at
	ended  chan struct{}
}

// piece is what stands from start to end, with room for windowSize bytes before it in buf, or what kept it from being read.
type piece struct {
	buf        []byte
	start, end Position
	err        error
}

// startReadAhead reads from p to limit, both multiples of PageSize, until stop is called.
func startReadAhead(v *volumes, p, limit Position) *readAhead {
	a := &readAhead{v: v, pieces: make(chan piece), free: make(chan []byte, aheadBuffers), ended: make(chan struct{})}
	for range aheadBuffers {
		a.free <- alignedBuf(windowSize + aheadSize)
	}
	go a.run(p, limit)
	return a
}

func (a *readAhead) run(p, limit Position) {
	defer close(a.pieces)
	for p < limit {
		next := piece{start: p}
		select {
		case next.buf = <-a.free:
		case <-a.ended:
			return
		}
		_, end := a.v.span(p)
		next.end = min(end, limit, p+aheadSize)
		next.err = a.v.read(p, next.buf[windowSize:][:next.end-p])
		select {
		case a.pieces <- next:
		case <-a.ended:
			return
		}
		if next.err != nil {
			return
		}
		p = next.end
	}
}

// stop ends the reading and waits for that. What was given stays as it is.
func (a *readAhead) stop() {
	close(a.ended)
	for range a.pieces {
	}
}
