package replica

import (
	"context"
	"math/rand/v2"
	"testing"
)

// BenchmarkObtain writes 4 KiB to a paired volume whose peer is out of reach: the path of a host write up to its acknowledgement.
func BenchmarkObtain(b *testing.B) {
	for _, bench := range []struct {
		name string
		sync bool
	}{{"ack", false}, {"sync", true}} {
		b.Run(bench.name, func(b *testing.B) {
			s, v := benchPair(b)
			p := make([]byte, 4096)
			b.ResetTimer()
			b.ReportAllocs()
			b.SetBytes(int64(len(p)))
			b.RunParallel(func(pb *testing.PB) {
				rng := rand.New(rand.NewPCG(rand.Uint64(), 1))
				for pb.Next() {
					if _, err := v.WriteAt(context.Background(), p, rng.Int64N(v.Size()/4096)*4096, bench.sync); err != nil {
						b.Error(err)
						return
					}
				}
			})
			_ = s
		})
	}
}

// benchPair makes a volume that is split, so that the journal is a write-ahead log only and never fills.
func benchPair(b *testing.B) (*Site, *Volume) {
	b.Helper()
	ctx := context.Background()
	a, _ := twoSites(b)
	if err := a.CreateGroup(ctx, GroupSpec{Name: "g", Size: 256 << 20}); err != nil {
		b.Fatal(err)
	}
	v, err := a.CreateVolume("db")
	if err != nil {
		b.Fatal(err)
	}
	if err := v.Resize(ctx, 256<<20); err != nil {
		b.Fatal(err)
	}
	if err := a.CreatePair(ctx, PairSpec{Name: "pair0", Volume: "db", Peer: "osaka", Group: "g"}); err != nil {
		b.Fatal(err)
	}
	waitStatus(b, a, "pair0", PAIR)
	if err := a.SuspendPair(ctx, "pair0", SuspendOptions{}); err != nil {
		b.Fatal(err)
	}
	waitStatus(b, a, "pair0", PSUS)
	return a, v
}
