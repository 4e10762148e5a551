package machine

import (
	"errors"
	"fmt"
	"io"
	"net/rpc"
	"strings"
)

// Client asks the [Agent] of a machine. Its methods may be called concurrently. A call that is under way when the power goes ends with an
// error for which [Gone] is true.
type Client struct{ rpc *rpc.Client }

// Gone reports whether an error is what a call gets when its machine has lost its power: no answer of the [Agent].
func Gone(err error) bool {
	var answer rpc.ServerError
	return err != nil && !errors.As(err, &answer)
}

// Run runs a program in the machine and returns what it printed. Any exit status but 0 is an error.
func (c *Client) Run(args ...string) (string, error) {
	var r RunReply
	if err := c.rpc.Call("Agent.Run", RunArgs{args}, &r); err != nil {
		return "", fmt.Errorf("run %v in the machine: %w", args, err)
	}
	if r.Code != 0 {
		return r.Out, fmt.Errorf("%v in the machine: exit status %d: %s", args, r.Code, strings.TrimSpace(r.Out))
	}
	return r.Out, nil
}

// ReadFile reads a file of the machine.
func (c *Client) ReadFile(path string) (data []byte, err error) {
	err = c.rpc.Call("Agent.ReadFile", path, &data)
	return data, err
}

// Release unmounts the machine's disk.
func (c *Client) Release() error { return c.rpc.Call("Agent.Release", true, new(bool)) }

// Open opens a file of the machine, with the flags of open(2).
func (c *Client) Open(path string, flags int) (*File, error) {
	f := &File{rpc: c.rpc}
	if err := c.rpc.Call("Agent.Open", OpenArgs{path, flags}, &f.n); err != nil {
		return nil, err
	}
	return f, nil
}

// File is an open file of a machine. Each call is one system call there.
type File struct {
	rpc *rpc.Client
	n   int
}

// ReadAt reads len(p) bytes at off.
func (f *File) ReadAt(p []byte, off int64) (int, error) {
	var b []byte
	if err := f.rpc.Call("Agent.Read", IOArgs{File: f.n, Off: off, N: int64(len(p))}, &b); err != nil {
		return 0, err
	}
	n := copy(p, b)
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// WriteAt writes p at off.
func (f *File) WriteAt(p []byte, off int64) (n int, err error) {
	err = f.rpc.Call("Agent.Write", IOArgs{File: f.n, Off: off, Data: p}, &n)
	return n, err
}

// Sync is fsync.
func (f *File) Sync() error { return f.rpc.Call("Agent.Sync", f.n, new(bool)) }

// Truncate sets the file's size.
func (f *File) Truncate(size int64) error {
	return f.rpc.Call("Agent.Truncate", IOArgs{File: f.n, N: size}, new(bool))
}

// Punch discards n bytes at off.
func (f *File) Punch(off, n int64) error {
	return f.rpc.Call("Agent.Punch", IOArgs{File: f.n, Off: off, N: n}, new(bool))
}

// Close closes the file.
func (f *File) Close() error { return f.rpc.Call("Agent.Close", f.n, new(bool)) }
