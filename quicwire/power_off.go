package quicwire

// PowerOff says that the primary is being switched off in good order and could not bring the secondary all that it holds before: what is
// missing of the named pairs. A request, beside the mirror stream, so that it does not wait behind what the link did not carry; the mirror is not
// served any more then. Both sides must have FeaturePowerOff. The answer is a Result.
type PowerOff struct {
	Group     string // name of the group at the primary
	NewestSeq uint64 // newest sequence number of the master journal
	Pairs     []PairOff
}

// PairOff is what is missing of one pair. An element of PowerOff, not a frame.
type PairOff struct {
	Name       string
	Generation uint64
	Bytes      uint64 // journal bytes of its records that the secondary has not confirmed, 0 if nothing is missing
	Age        uint64 // of the oldest of them, ns
}

const minPairOff = 2 + 8 + 8 + 8 // encoded bytes with an empty name

// Type gives TypePowerOff.
func (*PowerOff) Type() Type { return TypePowerOff }

func (f *PowerOff) encode(w *writer) {
	w.str("group", f.Group, MaxName)
	w.u64(f.NewestSeq)
	w.count("pairs", len(f.Pairs), MaxPairs)
	for _, p := range f.Pairs {
		w.str("pair", p.Name, MaxName)
		w.u64(p.Generation)
		w.u64(p.Bytes)
		w.u64(p.Age)
	}
}

func (f *PowerOff) decode(r *reader) {
	f.Group = r.str("group", MaxName)
	f.NewestSeq = r.u64()
	n := r.count("pairs", MaxPairs, minPairOff)
	if n == 0 {
		return
	}
	f.Pairs = make([]PairOff, n)
	for i := range f.Pairs {
		f.Pairs[i] = PairOff{Name: r.str("pair", MaxName), Generation: r.u64(), Bytes: r.u64(), Age: r.u64()}
	}
}
