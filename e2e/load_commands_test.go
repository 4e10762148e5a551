package e2e

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
	"golang.org/x/time/rate"
)

// orderers is how many give commands at a time.
const orderers = 4

// commands are what operators, scripts and scrapers ask of both sites of a load, all at once: half of them in processes of their own. None of them
// disturbs the groups that are checked: what changes states is about the group "spare", which has a pair of its own and those that come and go.
type commands struct {
	l       *load
	goal    int64
	limiter *rate.Limiter
	ctx     context.Context
	cancel  context.CancelFunc
	running sync.WaitGroup
	count   atomic.Int64
	lives   []*life

	mu sync.Mutex
	by map[string]int // what was asked, and how it ended
}

// The pair of the group "spare" that is always there.
const (
	spareGroup  = "spare"
	spareVolume = "s0"
	spareSize   = 4 * mib
)

// newCommands makes the group and begins.
func newCommands(l *load) *commands {
	c := &commands{l: l, goal: goal(l.length), by: map[string]int{}, limiter: rate.NewLimiter(8, 1)}
	if !l.short {
		c.limiter.SetLimit(rate.Limit(1.3 * float64(c.goal) / l.length.Seconds()))
	}
	l.A.Do("groups/"+spareGroup, "create size=16MiB inflow-control=yes")
	l.A.MakeVolume(spareVolume, spareSize)
	l.CreatePair(pairName(spareVolume), spareVolume, "group="+spareGroup)
	c.ctx, c.cancel = context.WithCancel(context.Background())
	for i := range orderers {
		o := &orderer{commands: c, rng: rand.New(rand.NewPCG(l.Seed, uint64(1000+i))), life: &life{name: fmt.Sprintf("come%d", i)}}
		c.lives = append(c.lives, o.life)
		c.running.Go(o.run)
	}
	l.t.Cleanup(c.halt)
	return c
}

// halt ends the commands. It may be called again.
func (c *commands) halt() {
	c.cancel()
	c.running.Wait()
}

// given is how many commands were given.
func (c *commands) given() int64 { return c.count.Load() }

// report says what was asked and how it ended.
func (c *commands) report() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var b strings.Builder
	fmt.Fprintf(&b, "%d", c.given())
	for _, what := range slices.Sorted(maps.Keys(c.by)) {
		fmt.Fprintf(&b, ", %s %d", what, c.by[what])
	}
	return b.String()
}

// took counts a command. One that ended in a way that it may not is a failure of the test.
func (c *commands) took(what string, err error, may ...unix.Errno) {
	c.count.Add(1)
	var errno unix.Errno
	if err != nil && (!errors.As(err, &errno) || !slices.Contains(may, errno)) {
		c.l.t.Errorf("%s: %v", what, err)
	}
	if err != nil {
		what += " " + unix.ErrnoName(errno)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.by[what]++
}

// refused counts a command that has to be refused, with one of the errnos.
func (c *commands) refused(what string, err error, want ...unix.Errno) {
	if err == nil {
		err = errors.New("it was not refused")
	}
	c.took("wrong:", fmt.Errorf("%s: %w", what, err), want...)
}

// restore takes away what the commands left, and compares the pair that was there all the time.
func (c *commands) restore() {
	l := c.l
	for _, x := range c.lives {
		for _, s := range []*Site{l.A, l.B} {
			Until(l.t, StatusLimit, "pair "+x.name+" is gone at "+s.Name, func() bool {
				err := s.Ctl(x.name, "delete mode=force")
				return isErrno(err, "ENOENT") || s.Status(x.name) == "SMPL"
			})
		}
		for _, s := range []*Site{l.A, l.B} {
			Until(l.t, StatusLimit, "volume "+x.name+" is gone at "+s.Name, func() bool {
				err := os.Remove(s.Path(x.name))
				return err == nil || os.IsNotExist(err)
			})
		}
	}
	f := &loadFlow{l: l, group: spareGroup, volumes: []string{spareVolume}, size: spareSize}
	f.drain()
	l.SameVolumes(spareVolume)
}

// orderer gives one command after the other.
type orderer struct {
	*commands
	rng  *rand.Rand
	life *life
}

func (o *orderer) run() {
	for o.limiter.Wait(o.ctx) == nil {
		switch dice := o.rng.IntN(100); {
		case dice < 35:
			o.read()
		case dice < 45:
			o.show()
		case dice < 53:
			o.set()
		case dice < 65:
			o.change()
		case dice < 73:
			o.mark()
		case dice < 85:
			o.blunder()
		case dice < 90:
			o.listen()
		default:
			o.live()
		}
	}
}

// either is one of both sites.
func (o *orderer) either() *Site { return []*Site{o.l.A, o.l.B}[o.rng.IntN(2)] }

// read reads one control file, as cat would.
func (o *orderer) read() {
	dir := []string{"", "", "groups", "peers", "volumes"}[o.rng.IntN(5)]
	s := o.either()
	entries, err := os.ReadDir(s.ctlPath(dir))
	if err != nil {
		o.took("ls", err)
		return
	}
	entries = slices.DeleteFunc(entries, func(e os.DirEntry) bool { return e.IsDir() || e.Name() == "events" })
	if len(entries) == 0 {
		return
	}
	text, err := s.Text(filepath.Join(dir, entries[o.rng.IntN(len(entries))].Name()))
	if err == nil && text == "" && dir != "" {
		err = errors.New("the file is empty")
	}
	o.took("read", err, unix.ENOENT)
}

// tool runs the command line, which may be refused only if it says so.
func (o *orderer) tool(s *Site, mayFail bool, args ...string) (out string, ok bool) {
	out, code := s.CLI(args...)
	var err error
	if code != 0 && !(mayFail && code == 1 || code >= 3 && args[0] == "wait") || strings.Contains(out, "panic") {
		err = fmt.Errorf("pairfs %s at %s: exit status %d: %s", strings.Join(args, " "), s.Name, code, out)
	}
	o.took("pairfs "+args[0], err)
	return out, code == 0
}

// show lets a process show something.
func (o *orderer) show() {
	args := [][]string{
		{"status", "--json"}, {"status"}, {"status", "--verbose"}, {"history"}, {"history", "--json"}, {"group", "list"}, {"pair", "list"}, {"peer", "list"},
		{"kept", "list"}, {"pair", "differences", pairName(spareVolume)},
	}[o.rng.IntN(10)]
	o.tool(o.either(), args[len(args)-1] == pairName(spareVolume), args...) // which may be copied, or out of reach
}

// set sets an option, which always succeeds.
func (o *orderer) set() {
	a := o.l.A
	n := o.rng.IntN(8)
	rows := [][2]string{
		{"groups/full", fmt.Sprintf("set path-watch=%dm", 5+n)},
		{"groups/full", "set copy-pace=" + []string{"medium", "high"}[n%2]},
		{"groups/even", fmt.Sprintf("set path-watch=%dm copy-pace=%s", 5+n, []string{"low", "high"}[n%2])},
		{"groups/even", "set use-of-cache=" + []string{"yes", "no"}[n%2]},
		{pairName("f0"), fmt.Sprintf("set priority=%d", 1+n*30)},
		{pairName("e0"), "set priority=default"},
		{"site", fmt.Sprintf("set copies=%d", 1+n)},
	}
	row := rows[o.rng.IntN(len(rows))]
	o.took("set", a.Ctl(row[0], row[1]))
}

// change splits or resynchronises the spare pair, or writes to it.
func (o *orderer) change() {
	pair, s := pairName(spareVolume), o.either()
	switch o.rng.IntN(7) {
	case 0:
		o.took("suspend", s.Ctl(pair, "suspend"), refusable...)
	case 1:
		o.took("suspend", o.l.A.Ctl("groups/"+spareGroup, "suspend mode=purge"), refusable...)
	case 2:
		o.tool(o.l.A, true, "pair", "suspend", pair)
	case 3:
		o.took("resync", o.l.A.Ctl("groups/"+spareGroup, "resync"), refusable...)
	case 4:
		o.tool(o.l.A, true, "pair", "resync", pair)
	case 5:
		o.took("resync", o.l.A.Ctl(pair, "resync"), refusable...)
	default:
		o.took("write", pokeVolume(o.l.A.Path(spareVolume), o.rng.Int64N(spareSize/4096)*4096))
	}
}

// pokeVolume writes a page of something.
func pokeVolume(path string, off int64) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	p := make([]byte, 4096)
	rand.NewChaCha8([32]byte{byte(off >> 12)}).Read(p)
	_, err = f.WriteAt(p, off)
	return errors.Join(err, f.Close())
}

// mark places a marker in a group and asks what became of it, at either site.
func (o *orderer) mark() {
	group := []string{"full", "even", spareGroup}[o.rng.IntN(3)]
	out, ok := o.tool(o.l.A, true, "group", "mark", group)
	if !ok {
		return
	}
	wait := []string{"wait", "--marker", strings.TrimSpace(out), "--nowait"}
	if o.rng.IntN(2) == 0 {
		wait = []string{"wait", "--marker", strings.TrimSpace(out), "--timeout=1s"}
	}
	o.tool(o.either(), true, wait...)
}

// blunder gives a command that has to be refused.
func (o *orderer) blunder() {
	a, b := o.l.A, o.l.B
	rows := []struct {
		s          *Site
		file, line string
		want       unix.Errno
	}{
		{a, pairName("f0"), "nonsense", unix.EINVAL},
		{a, pairName("f0"), "set priority=0", unix.EINVAL},
		{a, pairName("f0"), "suspend mode=perhaps", unix.EINVAL},
		{b, pairName("f0"), strings.Repeat("x", 5000), unix.EINVAL},
		{a, pairName("e0"), "create volume=e0 peer=osaka group=even", unix.EEXIST},
		{a, "another", "create volume=e0 peer=osaka group=even", unix.EBUSY},
		{a, fmt.Sprintf("odd%d", o.rng.IntN(1000)), "suspend", unix.ENOENT},
		{a, fmt.Sprintf("odd%d", o.rng.IntN(1000)), "create volume=none peer=osaka group=even", unix.ENOENT},
		{a, "groups/even", "create size=16MiB", unix.EEXIST},
		{a, "groups/none", "set copy-pace=low", unix.ENOENT},
		{a, "groups/even", "set inflow-control=perhaps", unix.EINVAL},
		{a, "groups/small", "create size=1MiB", unix.EINVAL},
		{a, "groups/even@tokyo", "create size=16MiB", unix.EINVAL},
		{a, "volumes/e0", "reserve peer=osaka", unix.EBUSY},
		{a, "volumes/e0", "release", unix.EBUSY},
		{b, "peers/nobody", "remove", unix.ENOENT},
		{b, "site", "set copies=0", unix.EINVAL},
		{b, "kept", "drop name=none", unix.ENOENT},
		{a, "metrics", "x", unix.EINVAL},
	}
	switch n := o.rng.IntN(len(rows) + 3); n {
	default:
		row := rows[n]
		o.refused(fmt.Sprintf("%.80q to %s of %s", row.line, row.file, row.s.Name), row.s.Ctl(row.file, row.line), row.want)
	case len(rows):
		o.refused("rm of a P-VOL", os.Remove(a.Path("e0")), unix.EBUSY)
	case len(rows) + 1:
		o.refused("a write to an S-VOL", tryWrite(b.Path("e0")), unix.EROFS)
	case len(rows) + 2:
		o.refused("mkdir", os.Mkdir(a.Path("dir"), 0o700), unix.EPERM, unix.ENOTSUP, unix.ENOSYS)
	}
}

// listen reads events and goes away: in good order after some, or killed while it waits for one.
func (o *orderer) listen() {
	s := o.either()
	if o.rng.IntN(2) == 0 {
		fd, err := unix.Open(s.ctlPath("events"), unix.O_RDONLY|unix.O_NONBLOCK, 0)
		if err != nil {
			o.took("events", err)
			return
		}
		buf := make([]byte, 1+o.rng.IntN(4096))
		for range 1 + o.rng.IntN(50) {
			if _, err = unix.Read(fd, buf); err != nil {
				break
			}
		}
		unix.Close(fd)
		o.took("events", err, unix.EAGAIN, unix.EINTR)
		return
	}
	reader := exec.Command(Binary(), "events")
	reader.Env = append(os.Environ(), "PAIRFS_MOUNT="+s.Mnt)
	reader.SysProcAttr = &unix.SysProcAttr{Pdeathsig: unix.SIGKILL}
	out, err := reader.StdoutPipe()
	if err == nil {
		err = reader.Start()
	}
	if err != nil {
		o.took("events killed", err)
		return
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if words := strings.Fields(line); err == nil && (len(words) < 5 || strings.Trim(words[0], "0123456789") != "") {
		err = fmt.Errorf("the first event is %q", line)
	}
	reader.Process.Kill()
	reader.Wait()
	o.took("events killed", err)
}

// life is a volume, and the pair of it, that come and go.
type life struct {
	name string
	step int
}

// live does what comes next in it. What is refused, because the link is cut or the group is busy, is tried again the next time.
func (o *orderer) live() {
	a, b, x := o.l.A, o.l.B, o.life
	var err error
	what := ""
	done := func(e error, fine ...string) {
		if err = e; err == nil || slices.ContainsFunc(fine, func(errno string) bool { return isErrno(e, errno) }) {
			x.step++
		}
	}
	switch x.step {
	case 0:
		what = "new group"
		err = a.Ctl("groups/"+x.name, "create size=16MiB")
		if o.rng.IntN(2) == 0 || err != nil {
			x.step = 1
		}
		if err == nil {
			o.took(what, nil)
			what, err = "delete group", a.Ctl("groups/"+x.name, "delete")
		}
	case 1:
		what = "new volume"
		done(makeVolume(a.Path(x.name), spareSize))
	case 2:
		what = "create"
		done(a.Ctl(x.name, "create volume="+x.name+" peer=osaka group="+spareGroup), "EEXIST")
	case 3:
		what = "write"
		done(pokeVolume(a.Path(x.name), o.rng.Int64N(spareSize/4096)*4096))
	case 4:
		what = "delete"
		if o.rng.IntN(3) == 0 {
			done(a.Ctl(x.name, "delete"), "ENOENT")
			break
		}
		if e := b.Ctl(x.name, "delete"); e != nil && !isErrno(e, "ENOENT") {
			err = e
			break
		}
		o.took("delete at osaka", nil)
		done(a.Ctl(x.name, "delete mode=force"), "ENOENT")
	case 5:
		what = "rm"
		done(os.Remove(a.Path(x.name)), "ENOENT")
	default:
		what, x.step = "rm at osaka", 0
		if o.rng.IntN(2) == 0 {
			err = os.Remove(b.Path(x.name)) // else the next life takes it
		}
	}
	o.took(what, err, append([]unix.Errno{unix.ENOSPC}, refusable...)...)
}

// makeVolume makes a volume, as truncate does.
func makeVolume(path string, size int64) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	return errors.Join(f.Truncate(size), f.Close())
}
