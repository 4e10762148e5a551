package main

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// raidCode is an exit status of RAID Manager's commands that says what went wrong, with the name that is printed for it. Scripts rely on both.
type raidCode struct {
	value int
	name  string
}

// The codes that the commands leave, by value. The numbers and names are RAID Manager's; behind each stands when it is left here. Those of the
// family EW share one value.
var (
	ewREQCMD = raidCode{131, "EW_REQCMD"} // "pairfs raid" without a command
	ewMAXARG = raidCode{131, "EW_MAXARG"} // more words than the command has a use for
	ewLNGARG = raidCode{131, "EW_LNGARG"} // a word longer than any name
	exEACCES = raidCode{200, "EX_EACCES"} // the control files are another user's, or the peer does not allow it
	exENOSUP = raidCode{210, "EX_ENOSUP"} // an option of RAID Manager that has no counterpart here
	exENQSER = raidCode{218, "EX_ENQSER"} // -d SEQ# LDEV# names another site
	exINVMUN = raidCode{220, "EX_INVMUN"} // a mirror other than 0
	exCMDRJE = raidCode{221, "EX_CMDRJE"} // the site refused the command in this state
	exINVVOL = raidCode{222, "EX_INVVOL"} // the volume is in no pair, or is not the side that the command is for
	exINVSTP = raidCode{228, "EX_INVSTP"} // the pair's status does not allow the command
	exINCSTG = raidCode{229, "EX_INCSTG"} // the statuses within the group differ in what they allow
	exEWSTOT = raidCode{233, "EX_EWSTOT"} // the time was over first
	exEWSUSE = raidCode{234, "EX_EWSUSE"} // the pair was suspended while its status was waited for
	exEVOLCE = raidCode{235, "EX_EVOLCE"} // P-VOL and S-VOL are not where the command wants them
	exENQVOL = raidCode{236, "EX_ENQVOL"} // the volumes of the group are not all in one status, or on one side
	exCMDIOE = raidCode{237, "EX_CMDIOE"} // a control file could not be read or written
	exENOGRP = raidCode{239, "EX_ENOGRP"} // no such group
	exINVCMD = raidCode{240, "EX_INVCMD"} // no such command
	exINVMOD = raidCode{241, "EX_INVMOD"} // the instance is one for local copies
	exENORMT = raidCode{242, "EX_ENORMT"} // the other side cannot be reached
	exENODEV = raidCode{246, "EX_ENODEV"} // no such pair or volume
	exOPTINV = raidCode{248, "EX_OPTINV"} // options that contradict each other
	exINVNAM = raidCode{249, "EX_INVNAM"} // a name that means more than one thing
	exATTHOR = raidCode{251, "EX_ATTHOR"} // no site to give the command to
	exUNWOPT = raidCode{252, "EX_UNWOPT"} // an option that the command does not have
	exINVARG = raidCode{253, "EX_INVARG"} // a value out of its range
	exREQARG = raidCode{254, "EX_REQARG"} // something is missing on the command line
	exCOMERR = raidCode{255, "EX_COMERR"} // interrupted, or something that has no code of its own
)

// raidErrnos says which code a refusal of the site has, by the errno that the control file gave.
var raidErrnos = []struct {
	errno unix.Errno
	code  raidCode
}{
	{unix.EINVAL, exINVARG},
	{unix.ENOENT, exENODEV},
	{unix.EEXIST, exINVVOL},
	{unix.EBUSY, exCMDRJE},
	{unix.EROFS, exCMDRJE},
	{unix.ENOSPC, exCMDRJE},
	{unix.EHOSTUNREACH, exENORMT},
	{unix.ETIMEDOUT, exEWSTOT},
	{unix.EACCES, exEACCES},
	{unix.EPERM, exEACCES},
	{unix.ENOTCONN, exATTHOR},
	{unix.ECONNABORTED, exATTHOR},
	{unix.EIO, exCMDIOE},
}

// raidError is a sentence with its code.
type raidError struct {
	code raidCode
	err  error
}

// Error returns the name of the code and the sentence, as RAID Manager prints them.
func (e *raidError) Error() string { return "[" + e.code.name + "] " + e.err.Error() }

// Unwrap returns the cause.
func (e *raidError) Unwrap() error { return e.err }

// raidf is an error with a code.
func raidf(code raidCode, format string, args ...any) error {
	return &raidError{code: code, err: fmt.Errorf(format, args...)}
}

// coded gives an error the code that belongs to it, unless it has one: that of its errno, else other.
func coded(err error, other raidCode) error {
	var own *raidError
	if err == nil || errors.As(err, &own) {
		return err
	}
	return &raidError{code: codeOf(err, other), err: err}
}

// attached gives its code to an error of finding a site or of looking at it. That a part of it is not there means that it was stopped.
func attached(err error) error {
	var own *raidError
	if errors.Is(err, unix.ENOENT) && !errors.As(err, &own) {
		return raidf(exATTHOR, "%w", err)
	}
	return coded(err, exATTHOR)
}

// codeOf is the code that an error has, or the one that belongs to it.
func codeOf(err error, other raidCode) raidCode {
	var own *raidError
	if errors.As(err, &own) {
		return own.code
	}
	if errors.Is(err, context.Canceled) {
		return exCOMERR
	}
	for _, row := range raidErrnos {
		if errors.Is(err, row.errno) {
			return row.code
		}
	}
	return other
}

// within puts what an error is about before its sentence.
func within(what string, err error, other raidCode) error {
	code := codeOf(err, other)
	var own *raidError
	if errors.As(err, &own) {
		err = own.err
	}
	return &raidError{code: code, err: fmt.Errorf("%s: %w", what, err)}
}
