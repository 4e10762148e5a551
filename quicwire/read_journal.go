package quicwire

// ReadJournal is the secondary's pull: how much it is ready to receive, and how far it has come. Every field only grows
// within a session, so the newest frame replaces all before it.
type ReadJournal struct {
	Budget      uint64 // bytes of batch data, counted from the begin of the session, that may have been sent
	Durable     uint64 // ordinal of the last batch that is durable here, all before it included
	Restored    uint64 // ordinal of the last batch that is restored here
	DurableSeq  uint64 // sequence number that goes with Durable
	RestoredSeq uint64 // sequence number that goes with Restored
}

// Type gives TypeReadJournal.
func (*ReadJournal) Type() Type { return TypeReadJournal }

func (f *ReadJournal) encode(w *writer) {
	w.u64(f.Budget)
	w.u64(f.Durable)
	w.u64(f.Restored)
	w.u64(f.DurableSeq)
	w.u64(f.RestoredSeq)
}

func (f *ReadJournal) decode(r *reader) {
	f.Budget = r.u64()
	f.Durable = r.u64()
	f.Restored = r.u64()
	f.DurableSeq = r.u64()
	f.RestoredSeq = r.u64()
}
