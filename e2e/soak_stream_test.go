package e2e

// stream is what hosts write at one side of a group, and remember.
type stream struct {
	f     *flow
	at    *host
	h     *History
	w     *Workload
	kills int // of the site when w began
}

// targets are the volumes that it writes.
func (st *stream) targets() []Target { return st.at.Targets(st.f.size, st.f.volumes...) }

// write lets the writers run, if they do not yet and their site answers. Some are processes of their own. While the roles may be changing the
// volumes may be read only.
func (st *stream) write() {
	if st.w != nil || !st.at.up() {
		return
	}
	s, rng := st.f.s, st.f.s.rng
	st.kills = st.at.kills
	w, err := TryWorkload(s.t, st.h, st.targets(), Load{
		Seed: s.Seed + uint64(st.h.Len()), Writers: 2 + rng.IntN(6), PerSecond: float64(int(50) << rng.IntN(s.rates)), MaxSize: 4096 << rng.IntN(9), Processes: rng.IntN(4),
	})
	if err != nil && !st.excused(err) {
		s.t.Fatalf("group %s: hosts cannot write at site %s: %v", st.f.group, st.at.Name, err)
	}
	if err == nil {
		st.w = w
		for _, p := range w.procs {
			if p != nil {
				s.did("writers' processes", 1)
			}
		}
	}
}

// excused reports whether hosts had to expect an error: their site died, or the roles may have changed.
func (st *stream) excused(err error) bool {
	died := st.kills != st.at.kills || st.at.crash != "" && !st.at.Running()
	return died && DeadMount(err) || st.f.turning && isErrno(err, "EROFS")
}

// halt ends the writers.
func (st *stream) halt() {
	if st.w == nil {
		return
	}
	s := st.f.s
	s.did("acknowledged writes", int(st.w.Acked()))
	ended := make(chan error, 1)
	go func(w *Workload) { ended <- w.Stop() }(st.w)
	var err error
	Until(s.t, StatusLimit, "the writers of "+st.f.group+" end", func() bool {
		select {
		case err = <-ended:
			return true
		default:
			return false
		}
	})
	if err != nil && !st.excused(err) {
		s.t.Fatalf("group %s: a write failed though site %s lives: %v", st.f.group, st.at.Name, err)
	}
	st.w = nil
}

// check checks that nothing acknowledged is lost. The writers are halted.
func (st *stream) check() {
	s := st.f.s
	s.t.Helper()
	if _, err := CheckFiles(st.h, st.targets(), Always); err != nil {
		s.t.Fatalf("group %s where hosts write it, at %s: %v", st.f.group, st.at.Name, err)
	}
	s.did("checks of a primary", 1)
}
