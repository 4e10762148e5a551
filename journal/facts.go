package journal

// Outcome is what Open found at the end of a journal.
type Outcome uint8

// The outcomes of recovery. Only Clean and Torn open the journal.
const (
	// Clean: nothing stands behind the last record.
	Clean Outcome = iota + 1
	// Torn: a flush was interrupted; the journal was cut where it became incomplete. Nothing that was synced is lost by that.
	Torn
	// Damaged: records that were durable are missing; Open gives ErrCorrupt.
	Damaged
	// Newer: the next record was written by a newer version; Open gives ErrVersion.
	Newer
)

// String names the outcome.
func (o Outcome) String() string {
	return [...]string{"none", "clean", "torn", "damaged", "newer"}[o]
}

// next is what stands where the next record would begin.
type next uint8

const (
	nextBlank   next = iota // zeroes
	nextStale               // a sealed header of an earlier lap, or the journal's own head a whole lap on
	nextGarbage             // no header of this journal: mostly the middle of an older record
	nextTorn                // sealed header for this place, but the payload fails its checksum
	nextBroken              // sealed header for this place whose fields or number break the rules
	nextNewer               // sealed header for this place of a newer version
	nextKinds
)

var nextNames = [...]string{"zeroes", "an older record", "no record", "a record with a bad checksum", "a record that breaks the rules", "a record of a newer version"}

// facts are all that the outcome of recovery depends on.
type facts struct {
	next        next
	beforeKnown bool // the tail is before a position known to be durable
	proof       bool // a later record was made when the tail was durable already
	later       bool // a later record of this lap stands within reach of an interrupted flush
}

// must says what a fact has to be in a row of the table.
type must uint8

const (
	any3 must = iota
	yes
	no
)

func (m must) fits(b bool) bool { return m == any3 || (m == yes) == b }

// recoveryRow is one row of the table; exactly one row fits any facts, which a test proves.
type recoveryRow struct {
	next                      []next
	beforeKnown, proof, later must
	outcome                   Outcome
	why                       string
}

// recoveryTable decides what a tail means. Garbage alone proves nothing: behind the tail lie the records of the lap before, cut anywhere.
var recoveryTable = []recoveryRow{
	{[]next{nextNewer}, any3, any3, any3, Newer, "a newer version wrote on"},
	{[]next{nextBlank, nextStale, nextGarbage, nextTorn, nextBroken}, yes, any3, any3, Damaged, "the journal was durable beyond this place"},
	{[]next{nextBlank, nextStale, nextGarbage, nextTorn, nextBroken}, no, yes, any3, Damaged, "a later record was made when this place was durable"},
	{[]next{nextBroken}, no, no, any3, Damaged, "an interrupted flush does not leave such a record"},
	{[]next{nextTorn}, no, no, any3, Torn, "the last flush was interrupted in the middle of a record"},
	{[]next{nextBlank, nextStale, nextGarbage}, no, no, yes, Torn, "the last flush was interrupted, later pages of it reached the disk"},
	{[]next{nextBlank, nextStale, nextGarbage}, no, no, no, Clean, "nothing follows"},
}

// decide finds the row that fits.
func decide(f facts) recoveryRow {
	for _, row := range recoveryTable {
		for _, n := range row.next {
			if n == f.next && row.beforeKnown.fits(f.beforeKnown) && row.proof.fits(f.proof) && row.later.fits(f.later) {
				return row
			}
		}
	}
	// Not reached: the table covers all facts. If it did not, refusing is the answer that loses nothing.
	return recoveryRow{outcome: Damaged, why: "no rule covers what was found"}
}
