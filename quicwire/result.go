package quicwire

import (
	"fmt"
	"strings"
)

// ResultCode is the kind of an answer; the kinds are those of the control files' errors. Never change a number, only add.
type ResultCode uint16

// Kinds of answer.
const (
	ResultDone        ResultCode = 0  // done
	ResultInvalid     ResultCode = 1  // the request makes no sense
	ResultNotFound    ResultCode = 2  // no such pair, group or volume
	ResultExists      ResultCode = 3  // it exists already
	ResultBusy        ResultCode = 4  // not in this state
	ResultSecondary   ResultCode = 5  // not on the secondary
	ResultNoSpace     ResultCode = 6  // journal, store or quota is full
	ResultUnreachable ResultCode = 7  // a further peer cannot be reached
	ResultTimeout     ResultCode = 8  // it took too long
	ResultAccess      ResultCode = 9  // this peer may not
	ResultInternal    ResultCode = 10 // a fault on the answering side
)

var resultNames = [...]string{
	"done", "invalid", "not found", "exists", "busy", "secondary", "no space", "unreachable", "timeout", "access denied", "internal error",
}

// String gives the kind in words.
func (c ResultCode) String() string {
	if int(c) < len(resultNames) {
		return resultNames[c]
	}
	return fmt.Sprintf("result code %d", uint16(c))
}

// Result answers a request that has no answer of its own, or refuses any request.
type Result struct {
	Code    ResultCode // ResultDone or why not
	Message string     // one sentence for the operator: what was wrong and what to do; at most MaxMessage bytes
	Detail  []byte     // for the caller's use, at most MaxDetail bytes
}

// NewResult makes a Result; a message that is too long is cut at a character.
func NewResult(code ResultCode, message string) *Result {
	if len(message) > MaxMessage {
		message = strings.ToValidUTF8(message[:MaxMessage], "")
	}
	return &Result{Code: code, Message: message}
}

// Type gives TypeResult.
func (*Result) Type() Type { return TypeResult }

func (f *Result) encode(w *writer) {
	w.u16(uint16(f.Code))
	w.str("message", f.Message, MaxMessage)
	w.bytes("detail", f.Detail, MaxDetail)
}

func (f *Result) decode(r *reader) {
	f.Code = ResultCode(r.u16())
	f.Message = r.str("message", MaxMessage)
	f.Detail = r.bytes("detail", MaxDetail)
}
