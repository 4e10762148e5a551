package quicwire

// What is asked for (SwapPairs.Phase).
const (
	SwapPrepare uint8 = 1 // to the primary: hold host writes, and say at which number they stopped. The answer is a ResyncReady with it
	SwapCommit  uint8 = 2 // to the primary that holds them: become the secondary at that number. The answer is a ResyncReady
	SwapAbort   uint8 = 3 // to the primary that holds them: let them go on. The answer is a Result
	SwapResync  uint8 = 4 // from an S-VOL that was taken over: become its secondary; answered as ResyncPairs is
	SwapAsk     uint8 = 5 // to the side that has to begin: it is to resync in the direction that is named. The answer is a Result
)

// SwapPairs asks the peer for a part of what exchanges the roles of a whole group. A request.
type SwapPairs struct {
	Group      string // name of the group at the side that is asked
	Pairs      []PairRef
	Phase      uint8
	Token      uint64 // of one exchange: prepare gives it, commit and abort name it
	Generation uint64 // the history that begins with the exchange, for all its pairs; 0 where none begins
	Wait       uint32 // of prepare: how long host writes are held at most without a commit, milliseconds
	Seq        uint64 // of resync: the number up to which the S-VOL had everything when it was taken over
	Lose       uint8  // of resync and ask: LoseNothing, LosePVOL or LoseSVOL
}

// What may be overwritten that the other side lacks (SwapPairs.Lose).
const (
	LoseNothing uint8 = 0 // refuse where something would be
	LosePVOL    uint8 = 1 // what hosts wrote at the P-VOL; it is kept aside there
	LoseSVOL    uint8 = 2 // what hosts wrote at the S-VOL; it is kept aside there
)

// Type gives TypeSwapPairs.
func (*SwapPairs) Type() Type { return TypeSwapPairs }

func (f *SwapPairs) encode(w *writer) {
	w.str("group", f.Group, MaxName)
	encodePairRefs(w, f.Pairs)
	w.u8(f.Phase)
	w.u64(f.Token)
	w.u64(f.Generation)
	w.u32(f.Wait)
	w.u64(f.Seq)
	w.u8(f.Lose)
}

func (f *SwapPairs) decode(r *reader) {
	f.Group = r.str("group", MaxName)
	f.Pairs = decodePairRefs(r)
	f.Phase = r.u8()
	f.Token = r.u64()
	f.Generation = r.u64()
	f.Wait = r.u32()
	f.Seq = r.u64()
	f.Lose = r.u8()
}
