package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// A go-fuse file system that passes everything on to a folder, with the settings of pairfs's mount and its open flags: what FUSE costs by
// itself. It runs as a process of its own, as a daemon does: this program, executed anew.

// loopbackEnv makes this program the loopback's process.
const loopbackEnv = "PAIRFS_BENCH_LOOPBACK"

// loopback is a mounted one.
type loopback struct {
	cmd *exec.Cmd
	in  io.Closer
	dir string
}

// startLoopback mounts backing at dir.
func startLoopback(r *runner, backing, dir string) *loopback {
	self, err := os.Executable()
	if err != nil {
		r.Fatalf("%v", err)
	}
	l := &loopback{cmd: exec.Command(self, backing, dir), dir: dir}
	l.cmd.Env = append(os.Environ(), loopbackEnv+"=1", "GOMAXPROCS=4")
	l.cmd.Stderr = os.Stderr
	l.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	in, err := l.cmd.StdinPipe()
	if err != nil {
		r.Fatalf("%v", err)
	}
	l.in = in
	out, err := l.cmd.StdoutPipe()
	if err != nil {
		r.Fatalf("%v", err)
	}
	if err := l.cmd.Start(); err != nil {
		r.Fatalf("%v", err)
	}
	r.Cleanup(l.stop)
	if _, err := out.Read(make([]byte, 1)); err != nil {
		r.Fatalf("mount the loopback at %s: %v", dir, err)
	}
	return l
}

func (l *loopback) stop() {
	l.in.Close()
	l.cmd.Wait()
}

// serveLoopback is that process; it does not return if this program was started as one.
func serveLoopback() {
	if os.Getenv(loopbackEnv) == "" {
		return
	}
	signal.Ignore(os.Interrupt, syscall.SIGTERM) // a terminal sends them to the bench and to this; the bench closes the pipe, behind what uses the mount
	if err := serveFolder(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, "loopback:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

func serveFolder(backing, dir string) error {
	backing, err := filepath.EvalSymlinks(backing)
	if err != nil {
		return err
	}
	var st syscall.Stat_t
	if err := syscall.Stat(backing, &st); err != nil {
		return err
	}
	root := &fs.LoopbackRoot{Path: backing, Dev: uint64(st.Dev)}
	root.NewNode = func(r *fs.LoopbackRoot, _ *fs.Inode, _ string, _ *syscall.Stat_t) fs.InodeEmbedder {
		return &loopbackNode{fs.LoopbackNode{RootData: r}}
	}
	node := root.NewNode(root, nil, "", &st)
	root.RootNode = node
	server, err := fs.Mount(dir, node, &fs.Options{MountOptions: fuse.MountOptions{
		FsName: "loopback", Name: "loopback", DirectMount: true, MaxWrite: 1 << 20, MaxReadAhead: 1 << 20, MaxBackground: 64,
		MaxInflightRequestBytes: 32 << 20, DisableXAttrs: true, DisableSplice: true,
		ExtraCapabilities: fuse.CAP_ASYNC_DIO | fuse.CAP_DIRECT_IO_ALLOW_MMAP, DisabledCapabilities: fuse.CAP_PASSTHROUGH,
	}})
	if err != nil {
		return err
	}
	defer server.Unmount()
	if _, err := os.Stdout.Write([]byte{1}); err != nil {
		return err
	}
	_, _ = io.Copy(io.Discard, os.Stdin) // until the bench ends
	return nil
}

// loopbackNode opens its files as pairfs opens volumes: the file behind through the page cache, for requests are not aligned in memory.
type loopbackNode struct{ fs.LoopbackNode }

// Open opens the file behind.
func (n *loopbackNode) Open(ctx context.Context, flags uint32) (fs.FileHandle, uint32, syscall.Errno) {
	h, _, errno := n.LoopbackNode.Open(ctx, flags&^syscall.O_DIRECT)
	return h, fuse.FOPEN_DIRECT_IO | fuse.FOPEN_PARALLEL_DIRECT_WRITES, errno
}
