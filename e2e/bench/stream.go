package main

import (
	"bufio"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/quic-go/quic-go"
	"golang.org/x/sys/unix"

	"pairfs/e2e"
)

// What a copy is compared with: the same bytes, read from the same volume in the same pieces, through one bare stream to another process that
// throws them away.

// streamEnv makes this program the process that receives.
const streamEnv = "PAIRFS_BENCH_STREAM"

const streamProtocol = "bench"

// streamed sends the file through a stream of the kind "quic" or "tls" and returns how long that took, to the answer that all came, and the
// processor time of both ends and of the site that the file is read from.
func (b *benchmark) streamed(kind, path string) (took, cpu time.Duration, err error) {
	self, err := os.Executable()
	if err != nil {
		return 0, 0, err
	}
	cmd := exec.CommandContext(b.r.ctx, self)
	cmd.Env = append(os.Environ(), streamEnv+"="+kind)
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return 0, 0, err
	}
	if err := cmd.Start(); err != nil {
		return 0, 0, err
	}
	defer cmd.Wait()
	addr, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		return 0, 0, err
	}
	conf := &tls.Config{InsecureSkipVerify: true, NextProtos: []string{streamProtocol}}
	addr = strings.TrimSpace(addr)
	pids := []int{os.Getpid(), cmd.Process.Pid, b.tokyo.Pid()}
	before, began := processor(pids), time.Now()
	var s io.ReadWriter
	if kind == "tls" {
		c, err := tls.Dial("tcp", addr, conf)
		if err != nil {
			return 0, 0, err
		}
		defer c.Close()
		s = c
		err = errors.Join(sendFile(s, path), c.CloseWrite())
		if err != nil {
			return 0, 0, err
		}
	} else {
		c, err := quic.DialAddr(b.r.ctx, addr, conf, bareConfig())
		if err != nil {
			return 0, 0, err
		}
		defer c.CloseWithError(0, "")
		qs, err := c.OpenStreamSync(b.r.ctx)
		if err != nil {
			return 0, 0, err
		}
		s = qs
		if err := errors.Join(sendFile(s, path), qs.Close()); err != nil {
			return 0, 0, err
		}
	}
	_, err = io.ReadFull(s, make([]byte, 1)) // the other end waits for this one's then
	return time.Since(began), processor(pids) - before, err
}

// bareConfig gives a bare stream windows of which none is ever full.
func bareConfig() *quic.Config {
	return &quic.Config{InitialStreamReceiveWindow: 16 << 20, MaxStreamReceiveWindow: 64 << 20, InitialConnectionReceiveWindow: 16 << 20, MaxConnectionReceiveWindow: 64 << 20}
}

// sendFile reads with O_DIRECT in pieces of 1 MiB and writes pieces of 64 KiB.
func sendFile(w io.Writer, path string) error {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_DIRECT, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	buf := e2e.AlignedBuffer(1 << 20)
	for {
		n, err := f.Read(buf)
		for at := 0; at < n; at += 64 << 10 {
			if _, err := w.Write(buf[at:min(n, at+64<<10)]); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// serveStream is the process that receives; it does not return if this program was started as one.
func serveStream() {
	kind := os.Getenv(streamEnv)
	if kind == "" {
		return
	}
	if err := receive(kind); err != nil {
		fmt.Fprintln(os.Stderr, "stream:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

func receive(kind string) error {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return err
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return err
	}
	conf := &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}, NextProtos: []string{streamProtocol}}
	if kind == "tls" {
		l, err := tls.Listen("tcp", "127.0.0.1:0", conf)
		if err != nil {
			return err
		}
		fmt.Println(l.Addr())
		c, err := l.Accept()
		if err != nil {
			return err
		}
		return errors.Join(swallow(c), c.(*tls.Conn).CloseWrite(), awaitClose(c))
	}
	l, err := quic.ListenAddr("127.0.0.1:0", conf, bareConfig())
	if err != nil {
		return err
	}
	fmt.Println(l.Addr().(*net.UDPAddr))
	c, err := l.Accept(context.Background())
	if err != nil {
		return err
	}
	s, err := c.AcceptStream(context.Background())
	if err != nil {
		return err
	}
	err = errors.Join(swallow(s), s.Close())
	<-c.Context().Done() // the other side has the answer
	return err
}

// swallow reads all and answers with one byte.
func swallow(s io.ReadWriter) error {
	if _, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{s}, make([]byte, 1<<20)); err != nil {
		return err
	}
	_, err := s.Write([]byte{1})
	return err
}

// awaitClose waits until the other side has closed.
func awaitClose(c net.Conn) error {
	_, _ = io.Copy(io.Discard, c)
	return c.Close()
}
