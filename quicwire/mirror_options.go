package quicwire

// MirrorOptions hands options of the master group on to the restore group. From the primary, at any time of a mirror session.
type MirrorOptions struct {
	PathWatch uint32 // path watch time in seconds, 0 if it is not handed on
}

// Type gives TypeMirrorOptions.
func (*MirrorOptions) Type() Type { return TypeMirrorOptions }

func (f *MirrorOptions) encode(w *writer) { w.u32(f.PathWatch) }

func (f *MirrorOptions) decode(r *reader) { f.PathWatch = r.u32() }
