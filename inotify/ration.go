package inotify

import "time"

// Reading the record of an instance costs its owner and this process, see
// [procwalk.Process.Watches], and nothing says how long a record is before it
// has been read. ration decides which to read from what is known: the watches
// of the node (the kernel's slab of marks counts them) less those that known
// instances have are the most that an unknown one can have.
//
// Instances that are not known are asked in the order of the CPU time of their
// holders. So the one that has by far the most comes last, when what is left
// over is its own: its watches are known without reading it.
type ration struct {
	node     int64 // watches of the node at most; -1 where it is not known
	limit    int64 // watches of one account at most
	counted  int64 // watches of known instances, as last counted
	unknown  int   // instances that are not known
	budget   int64 // bytes that one record may take
	maxRead  int64 // watches of an instance whose record is read
	credit   time.Duration
	tooLarge int
	tooMuch  int
	later    int
}

// candidate is an instance whose record might be read.
type candidate struct {
	known   bool
	watches int64 // as last counted
	age     time.Duration
	effort  uint64 // ticks of CPU time of the holder
	bound   int64  // watches that its memory cgroup has memory for
}

const (
	// lineBytes bounds a line of fdinfo: 119 bytes were measured on ext4 and
	// 164 on overlayfs.
	lineBytes = 200
	// watchCost is the time the kernel takes for a line, most of it under
	// the lock of the instance: 1.9 to 2.2 µs were measured.
	watchCost = 2 * time.Microsecond
	// largeWatches hold up the owner for 20 ms. Such an instance is read so
	// seldom that it is held up for one part in seldom of the time.
	largeWatches = 10_000
	seldom       = 1000
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
func (r *ration) unaccounted() int64 {
	if r.node < 0 {
		return r.limit
	}
	return max(0, r.node-r.counted)
}

// allow reports whether to read a record now, and counts why not.
func (r *ration) allow(c candidate) bool {
	most := min(c.watches+r.unaccounted(), c.bound, r.limit)
	switch {
	case recordBytes(most) > r.budget:
		r.tooMuch++
	case c.known && c.watches > r.maxRead, !c.known && r.expected(c) > r.maxRead:
		r.tooLarge++
	case c.known && c.watches > largeWatches && c.age < time.Duration(c.watches)*watchCost*seldom, r.credit <= 0:
		r.later++
	default:
		return true
	}
	return false
}

// expected is what a record that has not been read yet may turn out to be: the
// mean of what is left over, if that is known.
func (r *ration) expected(c candidate) int64 {
	if r.node < 0 {
		// inotify_add_watch(2) takes more than a microsecond, a tick is
		// ten milliseconds.
		return min(c.bound, int64(min(c.effort, 1<<32)+1)*10_000)
	}
	return min(c.bound, r.unaccounted()/int64(max(1, r.unknown)))
}

// read notes what a record turned out to be and what it took.
func (r *ration) read(c candidate, watches int64, took time.Duration) {
	r.counted += watches - c.watches
	if !c.known {
		r.unknown--
	}
	r.credit -= took
}
