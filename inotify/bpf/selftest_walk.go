package bpf

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/nodetune/nodetune/inotify"
)

// watchRounds is how often the self-test adds and removes a watch. Each round
// leaves an unread event. The last watch has a number beyond the first leaf of the
// instance's tree.
const watchRounds = 70

// testProcess has the descriptors that a walk must find in this process.
type testProcess struct {
	idle, busy, duplicate int // instances; duplicate is a second descriptor of busy
	other                 []int
	atLimit               error // why the kernel created no instance
}

// selfTest checks that a walk finds the descriptors of a testProcess. It repeats
// the walk, since other goroutines open and close descriptors.
func (w *Walk) selfTest(self inotify.Owner, procfs string) error {
	s, err := newTestProcess()
	defer s.close()
	if err != nil {
		return temporaryError{err}
	}
	off := errors.New("nodetune opened or closed descriptors during every attempt")
	for range attempts {
		before, err := ownFDs(procfs)
		if err != nil {
			return err
		}
		w.mu.Lock()
		err = w.walk()
		if err == nil {
			if err = w.found.check(&s, self); err != nil && plans[w.plan].limit > 0 {
				err = temporaryError{err} // the walk may have left it out
			}
		}
		fds := w.found.ownFDs() - w.extraFDs
		w.mu.Unlock()
		if err != nil {
			return err
		}
		after, err := ownFDs(procfs)
		switch {
		case err != nil:
			return err
		case fds == before && fds == after:
			return nil
		case before == after:
			off = fmt.Errorf("nodetune has %d descriptors, and the walk found %d", before, fds)
		}
	}
	return temporaryError{off}
}

// newTestProcess creates an instance without a watch, and one with a watch, events
// and two descriptors. The other descriptors make the walk report the table even
// if the kernel creates no instance.
func newTestProcess() (s testProcess, err error) {
	s = testProcess{idle: -1, busy: -1, duplicate: -1}
	const flags = unix.IN_CLOEXEC | unix.IN_NONBLOCK
	for range minFDs {
		fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC)
		if err != nil {
			return s, fmt.Errorf("create descriptors for the self-test: %w", err)
		}
		s.other = append(s.other, fd)
	}
	if s.idle, err = unix.InotifyInit1(flags); err == nil {
		s.busy, err = unix.InotifyInit1(flags)
	}
	if err == nil {
		err = s.watch()
	}
	if errors.Is(err, unix.EMFILE) || errors.Is(err, unix.ENOSPC) {
		s.atLimit = err
		return s, nil
	}
	if err != nil {
		return s, fmt.Errorf("create an inotify instance for the self-test: %w", err)
	}
	s.duplicate, err = unix.FcntlInt(uintptr(s.busy), unix.F_DUPFD_CLOEXEC, 0)
	return s, err
}

// watch adds and removes a watch of the root directory.
func (s *testProcess) watch() error {
	for i := 1; ; i++ {
		// The root of a mount never has an IN_DELETE_SELF event.
		wd, err := unix.InotifyAddWatch(s.busy, "/", unix.IN_DELETE_SELF)
		if err != nil || i == watchRounds {
			return err
		}
		if _, err := unix.InotifyRmWatch(s.busy, uint32(wd)); err != nil {
			return err
		}
	}
}

func (s *testProcess) close() {
	for _, fd := range append(s.other, s.idle, s.duplicate, s.busy) {
		if fd >= 0 {
			_ = unix.Close(fd)
		}
	}
}

// check compares the records of a walk with the testProcess. If the kernel created
// no instance, it checks those of other processes.
func (f *found) check(s *testProcess, self inotify.Owner) error {
	at := map[int]*walkHolding{}
	for i := range f.holdings {
		if h := &f.holdings[i]; h.Pid == f.self {
			at[int(h.Fd)] = h
		}
	}
	for _, fd := range s.other {
		if at[fd] != nil {
			return errors.New("the walk reported an eventfd as an inotify instance")
		}
	}
	if s.atLimit != nil {
		return f.plausible()
	}
	idle, busy, duplicate := at[s.idle], at[s.busy], at[s.duplicate]
	if idle == nil || busy == nil {
		return fmt.Errorf("the walk found %d of 2 inotify instances in process %d", len(at), f.self)
	}
	for _, h := range []*walkHolding{idle, busy} {
		if owner := instanceOf(h).Creator; owner != self {
			return fmt.Errorf("the walk reported an instance of uid %d in user namespace %d as charged to uid %d in %d", self.UID, self.UserNS, owner.UID, owner.UserNS)
		}
	}
	// A full queue has one more event, IN_Q_OVERFLOW.
	events := min(watchRounds-1, int64(busy.QueueLimit)+1)
	switch {
	case idle.File == busy.File || duplicate != nil && duplicate.File != busy.File:
		return errors.New("the walk reported two instances as one, or one instance as two")
	case idle.Watches != 0 || idle.Queued != 0:
		return fmt.Errorf("the walk reported %d watches and %d events of an instance that has none", idle.Watches, idle.Queued)
	case busy.Watches != 1 || int64(busy.Queued) != events || busy.Uncounted != 0:
		return fmt.Errorf("the walk reported %d watches and %d events of an instance that has 1 and %d", busy.Watches, busy.Queued, events)
	}
	return nil
}

// plausible checks that the instances of other processes have possible values.
func (f *found) plausible() error {
	for i := range f.holdings {
		h := &f.holdings[i]
		if h.Userns == 0 || uint64(h.Queued) > uint64(h.QueueLimit)+1 {
			return fmt.Errorf("the walk reported an instance with %d of %d events, charged in user namespace %d", h.Queued, h.QueueLimit, h.Userns)
		}
	}
	return nil
}

// ownFDs returns how many descriptors of this process the walk found.
func (f *found) ownFDs() int {
	n := 0
	for i := range f.tables {
		if t := &f.tables[i]; t.Pid == f.self {
			n += int(t.Fds)
		}
	}
	return n
}

// ownFDs returns how many descriptors this process has.
func ownFDs(procfs string) (int, error) {
	dir, err := os.Open(filepath.Join(procfs, "self/fd"))
	if err != nil {
		return 0, err
	}
	defer func() { _ = dir.Close() }()
	names, err := dir.Readdirnames(-1)
	return len(names) - 1, err // dir is one of them
}
