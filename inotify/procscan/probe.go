package procscan

import (
	"errors"
	"fmt"
	"runtime"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/nodetune/nodetune/inotify"
)

// probe asks the kernel for the headroom of the users in the policy.
func (s *Scanner) probe(u *inotify.Usage) error {
	var errs []error
	for _, uid := range s.policy.ProbeUIDs {
		h, err := Probe(uid, s.policy.ProbeInstances)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		owner := inotify.Owner{UserNS: s.ns.self, UID: uid}
		at := slices.IndexFunc(u.Accounts, func(a inotify.Account) bool { return a.Owner == owner })
		if at < 0 {
			at = len(u.Accounts)
			u.Accounts = append(u.Accounts, inotify.Account{
				Owner: owner, InstancesLimit: u.Limits.Instances, WatchesLimit: u.Limits.Watches,
				InstancesQuality: inotify.Estimate, WatchesQuality: inotify.Estimate, Quality: inotify.Estimate,
			})
		}
		applyProbe(&u.Accounts[at], h)
	}
	return errors.Join(errs...)
}

// applyProbe corrects an account by what the kernel granted. An instance
// that was refused leaves no doubt about how many there are, unless the limit
// is below what is in use.
func applyProbe(a *inotify.Account, h inotify.Headroom) {
	a.Headroom = &h
	if a.InstancesLimit < 0 {
		return
	}
	most := int64(a.InstancesLimit) - int64(h.Granted)
	switch {
	case h.Exact && h.Granted > 0:
		a.Instances, a.InstancesQuality = most, inotify.Exact
	case h.Exact:
		// At the limit, or above it if it was lowered.
		a.Instances = max(a.Instances, most)
	case a.Instances > most:
		a.Instances, a.InstancesQuality = most, inotify.UpperBound
	}
	a.Quality = inotify.Worse(a.InstancesQuality, a.WatchesQuality)
}

// Probe asks the kernel how many more instances it grants to uid in our user
// namespace, by taking up to k (at most [MaxCanary]) and giving them back at
// once. It is the kernel's own answer, with what no file shows: 2.4 µs were
// measured for one, 5 to 10 µs for 8. Where fewer than k are left, another
// process of that user that asks in these microseconds is refused.
//
// It needs CAP_SETUID (setresuid(2)), and changes the effective uid of one
// thread, which ends if it cannot be changed back. The error is that of the
// probe; a refusal by the limit is its result.
func Probe(uid uint32, k int) (inotify.Headroom, error) {
	if k < 1 || k > inotify.MaxProbe {
		return inotify.Headroom{}, fmt.Errorf("probe uid %d: asked for %d instances, want 1 to %d", uid, k, inotify.MaxProbe)
	}
	type answer struct {
		h   inotify.Headroom
		err error
	}
	answered := make(chan answer)
	go func() {
		// A goroutine that ends while locked takes its thread along:
		// unlocked only when the thread is what it was.
		runtime.LockOSThread()
		h, err, restored := probe(uid, k)
		if restored {
			runtime.UnlockOSThread()
		}
		answered <- answer{h, err}
	}()
	a := <-answered
	return a.h, a.err
}

// probe runs on a locked thread. The raw system call changes the credentials
// of this thread alone; the C library's and package syscall's change all.
func probe(uid uint32, k int) (h inotify.Headroom, err error, restored bool) {
	const keep = ^uintptr(0)
	was := unix.Geteuid()
	dumpable, _ := unix.PrctlRetInt(unix.PR_GET_DUMPABLE, 0, 0, 0, 0)
	if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, keep, uintptr(uid), keep); errno != 0 {
		if errno == unix.EPERM {
			return h, fmt.Errorf("probe uid %d: needs CAP_SETUID: %w", uid, errno), true
		}
		return h, fmt.Errorf("probe uid %d: set the effective uid: %w", uid, errno), true
	}
	var fds [inotify.MaxProbe]int
	for h.Granted < k {
		fd, _, errno := unix.RawSyscall(unix.SYS_INOTIFY_INIT1, unix.IN_CLOEXEC|unix.IN_NONBLOCK, 0, 0)
		if errno != 0 {
			h.Exact, err = limitReached(uid, errno)
			break
		}
		fds[h.Granted] = int(fd)
		h.Granted++
	}
	for _, fd := range fds[:h.Granted] {
		_, _, _ = unix.RawSyscall(unix.SYS_CLOSE, uintptr(fd), 0, 0)
	}
	if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, keep, uintptr(was), keep); errno != 0 {
		return h, errors.Join(err, fmt.Errorf("change the effective uid back to %d: %w", was, errno)), false
	}
	// Changing it has made the whole process non-dumpable (prctl(2)), which
	// gives /proc/self to root.
	if dumpable == 1 {
		_ = unix.Prctl(unix.PR_SET_DUMPABLE, 1, 0, 0, 0)
	}
	return h, err, true
}

// limitReached distinguishes the limit of the account from RLIMIT_NOFILE, which
// has the same errno: if another descriptor is granted, it was the account.
func limitReached(uid uint32, errno unix.Errno) (exact bool, err error) {
	if errno != unix.EMFILE {
		return false, fmt.Errorf("probe uid %d: inotify_init1: %w", uid, errno)
	}
	fd, _, other := unix.RawSyscall(unix.SYS_EVENTFD2, 0, unix.EFD_CLOEXEC, 0)
	if other != 0 {
		return false, fmt.Errorf("probe uid %d: nodetune has no descriptor left: %w", uid, other)
	}
	_, _, _ = unix.RawSyscall(unix.SYS_CLOSE, fd, 0, 0)
	return true, nil
}
