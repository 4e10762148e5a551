package replica

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/binary"
	"encoding/pem"
	"fmt"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"pairfs/quicwire"
	"pairfs/quicwire/wiretest"
)

// A peer that turns hostile. Berlin has pairs with tokyo in both directions, dies, and is followed by somebody who has its key: what that one does
// is refused, bounded and told, changes nothing of what is not its own, and the pair of tokyo and osaka goes on meanwhile.

// hostilePeer is who has berlin's key.
type hostilePeer struct {
	t   *testing.T
	a   *node // tokyo
	key ed25519.PrivateKey
	raw *wiretest.Raw
	rng *rand.Rand
}

// invaded is tokyo with its pairs, and a hostile peer at its door.
type invaded struct {
	*duo
	evil *hostilePeer
	w    *writer // of the honest pair
	stop func()  // ends what is written meanwhile

	began time.Time
}

// newInvaded makes the three sites; x is the pair of tokyo and osaka, p that of tokyo and berlin, s that of berlin and tokyo.
func newInvaded(t *testing.T) *invaded {
	d := newDuo(t)
	c := newNode(t, "berlin", nil)
	c.other = d.a
	c.open()
	c.cfg.Listen = c.site.endpoint.Addr().String()
	proxy, err := wiretest.NewProxy("127.0.0.1:0", c.cfg.Listen, 1)
	must(t, err)
	t.Cleanup(func() { proxy.Close() })
	c.proxy = proxy
	c.know()
	must(t, d.a.site.AddPeer(t.Context(), PeerSpec{Name: "berlin", Address: proxy.Addr(), Fingerprint: c.site.identity.Fingerprint().String(), Quota: 8 << 20}))
	d.a.group("g")
	d.a.volume("x")
	d.a.pair("g", "x")
	at := &node{t: t, cfg: d.a.cfg, site: d.a.site, other: c}
	at.up.Store(d.a.site)
	at.group("h")
	at.volume("p")
	at.pair("h", "p")
	c.group("k")
	c.volume("s")
	c.pair("k", "s")
	c.crash(nil)
	d.wait("berlin is gone", func() bool { _, up := d.a.site.endpoint.Connected("berlin"); return !up })
	v := &invaded{duo: d, began: time.Now(), evil: newHostile(t, d.a, filepath.Join(c.cfg.StateDir, "key.pem")), w: newWriter(d.a, "x")}
	v.goOn()
	return v
}

func newHostile(t *testing.T, a *node, keyFile string) *hostilePeer {
	text, err := os.ReadFile(keyFile)
	must(t, err)
	block, _ := pem.Decode(text)
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	must(t, err)
	e := &hostilePeer{t: t, a: a, key: key.(ed25519.PrivateKey), rng: newRand(testSeed(t))}
	t.Cleanup(func() {
		if e.raw != nil {
			e.raw.Close()
		}
	})
	return e
}

// goOn lets a host write the honest pair until stop, and expects that it never leaves PAIR.
func (v *invaded) goOn() {
	ctx, cancel := context.WithCancel(v.t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		for n := int64(0); ctx.Err() == nil; n++ {
			if err := v.w.write(v.t.Context(), 0, n%64, 1, false); err != nil {
				v.t.Errorf("a host's write: %v", err)
				return
			}
			for _, side := range []*node{v.a, v.b} {
				if st := side.status("x"); st.Status != PAIR {
					v.t.Errorf("at %s the honest pair is %s", side.cfg.Name, st.Status)
					return
				}
			}
			_ = pause(ctx, 10*time.Millisecond)
		}
	})
	v.stop = sync.OnceFunc(func() { cancel(); wg.Wait() })
	v.t.Cleanup(v.stop)
}

// connect gives a live connection; who was let in too often waits.
func (e *hostilePeer) connect() *wiretest.Raw {
	e.t.Helper()
	if e.raw != nil && e.raw.Context().Err() == nil {
		return e.raw
	}
	hello, err := quicwire.AppendFrame(nil, &quicwire.Hello{MinVersion: 1, MaxVersion: 1, Features: ^quicwire.Features(0), Site: "berlin\nx", MaxFrame: quicwire.MaxFrame, Nonce: 77})
	must(e.t, err)
	for end := time.Now().Add(time.Minute); ; {
		ctx, cancel := context.WithTimeout(e.t.Context(), 30*time.Second)
		raw, _, err := wiretest.DialRaw(ctx, e.a.site.endpoint.Addr().String(), e.key, hello)
		cancel()
		if err == nil {
			e.raw = raw
			return raw
		}
		if time.Now().After(end) {
			e.t.Fatalf("the hostile peer is not let in: %v", err)
		}
		must(e.t, pause(e.t.Context(), 50*time.Millisecond))
	}
}

// says opens a stream with those bytes, ends it, and gives what comes back; the stream may be reset, or the connection closed.
func (e *hostilePeer) says(b []byte) (answer []byte, err error) {
	e.t.Helper()
	ctx, cancel := context.WithTimeout(e.t.Context(), time.Minute)
	defer cancel()
	raw := e.connect()
	s, err := raw.OpenStreamSync(ctx)
	if err == nil {
		s.SetDeadline(time.Now().Add(time.Minute))
		_, err = s.Write(b)
	}
	if err == nil {
		err = s.Close()
	}
	if err == nil {
		answer, err = io.ReadAll(s)
	}
	return answer, raw.Settle(err)
}

// breaches says what is a breach of the protocol, and expects that the connection ends for one of those reasons.
func (e *hostilePeer) breaches(what string, b []byte, codes ...quicwire.CloseCode) {
	e.t.Helper()
	raw := e.connect()
	answer, err := e.says(b)
	if err == nil {
		e.t.Errorf("%s: answered with %x", what, answer)
		return
	}
	ctx, cancel := context.WithTimeout(e.t.Context(), time.Minute)
	defer cancel()
	code, ok := raw.Ended(ctx)
	for _, c := range codes {
		if ok && quicwire.CloseCode(code) == c {
			return
		}
	}
	e.t.Errorf("%s: the connection ends with %d (%v), wanted %v", what, code, ok, codes)
}

// refused makes a request and expects the refusal of that kind.
func (e *hostilePeer) refused(what string, f quicwire.Frame, kinds ...quicwire.ResultCode) {
	e.t.Helper()
	b, err := quicwire.AppendFrame(nil, f)
	must(e.t, err)
	answer, err := e.says(b)
	if err != nil {
		e.t.Errorf("%s: %v", what, err)
		return
	}
	got, _, err := quicwire.ParseFrame(answer)
	r, ok := got.(*quicwire.Result)
	for _, k := range kinds {
		if ok && r.Code == k {
			return
		}
	}
	e.t.Errorf("%s: answered with %+v, %v", what, got, err)
}

// untouched is what a hostile peer must not change of a site: pairs, groups, volumes and what is in these.
func (n *node) untouched() map[string]string {
	n.t.Helper()
	all := map[string]string{}
	st := n.site.Status()
	for _, p := range st.Pairs {
		all["pair/"+p.Name] = fmt.Sprintf("%s %s %s generation %d", p.Role, p.Status, p.Suspend, p.Generation)
	}
	for _, g := range st.Groups {
		all["group/"+g.Name] = g.Role.String() + " " + g.Peer
		if g.Role == Secondary { // a primary's numbers go on by themselves
			all["group/"+g.Name] += fmt.Sprintf(" at %d, restored %d", g.AppendedSeq, g.RestoredSeq)
		}
		if g.PeerRestored > g.AppendedSeq || g.PeerDurable > g.AppendedSeq {
			n.t.Errorf("group %s is at %d, and its peer is said to have %d and %d", g.Name, g.AppendedSeq, g.PeerDurable, g.PeerRestored)
		}
	}
	for _, v := range n.site.Volumes() {
		all["volume/"+v.Name()] = strconv.FormatInt(v.Size(), 10)
		if v.Name() != "x" {
			all["volume/"+v.Name()] += fmt.Sprintf(" %08x", crc32.ChecksumIEEE(readAll(n.t, v)))
		}
	}
	return all
}

// during runs what a hostile peer does and expects that nothing of tokyo has changed behind it.
func (v *invaded) during(what string, do func()) {
	v.t.Helper()
	before := v.a.untouched()
	do()
	if diff := cmp.Diff(before, v.a.untouched()); diff != "" {
		v.t.Errorf("%s: changed (-before +after):\n%s", what, diff)
	}
}

// TestHostilePeer lets the peer say everything that it must not, one frame after the other.
func TestHostilePeer(t *testing.T) {
	t.Parallel()
	v := newInvaded(t)
	e := v.evil
	v.during("random bodies", func() { e.randomBodies(hostileRounds()) })
	v.during("sizes beyond their limits", e.beyondLimits)
	v.during("frames out of their place", e.outOfPlace)
	v.during("pairs of others", func() { e.others(v) })
	v.during("mirrors toward it", func() { e.asSecondary(v) })
	v.during("paths toward it", func() { e.asPath(v) })
	v.during("mirrors from it", func() { e.asPrimary(v) })
	e.ownRecords(v)
	v.settle()
}

// hostileRounds is how many bodies of each frame are tried: PAIRFS_HOSTILE asks for more.
func hostileRounds() int {
	if n, err := strconv.Atoi(os.Getenv("PAIRFS_HOSTILE")); err == nil {
		return n
	}
	return 2
}

// settle ends the writes, and expects that all of them are at osaka, and that tokyo has told of its peer, in bounds and in one line each.
func (v *invaded) settle() {
	v.t.Helper()
	v.stop()
	v.a.suspend("g", SuspendOptions{}, "x")
	v.w.check(v.b, everyAck)
	told := 0
	for _, ev := range v.a.site.Events() {
		if strings.ContainsFunc(ev.Text, func(r rune) bool { return r < ' ' }) {
			v.t.Errorf("an event of more than a line: %q", ev.Text)
		}
		if ev.Object == "peer/berlin" || ev.Object == "group/k@berlin" || ev.Object == "group/h" {
			told++
		}
	}
	v.t.Logf("%d events tell of the hostile peer", told)
	most := peerEventsBurst + int(time.Since(v.began).Seconds()*float64(peerEventsRate)) + 50 // some are of before it turned hostile
	if told < 20 || told > most {
		v.t.Errorf("%d events tell of the hostile peer, at least 20 and at most %d should", told, most)
	}
}

// randomBodies sends bodies of random bytes as each frame that there is, and as some that there are not. Most are malformed; one that is a frame is
// refused.
func (e *hostilePeer) randomBodies(rounds int) {
	for typ := range 22 {
		for range rounds {
			body := make([]byte, e.rng.IntN(200))
			for i := range body {
				if body[i] = byte(e.rng.Uint32()); e.rng.IntN(2) == 0 {
					body[i] = 0
				}
			}
			raw := e.connect()
			answer, err := e.says(frameOf(typ, uint32(len(body)), body))
			if err != nil && raw.Context().Err() == nil {
				e.t.Errorf("frame %d with %x: the stream ends with %v, the connection does not", typ, body, err)
			}
			if f, _, perr := quicwire.ParseFrame(answer); err == nil && perr == nil {
				if r, ok := f.(*quicwire.Result); (!ok || r.Code == quicwire.ResultDone) && f.Type() != quicwire.TypePairStates {
					e.t.Errorf("frame %d with %x is answered by %+v", typ, body, f)
				}
			}
		}
	}
}

func frameOf(typ int, size uint32, body []byte) []byte {
	return append(binary.LittleEndian.AppendUint32([]byte{byte(typ)}, size), body...)
}

// beyondLimits claims more than a frame may have, in its header and in the counts and lengths inside.
func (e *hostilePeer) beyondLimits() {
	for _, typ := range []quicwire.Type{quicwire.TypeCreatePair, quicwire.TypeDeletePair, quicwire.TypeResyncPairs, quicwire.TypeMirrorOpen, quicwire.TypePairStates, quicwire.TypeSwapPairs, quicwire.TypePowerOff} {
		e.breaches(fmt.Sprintf("%s of 4 GiB", typ), frameOf(int(typ), 1<<32-1, nil), quicwire.CloseTooLarge)
		e.breaches(fmt.Sprintf("%s of a byte too many", typ), frameOf(int(typ), quicwire.MaxControlFrame+1, nil), quicwire.CloseTooLarge)
	}
	refs := func(count int, name string) (b []byte) {
		b = binary.LittleEndian.AppendUint16(nil, uint16(count))
		for range count {
			b = binary.LittleEndian.AppendUint16(b, uint16(len(name)))
			b = append(append(b, name...), make([]byte, 8)...)
		}
		return append(b, 0, 0)
	}
	request := func(body []byte) []byte { return frameOf(int(quicwire.TypeDeletePair), uint32(len(body)), body) }
	e.breaches("one pair too many", request(refs(quicwire.MaxPairs+1, "n")), quicwire.CloseMalformed)
	e.breaches("a name of one byte too many", request(refs(1, strings.Repeat("n", quicwire.MaxName+1))), quicwire.CloseMalformed)
	e.breaches("a count that the body does not hold", request([]byte{0xff, 0x0f}), quicwire.CloseMalformed)
	e.breaches("half a body", request(make([]byte, 100))[:50], quicwire.CloseMalformed)
	longest := &quicwire.DeletePair{}
	for range quicwire.MaxPairs {
		longest.Pairs = append(longest.Pairs, quicwire.PairRef{Name: strings.Repeat("n", quicwire.MaxName)})
	}
	e.refused("as many pairs with as long names as there may be", longest, quicwire.ResultNotFound)
}

// outOfPlace begins streams with what begins none.
func (e *hostilePeer) outOfPlace() {
	for _, f := range []quicwire.Frame{
		&quicwire.Hello{MinVersion: 1, MaxVersion: 1, MaxFrame: quicwire.MaxFrame}, &quicwire.Result{}, &quicwire.ResyncReady{}, &quicwire.Bitmap{Pair: "x", Last: true}, &quicwire.MirrorAccept{},
		&quicwire.ReadJournal{}, &quicwire.Batch{Ordinal: 1}, &quicwire.MirrorOptions{PathWatch: 1}, &quicwire.MirrorLag{}, &quicwire.MirrorSettings{Number: 1, Volume: "x"},
	} {
		b, err := quicwire.AppendFrame(nil, f)
		must(e.t, err)
		e.breaches(f.Type().String()+" at the begin of a stream", b, quicwire.CloseUnexpectedFrame)
	}
	one, err := quicwire.AppendFrame(nil, &quicwire.DeletePair{Pairs: []quicwire.PairRef{{Name: "nothing"}}})
	must(e.t, err)
	e.breaches("two requests in one stream", append(bytes.Clone(one), one...), quicwire.CloseUnexpectedFrame)
}

// others asks for what belongs to the pair of tokyo and osaka, with its true generation, and for more than the peer may have.
func (e *hostilePeer) others(v *invaded) {
	st := v.a.status("x")
	ref := []quicwire.PairRef{{Name: "x", Generation: st.Generation}}
	none := []quicwire.ResultCode{quicwire.ResultAccess, quicwire.ResultNotFound}
	create := func(pair, volume, group string, size uint64) *quicwire.CreatePair {
		return &quicwire.CreatePair{Pair: pair, Volume: volume, Group: group, Number: 9, Generation: 9, Size: size, JournalSize: journalMin}
	}
	e.refused("a pair that there is", create("x", "new", "k", duoSize), quicwire.ResultExists)
	e.refused("a volume in a pair", create("new", "x", "k", duoSize), quicwire.ResultBusy)
	e.refused("more than it may create", create("new", "new", "k", 1<<30), quicwire.ResultNoSpace)
	e.refused("a size that overflows", create("new", "new", "k", 1<<63), quicwire.ResultInvalid)
	e.refused("no size", create("new", "new", "k", 0), quicwire.ResultInvalid)
	e.refused("a number that is taken", &quicwire.CreatePair{Pair: "new", Volume: "new", Group: "k", Number: v.a.number("s"), Generation: 9, Size: 4096, JournalSize: journalMin}, quicwire.ResultInvalid)
	for _, name := range []string{"", ".", "..", "../x", "a/b", "a\x00b", ".ctl", "a\nb", strings.Repeat("n", 255), "ä"} {
		e.refused(fmt.Sprintf("a pair called %q", name), create(name, "new", "k", 4096), quicwire.ResultInvalid)
		e.refused(fmt.Sprintf("a volume called %q", name), create("new", name, "k", 4096), quicwire.ResultInvalid)
		e.refused(fmt.Sprintf("a group called %q", name), create("new", "new", name, 4096), quicwire.ResultInvalid)
	}
	e.refused("a pair called as a control file", create("events", "new", "k", 4096), quicwire.ResultInvalid)
	e.refused("to delete a pair of others", &quicwire.DeletePair{Pairs: ref, Force: true}, none...)
	e.refused("to delete it beside its own", &quicwire.DeletePair{Pairs: append([]quicwire.PairRef{{Name: "s", Generation: v.a.status("s").Generation}}, ref...)}, none...)
	e.refused("to undo a resync of others", &quicwire.SuspendPair{Pairs: ref}, none...)
	for _, mode := range []uint8{quicwire.ResyncSame, quicwire.ResyncSwap, quicwire.ResyncLook, quicwire.ResyncLose, 200} {
		e.refused(fmt.Sprintf("resync mode %d of a group of others", mode), &quicwire.ResyncPairs{Group: "g", Pairs: ref, Mode: mode}, append(none, quicwire.ResultInvalid)...)
		e.refused(fmt.Sprintf("resync mode %d of a pair of others in its own group", mode), &quicwire.ResyncPairs{Group: "k", Pairs: ref, Mode: mode}, append(none, quicwire.ResultInvalid)...)
	}
	for phase := range uint8(8) {
		for _, group := range []string{"g", "h", "k@berlin", "nothing"} {
			e.refused(fmt.Sprintf("phase %d of a swap of %s", phase, group), &quicwire.SwapPairs{Group: group, Pairs: ref, Phase: phase, Token: 1, Generation: 5, Wait: 1<<32 - 1}, none...)
		}
	}
	own := quicwire.PairRef{Name: "p", Generation: v.a.status("p").Generation}
	e.refused("a swap that names a pair twice", &quicwire.SwapPairs{Group: "h", Pairs: []quicwire.PairRef{own, own}, Phase: quicwire.SwapPrepare, Token: 1}, quicwire.ResultInvalid)
	e.refused("the end of the primary of others", &quicwire.PowerOff{Group: "g", Pairs: []quicwire.PairOff{{Name: "x", Generation: st.Generation}}}, none...)
	e.refused("the end of a primary that is this side", &quicwire.PowerOff{Group: "h", Pairs: []quicwire.PairOff{{Name: "p", Generation: own.Generation}}}, none...)
}

// number is the number of a pair in its group.
func (n *node) number(pair string) uint32 { return n.site.pairByName(pair).rec.Number }
