package machine

import (
	"bytes"
	"net"
	"net/rpc"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestAgent has an agent on this host do what a machine's does, and tells its refusals from a lost connection.
func TestAgent(t *testing.T) {
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go ServeAgent(ln)
	defer ln.Close()
	conn, err := net.Dial("tcp4", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	c := &Client{rpc.NewClient(conn)}
	path := filepath.Join(t.TempDir(), "file")
	f, err := c.Open(path, os.O_RDWR|os.O_CREATE|os.O_EXCL)
	if err != nil {
		t.Fatal(err)
	}
	page := bytes.Repeat([]byte{'x'}, 4096)
	if n, err := f.WriteAt(page, 4096); n != len(page) || err != nil {
		t.Fatalf("wrote %d bytes: %v", n, err)
	}
	if err := f.Truncate(4 * 4096); err != nil {
		t.Fatal(err)
	}
	if err := f.Sync(); err != nil {
		t.Fatal(err)
	}
	want := append(append(make([]byte, 4096), page...), make([]byte, 2*4096)...)
	if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, want) {
		t.Fatalf("the file has %d bytes, and not those that were written: %v", len(got), err)
	}
	got := make([]byte, 4096)
	if n, err := f.ReadAt(got, 4096); n != len(got) || err != nil || !bytes.Equal(got, page) {
		t.Fatalf("read %d bytes: %v", n, err)
	}
	if err := f.Punch(4096, 4096); err != nil {
		t.Fatal(err)
	}
	if all, err := c.ReadFile(path); err != nil || !bytes.Equal(all, make([]byte, 4*4096)) {
		t.Fatalf("behind a hole the file is not zeroes: %v", err)
	}
	if out, err := c.Run("sh", "-c", "echo said; exit 3"); err == nil || !strings.Contains(err.Error(), "status 3: said") || out != "said\n" {
		t.Errorf("a program that failed gave %q and %v", out, err)
	}
	if _, err := c.Open(filepath.Join(path, "none"), os.O_RDWR); err == nil || Gone(err) {
		t.Errorf("a file that is not there is answered with: %v", err)
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
	if err := f.Sync(); err == nil || Gone(err) {
		t.Errorf("a closed file was synced: %v", err)
	}
	conn.Close()
	if _, err := c.ReadFile(path); !Gone(err) {
		t.Errorf("without a connection the error is: %v", err)
	}
}
