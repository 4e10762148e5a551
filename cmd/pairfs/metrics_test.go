package main

import (
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
)

// TestMetricsListener: /metrics by GET and nothing else, a taken address is a sentence, and a stop gives the address back.
func TestMetricsListener(t *testing.T) {
	m, err := listenMetrics("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := m.listener.Addr().String()
	m.serve(func() string { return "pairfs_volumes 1\n" }, slog.New(slog.DiscardHandler))
	if _, err := listenMetrics(addr); err == nil || !strings.Contains(err.Error(), "another program has this address; give another one with --metrics") {
		t.Errorf("a taken address: %v", err)
	}
	for _, row := range []struct {
		method, path string
		status       int
		body         string
	}{
		{"GET", "/metrics", 200, "pairfs_volumes 1\n"}, {"HEAD", "/metrics", 200, ""}, {"POST", "/metrics", 405, ""}, {"GET", "/", 404, ""},
		{"GET", "/debug/pprof/", 404, ""},
	} {
		req, _ := http.NewRequest(row.method, "http://"+addr+row.path, nil)
		r, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(r.Body)
		r.Body.Close()
		if err != nil || r.StatusCode != row.status || row.status == 200 && string(body) != row.body {
			t.Errorf("%s %s: %d %q, %v", row.method, row.path, r.StatusCode, body, err)
		}
	}
	http.DefaultClient.CloseIdleConnections()
	m.stop()
	again, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatalf("after the stop: %v", err)
	}
	again.Close()
	(*metricsServer)(nil).stop()
}

// TestMetricsConnectionsAreBounded opens more connections than are let in: the rest are closed, and room comes back with a close.
func TestMetricsConnectionsAreBounded(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b := &boundedListener{Listener: l, free: make(chan struct{}, 1)}
	defer b.Close()
	taken := make(chan net.Conn)
	go func() {
		for {
			c, err := b.Accept()
			if err != nil {
				close(taken)
				return
			}
			taken <- c
		}
	}()
	dial := func() net.Conn {
		t.Helper()
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c
	}
	dial()
	first := <-taken
	if _, err := dial().Read(make([]byte, 1)); err == nil {
		t.Error("a connection too many was let in")
	}
	first.Close()
	first.Close()
	dial()
	(<-taken).Close()
}
