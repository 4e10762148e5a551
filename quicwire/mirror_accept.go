package quicwire

// MirrorAccept is the primary's answer to MirrorOpen, the first frame in its direction. After a refusal the stream ends.
type MirrorAccept struct {
	Code        ResultCode // ResultDone, or why the mirror cannot run
	Message     string     // the sentence that goes with a refusal
	Session     uint64     // as in MirrorOpen
	JournalTime uint64     // time of the newest record of the master journal, wall clock, ns since 1970 UTC
	Pairs       []PairState
}

// Type gives TypeMirrorAccept.
func (*MirrorAccept) Type() Type { return TypeMirrorAccept }

func (f *MirrorAccept) encode(w *writer) {
	w.u16(uint16(f.Code))
	w.str("message", f.Message, MaxMessage)
	w.u64(f.Session)
	w.u64(f.JournalTime)
	encodePairStates(w, f.Pairs)
}

func (f *MirrorAccept) decode(r *reader) {
	f.Code = ResultCode(r.u16())
	f.Message = r.str("message", MaxMessage)
	f.Session = r.u64()
	f.JournalTime = r.u64()
	f.Pairs = decodePairStates(r)
}
