package replica

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// Kind is the class of an [Error]. Every refusal of a command has exactly one; the file system maps it to one errno, the wire to one
// result code.
type Kind uint8

// The kinds of refusal. Their order is part of the wire protocol; only add.
const (
	KindInternal    Kind = iota // a failure of this site that no caller can mend
	KindInvalid                 // the words or values of a command make no sense
	KindNotFound                // no such volume, pair, group or peer
	KindExists                  // the name is taken
	KindBusy                    // not possible in this state
	KindSecondary               // the volume or pair is secondary here
	KindNoSpace                 // journal, store, memory bound or quota is exhausted
	KindUnreachable             // the peer cannot be reached
	KindTimeout                 // the time given was over first
	KindAccess                  // the peer does not allow it
)

// Kinds lists every kind, for tests that must cover them all.
var Kinds = [...]Kind{
	KindInternal, KindInvalid, KindNotFound, KindExists, KindBusy, KindSecondary, KindNoSpace, KindUnreachable, KindTimeout, KindAccess,
}

var kindNames = [...]string{
	"internal", "invalid", "not-found", "exists", "busy", "secondary", "no-space", "unreachable", "timeout", "access",
}

// String returns the word of the kind as events and JSON show it.
func (k Kind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return fmt.Sprintf("kind(%d)", uint8(k))
}

// Error is a refusal or failure with its kind. Its message is a whole sentence in lower case that says what happened, to which pair or
// volume, and what to do next.
type Error struct {
	Kind Kind
	Msg  string
	Err  error // the cause, or nil
}

// Error returns the sentence and the cause.
func (e *Error) Error() string {
	if e.Err == nil {
		return e.Msg
	}
	return e.Msg + ": " + e.Err.Error()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// refuse builds an [Error] without a cause.
func refuse(k Kind, format string, args ...any) *Error {
	return &Error{Kind: k, Msg: fmt.Sprintf(format, args...)}
}

// fault builds an [Error] with a cause.
func fault(k Kind, err error, format string, args ...any) *Error {
	return &Error{Kind: k, Msg: fmt.Sprintf(format, args...), Err: err}
}

// kindOfDisk is the kind of what an operation on a disk gave: [KindNoSpace] where a file system or quota is full, else [KindInternal].
func kindOfDisk(err error) Kind {
	if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) {
		return KindNoSpace
	}
	return KindInternal
}

// counted writes how many there are of something, for an operator.
func counted(n int, one string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %ss", n, one)
}

// KindOf returns the kind of err: that of the outermost [Error] in its chain, [KindInternal] for any other error.
func KindOf(err error) Kind {
	var e *Error
	if errors.As(err, &e) {
		return e.Kind
	}
	return KindInternal
}
