package fs

import (
	"context"
	"errors"
	"fmt"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"pairfs/replica"
)

func TestEveryKindHasItsOwnErrno(t *testing.T) {
	seen := map[unix.Errno]replica.Kind{}
	for _, k := range replica.Kinds {
		errno := errnoOf(fmt.Errorf("outer: %w", &replica.Error{Kind: k, Msg: "no"}))
		if errno == 0 || errno != kindErrno[k] {
			t.Errorf("%v: %v", k, errno)
		}
		if other, double := seen[errno]; double {
			t.Errorf("%v and %v are both %v", k, other, errno)
		}
		seen[errno] = k
	}
	if len(kindErrno) != len(replica.Kinds) {
		t.Errorf("%d rows for %d kinds", len(kindErrno), len(replica.Kinds))
	}
}

func TestErrnoOf(t *testing.T) {
	for _, c := range []struct {
		err  error
		want unix.Errno
	}{
		{nil, 0},
		{errors.New("other"), unix.EIO},
		{context.Canceled, unix.EINTR},
		{fmt.Errorf("wait: %w", context.Canceled), unix.EINTR},
		{context.DeadlineExceeded, unix.ETIMEDOUT},
		{&os.PathError{Op: "open", Path: "x", Err: unix.EMFILE}, unix.EMFILE},
		{&replica.Error{Kind: replica.KindInternal, Msg: "x", Err: unix.ENOSPC}, unix.ENOSPC},
		{&replica.Error{Kind: replica.KindInternal, Msg: "x", Err: context.Canceled}, unix.EINTR},
		{&replica.Error{Kind: replica.KindNoSpace, Msg: "x", Err: unix.EDQUOT}, unix.ENOSPC},
		{&replica.Error{Kind: replica.Kind(200), Msg: "x"}, unix.EIO},
	} {
		if got := errnoOf(c.err); got != c.want {
			t.Errorf("%v: %v, want %v", c.err, got, c.want)
		}
	}
}
