package replica

import "time"

// SiteStatus is an immutable picture of a site, made by [Site.Status]. All slices are sorted by name.
type SiteStatus struct {
	Name        string
	Fingerprint string // SHA256:… of the site's public key
	Listen      string // address of the QUIC listener
	State       string // state directory
	Version     string
	Started     time.Time
	MemoryLimit int64    // bytes: bound of rings and buffers
	MemoryUsed  int64    // bytes: what rings and buffers may hold now
	Options     []string // NAME=VALUE, all of them
	Volumes     []VolumeStatus
	Pairs       []PairStatus
	Groups      []GroupStatus
	Peers       []PeerStatus
	KeptSets    int   // regions that were kept aside, see [Kept]
	KeptBytes   int64 // what they take on their file system
}

// VolumeStatus is the picture of one volume.
type VolumeStatus struct {
	Name      string
	Size      int64 // bytes
	Allocated int64 // bytes the store takes on its file system
	Role      Role
	Pair      string // name of its pair, "" if none
	Reserved  string // peer for which the volume is set aside, "" if none
	Open      int    // open file handles
	Writable  bool   // hosts may write now
}

// PairStatus is the picture of one pair on this side.
type PairStatus struct {
	Name         string
	Volume       string
	RemoteVolume string
	Peer         string
	Group        string // the journal group on this side
	Role         Role
	Status       Status
	Suspend      SuspendType
	Size         int64 // bytes
	Generation   uint64
	Consistent   bool          // the S-VOL is an image of one moment (on the primary: as last heard)
	Linked       bool          // the mirror is up: connected, and the peer says what it owes, see mute.go
	Copied       int64         // bytes of the volume that are equal or were copied (COPY: progress; suspended: what is not marked), -1 at an S-VOL whose copy is not complete: the primary knows
	CopyLeft     int64         // bytes still to copy in COPY
	CopyRate     float64       // bytes per second, recent
	ETA          time.Duration // of the copy; 0 when not copying or unknown
	LagSeq       uint64        // records of the group that the peer does not hold durably, 0 if none of them is this pair's
	LagBytes     int64         // journal bytes of this pair's records that the peer does not hold durably, -1 where that is not known; S-VOL: as the primary said last
	LagTime      time.Duration // age of the oldest such record; how long ago the primary was heard where the lag is not known
	LagKnown     bool          // false at an S-VOL while the mirror is down, for the primary may have written since it was heard, and where the journal cannot be opened
	Different    int64         // bytes marked in this side's bitmap
	SVOLWrite    bool          // secondary: hosts may write the S-VOL until the next resync
	SuspendSeq   uint64        // sequence number at which the pair was suspended, 0 if it is not
	TakenOver    bool          // the S-VOL was taken over, and that is not settled; on the primary: and known here
	TakenSeq     uint64        // with TakenOver: what the S-VOL had then, all of it up to this number; 0 if unknown
	TakenTime    time.Time     // when the record of TakenSeq was made; zero if unknown
	PeerUnheard  bool          // primary: the peer was not heard since this site was started, so a takeover there cannot be ruled out
	Since        time.Time     // of the status
	LastError    string        // the last sentence that a command or failure left, "" if none
	Why          string        // the sentence with which a suspended pair was suspended, "" if there is none
	CopyMode     string        // "full" or "none"
	PeerStatus   string        // the pair's status at the peer, as it said last; "" if it said nothing yet, "SMPL" if it has no such pair
	SplitLeft    time.Duration // while Suspending: how long the flush may still take; 0 if unknown
	Options      []string      // NAME=VALUE, all of them
	Usage        PairUsage     // what it did lately
	KeptSets     int           // regions of the volume that were kept aside, see [Kept]
	KeptBytes    int64         // what they take on their file system
}

// GroupStatus is the picture of one journal group on this side.
type GroupStatus struct {
	Name           string
	Role           Role   // Primary: master journal; Secondary: restore journal; RoleNone: no pair yet
	Peer           string // peer of the mirror, "" if none
	PeerGroup      string // the group's name there
	Pairs          []string
	Volumes        int             // journal volumes
	VolumeSize     int64           // bytes of each, as created
	JournalVolumes []JournalVolume // those that there are, by number
	Adding         int64           // bytes of journal volumes that are being written to be added
	Capacity       int64           // bytes of all journal volumes
	Used           int64           // bytes not yet freed
	RingSize       int64
	RingUsed       int64
	AppendedSeq    uint64
	DurableSeq     uint64
	RestoredSeq    uint64    // in the store and checkpointed
	PeerDurable    uint64    // primary: durable at the peer
	PeerRestored   uint64    // primary: restored and checkpointed at the peer
	Mirror         string    // Initial, Active, Active (warning), HaltAccept, Halting, Stopping, Stopped
	Code           string    // the journal's status by the reference's command line: SMPL, PJNN, PJNF, PJSN, PJSF, PJSE, or with S
	Unrestored     uint64    // records that the S-VOLs do not have: the reference's Q-CNT
	Over           bool      // the journal is over its high-water mark: pairs are PFUL
	Heard          time.Time // secondary: when the primary was last heard of
	Options        []string  // NAME=VALUE, all of them
	Linked         bool      // as in [PairStatus]
	Failed         string    // why the journal failed, "" while it works
	StoreError     string    // why the stores take no bytes, and what to do; "" while they do
	Sent           uint64    // bytes of records sent since start
	Received       uint64    // bytes of records received since start
	Saved          uint64    // bytes of those sent and received that did not go over the link because batches were packed
	BaseSent       uint64    // bytes of base records' data sent since start (holes count nothing)
	WaitedRoom     uint64    // host writes that had to wait for ring or journal room
	LagSeq         uint64    // as in [PairStatus], of all pairs together
	LagBytes       int64
	LagTime        time.Duration
	LagKnown       bool
	Usage          Usage // what it did lately
}

// PeerStatus is the picture of one peer.
type PeerStatus struct {
	Name        string
	Address     string
	Fingerprint string
	Connected   bool
	Since       time.Time // of the connection, or of its loss
	Quota       int64     // bytes of S-VOLs that the peer may create here
	QuotaUsed   int64
	LastError   string
}

// Event is one line of the site's history: a status change, a command's result, a refusal, a failure.
type Event struct {
	ID     uint64    // 1, 2, 3 … since the daemon started
	Time   time.Time // wall clock
	Level  string    // "info", "warn", "error"
	Object string    // "pair/pair0", "peer/osaka", "site"
	Code   string    // the reference's code of a blocked path or a suspended pair (2180, DC0x), "" for what has none
	Text   string    // one sentence, no newline
}
