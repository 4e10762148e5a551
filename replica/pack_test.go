package replica

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/klauspost/compress/s2"
)

// TestPacker: a batch that does not pay lets others rest, the more the more often; one that pays ends that.
func TestPacker(t *testing.T) {
	t.Parallel()
	var p packer
	steps := []struct {
		raw, packed int // packed is 0 where the batch is not to be tried
		pays        bool
	}{
		{packMin - 1, 0, false},
		{8000, 7000, true},
		{8000, 7001, false},
		{8000, 0, false},
		{packMin - 1, 0, false},
		{8000, 100, true},
		{8000, 8000, false}, {8000, 0, false},
		{8000, 9000, false}, {8000, 0, false}, {8000, 0, false}, {8000, 0, false},
		{8000, 8000, false}, {8000, 0, false}, {8000, 0, false}, {8000, 0, false}, {8000, 0, false}, {8000, 0, false}, {8000, 0, false}, {8000, 0, false},
		{8000, 8000, false}, {8000, 0, false}, {8000, 0, false}, {8000, 0, false}, {8000, 0, false}, {8000, 0, false}, {8000, 0, false}, {8000, 0, false},
		{8000, 1, true},
		{8000, 8000, false}, {8000, 0, false},
		{8000, 1, true},
	}
	for i, s := range steps {
		if tries := p.tries(s.raw); tries != (s.packed > 0) {
			t.Fatalf("step %d: tries %v", i, tries)
		}
		if s.packed > 0 && p.pays(s.raw, s.packed) != s.pays {
			t.Fatalf("step %d: it should pay: %v", i, s.pays)
		}
	}
}

// TestPacked: what packs goes packed, in updates and copies; what does not goes as it is; and to a peer that cannot unpack everything does.
func TestPacked(t *testing.T) {
	t.Parallel()
	for _, older := range []string{"", "tokyo", "osaka"} {
		t.Run("older is "+older, func(t *testing.T) {
			t.Parallel()
			d := newDuo(t, func(name string, c *Config) { c.older = name == older })
			text, noise := packSamples(testSeed(t), 256<<10)
			write := func(name string, b []byte, off int64) {
				t.Helper()
				_, err := d.a.vol(name).WriteAt(t.Context(), b, off, true)
				must(t, err)
			}
			d.a.group("g")
			d.a.volume("x")
			d.a.volume("y")
			write("x", text, 0)
			write("y", noise, 0)
			saved := func() uint64 { return d.a.groupStatus("g").Saved }
			d.a.pair("g", "y")
			d.settled("y")
			write("y", noise, 1<<20)
			d.settled("y")
			d.wait("all is there", func() bool { return d.a.groupStatus("g").LagSeq == 0 })
			if n := saved(); n > uint64(len(noise))/100 {
				t.Errorf("packing noise saved %d bytes", n)
			}
			before := saved()
			d.a.pair("g", "x")
			d.settled("x")
			copied := saved()
			write("x", bytes.ToUpper(text), 1<<20)
			d.wait("all is there", func() bool { return d.a.groupStatus("g").LagSeq == 0 })
			updated := saved()
			if older != "" {
				if updated != 0 {
					t.Errorf("%d bytes were packed for a peer, or by one, that cannot", updated)
				}
			} else if least := uint64(len(text)) / 2; copied-before < least || updated-copied < least {
				t.Errorf("packing text saved %d bytes of its copy and %d of its update, both have %d", copied-before, updated-copied, len(text))
			}
			d.a.suspend("g", SuspendOptions{}, "x", "y")
			d.wantEqual("x", "y")
			if here, there := saved(), d.b.groupStatus("g@tokyo").Saved; there > here || there < here/2 { // some may have been sent twice
				t.Errorf("%d bytes were saved by the primary's account, %d by the secondary's", here, there)
			}
		})
	}
}

// BenchmarkPack packs and unpacks one batch of a mebibyte, of text and of noise.
func BenchmarkPack(b *testing.B) {
	text, noise := packSamples(1, 1<<20)
	for _, c := range []struct {
		name string
		data []byte
	}{{"text", text}, {"noise", noise}} {
		packed := s2.Encode(nil, c.data)
		scratch := make([]byte, s2.MaxEncodedLen(len(c.data)))
		b.Run("pack/"+c.name, func(b *testing.B) {
			b.SetBytes(int64(len(c.data)))
			b.ReportAllocs()
			for b.Loop() {
				s2.Encode(scratch, c.data)
			}
			b.ReportMetric(float64(len(packed))/float64(len(c.data)), "packed/raw")
		})
		b.Run("unpack/"+c.name, func(b *testing.B) {
			b.SetBytes(int64(len(c.data)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := s2.Decode(scratch, packed); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// packSamples are size bytes that pack well, and as many that do not pack.
func packSamples(seed uint64, size int) (text, noise []byte) {
	rng := rand.New(rand.NewPCG(seed, 1))
	noise = make([]byte, size)
	for i := range noise {
		noise[i] = byte(rng.Uint32())
	}
	for len(text) < size {
		text = fmt.Appendf(text, "%08x a line of what a host writes, the %dth\n", rng.Uint32(), len(text))
	}
	return text[:size], noise
}
