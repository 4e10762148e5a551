package e2e

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

const (
	sqliteClients  = 4
	sqliteAccounts = 1000
	sqliteBalance  = 1000
)

// sqliteSettings keep the promise of a commit, and make the database move its log into its file often.
const sqliteSettings = ".timeout 60000\nPRAGMA journal_mode=WAL;\nPRAGMA synchronous=FULL;\nPRAGMA wal_autocheckpoint=100;\n"

// sqlite runs the shell of SQLite over input until it ends, and returns what it printed.
func sqlite(t *testing.T, db, input string) string {
	t.Helper()
	cmd := exec.Command("sqlite3", "-batch", "-bail", db)
	cmd.Stdin = strings.NewReader(input)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("sqlite3 %s: %v\n%s", input, err, out)
	}
	return strings.TrimSpace(string(out))
}

// sqliteClient is one shell that commits transactions, one after the other.
type sqliteClient struct {
	cmd      *exec.Cmd
	in       io.WriteCloser
	out      *bufio.Reader
	complain bytes.Buffer
	reported []time.Time // when its transactions 1, 2, … were reported committed
	ended    error       // why there are no more
}

// sqliteLoad is all clients at work.
type sqliteLoad struct {
	clients [sqliteClients]*sqliteClient
	commits atomic.Int64
	working atomic.Int32
	done    sync.WaitGroup
}

// startSqlite begins to work on a database.
func startSqlite(t *testing.T, db string, seed uint64) *sqliteLoad {
	t.Helper()
	l := &sqliteLoad{}
	for i := range l.clients {
		c := &sqliteClient{cmd: exec.Command("sqlite3", "-batch", "-bail", db)}
		c.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		c.cmd.Stderr = &c.complain
		out, err := c.cmd.StdoutPipe()
		if err == nil {
			c.in, err = c.cmd.StdinPipe()
		}
		if err == nil {
			err = c.cmd.Start()
		}
		if err != nil {
			t.Fatalf("start sqlite3: %v", err)
		}
		c.out, l.clients[i] = bufio.NewReader(out), c
		l.working.Add(1)
		l.done.Go(func() {
			defer l.working.Add(-1)
			c.work(i, rand.New(rand.NewPCG(seed, uint64(i))), &l.commits)
		})
	}
	t.Cleanup(l.kill)
	return l
}

// kill ends the clients at once, as with their host.
func (l *sqliteLoad) kill() {
	for _, c := range l.clients {
		c.cmd.Process.Kill()
	}
	l.done.Wait()
}

// work moves money between two accounts, and keeps a row that names the transaction, until something fails.
func (c *sqliteClient) work(id int, rng *rand.Rand, commits *atomic.Int64) {
	defer c.cmd.Wait()
	defer c.in.Close()
	if _, c.ended = io.WriteString(c.in, sqliteSettings); c.ended != nil {
		return
	}
	for _, want := range []string{"wal\n", "100\n"} { // the answers to the settings
		if line, err := c.out.ReadString('\n'); err != nil || line != want {
			c.ended = fmt.Errorf("a setting is %q and not %q (%v)", line, want, err)
			return
		}
	}
	for n := 1; ; n++ {
		sum, from, to := rng.IntN(100), rng.IntN(sqliteAccounts), rng.IntN(sqliteAccounts)
		_, c.ended = fmt.Fprintf(c.in, "BEGIN IMMEDIATE; UPDATE account SET balance = balance - %d WHERE id = %d; UPDATE account SET balance = balance + %d WHERE id = %d; "+
			"INSERT INTO reported VALUES (%d, %d, hex(randomblob(%d))); COMMIT; SELECT 'committed %d';\n", sum, from, sum, to, id, n, 20+rng.IntN(2000), n)
		if c.ended != nil {
			return
		}
		line, err := c.out.ReadString('\n')
		if err != nil || line != fmt.Sprintf("committed %d\n", n) {
			c.ended = fmt.Errorf("transaction %d: %q (%v)", n, line, err)
			return
		}
		c.reported = append(c.reported, time.Now())
		commits.Add(1)
	}
}

// TestAppSqlite kills the primary below a SQLite database in WAL mode. At the other side it has every transaction that was reported committed
// before the last restored marker, no half of any, and is whole.
func TestAppSqlite(t *testing.T) {
	needApps(t)
	s := startStandby(t, 256*mib)
	dir, umount := loopMount(t, s.disk(), "ext4", "discard", true)
	sqlite(t, filepath.Join(dir, "db"), sqliteSettings+fmt.Sprintf(`CREATE TABLE account (id INTEGER PRIMARY KEY, balance INTEGER);
CREATE TABLE reported (client INTEGER, n INTEGER, what TEXT, PRIMARY KEY (client, n));
WITH RECURSIVE i(id) AS (SELECT 0 UNION ALL SELECT id + 1 FROM i WHERE id + 1 < %d) INSERT INTO account SELECT id, %d FROM i;
`, sqliteAccounts, sqliteBalance))
	s.replicate()
	s.Link.Delay(appsDelay)

	load, m := startSqlite(t, filepath.Join(dir, "db"), s.Seed), s.startMarks()
	Until(t, StatusLimit, "the database works, with markers that are restored", func() bool {
		if load.working.Load() < sqliteClients {
			load.kill()
			load.logEnds(t)
			t.Fatal("a client ended though the primary lives")
		}
		return load.commits.Load() > 1500
	})
	m.losing.Store(true)
	s.primary.Kill9()
	answer, took := s.takeover("SVOL-SSUS-takeover")
	t.Log(answer)
	m.stop()
	load.kill()
	umount()
	last, ok := m.lastRestored(answer)
	if !ok {
		t.Fatal("no marker was restored: the test shows nothing")
	}

	dir, umount = loopMount(t, s.disk(), "ext4", "discard", false)
	db := filepath.Join(dir, "db")
	total, demanded, there := load.check(t, db, last)
	t.Logf("%d transactions were reported committed, %d before the last of %d restored markers, %d are at the other side; takeover %v",
		total, demanded, len(m.all), there, took.Round(time.Millisecond))
	if got := sqlite(t, db, "PRAGMA integrity_check;\nPRAGMA journal_mode;\n"); got != "ok\nwal" {
		t.Errorf("integrity check and journal mode: %s", got)
	}
	umount()
	Run(t, "e2fsck", "-f", "-n", s.disk())
}

// check compares what is there with what was reported: of each client the transactions up to a number, no gaps, at least all of before the
// marker, at most one that was under way, and no money made or lost.
func (l *sqliteLoad) check(t *testing.T, db string, last marker) (total, demanded, there int) {
	t.Helper()
	var have [sqliteClients]int
	rows := sqlite(t, db, "SELECT client, count(*), max(n), min(n) FROM reported GROUP BY client ORDER BY client;\n")
	for line := range strings.Lines(rows) {
		var client, count, newest, oldest int
		n, err := fmt.Sscanf(line, "%d|%d|%d|%d", &client, &count, &newest, &oldest)
		if n != 4 || client >= sqliteClients || count != newest || oldest != 1 {
			t.Fatalf("client %d has %d transactions from %d to %d (%v)", client, count, oldest, newest, err)
		}
		have[client] = count
		there += count
	}
	for client, c := range l.clients {
		need := 0
		for need < len(c.reported) && c.reported[need].Before(last.begun) {
			need++
		}
		total, demanded = total+len(c.reported), demanded+need
		if have[client] < need || have[client] > len(c.reported)+1 {
			t.Errorf("client %d has %d transactions at the other side: %d were reported committed, %d of them before marker %s", client, have[client], len(c.reported), need, last.name)
		}
	}
	l.logEnds(t)
	if demanded == 0 {
		t.Error("nothing was reported before the marker: the test shows nothing")
	}
	if got, want := sqlite(t, db, "SELECT sum(balance) FROM account;\n"), fmt.Sprint(sqliteAccounts*sqliteBalance); got != want {
		t.Errorf("all accounts together have %s, and had %s", got, want)
	}
	return total, demanded, there
}

// logEnds logs why each client ended.
func (l *sqliteLoad) logEnds(t *testing.T) {
	t.Helper()
	for i, c := range l.clients {
		t.Logf("client %d ended with: %v %s", i, c.ended, strings.TrimSpace(c.complain.String()))
	}
}
