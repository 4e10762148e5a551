package machine

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/rpc"
	"os"
	"os/exec"
	"sync"

	"golang.org/x/sys/unix"
)

// What a machine's image and its init agree on.
const (
	agentPort  = 4           // TCP port at which init answers
	DiskDir    = "/disk"     // where the machine's disk is mounted
	modules    = "/modules"  // names the kernel modules to load, in order, one a line
	guestAddr  = "10.0.2.15" // of the machine
	HostAddr   = "10.0.2.2"  // under which a machine reaches the loopback of its host
	guestDev   = "/dev/vda"  // the disk
	guestEther = "eth0"      // the network
	guestMask  = "\xff\xff\xff\x00"
)

// Agent does in the machine what its host asks for, by net/rpc. It has no opinion of its own: what is done and when is up to the host.
// Calls are concurrent.
type Agent struct {
	mu    sync.Mutex
	files map[int]*os.File
	next  int
}

// OpenArgs are those of [Agent.Open].
type OpenArgs struct {
	Path  string
	Flags int
}

// IOArgs are those of reads, writes and holes: Data is written, or N bytes are read or discarded.
type IOArgs struct {
	File int
	Off  int64
	N    int64
	Data []byte
}

// RunArgs name a program and its arguments.
type RunArgs struct{ Args []string }

// RunReply is what a program printed, on both streams, and its exit status.
type RunReply struct {
	Out  string
	Code int
}

// ServeAgent answers the host until the listener fails.
func ServeAgent(ln net.Listener) error {
	s := rpc.NewServer()
	if err := s.Register(&Agent{files: map[int]*os.File{}}); err != nil {
		return err
	}
	for {
		conn, err := ln.Accept()
		if err != nil {
			return err
		}
		go s.ServeConn(conn)
	}
}

// Open opens a file and returns its number.
func (a *Agent) Open(args OpenArgs, file *int) error {
	f, err := os.OpenFile(args.Path, args.Flags, 0o600)
	if err != nil {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.next++
	a.files[a.next] = f
	*file = a.next
	return nil
}

// Close closes a file.
func (a *Agent) Close(file int, _ *bool) error {
	f, err := a.file(file)
	if err != nil {
		return err
	}
	a.mu.Lock()
	delete(a.files, file)
	a.mu.Unlock()
	return f.Close()
}

// file returns an open file.
func (a *Agent) file(n int) (*os.File, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if f := a.files[n]; f != nil {
		return f, nil
	}
	return nil, fmt.Errorf("no file %d is open", n)
}

// pages are whole pages of memory, as direct I/O wants them and so that the kernel makes one request of one call.
func pages(n int64) ([]byte, error) {
	return unix.Mmap(-1, 0, int(n), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
}

// Write writes with one system call.
func (a *Agent) Write(args IOArgs, n *int) error {
	f, err := a.file(args.File)
	if err != nil {
		return err
	}
	p, err := pages(int64(len(args.Data)))
	if err != nil {
		return err
	}
	defer unix.Munmap(p)
	copy(p, args.Data)
	*n, err = f.WriteAt(p, args.Off)
	return err
}

// Read reads up to N bytes; fewer are no error.
func (a *Agent) Read(args IOArgs, data *[]byte) error {
	f, err := a.file(args.File)
	if err != nil {
		return err
	}
	p, err := pages(args.N)
	if err != nil {
		return err
	}
	defer unix.Munmap(p)
	n, err := f.ReadAt(p, args.Off)
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	*data = bytes.Clone(p[:n])
	return nil
}

// Sync is fsync.
func (a *Agent) Sync(file int, _ *bool) error {
	f, err := a.file(file)
	if err != nil {
		return err
	}
	return f.Sync()
}

// Truncate sets the size of a file to N.
func (a *Agent) Truncate(args IOArgs, _ *bool) error {
	f, err := a.file(args.File)
	if err != nil {
		return err
	}
	return f.Truncate(args.N)
}

// Punch makes a hole of N bytes.
func (a *Agent) Punch(args IOArgs, _ *bool) error {
	f, err := a.file(args.File)
	if err != nil {
		return err
	}
	for {
		err := unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, args.Off, args.N)
		if !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// ReadFile reads a whole file.
func (a *Agent) ReadFile(path string, data *[]byte) (err error) {
	*data, err = os.ReadFile(path)
	return err
}

// Run runs a program to its end.
func (a *Agent) Run(args RunArgs, reply *RunReply) error {
	out, err := exec.Command(args.Args[0], args.Args[1:]...).CombinedOutput()
	reply.Out = string(out)
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		reply.Code, err = exit.ExitCode(), nil
	}
	return err
}

// Release unmounts the disk, with everything on it written. The machine may be switched off then.
func (a *Agent) Release(_ bool, _ *bool) error {
	if err := unix.Unmount(DiskDir, 0); err != nil {
		return fmt.Errorf("unmount %s: %w", DiskDir, err)
	}
	return nil
}
