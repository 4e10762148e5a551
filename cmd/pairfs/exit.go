package main

import (
	"errors"
	"fmt"

	"github.com/alecthomas/kong"
)

// The exit statuses. Scripts rely on them; a retired one stays reserved.
const (
	exitDone    = 0 // done
	exitFailed  = 1 // refused or failed; the sentence is on stderr
	exitUsage   = 2 // the command line makes no sense; nothing was tried
	exitTimeout = 3 // "pair wait", "wait" and "takeover": the time was over first
	exitBroken  = 4 // "wait": a pair was suspended before the marker was restored
	exitChanged = 5 // "wait": the marker is of another history
)

// exitError is an error with an exit status of its own. Without err it was told already, or is none but for the status.
type exitError struct {
	code int
	err  error
}

// Error returns the sentence, "" for one that was told.
func (e *exitError) Error() string {
	if e.err == nil {
		return ""
	}
	return e.err.Error()
}

// Unwrap returns the cause.
func (e *exitError) Unwrap() error { return e.err }

// usagef is an error of the command line that its grammar alone does not find.
func usagef(format string, args ...any) error {
	return &exitError{code: exitUsage, err: fmt.Errorf(format, args...)}
}

// exitCode is the one place where an error becomes an exit status.
func exitCode(err error) int {
	var own *exitError
	var parse *kong.ParseError
	switch {
	case err == nil:
		return exitDone
	case errors.As(err, &own):
		return own.code
	case errors.As(err, &parse):
		return exitUsage
	}
	return exitFailed
}
