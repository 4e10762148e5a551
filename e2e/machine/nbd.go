package machine

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"time"
)

// The part of the NBD protocol that qemu's client needs: https://github.com/NetworkBlockDevice/nbd/blob/master/doc/proto.md
const (
	nbdMagic      = 0x4e42444d41474943 // "NBDMAGIC"
	nbdOptMagic   = 0x49484156454f5054 // "IHAVEOPT"
	nbdOptReply   = 0x0003e889045565a9
	nbdRequest    = 0x25609513
	nbdReply      = 0x67446698
	nbdFixed      = 1 | 2 // handshake: fixed newstyle, no zeroes behind an export name
	nbdOptAbort   = 2
	nbdOptGo      = 7
	nbdRepAck     = 1
	nbdRepInfo    = 3
	nbdRepUnsup   = 1<<31 | 1
	nbdDiskFlags  = 1 | 4 // has flags, can be flushed
	nbdRead       = 0
	nbdWrite      = 1
	nbdDisconnect = 2
	nbdFlush      = 3
	nbdEIO        = 5
	nbdEINVAL     = 22
)

// Bounds of what a client may ask for.
const (
	maxRequest = 32 << 20 // bytes, that of qemu
	maxOption  = 64 << 10 // bytes; options hold a name
	inFlight   = 64       // requests at a time; virtio-blk has at most 256, the rest wait in the socket
)

// How long a write and a flush take at the longest: writes are in flight while flushes come and go, as on a real disk.
const (
	writeLatency = 400 * time.Microsecond
	flushLatency = 2 * time.Millisecond
)

// Serve serves the disk by NBD to whoever connects, until the listener is closed. When the power is off nothing is answered, as it is with
// a disk, and connections stay until the client is gone.
func (d *Disk) Serve(ln net.Listener) {
	for {
		conn, err := ln.Accept()
		if err != nil {
			return
		}
		go func() {
			defer conn.Close()
			if d.negotiate(conn) == nil {
				d.transmit(conn)
			}
		}()
	}
}

// errAborted says that the client wanted no disk after all.
var errAborted = errors.New("nbd: the client went away")

// negotiate is the handshake phase.
func (d *Disk) negotiate(conn io.ReadWriter) error {
	be := binary.BigEndian
	hello := be.AppendUint64(nil, nbdMagic)
	hello = be.AppendUint64(hello, nbdOptMagic)
	if _, err := conn.Write(be.AppendUint16(hello, nbdFixed)); err != nil {
		return err
	}
	var flags [4]byte
	if _, err := io.ReadFull(conn, flags[:]); err != nil {
		return err
	}
	for {
		var head [16]byte
		if _, err := io.ReadFull(conn, head[:]); err != nil {
			return err
		}
		option, n := be.Uint32(head[8:]), be.Uint32(head[12:])
		if be.Uint64(head[:]) != nbdOptMagic || n > maxOption {
			return fmt.Errorf("nbd: option %d of %d bytes is none", option, n)
		}
		if _, err := io.CopyN(io.Discard, conn, int64(n)); err != nil {
			return err
		}
		reply := func(kind uint32, data []byte) error {
			b := be.AppendUint64(nil, nbdOptReply)
			b = be.AppendUint32(be.AppendUint32(be.AppendUint32(b, option), kind), uint32(len(data)))
			_, err := conn.Write(append(b, data...))
			return err
		}
		switch option {
		case nbdOptGo:
			info := be.AppendUint16(nil, 0) // an export's size and flags
			info = be.AppendUint16(be.AppendUint64(info, uint64(d.size)), nbdDiskFlags)
			return errors.Join(reply(nbdRepInfo, info), reply(nbdRepAck, nil))
		case nbdOptAbort:
			return errors.Join(reply(nbdRepAck, nil), errAborted)
		}
		if err := reply(nbdRepUnsup, nil); err != nil {
			return err
		}
	}
}

// session is one client in the transmission phase.
type session struct {
	*Disk
	conn  io.ReadWriter
	mu    sync.Mutex // holds answers apart
	slots chan struct{}
}

// request is what a client asks.
type request struct {
	kind   uint16
	handle uint64
	off    int64
	n      uint32
	data   []byte
	begun  Moment
}

// transmit serves requests, several at a time, until the client ends.
func (d *Disk) transmit(conn io.ReadWriter) {
	s := &session{Disk: d, conn: conn, slots: make(chan struct{}, inFlight)}
	var tasks sync.WaitGroup
	defer tasks.Wait()
	for {
		r, err := s.next()
		if err != nil || r.kind == nbdDisconnect {
			return
		}
		var powered bool
		if r.begun, powered = d.begin(); !powered {
			io.Copy(io.Discard, conn)
			return
		}
		s.slots <- struct{}{}
		tasks.Go(func() {
			s.serve(r)
			<-s.slots
		})
	}
}

// next reads one request.
func (s *session) next() (request, error) {
	be := binary.BigEndian
	var head [28]byte
	if _, err := io.ReadFull(s.conn, head[:]); err != nil {
		return request{}, err
	}
	r := request{kind: be.Uint16(head[6:]), handle: be.Uint64(head[8:]), off: int64(be.Uint64(head[16:])), n: be.Uint32(head[24:])}
	if be.Uint32(head[:]) != nbdRequest || r.n > maxRequest {
		return r, fmt.Errorf("nbd: request %d of %d bytes is none", r.kind, r.n)
	}
	if r.kind == nbdWrite {
		r.data = make([]byte, r.n)
		if _, err := io.ReadFull(s.conn, r.data); err != nil {
			return r, err
		}
	}
	return r, nil
}

// serve carries out a request and answers it, if there is power.
func (s *session) serve(r request) {
	if r.off < 0 || r.off > s.size-int64(r.n) {
		s.answer(r, nbdEINVAL, nil)
		return
	}
	switch r.kind {
	case nbdRead:
		p := make([]byte, r.n)
		s.answer(r, errno(s.read(p, r.off)), p)
	case nbdWrite:
		i, err := s.write(r.data, r.off, r.begun)
		if err == nil {
			time.Sleep(rand.N(writeLatency))
			if !s.wrote(i) {
				return
			}
		}
		s.answer(r, errno(err), nil)
	case nbdFlush:
		time.Sleep(rand.N(flushLatency))
		if s.flush(r.begun) {
			s.answer(r, 0, nil)
		}
	default:
		s.answer(r, nbdEINVAL, nil)
	}
}

func errno(err error) uint32 {
	if err != nil {
		return nbdEIO
	}
	return 0
}

// answer sends the answer to a request. A client that does not take it is gone, which next will see.
func (s *session) answer(r request, errno uint32, data []byte) {
	be := binary.BigEndian
	head := be.AppendUint64(be.AppendUint32(be.AppendUint32(nil, nbdReply), errno), r.handle)
	if errno != 0 {
		data = nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.conn.Write(append(head, data...))
}
