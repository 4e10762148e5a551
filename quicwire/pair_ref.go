package quicwire

// PairRef names a pair and the history of it that is meant. An element of frames, not a frame.
type PairRef struct {
	Name       string
	Generation uint64
}

const minPairRef = 2 + 8 // encoded bytes with an empty name

func encodePairRefs(w *writer, refs []PairRef) {
	w.count("pairs", len(refs), MaxPairs)
	for _, p := range refs {
		w.str("pair", p.Name, MaxName)
		w.u64(p.Generation)
	}
}

func decodePairRefs(r *reader) []PairRef {
	n := r.count("pairs", MaxPairs, minPairRef)
	if n == 0 {
		return nil
	}
	refs := make([]PairRef, n)
	for i := range refs {
		refs[i] = PairRef{Name: r.str("pair", MaxName), Generation: r.u64()}
	}
	return refs
}
