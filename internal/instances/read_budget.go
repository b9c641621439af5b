package instances

import (
	"time"
)

// Reading the record of an instance costs its owner and this process, see
// [procwalk.Process.Watches], and nothing says how long a record is before it
// has been read. ration decides which to read from what is known: the watches
// of the node (the kernel's slab of marks counts them) less those counted
// before are the most that any instance can have more than was counted.
//
// Instances are asked in the order of the room in their memory cgroup and of
// the CPU time that their holders have used since. So the one that has by far
// the most comes late, when the mean of what is left over gives it away; and
// if it is the last one, its watches are known without reading it.
type readBudget struct {
	node     int64 // watches of the node at most; -1 where it is not known
	limit    int64 // watches of one account at most
	counted  int64 // watches of known instances, as last counted
	left     int   // instances that have not been asked in this pass
	unknown  int   // instances that have never been read
	budget   int64 // bytes that one record may take
	maxRead  int64 // watches of an instance whose record is read
	credit   time.Duration
	tooLarge int // not read, for the sake of the owner
	tooMuch  int // not read, for the sake of our memory
	later    int // not read now
}

// candidate is an instance whose record might be read.
type candidate struct {
	known   bool
	watches int64 // as last counted; 0 if never
	age     time.Duration
	effort  uint64 // ticks of CPU time of the holder since it was counted
	bound   int64  // watches that its memory cgroup has memory for
}

const (
	// lineBytes bounds a line of fdinfo: 119 bytes were measured on ext4 and
	// 164 on overlayfs.
	lineBytes = 200
	// watchCost is the time the kernel takes for a line, most of it under
	// the lock of the instance: 1.9 to 2.2 µs were measured.
	watchCost = 2 * time.Microsecond
	// largeWatches hold up the owner for 20 ms. An instance that has them is
	// read so rarely that it is held up for one part in rarely of the time,
	// and one that may have more than maxRead is not read where this many
	// are to be expected.
	largeWatches = 10_000
	rarely       = 1000
	// watchesPerTick is what a tick (10 ms) of CPU time is enough for: an
	// inotify_add_watch(2) was measured with 4.5 µs.
	watchesPerTick = 2500
)

// recordBytes is the buffer the kernel takes for a record: it doubles it until
// the record fits (seq_read in fs/seq_file.c).
func recordBytes(watches int64) int64 {
	size := int64(4096)
	for size < watches*lineBytes {
		size *= 2
	}
	return size
}

// unaccounted is the most watches that are not among the counted ones.
func (r *readBudget) unaccounted() int64 {
	if r.node < 0 {
		return r.limit
	}
	return max(0, r.node-r.counted)
}

// allow reports whether to read a record now, and counts why not. It is to be
// called once for each instance.
func (r *readBudget) allow(c candidate) bool {
	most := min(c.watches+r.unaccounted(), c.bound, r.limit)
	expected := min(c.watches+r.share(c), most)
	r.left--
	switch {
	case recordBytes(most) > r.budget:
		r.tooMuch++
	case c.watches > r.maxRead, most > r.maxRead && expected > min(largeWatches, r.maxRead):
		r.tooLarge++
	case c.watches > largeWatches && c.age < time.Duration(c.watches)*watchCost*rarely, r.credit <= 0:
		r.later++
	default:
		return true
	}
	return false
}

// share is what is to be expected: the mean of what is left over, if that is
// known, and not more than the CPU time was enough for.
func (r *readBudget) share(c candidate) int64 {
	afforded := int64(min(c.effort, 1<<32)+1) * watchesPerTick
	if r.node < 0 {
		return afforded
	}
	return min(afforded, r.unaccounted()/int64(max(1, r.left)))
}

// read notes what a record turned out to be and what it took.
func (r *readBudget) read(c candidate, watches int64, took time.Duration) {
	r.counted += watches - c.watches
	if !c.known {
		r.unknown--
	}
	r.credit -= took
}
