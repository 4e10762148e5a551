package quicwire

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// examples has one frame of each type, every field with a value of its own.
func examples() []Frame {
	refs := []PairRef{{Name: "pair0", Generation: 0x0102030405060708}, {Name: "p1", Generation: 9}}
	states := []PairState{
		{Name: "pair0", Number: 7, Generation: 0x1112131415161718, Status: 3, SuspendType: 2, Consistent: true, Seq: 0x2122},
		{Name: "p1", Number: 8, Generation: 10, Status: 4, SuspendType: 1, Seq: 11},
	}
	return []Frame{
		&Hello{MinVersion: 1, MaxVersion: 2, Features: FeatureS2 | 1<<63, Site: "tokyo", MaxFrame: MaxFrame, Nonce: 0x3132333435363738},
		&Result{Code: ResultBusy, Message: "not in this state", Detail: []byte{0xde, 0xad}},
		&CreatePair{Pair: "pair0", Group: "default", Volume: "db", Number: 7, Size: 10 << 30, Generation: 0x0102030405060708, JournalSize: 1 << 30, Copy: CopyNone, ErrorLevel: 1},
		&DeletePair{Pairs: refs, Force: true, Origin: 2},
		&SuspendPair{Pairs: refs, Mode: SuspendPurge, SVOLWrite: true, Origin: 3},
		&ResyncPairs{Group: "default", Pairs: refs, Mode: ResyncSwap},
		&ResyncReady{LastSeq: 0x4142, Pairs: states},
		&Bitmap{Pair: "pair0", Region: 64 << 10, Regions: 163840, First: 100, Runs: []Run{{Skip: 0, Len: 1}, {Skip: 300, Len: 5}}, Last: true},
		&MirrorOpen{Group: "default", Session: 0x5152, DurableSeq: 0x6162, RestoredSeq: 0x6061, Pairs: states},
		&MirrorAccept{Code: ResultDone, Message: "welcome", Session: 0x5152, JournalTime: 0x7172737475767778, Pairs: states},
		&PairStates{Pairs: states},
		&ReadJournal{Budget: 0x8182, Durable: 0x8384, Restored: 0x8586, DurableSeq: 0x8788, RestoredSeq: 0x898a},
		&Batch{Ordinal: 1, First: 0x9192, Last: 0x9394, Count: 3, NewestSeq: 0x9596, NewestTime: 0x9798999a9b9c9d9e, Flags: PackS2, RawLen: 4096, Data: []byte("records")},
		&MirrorPath{Session: 0x5152, Path: 3},
		&MirrorOptions{PathWatch: 0xa1a2a3a4},
		&SwapPairs{Group: "default", Pairs: refs, Phase: SwapCommit, Token: 0xb1b2b3b4b5b6b7b8, Generation: 0xc1c2c3c4c5c6c7c8, Wait: 0xd1d2d3d4, Seq: 0xe1e2e3e4, Lose: LosePVOL},
		&MirrorLag{NewestSeq: 0xb1b2, Bytes: 0xb3b4, Age: 0xb5b6, Pairs: []PairLag{{Number: 7, Bytes: 0xb7b8, Age: 0xb9ba}, {Number: 8, Bytes: 12, Age: 13}}},
		&MirrorSettings{Number: 7, Volume: "db", Settings: []Setting{{Name: "priority", Value: "1"}, {Name: "error-level", Value: "lu"}}},
		&PowerOff{Group: "default", NewestSeq: 0xc1c2, Pairs: []PairOff{{Name: "pair0", Generation: 0x0102030405060708, Bytes: 0xc3c4, Age: 0xc5c6}, {Name: "p1", Generation: 9}}},
	}
}

func TestExamplesAreComplete(t *testing.T) {
	seen := map[Type]bool{}
	for _, f := range examples() {
		seen[f.Type()] = true
	}
	for typ, spec := range frames {
		if !seen[typ] {
			t.Errorf("no example of %s", typ)
		}
		if got := spec.make().Type(); got != typ {
			t.Errorf("%s makes a %s", typ, got)
		}
	}
}

// The bytes of version 1 as any peer of that version sends them. A change here is a change of the protocol.
func TestGolden(t *testing.T) {
	for _, f := range examples() {
		t.Run(f.Type().String(), func(t *testing.T) {
			text, err := os.ReadFile(filepath.Join("testdata", "v1", f.Type().String()+".hex"))
			if err != nil {
				t.Fatal(err)
			}
			want := unhex(t, string(text))
			got := encode(t, f)
			if diff := cmp.Diff(hex.Dump(want), hex.Dump(got)); diff != "" {
				t.Errorf("bytes differ (-want +got):\n%s", diff)
			}
			back, n, err := ParseFrame(want)
			if err != nil || n != len(want) {
				t.Fatalf("parse: %d bytes, %v", n, err)
			}
			if diff := cmp.Diff(f, back); diff != "" {
				t.Errorf("fields differ (-want +got):\n%s", diff)
			}
		})
	}
}

// unhex reads hexadecimal text with white space and # comments.
func unhex(t *testing.T, text string) []byte {
	t.Helper()
	var digits strings.Builder
	for line := range strings.Lines(text) {
		line, _, _ = strings.Cut(line, "#")
		digits.WriteString(strings.Join(strings.Fields(line), ""))
	}
	b, err := hex.DecodeString(digits.String())
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func encode(t testing.TB, f Frame) []byte {
	t.Helper()
	b, err := AppendFrame(nil, f)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestEveryPrefixIsIncomplete(t *testing.T) {
	for _, f := range examples() {
		b := encode(t, f)
		for n := range b {
			if _, _, err := ParseFrame(b[:n]); !errors.Is(err, ErrIncomplete) {
				t.Errorf("%s cut at %d of %d: %v", f.Type(), n, len(b), err)
			}
		}
	}
}

// A body cut short behind a header that says so is malformed, whatever the place of the cut, unless what remains is a frame of its
// own right: the runs of a bitmap and the packed data of a batch end where the body ends.
func TestEveryShortBodyIsMalformed(t *testing.T) {
	open := map[Type]int{TypeBitmap: 2, TypeBatch: len("records")}
	for _, f := range examples() {
		b := encode(t, f)
		for n := headerSize; n < len(b)-open[f.Type()]; n++ {
			cut := bytes.Clone(b[:n])
			binary.LittleEndian.PutUint32(cut[1:], uint32(n-headerSize))
			got, _, err := ParseFrame(cut)
			if f.Type() == TypeBitmap && err == nil && len(got.(*Bitmap).Runs) < 2 {
				continue
			}
			if !errors.Is(err, &ProtocolError{Code: CloseMalformed}) {
				t.Errorf("%s with a body of %d: %v", f.Type(), n-headerSize, err)
			}
		}
	}
}

func TestTrailingBytesAreMalformed(t *testing.T) {
	for _, f := range examples() {
		if f.Type() == TypeBatch {
			continue // its data goes to the end
		}
		b := append(encode(t, f), 0)
		binary.LittleEndian.PutUint32(b[1:], uint32(len(b)-headerSize))
		if _, _, err := ParseFrame(b); !errors.Is(err, &ProtocolError{Code: CloseMalformed}) {
			t.Errorf("%s with a byte too many: %v", f.Type(), err)
		}
	}
}

func TestUnknownTypes(t *testing.T) {
	for typ := range 256 {
		_, known := frames[Type(typ)]
		_, _, err := ParseFrame([]byte{byte(typ), 0, 0, 0, 0})
		if unknown := errors.Is(err, &ProtocolError{Code: CloseUnknownFrame}); unknown == known {
			t.Errorf("type %d, known %v: %v", typ, known, err)
		}
	}
}

// A header that claims too much is refused from its five bytes alone, for each type at its own limit.
func TestOverlongHeaders(t *testing.T) {
	for typ, spec := range frames {
		for _, size := range []uint32{uint32(spec.max) + 1, 1 << 30, 1<<32 - 1} {
			head := binary.LittleEndian.AppendUint32([]byte{byte(typ)}, size)
			if _, _, err := ParseFrame(head); !errors.Is(err, &ProtocolError{Code: CloseTooLarge}) {
				t.Errorf("%s of %d bytes: %v", typ, size, err)
			}
		}
		head := binary.LittleEndian.AppendUint32([]byte{byte(typ)}, uint32(spec.max))
		if _, _, err := ParseFrame(head); !errors.Is(err, ErrIncomplete) {
			t.Errorf("%s of %d bytes: %v", typ, spec.max, err)
		}
	}
}

func TestLargestFramesFit(t *testing.T) {
	long := strings.Repeat("n", MaxName)
	refs := make([]PairRef, MaxPairs)
	states := make([]PairState, MaxPairs)
	for i := range refs {
		refs[i].Name, states[i].Name = long, long
	}
	settings := make([]Setting, MaxSettings)
	for i := range settings {
		settings[i] = Setting{long, long}
	}
	full := []Frame{
		&Hello{Site: long},
		&Result{Message: strings.Repeat("m", MaxMessage), Detail: make([]byte, MaxDetail)},
		&CreatePair{Pair: long, Group: long, Volume: long},
		&DeletePair{Pairs: refs},
		&SuspendPair{Pairs: refs},
		&ResyncPairs{Group: long, Pairs: refs},
		&SwapPairs{Group: long, Pairs: refs},
		&ResyncReady{Pairs: states},
		&Bitmap{Pair: long, Regions: MaxRunBytes, Runs: unitRuns(MaxRunBytes / 2)},
		&MirrorOpen{Group: long, Pairs: states},
		&MirrorAccept{Message: strings.Repeat("m", MaxMessage), Pairs: states},
		&PairStates{Pairs: states},
		&ReadJournal{},
		&Batch{RawLen: MaxBatchData, Data: make([]byte, MaxBatchData)},
		&MirrorPath{Session: 1<<64 - 1, Path: MaxPaths},
		&MirrorLag{Pairs: make([]PairLag, MaxPairs)},
		&MirrorSettings{Volume: long, Settings: settings},
	}
	for _, f := range full {
		b, err := AppendFrame(nil, f)
		if err != nil {
			t.Errorf("%s: %v", f.Type(), err)
			continue
		}
		if back, _, err := ParseFrame(b); err != nil {
			t.Errorf("%s does not come back: %v", f.Type(), err)
		} else if !reflect.DeepEqual(f, back) { // too large for a readable difference
			t.Errorf("%s comes back as another", f.Type())
		}
	}
}

func TestFieldsOverTheirLimit(t *testing.T) {
	long := strings.Repeat("n", MaxName+1)
	for name, f := range map[string]Frame{
		"site":          &Hello{Site: long},
		"message":       &Result{Message: strings.Repeat("m", MaxMessage+1)},
		"detail":        &Result{Detail: make([]byte, MaxDetail+1)},
		"pair":          &CreatePair{Pair: long},
		"group":         &CreatePair{Group: long},
		"volume":        &CreatePair{Volume: long},
		"delete":        &DeletePair{Pairs: []PairRef{{Name: long}}},
		"ref name":      &SuspendPair{Pairs: []PairRef{{Name: long}}},
		"refs":          &ResyncPairs{Pairs: make([]PairRef, MaxPairs+1)},
		"state name":    &PairStates{Pairs: []PairState{{Name: long}}},
		"states":        &ResyncReady{Pairs: make([]PairState, MaxPairs+1)},
		"settings":      &MirrorSettings{Settings: make([]Setting, MaxSettings+1)},
		"setting":       &MirrorSettings{Settings: []Setting{{Name: long}}},
		"value":         &MirrorSettings{Settings: []Setting{{Value: long}}},
		"P-VOL":         &MirrorSettings{Volume: long},
		"lags":          &MirrorLag{Pairs: make([]PairLag, MaxPairs+1)},
		"mirror group":  &MirrorOpen{Group: long},
		"accept":        &MirrorAccept{Message: strings.Repeat("m", MaxMessage+1)},
		"bitmap pair":   &Bitmap{Pair: long},
		"runs":          &Bitmap{Regions: MaxRunBytes * 2, Runs: unitRuns(MaxRunBytes/2 + 1)},
		"data":          &Batch{RawLen: MaxBatchData, Flags: PackS2, Data: make([]byte, MaxBatchData+1)},
		"unpacked data": &Batch{RawLen: MaxBatchData + 1, Flags: PackS2},
	} {
		prefix := []byte("kept")
		if b, err := AppendFrame(prefix, f); !errors.Is(err, ErrTooLong) || string(b) != "kept" {
			t.Errorf("%s: %q, %v", name, b, err)
		}
	}
}

func TestValuesWithoutMeaning(t *testing.T) {
	for name, f := range map[string]Frame{
		"pack":              &Batch{Flags: 3},
		"path 0":            &MirrorPath{},
		"a path too many":   &MirrorPath{Path: MaxPaths + 1},
		"raw length":        &Batch{RawLen: 1},
		"empty run":         &Bitmap{Regions: 9, Runs: []Run{{Skip: 1}}},
		"run over the end":  &Bitmap{Regions: 9, Runs: []Run{{Skip: 9, Len: 1}}},
		"run that wraps":    &Bitmap{Regions: 9, Runs: []Run{{Skip: 1, Len: 1<<64 - 1}}},
		"skip that wraps":   &Bitmap{Regions: 9, First: 5, Runs: []Run{{Skip: 1<<64 - 1, Len: 1}}},
		"first behind last": &Bitmap{Regions: 9, First: 10},
	} {
		if _, err := AppendFrame(nil, f); !errors.Is(err, ErrInvalidField) {
			t.Errorf("%s can be sent: %v", name, err)
		}
	}
}

// What no sender of this package makes, a receiver must still refuse.
func TestMalformedBodies(t *testing.T) {
	u64 := strings.Repeat("00", 8)
	bitmap := "0000" + "00000100" + "0900000000000000" + u64 + "01"
	batch := func(flags, raw, data string) string {
		return u64 + u64 + u64 + "00000000" + u64 + u64 + flags + raw + data
	}
	for _, c := range []struct {
		why  string
		typ  Type
		body string
	}{
		{"a flag that is neither 0 nor 1", TypeDeletePair, "0000" + u64 + "02" + "00"},
		{"more pairs than the body can hold", TypePairStates, "0010"},
		{"more pairs than allowed", TypePairStates, "0110" + strings.Repeat("00", 4097*minPairState)},
		{"more settings than the body can hold", TypeMirrorSettings, "00000000" + "0000" + "0200" + strings.Repeat("00", 7)},
		{"more settings than allowed", TypeMirrorSettings, "00000000" + "0000" + "2100" + strings.Repeat("00", 33*minSetting)},
		{"more lags than the body can hold", TypeMirrorLag, u64 + u64 + u64 + "0200" + strings.Repeat("00", 39)},
		{"a name over its limit", TypeDeletePair, "0001" + strings.Repeat("61", 256) + u64 + "00" + "00"},
		{"a run of no regions", TypeBitmap, bitmap + "0000"},
		{"a run over the end", TypeBitmap, bitmap + "0901"},
		{"half a run", TypeBitmap, bitmap + "01"},
		{"a number not in its shortest form", TypeBitmap, bitmap + "8000" + "01"},
		{"a number of more than 64 bits", TypeBitmap, bitmap + strings.Repeat("ff", 10) + "01" + "01"},
		{"path 0", TypeMirrorPath, u64 + "00"},
		{"a path too many", TypeMirrorPath, u64 + "11"},
		{"unknown packing", TypeBatch, batch("03", "00000000", "")},
		{"reserved flags", TypeBatch, batch("10", "00000000", "")},
		{"unpacked data of another length", TypeBatch, batch("00", "02000000", "ff")},
		{"packed data that grows too large", TypeBatch, batch("01", "01002000", "ff")},
	} {
		body := unhex(t, c.body)
		head := binary.LittleEndian.AppendUint32([]byte{byte(c.typ)}, uint32(len(body)))
		if f, _, err := ParseFrame(append(head, body...)); !errors.Is(err, &ProtocolError{Code: CloseMalformed}) {
			t.Errorf("%s: %v, %v", c.why, f, err)
		}
	}
}

// FuzzFrame: whatever is accepted has one encoding only, the bytes it came from.
func FuzzFrame(f *testing.F) {
	for _, example := range append(examples(), &ResyncPairs{Group: "g", Mode: ResyncLook}) {
		f.Add(encode(f, example))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		frame, n, err := ParseFrame(b)
		if err != nil {
			if breach := new(ProtocolError); !errors.Is(err, ErrIncomplete) && !errors.As(err, &breach) {
				t.Fatalf("error of no known kind: %v", err)
			}
			return
		}
		again, err := AppendFrame(nil, frame)
		if err != nil {
			t.Fatalf("accepted but cannot be sent: %v", err)
		}
		if !bytes.Equal(again, b[:n]) {
			t.Fatalf("two encodings of %+v:\n%x\n%x", frame, b[:n], again)
		}
		streamed, err := newFrameReader(bytes.NewReader(b), MaxFrame).read(nil)
		if err != nil {
			t.Fatalf("parsed but not read from a stream: %v", err)
		}
		if diff := cmp.Diff(frame, streamed); diff != "" {
			t.Fatalf("parsed and read differ:\n%s", diff)
		}
	})
}

func unitRuns(n int) []Run {
	runs := make([]Run, n)
	for i := range runs {
		runs[i] = Run{Skip: 1, Len: 1}
	}
	return runs
}
