package bpf

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/nodetune/nodetune/inotify"
)

// rewatched is how often a watch is made and removed to try the walk. Each is
// an event that nobody reads, and the last watch has a number beyond the first
// leaf of the instance's tree.
const rewatched = 70

// specimen is what a walk has to find in this process.
type specimen struct {
	quiet, busy, again int // instances; again is a duplicate of busy
	other              []int
	refused            error // the kernel gave no instance
}

// try finds out whether the walk is what it is taken for. Other goroutines open
// and close descriptors meanwhile.
func (w *Walk) try(self inotify.Owner, procfs string) error {
	s, err := newSpecimen()
	defer s.close()
	if err != nil {
		return err
	}
	off := errors.New("nodetune opens and closes descriptors all the time")
	for range tries {
		before, err := ownFDs(procfs)
		if err != nil {
			return err
		}
		w.mu.Lock()
		err = w.walk()
		if err == nil {
			err = w.found.has(&s, self)
		}
		fds := w.found.ownFDs() - w.open
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
			off = fmt.Errorf("nodetune has %d descriptors, of which %d were found", before, fds)
		}
	}
	return off
}

// newSpecimen makes what there is to find: an instance without a watch, and one
// with a watch, events and two descriptors. The other descriptors make the table
// worth telling of where the kernel gives no instance.
func newSpecimen() (s specimen, err error) {
	s = specimen{quiet: -1, busy: -1, again: -1}
	const flags = unix.IN_CLOEXEC | unix.IN_NONBLOCK
	for range minFDs {
		fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC)
		if err != nil {
			return s, fmt.Errorf("cannot make descriptors to find: %w", err)
		}
		s.other = append(s.other, fd)
	}
	if s.quiet, err = unix.InotifyInit1(flags); err == nil {
		s.busy, err = unix.InotifyInit1(flags)
	}
	if err == nil {
		err = s.watch()
	}
	if errors.Is(err, unix.EMFILE) || errors.Is(err, unix.ENOSPC) {
		s.refused = err
		return s, nil
	}
	if err != nil {
		return s, fmt.Errorf("cannot make an instance to find: %w", err)
	}
	s.again, err = unix.FcntlInt(uintptr(s.busy), unix.F_DUPFD_CLOEXEC, 0)
	return s, err
}

// watch watches the root directory again and again.
func (s *specimen) watch() error {
	for i := 1; ; i++ {
		// IN_DELETE_SELF of a mount point's root comes never.
		wd, err := unix.InotifyAddWatch(s.busy, "/", unix.IN_DELETE_SELF)
		if err != nil || i == rewatched {
			return err
		}
		if _, err := unix.InotifyRmWatch(s.busy, uint32(wd)); err != nil {
			return err
		}
	}
}

func (s *specimen) close() {
	for _, fd := range append(s.other, s.quiet, s.again, s.busy) {
		if fd >= 0 {
			_ = unix.Close(fd)
		}
	}
}

// has reports what of the specimen was not found as it is. Where the kernel
// gave no instance, what others hold is all there is to be seen.
func (f *found) has(s *specimen, self inotify.Owner) error {
	at := map[int]*walkHolding{}
	for i := range f.holdings {
		if h := &f.holdings[i]; h.Pid == f.self {
			at[int(h.Fd)] = h
		}
	}
	for _, fd := range s.other {
		if at[fd] != nil {
			return errors.New("an eventfd was taken for an instance")
		}
	}
	if s.refused != nil {
		return f.plausible()
	}
	quiet, busy, again := at[s.quiet], at[s.busy], at[s.again]
	if quiet == nil || busy == nil || again == nil {
		return fmt.Errorf("of three descriptors of instances that were made, %d were found in process %d", len(at), f.self)
	}
	for _, h := range []*walkHolding{quiet, busy, again} {
		if owner := instanceOf(h).Charged; owner != self {
			return fmt.Errorf("an instance of uid %d in namespace %d is said to be charged to uid %d in %d", self.UID, self.UserNS, owner.UID, owner.UserNS)
		}
	}
	// When the queue is full, one more event says so.
	events := min(rewatched-1, int64(busy.QueueLimit)+1)
	switch {
	case quiet.File == busy.File || again.File != busy.File:
		return errors.New("two instances were taken for one, or two descriptors of one for two")
	case quiet.Watches != 0 || quiet.Queued != 0:
		return fmt.Errorf("an instance without watches and events is said to have %d and %d", quiet.Watches, quiet.Queued)
	case busy.Watches != 1 || int64(busy.Queued) != events || busy.Uncounted != 0:
		return fmt.Errorf("an instance with 1 watch and %d events is said to have %d and %d", events, busy.Watches, busy.Queued)
	}
	return nil
}

// plausible reports what of other's instances cannot be.
func (f *found) plausible() error {
	for i := range f.holdings {
		h := &f.holdings[i]
		if h.Userns == 0 || uint64(h.Queued) > uint64(h.QueueLimit)+1 {
			return fmt.Errorf("an instance with %d of %d events, charged in namespace %d", h.Queued, h.QueueLimit, h.Userns)
		}
	}
	return nil
}

// ownFDs returns how many descriptors of this process were found.
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
	return len(names) - 1, err // without dir
}
