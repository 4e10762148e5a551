package crashpoint

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// parse reads what PAIRFS_CRASH says. Nothing said is no point at all.
func parse(text string) (p Point, times int64, err error) {
	if text == "" {
		return points, 0, nil
	}
	name, count, _ := strings.Cut(text, ":")
	at := slices.Index(names[:], name)
	if at < 0 {
		return 0, 0, fmt.Errorf("PAIRFS_CRASH=%s: there is no point %q: %s", text, name, strings.Join(names[:], " "))
	}
	if times, err = strconv.ParseInt(count, 10, 64); err != nil || times < 1 {
		return 0, 0, fmt.Errorf("PAIRFS_CRASH=%s: say at which time, as in %s:1", text, name)
	}
	return Point(at), times, nil
}
