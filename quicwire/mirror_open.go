package quicwire

// MirrorOpen is the first frame of a mirror stream, from the secondary, which opens it, to the primary.
type MirrorOpen struct {
	Group       string // name of the master journal group
	Session     uint64 // chosen by the secondary, new for each attempt; ordinals of batches count within it
	DurableSeq  uint64 // last sequence number durable in the restore journal: the pull continues behind it
	RestoredSeq uint64 // last sequence number restored to the S-VOLs
	Pairs       []PairState
}

// Type gives TypeMirrorOpen.
func (*MirrorOpen) Type() Type { return TypeMirrorOpen }

func (f *MirrorOpen) encode(w *writer) {
	w.str("group", f.Group, MaxName)
	w.u64(f.Session)
	w.u64(f.DurableSeq)
	w.u64(f.RestoredSeq)
	encodePairStates(w, f.Pairs)
}

func (f *MirrorOpen) decode(r *reader) {
	f.Group = r.str("group", MaxName)
	f.Session = r.u64()
	f.DurableSeq = r.u64()
	f.RestoredSeq = r.u64()
	f.Pairs = decodePairStates(r)
}
