package quicwire

// What is asked for (ResyncPairs.Mode).
const (
	ResyncSame uint8 = 0 // the roles stay as they are
	ResyncSwap uint8 = 1 // not used: SwapPairs does that
	ResyncLook uint8 = 2 // nothing is taken up and nothing changes: the answer alone is wanted, by either side
	ResyncLose uint8 = 3 // as ResyncSame, also where the S-VOL was taken over: what was written there is kept aside and overwritten
)

// ResyncPairs asks the peer to take up suspended pairs of a group again, or only what its bitmaps say. A request; the answer is one
// ResyncReady and then Bitmap frames, the last one of each pair marked, or a Result that refuses.
type ResyncPairs struct {
	Group string // name of the master journal group
	Pairs []PairRef
	Mode  uint8 // ResyncSame, ResyncLook or ResyncLose
}

// Type gives TypeResyncPairs.
func (*ResyncPairs) Type() Type { return TypeResyncPairs }

func (f *ResyncPairs) encode(w *writer) {
	w.str("group", f.Group, MaxName)
	encodePairRefs(w, f.Pairs)
	w.u8(f.Mode)
}

func (f *ResyncPairs) decode(r *reader) {
	f.Group = r.str("group", MaxName)
	f.Pairs = decodePairRefs(r)
	f.Mode = r.u8()
}
