package quicwire

// SuspendPathLost in PairState.SuspendType says that the pair was suspended because the mirror was down longer than path watch time, whatever
// type that is. Only for sides that both have FeaturePathLost.
const SuspendPathLost uint8 = 0x80

// PairState is what one side knows of a pair. An element of frames, not a frame. The values of Status and SuspendType
// are the caller's, but for SuspendPathLost.
type PairState struct {
	Name        string
	Number      uint32 // number by which records name the volume
	Generation  uint64 // id of the pair's history
	Status      uint8
	SuspendType uint8
	Consistent  bool   // the S-VOL holds a prefix of the group's history
	Seq         uint64 // sequence number up to which this holds
}

const minPairState = 2 + 4 + 8 + 1 + 1 + 1 + 8 // encoded bytes with an empty name

func encodePairStates(w *writer, states []PairState) {
	w.count("pairs", len(states), MaxPairs)
	for _, p := range states {
		w.str("pair", p.Name, MaxName)
		w.u32(p.Number)
		w.u64(p.Generation)
		w.u8(p.Status)
		w.u8(p.SuspendType)
		w.bool(p.Consistent)
		w.u64(p.Seq)
	}
}

func decodePairStates(r *reader) []PairState {
	n := r.count("pairs", MaxPairs, minPairState)
	if n == 0 {
		return nil
	}
	states := make([]PairState, n)
	for i := range states {
		states[i] = PairState{
			Name:        r.str("pair", MaxName),
			Number:      r.u32(),
			Generation:  r.u64(),
			Status:      r.u8(),
			SuspendType: r.u8(),
			Consistent:  r.bool("consistent"),
			Seq:         r.u64(),
		}
	}
	return states
}
