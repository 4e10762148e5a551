package quicwire

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/quic-go/quic-go"
	"golang.org/x/time/rate"
)

// Config says what an endpoint is. It is not changed, and must not be, once Listen has it.
type Config struct {
	Identity     *Identity
	ResetKeyPath string         // file of the stateless reset key, made on first use; "" for none (tests)
	Site         string         // name of this site, told to peers
	Listen       string         // HOST:PORT of the UDP socket; unused if PacketConn is set
	PacketConn   net.PacketConn // the socket, or a simulated one; the endpoint owns it once Listen has returned without an error
	Handler      Handler
	PathConn     func() (net.PacketConn, error) // makes a socket to dial a path connection from; nil for a UDP socket, or for PacketConn if that is set (tests)
	Logger       *slog.Logger                   // nil for none
	Features     Features                       // what this site can do
	timing       *timing                        // shorter times for tests on a real network; nil for those of limits.go
}

// timing holds the times that a test on a real network cannot wait for.
type timing struct{ keepAlive, idle, handshake, connectWait, maxDelay time.Duration }

// Endpoint is this site on the network: it listens, and keeps a connection with each peer that is set. All methods may be
// called concurrently, also from a Handler, except that a Handler must not call Close.
type Endpoint struct {
	cfg     Config
	timing  timing
	hello   Hello
	tr      *quic.Transport
	ln      *quic.Listener
	narrow  sync.Map      // *quic.Conn: accepted path connections
	pending chan struct{} // one token for each accepted connection that has not said Hello

	ctx    context.Context // ends when Close begins
	cancel context.CancelFunc
	wg     sync.WaitGroup // every goroutine of the endpoint

	mu     sync.Mutex
	closed bool
	peers  map[string]*peer         // by name
	keys   map[Fingerprint]*peer    // the same peers by key
	fading map[string]chan struct{} // by name of a removed peer: closed when its last PeerDown has returned
}

// Listen opens the socket and begins to accept connections. Nobody is let in before SetPeer.
func Listen(cfg Config) (*Endpoint, error) {
	if cfg.Identity == nil || cfg.Handler == nil {
		return nil, errors.New("listen: identity and handler are needed")
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	e := &Endpoint{
		cfg:     cfg,
		timing:  timing{keepAlive, idleTimeout, handshakeTimeout, connectWait, maxDelay},
		pending: make(chan struct{}, maxPending),
		peers:   make(map[string]*peer),
		keys:    make(map[Fingerprint]*peer),
		fading:  make(map[string]chan struct{}),
	}
	if cfg.timing != nil {
		e.timing = *cfg.timing
	}
	if err := e.makeHello(); err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	e.ctx, e.cancel = context.WithCancel(context.Background())
	if err := e.open(); err != nil {
		e.cancel()
		return nil, fmt.Errorf("listen on %s: %w", cfg.Listen, err)
	}
	e.wg.Go(e.accept)
	return e, nil
}

func (e *Endpoint) makeHello() error {
	var nonce [8]byte
	if _, err := rand.Read(nonce[:]); err != nil {
		return err
	}
	e.hello = Hello{
		MinVersion: MinVersion,
		MaxVersion: MaxVersion,
		Features:   e.cfg.Features,
		Site:       e.cfg.Site,
		MaxFrame:   MaxFrame,
		Nonce:      binary.LittleEndian.Uint64(nonce[:]),
	}
	_, err := AppendFrame(nil, &e.hello)
	return err
}

func (e *Endpoint) open() error {
	var resetKey *quic.StatelessResetKey
	if e.cfg.ResetKeyPath != "" {
		var err error
		if resetKey, err = loadResetKey(e.cfg.ResetKeyPath); err != nil {
			return err
		}
	}
	pc := e.cfg.PacketConn
	if pc == nil {
		addr, err := net.ResolveUDPAddr("udp", e.cfg.Listen)
		if err != nil {
			return err
		}
		if pc, err = net.ListenUDP("udp", addr); err != nil {
			var op *net.OpError
			if errors.As(err, &op) {
				err = op.Err // the rest would say the address again
			}
			return err
		}
	}
	limit := rate.NewLimiter(handshakeRate, handshakeBurst)
	e.tr = &quic.Transport{
		Conn:                pc,
		StatelessResetKey:   resetKey,
		VerifySourceAddress: func(net.Addr) bool { return !limit.Allow() },
	}
	ln, err := e.tr.Listen(e.serverTLS(), e.quicConfig())
	if err != nil {
		return errors.Join(err, e.tr.Close(), e.closeOwn(pc))
	}
	e.ln = ln
	return nil
}

// closeOwn closes the socket if it was opened here.
func (e *Endpoint) closeOwn(pc net.PacketConn) error {
	if e.cfg.PacketConn != nil {
		return nil
	}
	return pc.Close()
}

func (e *Endpoint) quicConfig() *quic.Config {
	return &quic.Config{
		HandshakeIdleTimeout:           e.timing.handshake,
		MaxIdleTimeout:                 e.timing.idle,
		KeepAlivePeriod:                e.timing.keepAlive,
		InitialPacketSize:              initialPacket,
		InitialStreamReceiveWindow:     initialStreamWindow,
		MaxStreamReceiveWindow:         maxStreamWindow,
		InitialConnectionReceiveWindow: initialConnectionWindow,
		MaxConnectionReceiveWindow:     maxConnectionWindow,
		AllowConnectionWindowIncrease:  e.mayWiden,
		MaxIncomingStreams:             maxStreams,
		MaxIncomingUniStreams:          -1,
	}
}

// Addr gives the address of the socket.
func (e *Endpoint) Addr() net.Addr { return e.tr.Conn.LocalAddr() }

// Fingerprint gives the key by which peers know this site.
func (e *Endpoint) Fingerprint() Fingerprint { return e.cfg.Identity.Fingerprint() }

// Close tells all peers, closes their connections and the socket, and waits until every call of the Handler has returned.
// If ctx ends first, it gives ctx's error; the socket is closed all the same. Later calls wait in the same way.
func (e *Endpoint) Close(ctx context.Context) error {
	e.mu.Lock()
	e.closed = true
	var all []*peer
	for _, p := range e.peers {
		all = append(all, p)
	}
	e.mu.Unlock()
	for _, p := range all {
		p.close(CloseNormal, ErrClosed)
	}
	e.cancel()
	err := e.ln.Close()
	done := make(chan struct{})
	go func() {
		e.wg.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-ctx.Done():
		err = fmt.Errorf("close: handlers still run: %w", context.Cause(ctx))
	}
	closeErr := e.tr.Conn.Close()
	if errors.Is(closeErr, net.ErrClosed) {
		closeErr = nil
	}
	return errors.Join(err, e.tr.Close(), closeErr)
}

// start runs f in a goroutine that Close waits for, unless the endpoint is closed already.
func (e *Endpoint) start(f func()) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return false
	}
	e.wg.Go(f)
	return true
}

// accept takes in connections whose handshake has passed.
func (e *Endpoint) accept() {
	for {
		qc, err := e.ln.Accept(e.ctx)
		if err != nil {
			if e.ctx.Err() == nil {
				e.cfg.Logger.Error("accepting connections has ended; restart the site", "err", err)
			}
			return
		}
		select {
		case e.pending <- struct{}{}:
		default:
			qc.CloseWithError(quic.ApplicationErrorCode(CloseBusy), "")
			continue
		}
		if !e.start(func() { e.welcome(qc) }) {
			qc.CloseWithError(quic.ApplicationErrorCode(CloseNormal), "")
		}
	}
}

// welcome exchanges Hello with a peer that has dialled and then serves the connection.
func (e *Endpoint) welcome(qc *quic.Conn) {
	fp, err := connectionKey(qc.ConnectionState().TLS)
	p := e.peerByKey(fp)
	if err != nil || p == nil {
		<-e.pending
		qc.CloseWithError(quic.ApplicationErrorCode(CloseRemoved), "")
		return
	}
	if !p.arrivals.Allow() {
		<-e.pending
		qc.CloseWithError(quic.ApplicationErrorCode(CloseBusy), "")
		return
	}
	if qc.ConnectionState().TLS.NegotiatedProtocol == alpnPath {
		<-e.pending
		e.welcomePath(p, qc)
		return
	}
	c, err := p.greet(qc, false)
	<-e.pending
	if err != nil {
		e.cfg.Logger.Warn("a peer's connection came to nothing", "peer", p.name, "addr", qc.RemoteAddr(), "err", err)
		return
	}
	c.serve()
}
