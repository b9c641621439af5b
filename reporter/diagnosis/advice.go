package diagnosis

import (
	"fmt"
	"strings"

	"github.com/nodetune/nodetune/inotify"
	"github.com/nodetune/nodetune/internal/safetext"
	"github.com/nodetune/nodetune/internal/workload"
)

// advice lists what helps against l: what apply would do, and what no sysctl can
// cure.
func advice(s inotify.ProcessDetail, l LimitUse, u inotify.Usage, errno int) []string {
	if l.Resource == inotify.NOFILE {
		return nofileAdvice(s, u)
	}
	var steps []string
	switch {
	case l.Reached && strings.HasPrefix(l.Setting, "user."):
		steps = append(steps, fmt.Sprintf("%s was lowered inside user namespace %d; root in there may raise it, nodetune leaves it alone", l.Setting, l.Owner.UserNS))
	case l.Apply != nil:
		steps = append(steps, fmt.Sprintf("nodetune apply raises %s from %s to %s; it takes effect at once, nothing needs a restart", l.Apply.Key, l.Apply.From, l.Apply.To))
	case l.Reached && l.Ceiling != nil && int64(l.Limit) >= *l.Ceiling:
		steps = append(steps, fmt.Sprintf("%s is at the ceiling of %d, up to which nodetune raises it: see which processes hold it and why, or set a larger ceiling in the configuration (%s)", l.Setting, *l.Ceiling, ceilingWords(l.Resource)))
	case l.Reached && l.Ceiling != nil:
		steps = append(steps, fmt.Sprintf("%s is at its floor already: an agent (nodetune run) raises it with use, up to the ceiling of %d", l.Setting, *l.Ceiling))
	case l.Reached:
		steps = append(steps, fmt.Sprintf("%s is at its floor already: see which processes hold it and why, or raise it in the configuration (sysctl.rules)", l.Setting))
	}
	switch {
	case l.Resource == inotify.Watches && l.Reached:
		steps = append(steps, "ENOSPC (28) from inotify_add_watch(2) reads like a full disk and is none; a collector that meets it may live on and follow no new file")
	case l.Resource == inotify.Watches && errno == l.Errno:
		steps = append(steps, "ENOSPC (28) is also what a full file system gives: see df and df -i")
	}
	if len(l.TopConsumers) > 0 && l.Owner != nil && (l.Reached || l.Percent >= adviceFromPercent) {
		h := l.TopConsumers[0]
		who := fmt.Sprintf("most is held by pid %d (%s)", h.PID, safetext.String(h.Comm))
		if w := workload.Name(h.Namespace, h.Pod, h.Container, h.Unit); w != "" {
			who += " of " + w
		}
		steps = append(steps, fmt.Sprintf("%s: %d; instances and watches come back when it ends", who, h.Used))
	}
	return steps
}

// ceilingWords are what ends the raises of r.
func ceilingWords(r inotify.Resource) string {
	if r == inotify.Instances {
		return "sysctl.rules and inotify.maxInstances"
	}
	return "sysctl.rules and inotify.watchMemoryPercent"
}

// nofileAdvice: no sysctl raises the RLIMIT_NOFILE of a process that runs.
func nofileAdvice(s inotify.ProcessDetail, u inotify.Usage) []string {
	steps := []string{fmt.Sprintf("no sysctl raises it, so nodetune apply does not: the soft limit belongs to the process, %d soft and %d hard", s.NOFILESoft, s.NOFILEHard)}
	want := int64(65536)
	switch {
	case s.NOFILEHard < 0:
	case int64(s.NOFILEHard) > int64(s.NOFILESoft):
		want = min(int64(s.NOFILEHard), max(want, 2*int64(s.NOFILESoft)))
		steps = append(steps, fmt.Sprintf("now, without a restart: prlimit --pid %d --nofile=%d:%d (as the same user, or with CAP_SYS_RESOURCE)", s.PID, want, s.NOFILEHard))
	default:
		want = max(want, 2*int64(s.NOFILESoft))
		steps = append(steps, fmt.Sprintf("now, without a restart: prlimit --pid %d --nofile=%d:%d (with CAP_SYS_RESOURCE, since the hard limit is reached)", s.PID, want, want))
	}
	if u.Limits.NrOpen >= 0 && want > int64(u.Limits.NrOpen) {
		steps = append(steps, fmt.Sprintf("fs.nr_open is %d, the most any limit can be", u.Limits.NrOpen))
	}
	switch {
	case s.Pod != "":
		steps = append(steps, fmt.Sprintf("for good: containers inherit the limit of their runtime. systemctl edit containerd.service (or crio.service), [Service] LimitNOFILE=%d:%d, restart it, then delete the pod. containerd 2.0 and later leave it at systemd's 1024 soft", want, max(want, 524288)))
	case s.Unit != "":
		steps = append(steps, fmt.Sprintf("for good: systemctl edit %s, [Service] LimitNOFILE=%d:%d, then restart it", safetext.String(s.Unit), want, max(want, 524288)))
	default:
		steps = append(steps, fmt.Sprintf("for good: ulimit -n %d in the program that starts it, or LimitNOFILE= in its systemd unit", want))
	}
	return append(steps, "raise it for this program only: 1024 is the default since select(2) cannot handle descriptors beyond it")
}
