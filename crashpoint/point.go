// Package crashpoint names the moments at which a test lets the daemon die on purpose.
//
// A kill -9 at a random moment meets the narrow ones, between a flush and the mark that says so, once in many thousand times. So the product
// says at these places where it is ([Hit]), and a binary that is built for it (-tags crashpoints) kills itself with SIGKILL when it is at one of
// them for the n-th time since it was started:
//
//	PAIRFS_CRASH=journal-sync-before:17
//
// Without the tag Hit is an empty function, which the compiler leaves out. A binary with the tag and a point that it does not know does not
// start and lists those that there are. The package imports nothing of this module, so every other one may import it.
package crashpoint

// Point is one of those moments.
type Point uint8

// The moments of every write: before something is durable or visible, and when it is and nobody has been told.
const (
	JournalSyncBefore Point = iota // bytes of a journal are written and not flushed
	JournalSyncAfter               // they are flushed, and the mark has not moved
	AckBefore                      // a host's write stands in the ring, its record is not published
	AckAfter                       // it is published, the host has no answer
	ReceiveBefore                  // a record of the primary stands in the ring, not published
	ReceiveAfter                   // it is published, its number is not known as received
	StoreWriteAfter                // a part of a restore pass is in a store
	StoreSyncBefore                // a store is about to be flushed
	StoreSyncAfter                 // it is flushed, and the mark has not moved
	CommitBefore                   // a transaction of site.db is complete and not committed
	CommitAfter                    // it is committed, and nobody was told
	ConfirmBefore                  // the secondary is about to say what it has
	ConfirmAfter                   // it has said so

	SwapHeld    // primary: its hosts are held, the secondary has not heard at which number
	SwapArrived // secondary: everything up to it is here, the primary has not been asked to give its role up
	SwapGiven   // primary: its role is given up, the secondary has not heard of it
	SwapGranted // secondary: it has heard, and not taken the role
	SwapTaken   // secondary: it has taken it, hosts may write, nobody was told
	TurnStarted // either: the start record of an exchange is durable, the states are not stored
	TakeoverDue // secondary: it is about to go on without the primary
	TakenOver   // it does, hosts may write, nobody was told
	RoleGiven   // the old primary follows one that was taken over, which has not heard of it

	KeptAside     // what a resync gives up is kept aside, and nothing else has changed
	ResyncAsked   // primary: the peer has granted a resync, nothing is stored here
	ResyncGranted // secondary: it is granted and stored, the primary has not heard of it
	ResyncBegun   // primary: start record and states are durable, nothing has been copied
	CopyEnded     // primary: the record that ends a copy is durable, its number is not stored
	ControlDue    // secondary: a control record is durable and not obeyed
	ControlObeyed // it is obeyed, nobody was told
	points        // how many there are
)

var names = [points]string{
	"journal-sync-before", "journal-sync-after", "ack-before", "ack-after", "receive-before", "receive-after", "store-write-after",
	"store-sync-before", "store-sync-after", "commit-before", "commit-after", "confirm-before", "confirm-after",
	"swap-held", "swap-arrived", "swap-given", "swap-granted", "swap-taken", "turn-started", "takeover-due", "taken-over", "role-given",
	"kept-aside", "resync-asked", "resync-granted", "resync-begun", "copy-ended", "control-due", "control-obeyed",
}

// String returns the name of the point, as PAIRFS_CRASH has it.
func (p Point) String() string { return names[p] }
