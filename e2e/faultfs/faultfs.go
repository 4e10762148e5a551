package faultfs

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// Op is a kind of request.
type Op string

// The requests that can fail.
const (
	Read  Op = "read"
	Write Op = "write"
	Flush Op = "flush" // fsync and fdatasync
)

// Fault says which requests fail. The zero value lets all pass.
type Fault struct {
	Op    Op
	File  string        // base name of the file
	Below int64         // if set: only requests at offsets below it, or flushes behind a write there
	From  int64         // only requests at this offset or above, or flushes behind a write there
	Skip  int           // so many of them pass first
	Times int           // so many fail, then all pass; 0 for all
	Errno syscall.Errno // with which they fail
}

// FS is a mounted folder. Its methods are for one goroutine.
type FS struct {
	dir string
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
	end sync.Once
}

// Mount serves the folder backing at dir, both of which are there, from a process of its own. Returns when it is mounted.
func Mount(backing, dir string) (*FS, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	f := &FS{dir: dir, cmd: exec.Command(self, backing, dir)}
	f.cmd.Env = append(os.Environ(), serveEnv+"=1")
	f.cmd.Stderr = os.Stderr
	f.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if f.in, err = f.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := f.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	f.out = bufio.NewReader(out)
	if err := f.cmd.Start(); err != nil {
		return nil, err
	}
	if _, err := f.answer(); err != nil {
		f.Close()
		return nil, fmt.Errorf("mount %s at %s: %w", backing, dir, err)
	}
	return f, nil
}

// Set lets requests fail from now on, and returns how many the fault before it let fail.
func (f *FS) Set(fault Fault) (failed int, err error) {
	line, err := json.Marshal(fault)
	if err != nil {
		return 0, err
	}
	if _, err := f.in.Write(append(line, '\n')); err != nil {
		return 0, fmt.Errorf("the process of %s: %w", f.dir, err)
	}
	return f.answer()
}

func (f *FS) answer() (failed int, err error) {
	line, err := f.out.ReadBytes('\n')
	if err != nil {
		return 0, fmt.Errorf("the process of %s ended: %w", f.dir, err)
	}
	return failed, json.Unmarshal(line, &failed)
}

// Close takes the mount away, whoever uses it, and ends its process. It may be called again.
func (f *FS) Close() {
	f.end.Do(func() {
		_ = unix.Unmount(f.dir, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW) // not mounted, if it could not be
		f.in.Close()
		f.cmd.Wait()
	})
}
