package replica

import (
	"fmt"

	"github.com/dustin/go-humanize"
)

// iec writes a size for an operator.
func iec(n int64) string { return humanize.IBytes(uint64(max(n, 0))) }

// sizes writes sizes that are compared: rounded, unless that hides a difference.
func sizes(all ...int64) []string {
	texts, have, whole := make([]string, len(all)), map[string]int64{}, true
	alike := false
	for i, n := range all {
		texts[i] = iec(n)
		if m, ok := have[texts[i]]; ok && m != n {
			alike = true
		}
		have[texts[i]] = n
		whole = whole && n%(1<<20) == 0
	}
	for i, n := range all {
		switch {
		case alike && whole:
			texts[i] = fmt.Sprintf("%d MiB", n>>20)
		case alike:
			texts[i] = fmt.Sprintf("%d bytes", n)
		}
	}
	return texts
}

// checkSpace refuses what the file system of the state directory cannot hold.
func (s *Site) checkSpace(n int64, what string) error {
	st, err := s.Statfs()
	if err != nil {
		return err
	}
	if free := int64(st.Bavail) * st.Bsize; n > free {
		size := sizes(n, free)
		return refuse(KindNoSpace, "%s needs %s, the file system of %s has %s free", what, size[0], s.cfg.StateDir, size[1])
	}
	return nil
}
