package quicwire

// ResyncReady is the first frame of the answer to ResyncPairs; Bitmap frames of the same pairs follow it.
type ResyncReady struct {
	LastSeq uint64 // last sequence number that the answering side has restored; a primary: that it knows the secondary to have restored
	Pairs   []PairState
}

// Type gives TypeResyncReady.
func (*ResyncReady) Type() Type { return TypeResyncReady }

func (f *ResyncReady) encode(w *writer) {
	w.u64(f.LastSeq)
	encodePairStates(w, f.Pairs)
}

func (f *ResyncReady) decode(r *reader) {
	f.LastSeq = r.u64()
	f.Pairs = decodePairStates(r)
}
