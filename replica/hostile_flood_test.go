package replica

import (
	"context"
	"encoding/binary"
	"runtime"
	"strings"
	"testing"
	"time"

	"pairfs/quicwire"
)

// goroutinesIn counts the goroutines that are in a function of quicwire.
func goroutinesIn(name string) int {
	for buf := make([]byte, 8<<20); ; buf = make([]byte, 2*len(buf)) {
		if n := runtime.Stack(buf, true); n < len(buf) {
			return strings.Count(string(buf[:n]), "pairfs/quicwire."+name+"(")
		}
	}
}

// What other tests have at the same moment: some streams, of which none is read in the middle of a frame for long.
const otherStreams, otherReads = 64, 4

// TestHostileFloods lets the peer open streams by the thousand: in each way in which they can stay, those that are served, and what is kept of
// them, are as many as the package comment of quicwire says.
func TestHostileFloods(t *testing.T) {
	t.Parallel()
	v := newInvaded(t)
	e := v.evil
	v.during("streams left open", func() {
		raw, n := e.connect(), 0
		for ; n < 10_000; n++ {
			if _, err := raw.OpenStream(); err != nil {
				break
			}
		}
		if n < 500 || n > 512 {
			t.Errorf("%d streams could be opened", n)
		}
		e.gone()
	})
	v.during("streams opened and closed", func() {
		raw := e.connect()
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
		defer cancel()
		for n := range 10_000 {
			s, err := raw.OpenStreamSync(ctx)
			if err != nil {
				t.Fatalf("stream %d: %v", n, err)
			}
			if n%2 == 0 {
				_, _ = s.Write([]byte{byte(n)})
				s.CancelWrite(1)
			} else {
				_ = s.Close()
			}
			s.CancelRead(1)
			if n%1000 == 0 {
				if n := goroutinesIn("(*conn).serveStream"); n > 512+otherStreams {
					t.Errorf("%d streams are served", n)
				}
			}
		}
		if raw.Context().Err() != nil {
			t.Error("the connection did not live through that")
		}
		e.gone()
	})
	v.during("mirrors opened and closed", func() { e.mirrorsBegun(v) })
	for _, typ := range []quicwire.Type{quicwire.TypeMirrorOpen, quicwire.TypeDeletePair} {
		v.during("headers without bodies: "+typ.String(), func() { e.headers(typ) })
	}
	v.during("a body that does not end", e.slowBody)
	v.settle()
}

// mirrorsBegun opens mirrors one after the other that it may have, and ends each at once.
func (e *hostilePeer) mirrorsBegun(v *invaded) {
	for range 300 {
		st := []quicwire.PairState{{Name: "p", Number: v.a.number("p"), Generation: v.a.status("p").Generation, Status: uint8(PAIR), Consistent: true}}
		if _, err := e.says(e.frames(&quicwire.MirrorOpen{Group: "h", Session: e.rng.Uint64(), DurableSeq: v.a.groupStatus("h").PeerDurable, Pairs: st})); err != nil && e.raw.Context().Err() != nil {
			e.t.Fatal(err)
		}
	}
	e.gone()
}

// headers opens as many streams as it is let, with frames that are announced and do not come.
func (e *hostilePeer) headers(typ quicwire.Type) {
	raw, n := e.connect(), 0
	head := binary.LittleEndian.AppendUint32([]byte{byte(typ)}, quicwire.MaxControlFrame)
	for ; ; n++ {
		s, err := raw.OpenStream()
		if err != nil {
			break
		}
		if _, err := s.Write(head); err != nil {
			e.t.Fatal(err)
		}
	}
	if err := waitFor(func() bool { return goroutinesIn("(*frameReader).fill") >= 16 }); err != nil {
		e.t.Errorf("%d streams were opened, and %d bodies are read: %v", n, goroutinesIn("(*frameReader).fill"), err)
	}
	for range 20 {
		if n := goroutinesIn("(*frameReader).fill"); n > 16+otherReads {
			e.t.Fatalf("%d bodies are read at a time", n)
		}
		runtime.Gosched()
	}
	e.gone()
}

// slowBody sends a request byte by byte: the stream is given up.
func (e *hostilePeer) slowBody() {
	s, err := e.connect().OpenStream()
	must(e.t, err)
	_, err = s.Write(binary.LittleEndian.AppendUint32([]byte{byte(quicwire.TypeDeletePair)}, quicwire.MaxControlFrame))
	for end := time.Now().Add(time.Minute); err == nil; _, err = s.Write([]byte{0}) {
		if time.Now().After(end) {
			e.t.Fatal("the body is still read")
		}
		must(e.t, pause(e.t.Context(), 50*time.Millisecond))
	}
	if e.raw.Context().Err() != nil {
		e.t.Error("it ended the connection, and not the stream alone")
	}
	e.gone()
}

// gone closes the connection, and expects that nothing is left of its streams.
func (e *hostilePeer) gone() {
	e.t.Helper()
	e.raw.Close()
	if err := waitFor(func() bool { return goroutinesIn("(*conn).serveStream") < otherStreams }); err != nil {
		e.t.Errorf("%d streams are served when the connection is closed: %v", goroutinesIn("(*conn).serveStream"), err)
	}
}
