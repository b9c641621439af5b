package instances

import (
	"sort"

	"github.com/nodetune/nodetune/internal/procwalk"
)

// Bounds of what one walk keeps, whatever tenants open. An instance costs 250
// bytes with what is remembered of it, so a walk takes at most 8 MiB.
const (
	// MaxPerProcess is how many instances of one process are kept. nodetune
	// itself takes a process with 4,096 for a leak.
	MaxPerProcess = 8_192
	// MaxShared is how many of all processes are kept, beside the first ones of
	// each.
	MaxShared = 16_384
	// FirstOfProcess is how many of a process are kept where others have used
	// up MaxShared, so that no process can hide another one: a collector has
	// some ten.
	FirstOfProcess = 16
	// MaxInstances is how many are kept in all.
	MaxInstances = 32_768
)

// Collector collects the descriptors that a walk meets, process by process. It
// keeps one descriptor for each instance that a process holds, however often
// that is dup'ed: 200,000 copies of one descriptor are one.
type Collector struct {
	All []Descriptor
	// Omitted counts the descriptors that were not kept.
	Omitted int

	compare compare // nil: descriptors cannot be compared
	process int     // whose are being added
	order   []int   // its descriptors in All, as kcmp(2) orders them
	first   int     // where in All they begin
	shared  int     // used of MaxShared
}

// NewCollector returns a Collector that reuses buf. Where pids are not ours
// descriptors cannot be compared, and each counts.
func (r *Reader) NewCollector(buf []Descriptor) *Collector {
	c := &Collector{All: buf[:0], process: -1}
	if r.walker.InHostPIDNamespace() {
		c.compare = kcmp
	}
	return c
}

// Add adds a descriptor. The descriptors of one process come one after the
// other. It returns false where the descriptor is left out by the bounds; a
// copy of one that is kept is not left out.
func (c *Collector) Add(d Descriptor) bool {
	if d.Process != c.process {
		c.process, c.first, c.order = d.Process, len(c.All), c.order[:0]
	}
	at, same := c.find(&d)
	if same {
		return true
	}
	n := len(c.All) - c.first
	switch {
	case n >= MaxPerProcess, len(c.All) >= MaxInstances, n >= FirstOfProcess && c.shared >= MaxShared:
		c.Omitted++
		return false
	case n >= FirstOfProcess:
		c.shared++
	}
	c.All = append(c.All, d)
	if at >= 0 {
		c.order = append(c.order, 0)
		copy(c.order[at+1:], c.order[at:])
		c.order[at] = len(c.All) - 1
	}
	return true
}

// find looks d up among those of its process. at is where it belongs, -1 where
// it cannot be compared.
func (c *Collector) find(d *Descriptor) (at int, same bool) {
	if c.compare == nil {
		return -1, false
	}
	var failed error
	at = sort.Search(len(c.order), func(i int) bool {
		if same || failed != nil {
			return true // the search is over
		}
		order, err := c.compare(d, &c.All[c.order[i]])
		if err != nil {
			failed = err
			return true
		}
		same = order == procwalk.Same
		return order != procwalk.After
	})
	if failed == nil {
		return at, same
	}
	if !closed(failed) {
		c.compare = nil // refused once, refused always
	}
	return -1, false
}

// Compares reports whether descriptors could be compared so far.
func (c *Collector) Compares() bool { return c.compare != nil }
