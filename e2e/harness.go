package e2e

import (
	"fmt"
	"hash/fnv"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"time"
)

// T is what the harness needs of a test; *testing.T is one. A program that is no test (the benchmark) brings its own.
type T interface {
	Helper()
	Name() string
	Logf(format string, args ...any)
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
	Failed() bool
	Cleanup(f func())
	TempDir() string
}

// Long reports whether the long variants were asked for (PAIRFS_LONG=1).
func Long() bool { return os.Getenv("PAIRFS_LONG") != "" }

// Seed returns the seed of the test and logs it: PAIRFS_SEED if set, else one of the clock. Different tests get different seeds from
// the same PAIRFS_SEED.
func Seed(t T) uint64 {
	t.Helper()
	base := uint64(time.Now().UnixNano())
	if s := os.Getenv("PAIRFS_SEED"); s != "" {
		n, err := strconv.ParseUint(s, 10, 64)
		if err != nil {
			t.Fatalf("PAIRFS_SEED=%q is no number: %v", s, err)
		}
		base = n
	}
	t.Logf("seed: PAIRFS_SEED=%d", base)
	sum := fnv.New64a()
	fmt.Fprintf(sum, "%s %d", t.Name(), base)
	return sum.Sum64()
}

var built struct {
	sync.Mutex
	path string
}

// UseBinary sets the binary that sites run.
func UseBinary(path string) {
	built.Lock()
	defer built.Unlock()
	built.path = path
}

// Binary returns the binary that sites run.
func Binary() string {
	built.Lock()
	defer built.Unlock()
	return built.path
}

// Build builds the product into dir and makes it the binary that sites run. PAIRFS_BIN, if set, is taken instead.
func Build(dir string) error {
	if path := os.Getenv("PAIRFS_BIN"); path != "" {
		abs, err := filepath.Abs(path)
		if err != nil {
			return err
		}
		UseBinary(abs)
		return nil
	}
	path := filepath.Join(dir, "pairfs")
	if err := build(path); err != nil {
		return err
	}
	UseBinary(path)
	return nil
}

// BuildCrashpoints builds the product into dir so that it can be let die at named points, and returns the path of that binary.
func BuildCrashpoints(dir string) (string, error) {
	path := filepath.Join(dir, "pairfs-crashpoints")
	return path, build(path, "-tags", "crashpoints")
}

func build(path string, more ...string) error {
	args := append([]string{"build", "-o", path}, more...)
	if raceEnabled {
		args = append(args, "-race")
	}
	if out, err := exec.Command("go", append(args, "pairfs/cmd/pairfs")...).CombinedOutput(); err != nil {
		return fmt.Errorf("build pairfs/cmd/pairfs: %w\n%s", err, out)
	}
	return nil
}

// tick is how often a condition that no event announces is looked at.
const tick = 20 * time.Millisecond

// Until waits until cond holds and fails the test if that takes longer than limit; what says for what it waits.
func Until(t T, limit time.Duration, what string, cond func() bool) {
	t.Helper()
	deadline := time.NewTimer(limit)
	defer deadline.Stop()
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	for !cond() {
		select {
		case <-ticker.C:
		case <-deadline.C:
			if cond() {
				return
			}
			t.Fatalf("waited %v in vain: %s", limit, what)
		}
	}
}

// Run runs a command of the host and fails the test unless it succeeds. It returns what it printed.
func Run(t T, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %v: %v\n%s", name, args, err, out)
	}
	return string(out)
}
