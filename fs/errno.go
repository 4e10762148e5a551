package fs

import (
	"context"
	"errors"
	"os"

	"golang.org/x/sys/unix"

	"pairfs/replica"
)

// kindErrno is the one table from the kind of a refusal to the errno that a system call returns for it. Each errno has one meaning.
var kindErrno = map[replica.Kind]unix.Errno{
	replica.KindInternal:    unix.EIO,
	replica.KindInvalid:     unix.EINVAL,
	replica.KindNotFound:    unix.ENOENT,
	replica.KindExists:      unix.EEXIST,
	replica.KindBusy:        unix.EBUSY,
	replica.KindSecondary:   unix.EROFS,
	replica.KindNoSpace:     unix.ENOSPC,
	replica.KindUnreachable: unix.EHOSTUNREACH,
	replica.KindTimeout:     unix.ETIMEDOUT,
	replica.KindAccess:      unix.EACCES,
}

// errnoOf returns the errno for err, 0 for nil. The kind of a [replica.Error] decides before what caused it; but where the kind only says
// that something inside failed, the errno of the cause says more.
func errnoOf(err error) unix.Errno {
	if err == nil {
		return 0
	}
	if kind := replica.KindOf(err); kind != replica.KindInternal {
		if errno, ok := kindErrno[kind]; ok {
			return errno
		}
		return unix.EIO
	}
	var errno unix.Errno
	switch {
	case errors.As(err, &errno) && errno != 0:
		return errno
	case errors.Is(err, context.Canceled):
		return unix.EINTR
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded):
		return unix.ETIMEDOUT
	}
	return unix.EIO
}
