package faultfs

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"sync"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// serveEnv makes this program the process that serves a mount.
const serveEnv = "PAIRFS_E2E_FAULTFS"

// Serve makes this program the process of an [FS], if it was started as one, and does not return then. A program that mounts one calls it first.
func Serve() {
	if os.Getenv(serveEnv) == "" {
		return
	}
	if err := serve(os.Args[1], os.Args[2], os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "faultfs:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// serve mounts, and obeys until its input ends.
func serve(backing, dir string, in io.Reader, out io.Writer) error {
	d := &disk{}
	root, err := d.root(backing)
	if err != nil {
		return err
	}
	server, err := fs.Mount(dir, root, &fs.Options{MountOptions: fuse.MountOptions{FsName: backing, Name: "faultfs", DirectMount: true, MaxWrite: 1 << 20, DisableSplice: true}})
	if err != nil {
		return err
	}
	defer server.Unmount()
	if _, err := fmt.Fprintln(out, 0); err != nil {
		return err
	}
	for lines := bufio.NewScanner(in); lines.Scan(); {
		var f Fault
		if err := json.Unmarshal(lines.Bytes(), &f); err != nil {
			return err
		}
		if _, err := fmt.Fprintln(out, d.set(f)); err != nil {
			return err
		}
	}
	return nil
}

// disk decides which requests fail.
type disk struct {
	mu     sync.Mutex
	fault  Fault
	met    int // requests that the fault names
	failed int // of these
}

func (d *disk) set(f Fault) (failed int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	failed = d.failed
	d.fault, d.met, d.failed = f, 0, 0
	return failed
}

// check returns the errno of a request, 0 to pass it on.
func (d *disk) check(op Op, file string, off int64) syscall.Errno {
	d.mu.Lock()
	defer d.mu.Unlock()
	f := &d.fault
	if op != f.Op || file != f.File || off < f.From || f.Below > 0 && off >= f.Below {
		return 0
	}
	d.met++
	if d.met <= f.Skip || f.Times > 0 && d.failed >= f.Times {
		return 0
	}
	d.failed++
	return f.Errno
}

func (d *disk) root(backing string) (fs.InodeEmbedder, error) {
	var st syscall.Stat_t
	if err := syscall.Stat(backing, &st); err != nil {
		return nil, err
	}
	r := &fs.LoopbackRoot{Path: backing, Dev: uint64(st.Dev)}
	r.NewNode = func(r *fs.LoopbackRoot, _ *fs.Inode, _ string, _ *syscall.Stat_t) fs.InodeEmbedder {
		return &node{LoopbackNode: fs.LoopbackNode{RootData: r}, disk: d}
	}
	root := r.NewNode(r, nil, "", &st)
	r.RootNode = root
	return root, nil
}

// node is a file or a folder.
type node struct {
	fs.LoopbackNode
	disk *disk
}

// Open opens the file behind.
func (n *node) Open(ctx context.Context, flags uint32) (fs.FileHandle, uint32, syscall.Errno) {
	name, _ := n.Parent()
	h, out, errno := n.LoopbackNode.Open(ctx, flags&^syscall.O_DIRECT)
	return n.wrap(name, h), out, errno
}

// Create makes the file behind.
func (n *node) Create(ctx context.Context, name string, flags, mode uint32, out *fuse.EntryOut) (*fs.Inode, fs.FileHandle, uint32, syscall.Errno) {
	inode, h, fuseFlags, errno := n.LoopbackNode.Create(ctx, name, flags&^syscall.O_DIRECT, mode, out)
	return inode, n.wrap(name, h), fuseFlags, errno
}

func (n *node) wrap(name string, h fs.FileHandle) fs.FileHandle {
	if l, ok := h.(*fs.LoopbackFile); ok {
		return &file{LoopbackFile: l, disk: n.disk, name: name}
	}
	return h
}

// file is an open file.
type file struct {
	*fs.LoopbackFile
	disk *disk
	name string

	mu    sync.Mutex
	wrote int64 // where the last write was
}

// PassthroughFd keeps the kernel from going past this process.
func (f *file) PassthroughFd() (int, bool) { return 0, false }

// Read reads, or fails.
func (f *file) Read(ctx context.Context, p []byte, off int64) (fuse.ReadResult, syscall.Errno) {
	if errno := f.disk.check(Read, f.name, off); errno != 0 {
		return nil, errno
	}
	return f.LoopbackFile.Read(ctx, p, off)
}

// Write writes all of it, or fails and writes nothing.
func (f *file) Write(ctx context.Context, p []byte, off int64) (uint32, syscall.Errno) {
	if errno := f.disk.check(Write, f.name, off); errno != 0 {
		return 0, errno
	}
	f.mu.Lock()
	f.wrote = off
	f.mu.Unlock()
	return f.LoopbackFile.Write(ctx, p, off)
}

// Fsync flushes, or fails and flushes nothing.
func (f *file) Fsync(ctx context.Context, flags uint32) syscall.Errno {
	f.mu.Lock()
	off := f.wrote
	f.mu.Unlock()
	if errno := f.disk.check(Flush, f.name, off); errno != 0 {
		return errno
	}
	return f.LoopbackFile.Fsync(ctx, flags)
}
