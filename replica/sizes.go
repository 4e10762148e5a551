package replica

import (
	"fmt"
	"path/filepath"

	"github.com/dustin/go-humanize"
	"golang.org/x/sys/unix"
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

// checkSpace refuses a journal that the file system of the journals cannot hold, which may be another one than that of the stores.
func (s *Site) checkSpace(n int64, what string) error {
	dir := filepath.Join(s.cfg.StateDir, "journals")
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return fault(KindInternal, err, "the free space of %s cannot be looked at", dir)
	}
	if free := int64(st.Bavail) * st.Bsize; n > free {
		size := sizes(n, free)
		return refuse(KindNoSpace, "%s needs %s, the file system of %s has %s free", what, size[0], dir, size[1])
	}
	return nil
}
