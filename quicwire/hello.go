package quicwire

// Hello is the first frame in both directions on the first stream of a connection. Its layout is the same in every
// version of the protocol, because it is read before a version is agreed.
type Hello struct {
	MinVersion uint16   // oldest and newest version the sender speaks
	MaxVersion uint16   //
	Features   Features // what the sender can do beyond the version; unknown bits are ignored
	Site       string   // name of the sending site, for messages
	MaxFrame   uint32   // longest frame body in bytes the sender accepts, at least MaxControlFrame
	Nonce      uint64   // chosen at random when the endpoint starts: a new one means that the peer was restarted
}

// Type gives TypeHello.
func (*Hello) Type() Type { return TypeHello }

func (f *Hello) encode(w *writer) {
	w.u16(f.MinVersion)
	w.u16(f.MaxVersion)
	w.u64(uint64(f.Features))
	w.u32(f.MaxFrame)
	w.u64(f.Nonce)
	w.str("site", f.Site, MaxName)
}

func (f *Hello) decode(r *reader) {
	f.MinVersion = r.u16()
	f.MaxVersion = r.u16()
	f.Features = Features(r.u64())
	f.MaxFrame = r.u32()
	f.Nonce = r.u64()
	f.Site = r.str("site", MaxName)
}
