package quicwire

// How the volumes of a new pair become equal (CreatePair.Copy).
const (
	CopyFull uint8 = 0 // the P-VOL is copied
	CopyNone uint8 = 1 // the operator vouches that they are equal already
)

// CreatePair asks a site to become the secondary of a pair. A request; the answer is a Result.
type CreatePair struct {
	Pair        string // name of the pair, the same on both sides
	Group       string // name of the master journal group
	Volume      string // name of the S-VOL
	Number      uint32 // number by which records name the volume
	Size        uint64 // bytes of both volumes
	Generation  uint64 // id of the pair's history
	JournalSize uint64 // bytes of the master journal, a proposal for a restore journal to be made
	Copy        uint8  // CopyFull or CopyNone
	ErrorLevel  uint8  // what a failure at the secondary suspends: 0 the pairs of the group, 1 this pair alone
}

// Type gives TypeCreatePair.
func (*CreatePair) Type() Type { return TypeCreatePair }

func (f *CreatePair) encode(w *writer) {
	w.str("pair", f.Pair, MaxName)
	w.str("group", f.Group, MaxName)
	w.str("volume", f.Volume, MaxName)
	w.u32(f.Number)
	w.u64(f.Size)
	w.u64(f.Generation)
	w.u64(f.JournalSize)
	w.u8(f.Copy)
	w.u8(f.ErrorLevel)
}

func (f *CreatePair) decode(r *reader) {
	f.Pair = r.str("pair", MaxName)
	f.Group = r.str("group", MaxName)
	f.Volume = r.str("volume", MaxName)
	f.Number = r.u32()
	f.Size = r.u64()
	f.Generation = r.u64()
	f.JournalSize = r.u64()
	f.Copy = r.u8()
	f.ErrorLevel = r.u8()
}
