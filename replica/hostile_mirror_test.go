package replica

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/klauspost/compress/s2"

	"pairfs/journal"
	"pairfs/quicwire"
	"pairfs/quicwire/wiretest"
)

// What a hostile peer says in mirrors: in those that it opens as the secondary of p, and in those that tokyo opens toward it, as the secondary of s.

// frames are the bytes of frames one after the other.
func (e *hostilePeer) frames(all ...quicwire.Frame) (b []byte) {
	e.t.Helper()
	for _, f := range all {
		var err error
		b, err = quicwire.AppendFrame(b, f)
		must(e.t, err)
	}
	return b
}

// asSecondary opens mirrors that it may not have, and says in its own what only a primary says, or of numbers that there never were.
func (e *hostilePeer) asSecondary(v *invaded) {
	g := v.a.groupStatus("h")
	st := []quicwire.PairState{{Name: "p", Number: v.a.number("p"), Generation: v.a.status("p").Generation, Status: uint8(PAIR), Consistent: true}}
	open := func(group string, seq uint64) *quicwire.MirrorOpen {
		return &quicwire.MirrorOpen{Group: group, Session: e.rng.Uint64(), DurableSeq: seq, RestoredSeq: seq, Pairs: st}
	}
	for group, seq := range map[string]uint64{"g": g.PeerDurable, "k@berlin": 1, "nothing": 1, "../h": 1, "h": g.AppendedSeq + 1<<40} {
		answer, err := e.says(e.frames(open(group, seq)))
		if len(answer) == 0 && err == nil && group == "h" {
			continue // its own, but for the number: the stream ends
		}
		f, _, perr := quicwire.ParseFrame(answer)
		a, ok := f.(*quicwire.MirrorAccept)
		if err != nil || perr != nil || !ok || a.Code == quicwire.ResultDone {
			e.t.Errorf("mirror of %q at %d: %+v, %v, %v", group, seq, f, err, perr)
			continue
		}
		for _, st := range a.Pairs {
			if st.Name != "s" && st.Name != "p" {
				e.t.Errorf("mirror of %q: it is told of pair %s", group, st.Name)
			}
		}
	}
	for _, f := range []quicwire.Frame{
		&quicwire.MirrorAccept{}, &quicwire.Batch{Ordinal: 1}, &quicwire.MirrorOptions{PathWatch: 1}, &quicwire.MirrorLag{}, &quicwire.MirrorSettings{}, open("h", 0), &quicwire.Hello{MaxFrame: quicwire.MaxFrame},
		&quicwire.DeletePair{}, &quicwire.ResyncReady{}, &quicwire.Bitmap{Pair: "p", Last: true}, &quicwire.Result{},
	} {
		e.breaches(f.Type().String()+" from a secondary", e.frames(open("h", v.a.groupStatus("h").PeerDurable), f), quicwire.CloseUnexpectedFrame)
	}
	// What it says to have is no more than it was sent, and what it says of others is nobody's business.
	far := &quicwire.ReadJournal{Budget: 1 << 63, Durable: 1 << 63, Restored: 1 << 63, DurableSeq: 1 << 62, RestoredSeq: 1 << 62}
	other := slices.Concat(st, []quicwire.PairState{{Name: "x", Number: 1, Generation: v.a.status("x").Generation, Status: uint8(SSWS)}, {Name: "s", Generation: v.a.status("s").Generation, Status: uint8(PSUE)}})
	if _, err := e.says(e.frames(open("h", v.a.groupStatus("h").PeerDurable), far, &quicwire.PairStates{Pairs: other}, far)); err != nil && e.raw.Context().Err() != nil {
		e.t.Errorf("a mirror with numbers from the future: %v", err)
	}
}

// asPath joins the session of another site, and says over path connections what they do not carry.
func (e *hostilePeer) asPath(v *invaded) {
	e.t.Helper()
	ctx, cancel := context.WithTimeout(e.t.Context(), time.Minute)
	defer cancel()
	g := v.a.site.groupByName("g")
	g.mu.Lock()
	f := g.session
	g.mu.Unlock()
	if v.a.site.feeding("osaka", f.id) != f || v.a.site.feeding("berlin", f.id) != nil {
		e.t.Error("a session is another peer's")
	}
	for what, id := range map[string]uint64{"another site's session": f.id, "no session": e.rng.Uint64()} {
		if b, code := e.saysOverPath(ctx, &quicwire.MirrorPath{Session: id, Path: 1}); len(b) > 0 || code != 0 {
			e.t.Errorf("a path of %s: %d bytes, and the connection ends with %d", what, len(b), code)
		}
	}
	if b, code := e.saysOverPath(ctx, &quicwire.DeletePair{}); len(b) > 0 || code != quicwire.CloseUnexpectedFrame {
		e.t.Errorf("a request over a path: %d bytes, and the connection ends with %d", len(b), code)
	}
}

// saysOverPath opens a stream with that frame on a path connection, and gives what comes back, and the code with which the connection ends if it does.
// Who was let in too often waits.
func (e *hostilePeer) saysOverPath(ctx context.Context, f quicwire.Frame) (answer []byte, code quicwire.CloseCode) {
	e.t.Helper()
	for {
		e.connect() // a path connection goes with the last ordinary one
		raw, err := wiretest.DialRawPath(ctx, e.a.site.endpoint.Addr().String(), e.key)
		must(e.t, err)
		s, err := raw.OpenStreamSync(ctx)
		if err == nil {
			s.SetDeadline(time.Now().Add(time.Minute))
			_, err = s.Write(e.frames(f))
		}
		if err == nil {
			answer, err = io.ReadAll(s)
		}
		if raw.Settle(err) == nil {
			raw.Close()
			return answer, 0
		}
		n, ok := raw.Ended(ctx)
		if code = quicwire.CloseCode(n); !ok || code != quicwire.CloseBusy {
			return answer, code
		}
		must(e.t, pause(ctx, 50*time.Millisecond))
	}
}

// asks waits for the mirror that tokyo opens toward its primary.
func (e *hostilePeer) asked() (open *quicwire.MirrorOpen, stream mirrorSide) {
	e.t.Helper()
	if e.raw != nil {
		e.raw.Close() // tokyo opens a mirror at once when its peer is back
		e.raw = nil
	}
	raw := e.connect()
	ctx, cancel := context.WithTimeout(e.t.Context(), time.Minute)
	defer cancel()
	for {
		s, err := raw.AcceptStream(ctx)
		must(e.t, err)
		s.SetDeadline(time.Now().Add(time.Minute))
		f, err := readFrame(s)
		must(e.t, err)
		if open, ok := f.(*quicwire.MirrorOpen); ok {
			return open, s
		}
		_ = s.Close() // it asks for states beside mirrors
	}
}

// mirrorSide is one end of a mirror stream.
type mirrorSide interface {
	io.ReadWriter
	SetDeadline(time.Time) error
}

// readFrame takes one frame off a stream.
func readFrame(r io.Reader) (quicwire.Frame, error) {
	head := make([]byte, 5)
	if _, err := io.ReadFull(r, head); err != nil {
		return nil, err
	}
	b := append(head, make([]byte, int(head[1])|int(head[2])<<8|int(head[3])<<16)...)
	if _, err := io.ReadFull(r, b[5:]); err != nil {
		return nil, err
	}
	f, _, err := quicwire.ParseFrame(b)
	return f, err
}

// answers accepts tokyo's mirror, says what it says, and expects that tokyo ends the mirror or the connection.
func (e *hostilePeer) answers(what string, frames func(open *quicwire.MirrorOpen) []quicwire.Frame) {
	e.t.Helper()
	open, s := e.asked()
	_, err := s.Write(e.frames(frames(open)...))
	for err == nil {
		_, err = readFrame(s)
	}
	if strings.Contains(err.Error(), "deadline") {
		e.t.Errorf("%s: the mirror goes on", what)
	}
}

// accept is what a primary answers, with its pairs as tokyo knows them.
func accept(open *quicwire.MirrorOpen) *quicwire.MirrorAccept {
	return &quicwire.MirrorAccept{Session: open.Session, JournalTime: uint64(time.Now().UnixNano()), Pairs: open.Pairs}
}

// batch is a batch of records.
func (e *hostilePeer) batch(ordinal uint64, records ...journal.Record) *quicwire.Batch {
	e.t.Helper()
	b := &quicwire.Batch{Ordinal: ordinal, Count: uint32(len(records)), NewestSeq: 1 << 60, NewestTime: 1 << 63}
	for _, r := range records {
		var err error
		b.Data, err = journal.EncodeRecord(b.Data, &r)
		must(e.t, err)
	}
	b.RawLen = uint32(len(b.Data))
	return b
}

// asPrimary answers tokyo's mirrors with everything that a primary never says.
func (e *hostilePeer) asPrimary(v *invaded) {
	number := v.a.number("s")
	update := func(seq uint64, change func(*journal.Record)) journal.Record {
		r := journal.Record{Kind: journal.KindUpdate, Volume: number, Seq: journal.Seq(seq), Offset: 4096, Payload: []byte("evil"), Length: 4}
		change(&r)
		return r
	}
	asIs := func(*journal.Record) {}
	one := func(what string, ordinal uint64, seq int64, change func(*journal.Record)) {
		e.t.Helper()
		e.answers(what, func(o *quicwire.MirrorOpen) []quicwire.Frame {
			return []quicwire.Frame{accept(o), e.batch(ordinal, update(o.DurableSeq+uint64(seq), change))}
		})
	}
	one("a number that was restored", 1, 0, asIs)
	one("a number from the past", 1, -1, asIs)
	one("a number from the future", 1, 2, asIs)
	one("a number from far in the future", 1, 1<<40, asIs)
	one("batch 0", 0, 1, asIs)
	one("a record of the other side alone", 1, 0, func(r *journal.Record) { r.Flags = journal.FlagLocal })
	one("behind the end of the volume", 1, 1, func(r *journal.Record) { r.Offset = duoSize })
	one("over the end of the volume", 1, 1, func(r *journal.Record) { r.Offset = duoSize - 2 })
	one("far behind the end of the volume", 1, 1, func(r *journal.Record) { r.Offset = 1 << 62 })
	one("no bytes", 1, 1, func(r *journal.Record) { r.Payload, r.Length = nil, 0 })
	one("a discard of everything", 1, 1, func(r *journal.Record) { r.Kind, r.Payload, r.Offset, r.Length = journal.KindDiscard, nil, 0, 1<<62 })
	one("a base record of a pair that is not copied", 1, 0, func(r *journal.Record) { r.Kind = journal.KindBase })
	one("a control record of no kind", 1, 1, func(r *journal.Record) {
		r.Kind, r.Payload, r.Length = journal.KindControl, bytes.Repeat([]byte{200}, 8), 8
	})
	one("a control record that is cut off", 1, 1, func(r *journal.Record) {
		r.Kind, r.Payload, r.Length = journal.KindControl, []byte{1, 0, 0, 0, 255, 255, 255, 255}, 8
	})
	one("a jump over what is replicated", 1, 1000, func(r *journal.Record) {
		c := control{op: controlSeq}
		r.Kind, r.Flags, r.Payload = journal.KindControl, journal.FlagEpoch, c.encode()
		r.Length = uint64(len(r.Payload))
	})
	good := func(o *quicwire.MirrorOpen) *quicwire.Batch { return e.batch(1, update(o.DurableSeq+1, asIs)) }
	for what, change := range map[string]func(*quicwire.Batch){
		"fewer records than it says": func(b *quicwire.Batch) { b.Count, b.Data = 1<<32-1, b.Data[:0] },
		"bytes behind the records":   func(b *quicwire.Batch) { b.Count = 0 },
		"half a record":              func(b *quicwire.Batch) { b.Data = b.Data[:70] },
		"another checksum":           func(b *quicwire.Batch) { b.Data[len(b.Data)-60] ^= 1 },
		"another byte":               func(b *quicwire.Batch) { b.Data[64] ^= 1 },
		"not packed, and says it is": func(b *quicwire.Batch) { b.Flags, b.RawLen = quicwire.PackS2, quicwire.MaxBatchData },
		"grows to more than it says": func(b *quicwire.Batch) {
			b.Flags, b.RawLen, b.Data = quicwire.PackS2, uint32(len(b.Data)), s2.Encode(nil, make([]byte, 64<<20))
		},
		"grows to less than it says": func(b *quicwire.Batch) {
			b.Flags, b.RawLen, b.Data = quicwire.PackS2, quicwire.MaxBatchData, s2.Encode(nil, b.Data)
		},
		"packed and cut off": func(b *quicwire.Batch) {
			packed := s2.Encode(nil, b.Data)
			b.Flags, b.RawLen, b.Data = quicwire.PackS2, uint32(len(b.Data)), packed[:len(packed)-1]
		},
		"packed with zstd": func(b *quicwire.Batch) { b.Flags, b.RawLen = quicwire.PackZstd, quicwire.MaxBatchData },
	} {
		e.answers(what, func(o *quicwire.MirrorOpen) []quicwire.Frame {
			b := good(o)
			if change(b); b.Flags == quicwire.PackNone {
				b.RawLen = uint32(len(b.Data))
			}
			return []quicwire.Frame{accept(o), b}
		})
	}
	e.answers("more early batches than the window holds", func(o *quicwire.MirrorOpen) []quicwire.Frame {
		all := []quicwire.Frame{accept(o)}
		for n := range uint64(pathAhead + 2) {
			all = append(all, &quicwire.Batch{Ordinal: n + 2})
		}
		return all
	})
	for _, f := range []quicwire.Frame{
		good(&quicwire.MirrorOpen{}), &quicwire.ReadJournal{}, &quicwire.PairStates{}, &quicwire.MirrorOpen{Group: "k"}, &quicwire.Result{}, &quicwire.Bitmap{Pair: "s", Last: true},
	} {
		e.answers(f.Type().String()+" where it is to accept", func(*quicwire.MirrorOpen) []quicwire.Frame { return []quicwire.Frame{f} })
		if f.Type() != quicwire.TypePairStates && f.Type() != quicwire.TypeBatch {
			e.answers(f.Type().String()+" from a primary", func(o *quicwire.MirrorOpen) []quicwire.Frame { return []quicwire.Frame{accept(o), f} })
		}
	}
	e.answers("accepted twice", func(o *quicwire.MirrorOpen) []quicwire.Frame { return []quicwire.Frame{accept(o), accept(o)} })
	e.answers("refused in many words", func(o *quicwire.MirrorOpen) []quicwire.Frame {
		return []quicwire.Frame{&quicwire.MirrorAccept{Code: 200, Message: strings.Repeat("\n\x1b[2J", 100), Pairs: o.Pairs}}
	})
}

// ownRecords lets it say what a primary may say: numbers go on, and of what it says about others and about times nothing comes. A record of a volume
// that is in no pair with it is a number and nothing else.
func (e *hostilePeer) ownRecords(v *invaded) {
	before := v.a.untouched()
	seq := v.a.groupStatus("k@berlin").AppendedSeq
	open, s := e.asked()
	var states []quicwire.PairState
	for n := range quicwire.MaxPairs - 2 {
		states = append(states, quicwire.PairState{Name: fmt.Sprintf("n%d", n), Generation: 1, Status: uint8(n), SuspendType: 255})
	}
	states = append(states, quicwire.PairState{Name: "x", Generation: v.a.status("x").Generation, Status: uint8(PSUE)}, open.Pairs[0])
	settings := &quicwire.MirrorSettings{Number: open.Pairs[0].Number, Volume: "../x", Settings: []quicwire.Setting{{Name: "priority", Value: "-1"}, {Name: "\n", Value: "\xff"}}}
	_, err := s.Write(e.frames(accept(open), &quicwire.PairStates{Pairs: states}, &quicwire.MirrorOptions{PathWatch: 1<<32 - 1}, settings, &quicwire.MirrorSettings{Number: 77, Volume: "x"},
		&quicwire.MirrorLag{NewestSeq: 1<<64 - 1, Bytes: 1<<64 - 1, Age: 1<<64 - 1, Pairs: []quicwire.PairLag{{Number: open.Pairs[0].Number, Bytes: 1<<64 - 1, Age: 1<<64 - 1}, {Number: 99}}},
		e.batch(1, journal.Record{Kind: journal.KindUpdate, Volume: 9999, Seq: journal.Seq(open.DurableSeq + 1), Payload: []byte("evil"), Length: 4})))
	must(e.t, err)
	v.wait("the number arrives", func() bool { return v.a.groupStatus("k@berlin").AppendedSeq == seq+1 })
	after := v.a.untouched()
	for name, was := range before {
		if name != "group/k@berlin" && after[name] != was {
			e.t.Errorf("%s is %s, it was %s", name, after[name], was)
		}
	}
	if len(after) != len(before) {
		e.t.Errorf("there are %d things, there were %d", len(after), len(before))
	}
}
