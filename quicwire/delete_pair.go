package quicwire

// DeletePair asks the other side of a pair to forget it. A request; the answer is a Result.
type DeletePair struct {
	Pair       string // name of the pair
	Generation uint64 // history the sender means
	Force      bool   // even if the states of the two sides do not fit
	Origin     uint8  // who began it; the meaning is the caller's
}

// Type gives TypeDeletePair.
func (*DeletePair) Type() Type { return TypeDeletePair }

func (f *DeletePair) encode(w *writer) {
	w.str("pair", f.Pair, MaxName)
	w.u64(f.Generation)
	w.bool(f.Force)
	w.u8(f.Origin)
}

func (f *DeletePair) decode(r *reader) {
	f.Pair = r.str("pair", MaxName)
	f.Generation = r.u64()
	f.Force = r.bool("force")
	f.Origin = r.u8()
}
