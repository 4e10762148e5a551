package journal

// What tests need of the inside.

// LetGo does what the keeper goroutine has to do now, so that it finds nothing left to do.
func (j *Journal) LetGo() { j.letGo() }

// EachFacts calls fn for every combination of facts with the rows that fit it, the outcome, and the combination in words.
func EachFacts(fn func(words string, rows int, outcome Outcome)) {
	for n := range nextKinds {
		for bits := range 8 {
			f := facts{n, bits&1 != 0, bits&2 != 0, bits&4 != 0}
			rows := 0
			for _, row := range recoveryTable {
				for _, k := range row.next {
					if k == n && row.beforeKnown.fits(f.beforeKnown) && row.proof.fits(f.proof) && row.later.fits(f.later) {
						rows++
					}
				}
			}
			fn(factWords(f), rows, decide(f).outcome)
		}
	}
}

func factWords(f facts) string {
	s := nextNames[f.next]
	for _, x := range []struct {
		is   bool
		name string
	}{{f.beforeKnown, "before known"}, {f.proof, "proof"}, {f.later, "later"}} {
		if x.is {
			s += ", " + x.name
		}
	}
	return s
}
