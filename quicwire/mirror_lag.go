package quicwire

// MirrorLag says how far the secondary is behind, as the primary knows it: of the whole group, and of each pair that is not in step. From the
// primary, at any time of a mirror session; both sides must have FeatureLag.
type MirrorLag struct {
	NewestSeq uint64    // newest sequence number of the master journal
	Bytes     uint64    // journal bytes that the secondary does not hold durably, as the primary has heard
	Age       uint64    // age of the oldest such record in ns, 0 if there is none
	Pairs     []PairLag // those that are not in step
}

// PairLag is the same of one pair. An element of MirrorLag, not a frame.
type PairLag struct {
	Number uint32 // number by which records name the volume
	Bytes  uint64 // journal bytes of its records
	Age    uint64 // ns
}

const pairLagSize = 4 + 8 + 8

// Type gives TypeMirrorLag.
func (*MirrorLag) Type() Type { return TypeMirrorLag }

func (f *MirrorLag) encode(w *writer) {
	w.u64(f.NewestSeq)
	w.u64(f.Bytes)
	w.u64(f.Age)
	w.count("pairs", len(f.Pairs), MaxPairs)
	for _, p := range f.Pairs {
		w.u32(p.Number)
		w.u64(p.Bytes)
		w.u64(p.Age)
	}
}

func (f *MirrorLag) decode(r *reader) {
	f.NewestSeq, f.Bytes, f.Age = r.u64(), r.u64(), r.u64()
	n := r.count("pairs", MaxPairs, pairLagSize)
	if n == 0 {
		return
	}
	f.Pairs = make([]PairLag, n)
	for i := range f.Pairs {
		f.Pairs[i] = PairLag{Number: r.u32(), Bytes: r.u64(), Age: r.u64()}
	}
}
