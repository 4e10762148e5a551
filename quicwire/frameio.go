package quicwire

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
)

// frameReader takes frames off a stream. Not for concurrent use.
type frameReader struct {
	r    *bufio.Reader
	from *countedReader
	max  int // longest body accepted
}

func newFrameReader(r io.Reader, max int) *frameReader {
	from := &countedReader{r: r}
	return &frameReader{r: bufio.NewReaderSize(from, readBuffer), from: from, max: max}
}

// countedReader counts the bytes that come, of a frame that is not whole yet too: on a slow link one takes minutes.
type countedReader struct {
	r io.Reader
	n atomic.Uint64
}

func (c *countedReader) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n.Add(uint64(n))
	return n, err
}

// peek waits for the header of the next frame and gives its type, leaving the frame unread. io.EOF means that the stream
// ended properly behind the last frame.
func (fr *frameReader) peek() (Type, error) {
	t, _, err := fr.header()
	return t, err
}

func (fr *frameReader) header() (Type, int, error) {
	b, err := fr.r.Peek(headerSize)
	if errors.Is(err, io.EOF) && len(b) > 0 {
		err = truncated(0)
	}
	if err != nil {
		return 0, 0, err
	}
	return parseHeader(b, fr.max)
}

// read gives the next frame. The data of a Batch goes into a slice of the length asked from alloc, or a new one if alloc is nil;
// after an error the slice that alloc gave, if any, belongs to the caller again.
func (fr *frameReader) read(alloc func(n int) []byte) (Frame, error) {
	t, size, err := fr.header()
	if err != nil {
		return nil, err
	}
	if _, err := fr.r.Discard(headerSize); err != nil {
		return nil, err
	}
	if t == TypeBatch {
		return fr.readBatch(size, alloc)
	}
	body := make([]byte, size)
	if err := fr.fill(t, body); err != nil {
		return nil, err
	}
	return decodeBody(t, body)
}

func (fr *frameReader) readBatch(size int, alloc func(n int) []byte) (Frame, error) {
	var head [BatchOverhead]byte
	if size < len(head) {
		return nil, &ProtocolError{Code: CloseMalformed, Frame: TypeBatch, Message: fmt.Sprintf("body has only %d bytes", size)}
	}
	if err := fr.fill(TypeBatch, head[:]); err != nil {
		return nil, err
	}
	f := new(Batch)
	r := reader{b: head[:]}
	size -= len(head)
	if f.decodeHead(&r, size); r.err != nil {
		return nil, &ProtocolError{Code: CloseMalformed, Frame: TypeBatch, Message: r.err.Error()}
	}
	if size == 0 {
		return f, nil
	}
	if alloc == nil {
		f.Data = make([]byte, size)
	} else if f.Data = alloc(size); len(f.Data) != size {
		return nil, fmt.Errorf("receive batch: %d bytes were given for its data, not %d: %w", len(f.Data), size, ErrInvalidField)
	}
	return f, fr.fill(TypeBatch, f.Data)
}

// fill reads all of b. The stream may not end in it.
func (fr *frameReader) fill(t Type, b []byte) error {
	_, err := io.ReadFull(fr.r, b)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return truncated(t)
	}
	return err
}

// end expects the proper end of the stream.
func (fr *frameReader) end() error {
	switch t, err := fr.peek(); {
	case errors.Is(err, io.EOF):
		return nil
	case err != nil:
		return err
	default:
		return &ProtocolError{Code: CloseUnexpectedFrame, Frame: t, Message: "behind a request"}
	}
}

func truncated(t Type) error {
	return &ProtocolError{Code: CloseMalformed, Frame: t, Message: "the stream ends inside a frame"}
}

// frameWriter puts frames into a stream. Not for concurrent use.
type frameWriter struct {
	w    io.Writer
	max  int           // longest body the other side accepts
	buf  []byte        // the encoding of the frame being sent, kept for the next if it is small
	sent atomic.Uint64 // bytes that w took
}

// write sends one frame. An encoding error leaves the stream as it was; any other leaves it useless.
func (fw *frameWriter) write(f Frame) error {
	var data []byte
	var err error
	if b, ok := f.(*Batch); ok {
		fw.buf, data, err = appendBatch(fw.buf[:0], b)
	} else {
		fw.buf, err = AppendFrame(fw.buf[:0], f)
	}
	if err != nil {
		return err
	}
	if size := len(fw.buf) + len(data) - headerSize; size > fw.max {
		return fmt.Errorf("send %s of %d bytes, the peer accepts %d: %w", f.Type(), size, fw.max, ErrTooLong)
	}
	if err := fw.pieces(fw.buf); err != nil {
		return err
	}
	if cap(fw.buf) > 2*writePiece {
		fw.buf = nil
	}
	return fw.pieces(data)
}

func (fw *frameWriter) pieces(b []byte) error {
	for len(b) > 0 {
		n := min(len(b), writePiece)
		if _, err := fw.w.Write(b[:n]); err != nil {
			return err
		}
		fw.sent.Add(uint64(n))
		b = b[n:]
	}
	return nil
}
