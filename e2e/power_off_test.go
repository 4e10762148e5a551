package e2e

import (
	"crypto/rand"
	"os"
	"strconv"
	"strings"
	"testing"
)

// TestPowerOffOverAThinCable stops a primary in good order over a cable that carries less than a batch in two seconds: what it can bring within the
// time of a stop it brings, and in both cases the S-VOL knows that it is off, and what it lacks.
func TestPowerOffOverAThinCable(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name    string
		rate    int64 // bytes a second
		backlog int   // MiB
		all     bool
	}{
		{"all of it comes", 192 << 10, 1, true},
		{"some of it comes", 64 << 10, 6, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			s, wire := TwoApart(t, wideRate, Options{})
			s.A.MakeVolume("db", 16*mib)
			s.A.Do("groups/g", "create size=64MiB")
			s.CreatePair("pair0", "db", "group=g")
			s.WaitBoth("pair0", "PAIR")
			s.A.AwaitDrained("pair0")
			wire.Rate(row.rate)
			f, err := os.OpenFile(s.A.Path("db"), os.O_WRONLY, 0)
			if err != nil {
				t.Fatal(err)
			}
			piece := make([]byte, mib)
			for i := range row.backlog {
				_, _ = rand.Read(piece)
				if _, err := f.WriteAt(piece, int64(i)*mib); err != nil {
					t.Fatal(err)
				}
			}
			if err := f.Close(); err != nil {
				t.Fatal(err)
			}
			s.A.Stop()
			s.B.Wait("pair0", StatusLimit, "PSUE")
			p := s.B.Get("pair0")
			lacks, _ := strconv.Atoi(p["lag-bytes"])
			t.Logf("at %d bytes a second, of %d MiB %d bytes are missing: %s", row.rate, row.backlog, lacks, p["last-error"])
			if p["suspend-type"] != "MCU P/S OFF" || p["consistent"] != "yes" || p["lag-known"] != "yes" {
				t.Errorf("the S-VOL shows %v", p)
			}
			if row.all != (lacks == 0) || row.all != strings.Contains(p["last-error"], "everything that it had is here") {
				t.Errorf("%d bytes are missing: %s", lacks, p["last-error"])
			}
			if !row.all && (lacks < mib || lacks > row.backlog*mib*11/10) {
				t.Errorf("of %d MiB %d bytes are missing", row.backlog, lacks)
			}
			wire.Rate(wideRate)
			s.A.Restart()
			s.WaitBoth("pair0", "PAIR")
			s.A.AwaitDrained("pair0")
			s.SameVolumes("db")
		})
	}
}
