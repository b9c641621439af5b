// Package kernelmem has the kernel memory that one unit of a limit pins. Values
// are for 64 bit kernels; each names how it was found.
package kernelmem

const (
	// WatchBytes is what one inotify watch of a container's file pins: 2,137
	// bytes charged and 24 not, measured on overlayfs with 100,000 distinct
	// files on Linux 6.18 (the overlay's inode, ext4's inode, a dentry, the
	// mark). A file of plain ext4 pins 1,248, a copied-up one 3,497. The
	// kernel's own default assumes 1,312.
	WatchBytes = 2253 // 2.2 KiB

	// EpollWatchBytes is EP_ITEM_COST of fs/eventpoll.c, which the kernel
	// divides 4% of memory by for its default: 184 on Linux 6.18.
	EpollWatchBytes = 184

	// QueuedEventBytes is one queued inotify event with the longest name: 48
	// bytes of struct inotify_event_info and 256 of the name come from
	// kmalloc-512. It is charged to the memory cgroup of the process that made
	// the instance; where that is full, the kernel drops the event.
	QueuedEventBytes = 512
)
