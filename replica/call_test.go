package replica

import (
	"bytes"
	"runtime"
	"slices"
)

// call is something that a test has done in a goroutine of its own, and of which it wants to know how far that has come: a test that looks at
// the order of two steps stops the product between them by a lock or a disk, and has to know that it stands there.
type call struct {
	id  string     // of the goroutine, as stacks name it
	end chan error // has room for what it came to
}

// begin begins a call.
func begin(do func() error) *call {
	c := &call{end: make(chan error, 1)}
	id := make(chan string)
	go func() {
		var b [64]byte
		name, _, _ := bytes.Cut(b[:runtime.Stack(b[:], false)], []byte("["))
		id <- string(name)
		c.end <- do()
	}()
	c.id = <-id
	return c
}

// ended reports whether the call has returned.
func (c *call) ended() bool { return len(c.end) > 0 }

// in reports whether the call is in the function at this moment, named as stacks do: "(*group).turn(".
func (c *call) in(function string) bool {
	for one := range bytes.SplitSeq(stacks(), []byte("\n\n")) {
		if bytes.HasPrefix(one, []byte(c.id)) {
			return bytes.Contains(one, []byte(function))
		}
	}
	return false
}

// someCallIn reports whether any goroutine has all of these in its stack at this moment.
func someCallIn(parts ...string) bool {
	for one := range bytes.SplitSeq(stacks(), []byte("\n\n")) {
		if !slices.ContainsFunc(parts, func(p string) bool { return !bytes.Contains(one, []byte(p)) }) {
			return true
		}
	}
	return false
}

// stacks are those of all goroutines.
func stacks() []byte {
	b := make([]byte, 1<<20)
	n := runtime.Stack(b, true)
	for ; n == len(b); n = runtime.Stack(b, true) {
		b = make([]byte, 2*len(b))
	}
	return b[:n]
}
