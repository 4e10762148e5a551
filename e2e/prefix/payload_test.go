package prefix

import "testing"

// TestMarkRoundTrip proves that a payload says what it was filled with, and that no sector of it is like another.
func TestMarkRoundTrip(t *testing.T) {
	p := make([]byte, 5*Sector)
	want := Mark{Run: 1, Counter: 2, Writer: 3, Volume: 4, Offset: 5 * Sector, Length: int64(len(p))}
	Fill(p, want)
	for i := range 5 {
		want.Index = uint32(i)
		got, zero, ok := ParseMark(p[i*Sector : (i+1)*Sector])
		if zero || !ok || got != want {
			t.Fatalf("sector %d: got %+v %v %v, want %+v", i, got, zero, ok, want)
		}
	}
	if _, zero, _ := ParseMark(make([]byte, Sector)); !zero {
		t.Fatal("zeroes were not seen as such")
	}
	if _, _, ok := ParseMark(p[1 : Sector+1]); ok {
		t.Fatal("a shifted sector was taken")
	}
}
