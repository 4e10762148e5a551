// Package journaltest helps to test what is built on package journal: a file system in memory that can lose power, die and fail, and
// records whose bytes follow from their number.
//
// FS keeps what was written apart from what was synced. Crash is a power cut: what was synced survives; of the rest each block of 4 KiB (or
// each sector of 512 bytes), each size and each name survives or not by a seed. Kill is the death of the process: everything written survives. After either,
// files opened before give ErrDead, like a disk that a dead process cannot reach.
//
// Inject lets operations fail. The rule for complete tests is to fail the n-th operation for n = 0, 1, 2 … until a run succeeds:
//
//	for n := 0; ; n++ {
//		fsys := journaltest.NewFS()
//		fsys.Inject(journaltest.FailNth(n))
//		…
//		if !fsys.Injected() {
//			break
//		}
//	}
package journaltest
