package quicwire

// MirrorPath speaks of a further path of a mirror session: a stream of its own, on a path connection, over which batches come beside those of
// the mirror stream. Inside a mirror stream, from the primary, it asks the secondary to open one more; as the first frame of a stream on a path
// connection, from the secondary, it says whose path that is. Both sides must have FeaturePaths.
type MirrorPath struct {
	Session uint64 // of the MirrorOpen
	Path    uint8  // 1 to MaxPaths, for messages
}

// Type gives TypeMirrorPath.
func (*MirrorPath) Type() Type { return TypeMirrorPath }

func (f *MirrorPath) encode(w *writer) {
	if f.Path == 0 || f.Path > MaxPaths {
		w.invalid("path", f.Path)
	}
	w.u64(f.Session)
	w.u8(f.Path)
}

func (f *MirrorPath) decode(r *reader) {
	f.Session = r.u64()
	if f.Path = r.u8(); f.Path == 0 || f.Path > MaxPaths {
		r.fail("path is %d, 1 to %d are there", f.Path, MaxPaths)
	}
}
