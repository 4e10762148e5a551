package quicwire

// What happens to records that the secondary does not hold yet (SuspendPair.Mode).
const (
	SuspendFlush uint8 = 0 // they are sent and restored first: both sides stop at one sequence number
	SuspendPurge uint8 = 1 // they are dropped, their regions go into the bitmap
	SuspendSwap  uint8 = 2 // flush, in preparation of a change of roles
)

// SuspendPair suspends pairs: the secondary asks the primary, or the primary tells. A request; the answer is a Result.
type SuspendPair struct {
	Pairs     []PairRef // all of one group
	Mode      uint8     // SuspendFlush, SuspendPurge or SuspendSwap
	SVOLWrite bool      // hosts may write to the S-VOLs afterwards
	Origin    uint8     // who began it and why; the meaning is the caller's
}

// Type gives TypeSuspendPair.
func (*SuspendPair) Type() Type { return TypeSuspendPair }

func (f *SuspendPair) encode(w *writer) {
	encodePairRefs(w, f.Pairs)
	w.u8(f.Mode)
	w.bool(f.SVOLWrite)
	w.u8(f.Origin)
}

func (f *SuspendPair) decode(r *reader) {
	f.Pairs = decodePairRefs(r)
	f.Mode = r.u8()
	f.SVOLWrite = r.bool("svol write")
	f.Origin = r.u8()
}
