package machine

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"testing"
	"time"
)

// client speaks the protocol by hand.
type client struct {
	t    *testing.T
	conn net.Conn
}

// connect serves the disk and goes through the handshake, with an option that the server does not know before the one it does.
func connect(t *testing.T, d *Disk) *client {
	t.Helper()
	ours, theirs := net.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer theirs.Close()
		if d.negotiate(theirs) == nil {
			d.transmit(theirs)
		}
	}()
	t.Cleanup(func() {
		ours.Close()
		<-done
	})
	c := &client{t, ours}
	if got := c.read(18); !bytes.Equal(got[:16], []byte("NBDMAGICIHAVEOPT")) {
		t.Fatalf("the server greets with %q", got)
	}
	c.send(uint32(nbdFixed))
	c.option(8, nil) // structured replies
	if kind, _ := c.optionReply(); kind != nbdRepUnsup {
		t.Fatalf("an option that is not known was answered with %#x", kind)
	}
	c.option(nbdOptGo, make([]byte, 6)) // no name, no requests
	kind, info := c.optionReply()
	if kind != nbdRepInfo || binary.BigEndian.Uint64(info[2:]) != uint64(d.size) || binary.BigEndian.Uint16(info[10:]) != nbdDiskFlags {
		t.Fatalf("the export is described with %#x %x", kind, info)
	}
	if kind, _ := c.optionReply(); kind != nbdRepAck {
		t.Fatalf("the export was refused with %#x", kind)
	}
	return c
}

func (c *client) send(fields ...any) {
	c.t.Helper()
	var b bytes.Buffer
	for _, f := range fields {
		if err := binary.Write(&b, binary.BigEndian, f); err != nil {
			c.t.Fatal(err)
		}
	}
	if _, err := c.conn.Write(b.Bytes()); err != nil {
		c.t.Fatal(err)
	}
}

func (c *client) read(n int) []byte {
	c.t.Helper()
	b := make([]byte, n)
	if _, err := io.ReadFull(c.conn, b); err != nil {
		c.t.Fatal(err)
	}
	return b
}

func (c *client) option(option uint32, data []byte) {
	c.t.Helper()
	c.send(uint64(nbdOptMagic), option, uint32(len(data)), data)
}

func (c *client) optionReply() (kind uint32, data []byte) {
	c.t.Helper()
	b := c.read(20)
	return binary.BigEndian.Uint32(b[12:]), c.read(int(binary.BigEndian.Uint32(b[16:])))
}

func (c *client) request(kind uint16, handle, off uint64, n uint32, data []byte) {
	c.t.Helper()
	c.send(uint32(nbdRequest), uint16(0), kind, handle, off, n, data)
}

// reply returns the errno and the handle of the next answer.
func (c *client) reply() (errno uint32, handle uint64) {
	c.t.Helper()
	b := c.read(16)
	return binary.BigEndian.Uint32(b[4:]), binary.BigEndian.Uint64(b[8:])
}

// TestServe writes, reads, flushes, asks for what there is not, and gets no answer behind a power cut.
func TestServe(t *testing.T) {
	d := newDisk(t, 8)
	c := connect(t, d)
	page := bytes.Repeat([]byte{'x'}, 2*SectorSize)
	c.request(nbdWrite, 1, SectorSize, uint32(len(page)), page)
	if errno, handle := c.reply(); errno != 0 || handle != 1 {
		t.Fatalf("a write was answered with %d, handle %d", errno, handle)
	}
	c.request(nbdFlush, 2, 0, 0, nil)
	if errno, handle := c.reply(); errno != 0 || handle != 2 {
		t.Fatalf("a flush was answered with %d, handle %d", errno, handle)
	}
	c.request(nbdRead, 3, SectorSize, uint32(len(page)), nil)
	if errno, handle := c.reply(); errno != 0 || handle != 3 || !bytes.Equal(c.read(len(page)), page) {
		t.Fatalf("a read was answered with %d, handle %d, or other bytes", errno, handle)
	}
	for what, r := range map[string]struct {
		kind uint16
		off  uint64
	}{"a write behind the end": {nbdWrite, 7 * SectorSize}, "a read far behind the end": {nbdRead, 1 << 63}, "a trim": {4, 0}} {
		data := page
		if r.kind != nbdWrite {
			data = nil
		}
		c.request(r.kind, 4, r.off, uint32(len(page)), data)
		if errno, _ := c.reply(); errno != nbdEINVAL {
			t.Errorf("%s was answered with %d", what, errno)
		}
	}
	if got, loss := picture(t, d, d.Now(), 1); got != "bxxbbbbb" || loss.Flushed != 1 {
		t.Errorf("behind a flush the disk holds %s: %v", got, loss)
	}
	d.Off()
	c.request(nbdFlush, 5, 0, 0, nil)
	c.conn.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	var timeout net.Error
	if n, err := c.conn.Read(make([]byte, 1)); n != 0 || !errors.As(err, &timeout) || !timeout.Timeout() {
		t.Errorf("without power there came %d bytes (%v) for a flush", n, err)
	}
}
