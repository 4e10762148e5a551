package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// The bounds of the metrics listener: whoever asks slowly, at length or all at once must not hold the daemon.
const (
	metricsRead  = 5 * time.Second  // for a request
	metricsWrite = 10 * time.Second // for an answer
	metricsIdle  = time.Minute      // of a connection between two: scrapers ask every 15 to 60 seconds
	metricsHead  = 16 << 10         // bytes of a request's header
	metricsConns = 16               // connections at a time
)

// metricsServer answers GET /metrics, and nothing else, until it is stopped.
type metricsServer struct {
	listener net.Listener
	server   *http.Server
}

// listenMetrics takes the address.
func listenMetrics(addr string) (*metricsServer, error) {
	l, err := net.Listen("tcp", addr)
	if errors.Is(err, unix.EADDRINUSE) {
		return nil, fmt.Errorf("metrics at %s: another program has this address; give another one with --metrics", addr)
	}
	if err != nil {
		return nil, fmt.Errorf("metrics at %s: %w; give an address of this host with --metrics", addr, err)
	}
	return &metricsServer{listener: &boundedListener{Listener: l, free: make(chan struct{}, metricsConns)}}, nil
}

// serve begins to answer with what text returns.
func (m *metricsServer) serve(text func() string, log *slog.Logger) {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /metrics", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
		_, _ = w.Write([]byte(text())) // who went away needs no answer
	})
	m.server = &http.Server{
		Handler: mux, ReadTimeout: metricsRead, WriteTimeout: metricsWrite, IdleTimeout: metricsIdle, MaxHeaderBytes: metricsHead,
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}
	go func() {
		if err := m.server.Serve(m.listener); !errors.Is(err, http.ErrServerClosed) {
			log.Error("the metrics listener ended", "error", err)
		}
	}()
	log.Info("metrics", "address", m.listener.Addr().String())
}

// stop lets answers under way end for a moment, then closes everything. It may be called on nil and before serve.
func (m *metricsServer) stop() {
	if m == nil {
		return
	}
	if m.server == nil {
		_ = m.listener.Close()
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if m.server.Shutdown(ctx) != nil {
		_ = m.server.Close()
	}
}

// boundedListener accepts a bounded number of connections; what comes beyond is closed at once.
type boundedListener struct {
	net.Listener
	free chan struct{} // a token for each connection
}

// Accept returns the next connection that there is room for.
func (l *boundedListener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		select {
		case l.free <- struct{}{}:
			return &boundedConn{Conn: c, free: l.free}, nil
		default:
			_ = c.Close()
		}
	}
}

// boundedConn gives its token back when it is closed first.
type boundedConn struct {
	net.Conn
	free chan struct{}
	once sync.Once
}

// Close closes the connection.
func (c *boundedConn) Close() error {
	c.once.Do(func() { <-c.free })
	return c.Conn.Close()
}
