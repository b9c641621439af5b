package procscan

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/nodetune/nodetune/inotify"
	"github.com/nodetune/nodetune/internal/instances"
)

// distinct groups what the walk found by instance, and says what the walk
// could not see.
func (p *pass) distinct(u *inotify.Usage) []instances.Instance {
	all, exact, refused := p.s.reader.Distinct(p.holdings)
	u.Instances, u.InstancesQuality = int64(len(all)), inotify.Estimate
	p.compared = exact
	if !exact {
		p.gaps = append(p.gaps, inotify.Gap{What: "which descriptors are of one shared instance: each is counted as one", Why: notCompared(refused)})
	}
	for _, r := range u.Walk.Unreadable {
		p.gaps = append(p.gaps, inotify.Gap{What: "descriptors of processes", Why: r.Reason, Processes: r.Processes})
	}
	if u.Walk.Cut > 0 {
		p.gaps = append(p.gaps, inotify.Gap{What: "some descriptors of processes that have very many", Why: fmt.Sprintf("a pass walks for %v", p.s.within), Processes: u.Walk.Cut})
	}
	if !u.Walk.ThreadsCompared {
		p.gaps = append(p.gaps, inotify.Gap{
			What: "which threads have descriptors of their own: those with another number of them than their process",
			Why:  "kcmp(2) could not be used",
		})
	}
	u.OwnPIDNamespace = !p.s.whole
	if u.OwnPIDNamespace {
		p.gaps = append(p.gaps, inotify.Gap{What: "processes of the node outside of this pid namespace", Why: "nodetune does not run in the pid namespace of the node: run with hostPID"})
	}
	return all
}

// noteEstimates says what working out an account from its processes cannot know;
// found says that each instance is known with whom it is charged to.
func (p *pass) noteEstimates(found bool) {
	p.gaps = append(p.gaps, inotify.Gap{What: "instances in flight", Why: "a descriptor that was sent through a socket and not received yet is charged, but in no process's table"})
	if !found {
		p.gaps = append(p.gaps, inotify.Gap{What: "the charged uid of a process that changed its own", Why: "the kernel charges the effective uid at inotify_init1(2), procfs shows the present one"})
	}
	for i := range p.processes {
		if p.processes[i].UserNS != p.s.ns.self {
			p.gaps = append(p.gaps, inotify.Gap{What: "the limits of user namespaces", Why: "user.max_inotify_* of a namespace can only be read inside of it"})
			break
		}
	}
}

// notCompared says what kcmp(2) lacked.
func notCompared(err error) string {
	switch {
	case errors.Is(err, instances.ErrOthersPIDs):
		return err.Error()
	case errors.Is(err, unix.EPERM):
		return "kcmp(2) was refused: it needs CAP_SYS_PTRACE"
	case errors.Is(err, unix.ENOSYS):
		return "this kernel has no kcmp(2) (CONFIG_KCMP), or a seccomp profile hides it"
	}
	return "kcmp(2): " + err.Error()
}
