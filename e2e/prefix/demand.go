package prefix

// Demand says which writes have to be in a prefix, besides those that the pictures show; what was acknowledged before one of them began has to
// be there with it. It is asked while the history is locked.
type Demand func(h *History, w *Write) bool

// Nothing demands nothing.
func Nothing(*History, *Write) bool { return false }

// Acknowledged demands every acknowledged write: what a host may expect of a volume that it writes, and after a kill.
func Acknowledged(_ *History, w *Write) bool { return w.End != 0 }

// Before demands what was acknowledged before a moment.
func Before(at Stamp) Demand {
	return func(_ *History, w *Write) bool { return w.End != 0 && w.End < at }
}

// Synced demands what was promised to survive a power cut: what was acknowledged before a completed sync began, and each acknowledged
// synchronous write with what was acknowledged before that began.
func Synced(h *History, w *Write) bool { return w.End != 0 && (w.Sync || w.End < h.synced) }

// SyncedSoFar demands what [Synced] does at this moment.
func (h *History) SyncedSoFar() Demand {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.clock++
	now, synced := h.clock, h.synced
	return func(_ *History, w *Write) bool { return w.End != 0 && (w.Sync && w.End < now || w.End < synced) }
}

// Both demands what either of two does.
func Both(a, b Demand) Demand {
	return func(h *History, w *Write) bool { return a(h, w) || b(h, w) }
}
