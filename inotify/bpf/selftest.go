package bpf

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/nodetune/nodetune/inotify"
)

const (
	// testInstances is how many instances the self-test creates and closes.
	testInstances = 4
	// attempts bounds a self-test, which other processes of the same account disturb
	// when they create or close instances. With 10,000 a second every second
	// attempt is undisturbed.
	attempts = 64
)

// selfTest checks that the table has the expected layout and counts what this
// process creates.
func (t *Table) selfTest(self inotify.Owner) error {
	if err := t.checkLayout(); err != nil {
		return err
	}
	return t.checkCounting(self)
}

// checkLayout checks that every entry is in the bucket of its uid and namespace.
func (t *Table) checkLayout() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	own := uint32(0)
	for from := uint32(0); from < buckets; {
		run, err := t.run(from)
		switch {
		case err != nil:
			return err
		case run.Misplaced > 0:
			return fmt.Errorf("%d of %d accounts are in the wrong bucket", run.Misplaced, run.Entries)
		case run.Next <= from:
			return fmt.Errorf("bucket %d has no end", from)
		}
		from, own = run.Next, own+run.Own
	}
	if own == 0 {
		return errors.New("the table does not have nodetune's own account")
	}
	return nil
}

// checkCounting creates instances and a watch, closes the instances, and reads the
// account before, between and after. If the kernel refuses an instance or the
// watch, the account must be at its limit.
func (t *Table) checkCounting(self inotify.Owner) error {
	var off error
	for range attempts {
		before, err := t.account(self)
		if err != nil {
			return err
		}
		instances, watched, refused := useInstances()
		during, err := t.account(self)
		for _, fd := range instances {
			_ = unix.Close(fd)
		}
		after, err2 := t.account(self)
		if watched >= 0 {
			_ = unix.Close(watched) // not measured: the kernel removes its watch later
		}
		if err := errors.Join(err, err2); err != nil {
			return err
		}
		switch {
		case errors.Is(refused, unix.EMFILE) && during.Instances > 0 && during.Instances >= int64(during.InstancesLimit):
			return nil
		case errors.Is(refused, unix.ENOSPC) && during.Watches >= int64(during.WatchesLimit):
			return nil
		case refused != nil:
			// The account may have been at its limit a moment ago.
			off = fmt.Errorf("create an instance with a watch, with %d of %d instances and %d of %d watches in use: %w",
				during.Instances, during.InstancesLimit, during.Watches, during.WatchesLimit, refused)
		case during.Instances-before.Instances == testInstances+1 && during.Watches-before.Watches == 1 && during.Instances-after.Instances == testInstances:
			return nil
		default:
			off = fmt.Errorf("creating %d instances and a watch changed nodetune's account by %d and %d, closing %d changed it by %d",
				testInstances+1, during.Instances-before.Instances, during.Watches-before.Watches, testInstances, during.Instances-after.Instances)
		}
	}
	return temporaryError{off}
}

// useInstances creates instances, and one with a watch of the root directory.
func useInstances() (instances []int, watched int, err error) {
	const flags = unix.IN_CLOEXEC | unix.IN_NONBLOCK
	watched, err = unix.InotifyInit1(flags)
	if err != nil {
		return nil, -1, err
	}
	// The root of a mount never has an IN_DELETE_SELF event.
	if _, err := unix.InotifyAddWatch(watched, "/", unix.IN_DELETE_SELF); err != nil {
		return nil, watched, err
	}
	for range testInstances {
		fd, err := unix.InotifyInit1(flags)
		if err != nil {
			return instances, watched, err
		}
		instances = append(instances, fd)
	}
	return instances, watched, nil
}

// account reads one account. It is empty if the table does not have it.
func (t *Table) account(owner inotify.Owner) (inotify.AccountUsage, error) {
	all, err := t.Accounts()
	for _, a := range all {
		if a.Owner == owner {
			return a, err
		}
	}
	return inotify.AccountUsage{Owner: owner}, err
}
