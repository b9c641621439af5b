package accounting

import (
	"errors"
	"time"

	"github.com/nodetune/nodetune/internal/workload"
)

// namesDeadline is how long a pass waits for the names of pods. Listing a
// directory takes milliseconds; one on a dead file system never returns.
const namesDeadline = 2 * time.Second

var errNamesLate = errors.New("listing the log directories of pods takes longer than 2 seconds; names listed before are used")

// names lists the names of pods in a goroutine of its own, so that a hung /var/log
// holds up no count. It is for one goroutine.
type names struct {
	refresh func() (*workload.Index, error) // may hang
	last    *workload.Index
	running chan listedNames // nil: nothing is listed
	late    bool             // the listing in progress has missed its deadline
}

type listedNames struct {
	index *workload.Index
	err   error
}

func newNames(rootfs string) *names {
	index := workload.NewIndex(rootfs)
	return &names{last: workload.NewIndex(rootfs), refresh: func() (*workload.Index, error) {
		err := index.Refresh()
		listed := *index // a refresh replaces its maps and never changes them
		return &listed, err
	}}
}

// Refresh lists the names again. After the deadline it returns an error and the names
// of before stay; at most one listing hangs, and later calls do not wait for it.
func (n *names) Refresh() error {
	if n.running == nil {
		running := make(chan listedNames, 1)
		n.running, n.late = running, false
		go func() {
			index, err := n.refresh()
			running <- listedNames{index, err}
		}()
	}
	wait := namesDeadline
	if n.late {
		wait = 0
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case l := <-n.running:
		n.running, n.last = nil, l.index
		return l.err
	case <-timer.C:
		n.late = true
		return errNamesLate
	}
}
