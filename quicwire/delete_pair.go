package quicwire

// DeletePair asks the other side to forget pairs, all of one group and all at one sequence number. A request; the answer is a Result.
type DeletePair struct {
	Pairs  []PairRef
	Force  bool  // even if the states of the two sides do not fit
	Origin uint8 // who began it; the meaning is the caller's
}

// Type gives TypeDeletePair.
func (*DeletePair) Type() Type { return TypeDeletePair }

func (f *DeletePair) encode(w *writer) {
	encodePairRefs(w, f.Pairs)
	w.bool(f.Force)
	w.u8(f.Origin)
}

func (f *DeletePair) decode(r *reader) {
	f.Pairs = decodePairRefs(r)
	f.Force = r.bool("force")
	f.Origin = r.u8()
}
