package replica

import (
	"context"
	"fmt"
)

// Caller says who asked for something. The zero value is the site itself: what a failure, a time or a restart brought about.
type Caller struct {
	Host bool   `json:"host,omitempty"` // a process of this host asked; UID and PID are its own
	UID  uint32 `json:"uid,omitempty"`  // user, as the mount sees it
	PID  uint32 `json:"pid,omitempty"`  // process, 0 for one outside of the daemon's process namespace
	Peer string `json:"peer,omitempty"` // name of the peer that asked, "" if none did
}

// String returns "uid 0 pid 4711", "peer osaka" or "pairfs".
func (c Caller) String() string {
	switch {
	case c.Host:
		return fmt.Sprintf("uid %d pid %d", c.UID, c.PID)
	case c.Peer != "":
		return "peer " + c.Peer
	}
	return "pairfs"
}

type callerKey struct{}

// WithCaller returns a context for a command that names who asked for it; what the command changes is told with that name.
func WithCaller(ctx context.Context, c Caller) context.Context {
	return context.WithValue(ctx, callerKey{}, c)
}

// callerOf returns who asked for what ctx is for.
func callerOf(ctx context.Context) Caller {
	c, _ := ctx.Value(callerKey{}).(Caller)
	return c
}

// change is why a pair has come to its state, for the operator.
type change struct {
	in   Input
	by   Caller // of a command
	text string // more than the status says, "" if there is none
}

// asker says who is behind an input: a command has a caller, what the other side said or had journaled comes from the peer, and the rest
// is found by the site itself.
func asker(role Role, c change, peer string) Caller {
	switch c.in {
	case EvPeerSplit, EvPeerError, EvPeerDeleted, EvPeerResync, EvPeerDelete, EvPeerOff, EvPeerBack:
		return Caller{Peer: peer}
	case EvCopied, EvDrained, EvOverflow:
		if role == Secondary { // control records of the primary, and its states
			return Caller{Peer: peer}
		}
	}
	if c.in.command() {
		return c.by
	}
	return Caller{}
}
