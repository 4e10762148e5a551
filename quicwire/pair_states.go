package quicwire

// PairStates tells the other side what has changed. On a mirror stream it needs no answer; as a request it is answered by a Result.
type PairStates struct {
	Pairs []PairState
}

// Type gives TypePairStates.
func (*PairStates) Type() Type { return TypePairStates }

func (f *PairStates) encode(w *writer) { encodePairStates(w, f.Pairs) }

func (f *PairStates) decode(r *reader) { f.Pairs = decodePairStates(r) }
