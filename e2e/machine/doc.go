// Package machine is a virtual machine whose power can be cut: qemu with a Linux kernel, an initramfs with a few programs, and a disk that
// forgets what was not flushed. It knows nothing of what is tested in it.
//
//	┌── qemu ──────────────────────────┐            ┌── this process ───────────────────┐
//	│ programs under test              │            │ Machine: starts it, cuts its power │
//	│    │ files            init ◀─────┼── TCP ─────┼── Agent's calls: open, write, run  │
//	│    ▼                             │            │                                    │
//	│ ext4, page cache                 │            │                                    │
//	│    ▼                             │            │                                    │
//	│ virtio-blk, volatile cache ──────┼─── NBD ────┼─▶ Disk: a log of writes, flushes   │
//	└──────────────────────────────────┘            └──────────────┬─────────────────────┘
//	                                                               ▼ Image(moment, seed)
//	                                             what the disk holds when it has power again
//
// To kill qemu alone would cut nothing: what the guest has written is in the page cache of this host then. So the disk is in this process.
// It logs what the machine asks of it, and from the log an image can be built for any moment at which the power may have gone:
//
//   - a write that was answered before a flush came which was answered too is there;
//   - any other write that had come is there, is not, or is there in some of its sectors, as the seed has it, whatever order they came in.
//
// That is all that the NVMe, SCSI and ATA standards promise of a volatile write cache, but for sectors, which are not torn.
//
// What cannot be shown so: a disk that says that it has flushed and has not, sectors that come back damaged, memory that fails while the
// power goes, and a controller whose own fault it is.
package machine
