package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestExitCode(t *testing.T) {
	for _, row := range []struct {
		name string
		err  error
		want int
	}{
		{"done", nil, exitDone},
		{"failed", errors.New("no"), exitFailed},
		{"usage", fmt.Errorf("more: %w", usagef("what")), exitUsage},
		{"timeout", &exitError{code: exitTimeout, err: errors.New("late")}, exitTimeout},
	} {
		if got := exitCode(row.err); got != row.want {
			t.Errorf("%s: %d, want %d", row.name, got, row.want)
		}
	}
}

// TestUsage gives command lines that make no sense; none of them may try anything.
func TestUsage(t *testing.T) {
	for _, row := range []struct{ args, want string }{
		{"", "expected one of"},
		{"bogus", "unexpected argument bogus"},
		{"pair", "expected one of"},
		{"pair create p", "missing flags"},
		{"pair create p --volume=v --peer=p --copy=some", "must be one of"},
		{"pair create p --volume= --peer=p extra", "\"extra\" is no option"},
		{"pair suspend ../site", "is not a name"},
		{"pair suspend .ctl", "is not a name"},
		{"pair suspend p --mode=fast", "must be one of"},
		{"pair suspend p --marker=x", `"x" is no marker`},
		{"pair suspend p --mark --marker=g/0000000000000abc-42", "can't be used together"},
		{"wait", "missing flags"},
		{"wait --marker=42", `"42" is no marker`},
		{"pair takeover p --timeout=0s", "--timeout=0s is out of range: more than 0 and up to 1h0m0s"},
		{"group takeover g --timeout=2h", "--timeout=2h0m0s is out of range: more than 0 and up to 1h0m0s"},
		{"group set g --path-watch=1h", "path-watch is an option of a group, written without dashes: path-watch=1h"},
		{"pair set p --priority", "priority is an option of a pair, written without dashes: priority=VALUE"},
		{"group takeover g --timeout=soon", "timeout"},
		{"pair resync p --discard=both", "must be one of"},
		{"pair wait p", "expected"},
		{"pair wait p PAIRED", `"PAIRED" is not a state`},
		{"pair wait p PAIR --timeout=soon", "timeout"},
		{"group create g --size=10GB", "decimal unit"},
		{"group create g --size=x", "is not a size"},
		{"peer add p localhost:1", "expected"},
		{"mount --state s --name n --listen nowhere .", "is not HOST:PORT"},
		{"mount --state s --name n --listen :70010 .", "--listen=:70010 has no port that can be listened at: give one from 1 to 65535"},
		{"mount --state s --name n --listen :0 --metrics :-1 .", "--metrics=:-1 has no port that can be listened at"},
		{"mount --state ./s --name n --listen :0 .", "outside of each other"},
		{"mount --state s --name a/b --listen :0 .", "is not a name"},
		{"status --bogus", "unknown flag"},
	} {
		var stdout, stderr bytes.Buffer
		code := run(context.Background(), strings.Fields(row.args), &stdout, &stderr)
		if code != exitUsage || !strings.Contains(stderr.String(), row.want) || !strings.HasPrefix(stderr.String(), "pairfs: ") {
			t.Errorf("%q: status %d, stderr %q; want 2 and %q", row.args, code, stderr.String(), row.want)
		}
		if stdout.Len() > 0 {
			t.Errorf("%q: stdout %q", row.args, stdout.String())
		}
	}
}

func TestSuspendAndDeleteLines(t *testing.T) {
	for _, row := range []struct{ got, want string }{
		{suspendFlags{Mode: "flush", SVOLWrite: "disable"}.line(), "suspend"},
		{suspendFlags{Mode: "purge", SVOLWrite: "enable"}.line(), "suspend mode=purge svol-write=enable"},
		{suspendFlags{Mode: "flush", SVOLWrite: "enable", Mark: true}.line(), "suspend svol-write=enable mark=yes"},
		{suspendFlags{Mode: "flush", SVOLWrite: "disable", Marker: "g/1-2"}.line(), "suspend marker=g/1-2"},
		{deleteFlags{}.line(), "delete"},
		{deleteFlags{Force: true}.line(), "delete mode=force"},
	} {
		if row.got != row.want {
			t.Errorf("%q, want %q", row.got, row.want)
		}
	}
}

func TestWanted(t *testing.T) {
	for _, row := range []struct {
		states, status string
		want           bool
	}{
		{"PAIR", "PAIR", true},
		{"PAIR", "COPY", false},
		{"PSUS", "SSUS", true},
		{"SSUS", "PSUS", true},
		{"PSUE PAIR", "PSUE", true},
		{"PSUS", "PSUE", false},
	} {
		c := pairWaitCmd{States: strings.Fields(row.states)}
		if got := c.wanted(row.status); got != row.want {
			t.Errorf("%s while waiting for %s: %v", row.status, row.states, got)
		}
	}
}

func TestProgress(t *testing.T) {
	var b strings.Builder
	p := newProgress(&b, true)
	st := parseState("name: p\nstatus: COPY\ncopied-percent: 10.0\ncopy-left-bytes: 1048576\ncopy-rate: 2048.5\neta-seconds: 512.000\n")
	p.update(st)
	p.update(st)
	p.update(parseState("name: p\nstatus: PAIR\n"))
	p.end()
	want := "p COPY 10.0% copied, 1.0MiB to go, 2.0KiB/s, ETA 8m32s\np PAIR\n"
	if b.String() != want {
		t.Errorf("progress is %q, want %q", b.String(), want)
	}
}

func TestShellLine(t *testing.T) {
	args := []string{"echo", "a b", "it's", "", "$HOME", "plain=1", "x;y"}
	out, err := exec.Command("sh", "-c", "printf '%s\\n' "+shellLine(args[1:])).Output()
	if err != nil {
		t.Fatal(err)
	}
	if want := strings.Join(args[1:], "\n") + "\n"; string(out) != want {
		t.Errorf("a shell reads %q, want %q", out, want)
	}
}

func TestSizeText(t *testing.T) {
	for v, want := range map[string]string{
		"0": "0B", "1023": "1023B", "1024": "1.0KiB", "1048575": "1.0MiB", "1073737728": "1.0GiB", "10737418240": "10GiB", "-": "-",
	} {
		if got := sizeText(v); got != want {
			t.Errorf("sizeText(%s) is %s, want %s", v, got, want)
		}
	}
}

func TestSecondsText(t *testing.T) {
	for v, want := range map[string]string{"-": "-", "0.000": "-", "0.0004": "0s", "0.2514": "251ms", "12.34": "12.3s", "75.2": "1m15s"} {
		if got := secondsText(v); got != want {
			t.Errorf("secondsText(%s) is %s, want %s", v, got, want)
		}
	}
}

// TestRelay sends datagrams through the relay, both ways, whole, cut and restored.
func TestRelay(t *testing.T) {
	target, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer target.Close()
	go func() { // an echo
		b := make([]byte, maxDatagram)
		for {
			n, from, err := target.ReadFrom(b)
			if err != nil {
				return
			}
			if _, err := target.WriteTo(b[:n], from); err != nil {
				return
			}
		}
	}()
	var r relay
	end, err := r.open(target.LocalAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	for i := range maxRelayClients + 8 { // more senders than it keeps
		if err := echo(end, fmt.Sprint("whole ", i), 5*time.Second); err != nil {
			t.Fatal(err)
		}
	}
	r.cut.Store(true)
	if err := echo(end, "cut", 50*time.Millisecond); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("a datagram went through the cut link: %v", err)
	}
	r.cut.Store(false)
	if err := echo(end, "restored", 5*time.Second); err != nil {
		t.Fatal(err)
	}
}

// echo sends a text from a socket of its own and wants it back.
func echo(to, text string, within time.Duration) error {
	c, err := net.Dial("udp", to)
	if err != nil {
		return err
	}
	defer c.Close()
	if _, err := c.Write([]byte(text)); err != nil {
		return err
	}
	if err := c.SetReadDeadline(time.Now().Add(within)); err != nil {
		return err
	}
	b := make([]byte, 100)
	n, err := c.Read(b)
	if err == nil && string(b[:n]) != text {
		err = fmt.Errorf("sent %q, got %q", text, b[:n])
	}
	return err
}

// TestLogIsBounded runs a process whose stderr is the log of a state directory and that writes more than fits.
func TestLogIsBounded(t *testing.T) {
	dir := t.TempDir()
	f, err := openLog(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	cmd := exec.Command(os.Args[0])
	cmd.Args[0] = "pairfs-log-writer"
	cmd.Env = append(os.Environ(), "PAIRFS_TEST_DIR="+dir)
	cmd.Stdout, cmd.Stderr = f, f
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	full, err := os.Stat(filepath.Join(dir, logName+".1"))
	if err != nil || full.Size() < maxLog || full.Size() > maxLog+1<<20 {
		t.Errorf("the full log: %v, %v", full, err)
	}
	last, err := os.ReadFile(filepath.Join(dir, logName))
	if err != nil || !bytes.HasSuffix(last, []byte("the end\n")) {
		t.Errorf("the new log ends with %q: %v", last[max(0, len(last)-20):], err)
	}
}

// writeLog is the process of TestLogIsBounded.
func writeLog() {
	r := rotatingLog{dir: os.Getenv("PAIRFS_TEST_DIR")}
	line := append(bytes.Repeat([]byte("x"), 1<<20-1), '\n')
	for range maxLog>>20 + 2 {
		if _, err := r.Write(line); err != nil {
			os.Exit(1)
		}
	}
	fmt.Fprintln(os.Stderr, "the end") // as a crash would: not through the log
}
