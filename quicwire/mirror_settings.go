package quicwire

// MirrorSettings says what the secondary needs to know of one object should it become the primary: what was set for it at the primary. From the
// primary, for each object when a mirror opens and whenever it changes; both sides must have FeatureSettings. The options are the caller's.
type MirrorSettings struct {
	Number   uint32 // number by which records name the volume of a pair; 0 for the group
	Volume   string // of a pair: name of the P-VOL
	Settings []Setting
}

// Setting is one option that was set. An element of MirrorSettings, not a frame.
type Setting struct{ Name, Value string }

const minSetting = 2 + 2 // encoded bytes with empty words

// Type gives TypeMirrorSettings.
func (*MirrorSettings) Type() Type { return TypeMirrorSettings }

func (f *MirrorSettings) encode(w *writer) {
	w.u32(f.Number)
	w.str("volume", f.Volume, MaxName)
	w.count("settings", len(f.Settings), MaxSettings)
	for _, s := range f.Settings {
		w.str("name", s.Name, MaxName)
		w.str("value", s.Value, MaxName)
	}
}

func (f *MirrorSettings) decode(r *reader) {
	f.Number = r.u32()
	f.Volume = r.str("volume", MaxName)
	n := r.count("settings", MaxSettings, minSetting)
	if n == 0 {
		return
	}
	f.Settings = make([]Setting, n)
	for i := range f.Settings {
		f.Settings[i] = Setting{Name: r.str("name", MaxName), Value: r.str("value", MaxName)}
	}
}
