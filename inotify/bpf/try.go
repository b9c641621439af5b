package bpf

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/nodetune/nodetune/inotify"
)

const (
	// made is how many instances are made to see the account move.
	made = 4
	// tries is how often, since other processes of the same account make and
	// close instances too. With 10,000 a second every second try is
	// undisturbed.
	tries = 64
)

// try finds out whether the table is what it is taken for.
func (t *Table) try(self inotify.Owner) error {
	if err := t.shape(); err != nil {
		return err
	}
	return t.moves(self)
}

// shape looks at every entry.
func (t *Table) shape() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	own := uint32(0)
	for from := uint32(0); from < buckets; {
		run, err := t.run(from)
		switch {
		case err != nil:
			return err
		case run.Misplaced > 0:
			return fmt.Errorf("%d of %d accounts are in a bucket that is not theirs", run.Misplaced, run.Entries)
		case run.Next <= from:
			return fmt.Errorf("bucket %d does not end", from)
		}
		from, own = run.Next, own+run.Own
	}
	if own == 0 {
		return errors.New("nodetune's own account is not among them")
	}
	return nil
}

// moves makes instances and a watch, gives them back, and reads the account
// between. Where the kernel refuses one, the account has to be at its limit.
func (t *Table) moves(self inotify.Owner) error {
	var off error
	for range tries {
		before, err := t.account(self)
		if err != nil {
			return err
		}
		instances, watched, refused := take()
		during, err := t.account(self)
		for _, fd := range instances {
			_ = unix.Close(fd)
		}
		after, err2 := t.account(self)
		if watched >= 0 {
			_ = unix.Close(watched) // waits for its watch, so that it is not measured
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
			// Others may have given back what stood in the way.
			off = fmt.Errorf("cannot make an instance with a watch, with %d of %d instances and %d of %d watches in use: %w",
				during.Instances, during.InstancesLimit, during.Watches, during.WatchesLimit, refused)
		case during.Instances-before.Instances == made+1 && during.Watches-before.Watches == 1 && during.Instances-after.Instances == made:
			return nil
		default:
			off = fmt.Errorf("%d instances and a watch moved nodetune's account by %d and %d, giving %d back by %d",
				made+1, during.Instances-before.Instances, during.Watches-before.Watches, made, during.Instances-after.Instances)
		}
	}
	return off
}

// take makes instances, and one with a watch of the root directory.
func take() (instances []int, watched int, err error) {
	const flags = unix.IN_CLOEXEC | unix.IN_NONBLOCK
	watched, err = unix.InotifyInit1(flags)
	if err != nil {
		return nil, -1, err
	}
	// IN_DELETE_SELF of a mount point's root comes never.
	if _, err := unix.InotifyAddWatch(watched, "/", unix.IN_DELETE_SELF); err != nil {
		return nil, watched, err
	}
	for range made {
		fd, err := unix.InotifyInit1(flags)
		if err != nil {
			return instances, watched, err
		}
		instances = append(instances, fd)
	}
	return instances, watched, nil
}

// account reads one account, which is empty where it is not in the table.
func (t *Table) account(owner inotify.Owner) (inotify.Charged, error) {
	all, err := t.Accounts()
	for _, a := range all {
		if a.Owner == owner {
			return a, err
		}
	}
	return inotify.Charged{Owner: owner}, err
}
