package text

import (
	"fmt"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/nodetune/nodetune/inotify"
	"github.com/nodetune/nodetune/internal/field"
	"github.com/nodetune/nodetune/internal/safetext"
	"github.com/nodetune/nodetune/internal/workload"
	"github.com/nodetune/nodetune/sysctl"
)

// ErrnoName is EMFILE, or the number of one that has no name.
func ErrnoName(errno int) string {
	if s := unix.ErrnoName(unix.Errno(errno)); s != "" {
		return s
	}
	return strconv.Itoa(errno)
}

// LimitFailures leaves out the calls that failed for another reason than a limit.
func LimitFailures(all []inotify.SyscallFailure) []inotify.SyscallFailure {
	return slices.DeleteFunc(slices.Clone(all), func(f inotify.SyscallFailure) bool { return f.Resource == "" })
}

// SyscallFailureText is which call of which process failed, why and how often.
func SyscallFailureText(f inotify.SyscallFailure) string {
	process := fmt.Sprintf("%s[%d]", safetext.String(f.Comm), f.PID)
	if w := workload.Name(f.Namespace, f.Pod, f.Container, f.Unit); w != "" {
		process += " of " + w
	}
	s := fmt.Sprintf("%s %s %s: %s", process, field.Count(int(f.Count), "time", "times"), f.Call, SyscallFailureReason(f))
	if f.Limit >= 0 {
		s += fmt.Sprintf(", %d of %d", f.Used, f.Limit)
	}
	return s
}

// SyscallFailureReason names the errno and the limit, without a number that changes.
func SyscallFailureReason(f inotify.SyscallFailure) string {
	is := ErrnoName(f.Errno)
	switch f.Resource {
	case inotify.Instances:
		return is + ", " + settingOf(f, sysctl.MaxUserInstances, "user.max_inotify_instances")
	case inotify.Watches:
		return is + ", " + settingOf(f, sysctl.MaxUserWatches, "user.max_inotify_watches")
	case inotify.NOFILE:
		return is + ", its own RLIMIT_NOFILE"
	case inotify.OpenFiles:
		return is + ", " + string(sysctl.FileMax) + " of the node"
	case inotify.Memory:
		return is + ", memory of the kernel or of its cgroup"
	case inotify.InstancesOrNOFILE:
		return is + ", " + string(sysctl.MaxUserInstances) + " or its own RLIMIT_NOFILE"
	}
	return is + ", which is not a limit"
}

// settingOf names the setting and its account, if that is known.
func settingOf(f inotify.SyscallFailure, key sysctl.Key, below string) string {
	switch {
	case f.Owner == nil:
		return string(key)
	case f.Level > 0:
		return fmt.Sprintf("%s of uid %d in user namespace %d", below, f.Owner.UID, f.Owner.UserNS)
	}
	return fmt.Sprintf("%s of uid %d", key, f.Owner.UID)
}
