package e2e

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// postgres is a database server on a mounted volume.
type postgres struct {
	t      *testing.T
	bin    string // directory of the programs of the newest version that is installed
	data   string
	socket string // directory of its socket; it listens nowhere else
	log    string
	as     *syscall.Credential
	cmd    *exec.Cmd
	exited chan struct{}
}

// pgSettings keep every promise of the database, and make it write its files and not only its log while it is looked at.
var pgSettings = []string{
	"listen_addresses=", "fsync=on", "full_page_writes=on", "synchronous_commit=on", "shared_buffers=32MB",
	"min_wal_size=32MB", "max_wal_size=64MB", "checkpoint_timeout=30s", "bgwriter_delay=20ms",
}

// newPostgres finds PostgreSQL as Debian installs it. It refuses to run as root, so that its user does.
func newPostgres(t *testing.T) *postgres {
	t.Helper()
	dirs, _ := filepath.Glob("/usr/lib/postgresql/*/bin")
	if len(dirs) == 0 {
		t.Fatal("there is no PostgreSQL in /usr/lib/postgresql: `make apps` installs it")
	}
	slices.SortFunc(dirs, func(a, b string) int { return pgVersion(a) - pgVersion(b) })
	who, err := user.Lookup("postgres")
	if err != nil {
		t.Fatalf("PostgreSQL has no user: %v", err)
	}
	uid, _ := strconv.Atoi(who.Uid)
	gid, _ := strconv.Atoi(who.Gid)
	p := &postgres{t: t, bin: dirs[len(dirs)-1], as: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, socket: t.TempDir()}
	p.own(p.socket)
	p.log = filepath.Join(t.TempDir(), "log")
	t.Cleanup(func() {
		p.kill()
		if b, err := os.ReadFile(p.log); err == nil && t.Failed() {
			t.Logf("log of PostgreSQL (end):\n%s", lastLines(string(b), 60))
		}
	})
	return p
}

func pgVersion(dir string) int {
	n, _ := strconv.Atoi(filepath.Base(filepath.Dir(dir)))
	return n
}

// own gives a directory to the server's user, who has to get there through those of the test.
func (p *postgres) own(dir string) {
	p.t.Helper()
	if err := os.Chown(dir, int(p.as.Uid), int(p.as.Gid)); err != nil {
		p.t.Fatal(err)
	}
	for d := filepath.Dir(dir); len(d) > len(os.TempDir()); d = filepath.Dir(d) {
		if err := os.Chmod(d, 0o711); err != nil {
			p.t.Fatal(err)
		}
	}
}

// command is one of PostgreSQL's programs, run by its user.
func (p *postgres) command(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(filepath.Join(p.bin, name), args...)
	cmd.Dir = "/"
	cmd.Env = append(os.Environ(), "PGHOST="+p.socket, "PGUSER=postgres", "PGDATABASE=postgres", "LC_ALL=C")
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: p.as, Pdeathsig: syscall.SIGQUIT}
	return cmd
}

// run runs a program that must succeed and returns what it printed.
func (p *postgres) run(name string, args ...string) string {
	p.t.Helper()
	out, err := p.command(name, args...).CombinedOutput()
	if err != nil {
		p.t.Fatalf("%s %v: %v\n%s", name, args, err, out)
	}
	return strings.TrimSpace(string(out))
}

// start starts the server on a directory of data below dir, which it makes if it is not there, and waits until it answers.
func (p *postgres) start(dir string) {
	p.t.Helper()
	p.own(dir)
	p.data = filepath.Join(dir, "data")
	if _, err := os.Stat(p.data); os.IsNotExist(err) {
		p.run("initdb", "-D", p.data, "-U", "postgres", "-A", "trust", "--data-checksums", "--no-locale", "-E", "UTF8")
	}
	args := []string{"-D", p.data, "-k", p.socket}
	for _, s := range pgSettings {
		args = append(args, "-c", s)
	}
	log, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		p.t.Fatal(err)
	}
	defer log.Close()
	p.cmd, p.exited = p.command("postgres", args...), make(chan struct{})
	p.cmd.Stdout, p.cmd.Stderr = log, log
	if err := p.cmd.Start(); err != nil {
		p.t.Fatalf("start PostgreSQL: %v", err)
	}
	go func(cmd *exec.Cmd, exited chan struct{}) { cmd.Wait(); close(exited) }(p.cmd, p.exited)
	Until(p.t, StatusLimit, "PostgreSQL answers", func() bool {
		select {
		case <-p.exited:
			p.t.Fatalf("PostgreSQL ended: %v", p.cmd.ProcessState)
		default:
		}
		return p.command("psql", "-XAtqc", "SELECT 1").Run() == nil
	})
}

// sql returns the rows of a query, columns separated by |.
func (p *postgres) sql(query string) string {
	p.t.Helper()
	return p.run("psql", "-XAtq", "-v", "ON_ERROR_STOP=1", "-c", query)
}

// kill ends the server at once, as with its host: nothing is written any more.
func (p *postgres) kill() { p.end(syscall.SIGQUIT) }

// end ends the server with a signal and waits for it.
func (p *postgres) end(sig syscall.Signal) {
	if p.cmd == nil {
		return
	}
	p.cmd.Process.Signal(sig)
	select {
	case <-p.exited:
	case <-time.After(stopLimit):
		p.t.Errorf("PostgreSQL did not end within %v of signal %v", stopLimit, sig)
		p.cmd.Process.Kill()
		<-p.exited
	}
	p.cmd = nil
}

// pgTransaction is pgbench's transaction of a bank, with a row that names it: client and number.
const pgTransaction = `\set n :n + 1
\set aid random(1, 100000 * :scale)
\set bid random(1, :scale)
\set tid random(1, 10 * :scale)
\set delta random(-5000, 5000)
BEGIN;
UPDATE pgbench_accounts SET abalance = abalance + :delta WHERE aid = :aid;
SELECT abalance FROM pgbench_accounts WHERE aid = :aid;
UPDATE pgbench_tellers SET tbalance = tbalance + :delta WHERE tid = :tid;
UPDATE pgbench_branches SET bbalance = bbalance + :delta WHERE bid = :bid;
INSERT INTO pgbench_history (tid, bid, aid, delta, mtime) VALUES (:tid, :bid, :aid, :delta, CURRENT_TIMESTAMP);
INSERT INTO reported VALUES (:client_id, :n);
END;
`

const (
	pgClients = 6
	pgScale   = 3 // 300,000 accounts, about 45 MB
)

// pgLoad is pgbench at work. Its log has a line for each transaction that was reported to it as committed.
type pgLoad struct {
	t     *testing.T
	cmd   *exec.Cmd
	dir   string
	ended chan struct{}
	out   strings.Builder
}

// load starts pgbench.
func (p *postgres) load(seed uint64) *pgLoad {
	p.t.Helper()
	l := &pgLoad{t: p.t, dir: p.t.TempDir(), ended: make(chan struct{})}
	script := filepath.Join(l.dir, "bank.sql")
	if err := os.WriteFile(script, []byte(pgTransaction), 0o644); err != nil {
		p.t.Fatal(err)
	}
	p.own(l.dir)
	l.cmd = p.command("pgbench", "--no-vacuum", fmt.Sprintf("--client=%d", pgClients), "--jobs=2", "--time=3600", "--file="+script,
		"--define=n=0", fmt.Sprintf("--define=scale=%d", pgScale), "--log", "--log-prefix="+filepath.Join(l.dir, "log"), fmt.Sprintf("--random-seed=%d", seed>>1))
	l.cmd.Stdout, l.cmd.Stderr = &l.out, &l.out
	if err := l.cmd.Start(); err != nil {
		p.t.Fatalf("start pgbench: %v", err)
	}
	go func() { l.cmd.Wait(); close(l.ended) }()
	p.t.Cleanup(func() { l.cmd.Process.Kill(); <-l.ended })
	return l
}

// reported waits for the end of pgbench, whose server was lost, and returns when each transaction of each client was reported committed, in
// microseconds since 1970 and in the order of the client.
func (l *pgLoad) reported() (all [pgClients][]int64) {
	l.t.Helper()
	select {
	case <-l.ended:
	case <-time.After(stopLimit):
		l.t.Fatalf("pgbench goes on without its server:\n%s", l.out.String())
	}
	logs, _ := filepath.Glob(filepath.Join(l.dir, "log.*"))
	for _, name := range logs {
		f, err := os.Open(name)
		if err != nil {
			l.t.Fatal(err)
		}
		defer f.Close()
		for lines := bufio.NewScanner(f); lines.Scan(); {
			var client, number, latency, script, sec, usec int64
			if n, err := fmt.Sscan(lines.Text(), &client, &number, &latency, &script, &sec, &usec); n != 6 || client >= pgClients {
				l.t.Fatalf("line %q of pgbench's log: %v", lines.Text(), err)
			}
			all[client] = append(all[client], sec*1e6+usec)
		}
	}
	return all
}

// TestAppPostgres kills the primary below a database that pgbench works on. The database comes up at the other side with every transaction that
// was reported committed before the last restored marker, with no half of any, and whole.
func TestAppPostgres(t *testing.T) {
	needApps(t)
	s := startStandby(t, 1024*mib)
	dir, umount := loopMount(t, s.disk(), "ext4", "discard", true)
	db := newPostgres(t)
	db.start(dir)
	if got := db.sql("SHOW data_checksums"); got != "on" {
		t.Fatalf("data checksums are %s", got)
	}
	db.run("pgbench", "--initialize", "--quiet", fmt.Sprintf("--scale=%d", pgScale))
	db.sql("CREATE TABLE reported (client int, n int, PRIMARY KEY (client, n))")
	s.replicate()
	s.Link.Delay(appsDelay)

	load, m := db.load(s.Seed), s.startMarks()
	Until(t, StatusLimit, "the database works, with markers that are restored", func() bool {
		n, err := strconv.Atoi(db.sql("SELECT count(*) FROM reported"))
		return err == nil && n > 2000
	})
	m.losing.Store(true)
	s.primary.Kill9()
	answer, took := s.takeover("SVOL-SSUS-takeover")
	t.Log(answer)
	m.stop()
	db.kill()
	umount()
	last, ok := m.lastRestored(answer)
	if !ok {
		t.Fatal("no marker was restored: the test shows nothing")
	}
	reported := load.reported()

	begun := time.Now()
	dir, umount = loopMount(t, s.disk(), "ext4", "discard", false)
	db.start(dir)
	up := time.Since(begun)
	total, demanded, there := db.check(reported, last)
	t.Logf("%d transactions were reported committed, %d before the last of %d restored markers, %d are at the other side; takeover %v, database up %v later",
		total, demanded, len(m.all), there, took.Round(time.Millisecond), up.Round(time.Millisecond))
	if out := db.run("pg_amcheck", "--all", "--install-missing", "--heapallindexed", "--rootdescend"); out != "" {
		t.Errorf("pg_amcheck: %s", out)
	}
	db.end(syscall.SIGINT)
	t.Log(strings.ReplaceAll(db.run("pg_checksums", "--check", "-D", db.data), "\n", ", "))
	umount()
	Run(t, "e2fsck", "-f", "-n", s.disk())
}

// check compares what is there with what was reported: of each client the transactions up to a number, no gaps, at least all of before the
// marker, at most one that was under way; and what each transaction did to four tables is there or not there as one.
func (p *postgres) check(reported [pgClients][]int64, last marker) (total, demanded, there int) {
	p.t.Helper()
	var have [pgClients]int
	for line := range strings.Lines(p.sql("SELECT client, count(*), max(n) FROM reported GROUP BY client ORDER BY client")) {
		var client, count, newest int
		if _, err := fmt.Sscanf(line, "%d|%d|%d", &client, &count, &newest); err != nil || client >= pgClients || count != newest {
			p.t.Fatalf("client %d has %d transactions up to its number %d (%v)", client, count, newest, err)
		}
		have[client] = count
		there += count
	}
	for client, times := range reported {
		need, _ := slices.BinarySearch(times, last.begun.UnixMicro())
		total, demanded = total+len(times), demanded+need
		if have[client] < need || have[client] > len(times)+1 {
			p.t.Errorf("client %d has %d transactions at the other side: %d were reported committed, %d of them before marker %s", client, have[client], len(times), need, last.name)
		}
	}
	if demanded == 0 {
		p.t.Error("nothing was reported before the marker: the test shows nothing")
	}
	const sums = `SELECT (SELECT sum(abalance) FROM pgbench_accounts), (SELECT sum(tbalance) FROM pgbench_tellers),
		(SELECT sum(bbalance) FROM pgbench_branches), (SELECT sum(delta) FROM pgbench_history), (SELECT count(*) FROM pgbench_history)`
	got := strings.Split(p.sql(sums), "|")
	if len(got) != 5 || got[1] != got[0] || got[2] != got[0] || got[3] != got[0] || got[4] != strconv.Itoa(there) {
		p.t.Errorf("sums of accounts, tellers, branches and history, and rows of history: %v; want four equal ones and %d", got, there)
	}
	return total, demanded, there
}
