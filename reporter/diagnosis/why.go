package diagnosis

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/nodetune/nodetune/inotify"
	"github.com/nodetune/nodetune/reporter"
	"github.com/nodetune/nodetune/sysctl"
)

// Diagnosis is the document of `nodetune why`: which of the limits a process
// has met, or would meet next.
type Diagnosis struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	// Paused names the file that stops every write, also those of `apply`.
	Paused  string          `json:"paused,omitempty"`
	Process inotify.Process `json:"process"`
	// Limit is the resource in question: the first that is used up, in the
	// order in which the kernel asks, or else the fullest. It is empty where
	// none could be read.
	Limit   inotify.Resource `json:"limit"`
	Reached bool             `json:"reached"`
	Summary string           `json:"summary"`
	Limits  []LimitUse       `json:"limits"` // in the order in which the kernel asks
	Advice  []string         `json:"advice"`
	Unknown []inotify.Gap    `json:"unknown"`
}

// LimitUse is one limit of the process, its user or the node.
type LimitUse struct {
	Resource inotify.Resource `json:"resource"`
	Setting  string           `json:"setting"` // the sysctl, or RLIMIT_NOFILE
	Of       string           `json:"of"`      // whose limit it is, in words
	Owner    *inotify.Owner   `json:"owner,omitempty"`
	Errno    int              `json:"errno"`
	Error    string           `json:"error"` // the name of Errno
	Used     int64            `json:"used"`
	Limit    inotify.Limit    `json:"limit"`
	Percent  float64          `json:"percent"`
	Quality  inotify.Quality  `json:"quality"` // of Used
	Reached  bool             `json:"reached"`
	// Headroom is what the kernel granted to a probe, if it was asked.
	Headroom *inotify.Headroom `json:"headroom,omitempty"`
	// Exempt is why the limit does not hold for this process.
	Exempt string `json:"exempt,omitempty"`
	// Ceiling is up to where the agent raises the limit, where it does.
	Ceiling      *int64        `json:"ceiling,omitempty"`
	TopConsumers []TopConsumer `json:"holders"`         // who holds the most of it
	Apply        *LimitChange  `json:"apply,omitempty"` // what `nodetune apply` would change
}

// TopConsumer is a process that holds some of what is limited.
type TopConsumer struct {
	PID       int    `json:"pid"`
	Comm      string `json:"comm"`
	Used      int64  `json:"used"`
	Namespace string `json:"namespace,omitempty"`
	Pod       string `json:"pod,omitempty"`
	Container string `json:"container,omitempty"`
	Unit      string `json:"unit,omitempty"`
}

// LimitChange is a sysctl and its value before and after.
type LimitChange struct {
	Key  sysctl.Key   `json:"key"`
	From sysctl.Value `json:"from"`
	To   sysctl.Value `json:"to"`
}

// maxTopConsumers is how many holders a limit lists: the culprit is among the
// first, and a line has room for three.
const maxTopConsumers = 3

// adviceFromPercent of a limit in use is where advice begins: below, there is nothing to do.
const adviceFromPercent = 50

// Why returns which limit s has hit or will hit next. With an errno only the limits
// that the kernel reports with it are asked: 24 (EMFILE), 23 (ENFILE) or 28
// (ENOSPC). What apply would change is read from o, the result of a pass
// that changed nothing; ceilings are up to where an agent raises a limit.
func Why(s inotify.ProcessDetail, errno int, u inotify.Usage, o sysctl.PassResult, ceilings map[inotify.Resource]inotify.Limit) Diagnosis {
	d := Diagnosis{APIVersion: reporter.APIVersion, Kind: "Diagnosis", Paused: o.Paused, Process: s.Process, Advice: []string{}, Unknown: u.Unknown}
	// inotify_init1(2) charges the accounts first, then takes a descriptor
	// and at last a file; inotify_add_watch(2) comes after.
	d.Limits = append(d.Limits, accountLimits(s, u, inotify.Instances)...)
	d.Limits = append(d.Limits, nofileLimit(s, u), fileMaxLimit(s, u))
	d.Limits = append(d.Limits, accountLimits(s, u, inotify.Watches)...)
	if errno != 0 {
		d.Limits = slices.DeleteFunc(d.Limits, func(l LimitUse) bool { return l.Errno != errno })
	}
	for i := range d.Limits {
		l := &d.Limits[i]
		l.Apply = plannedChange(sysctl.Key(l.Setting), o.Rules)
		if c, ok := ceilings[l.Resource]; ok && c >= 0 && !strings.HasPrefix(l.Setting, "user.") {
			ceiling := int64(c)
			l.Ceiling = &ceiling
		}
	}
	guilty := culprit(d.Limits)
	if guilty == nil {
		d.Summary = "no limit of this process could be read"
		return d
	}
	d.Limit, d.Reached = guilty.Resource, guilty.Reached
	d.Summary = summary(*guilty, errno)
	// What the kernel counts lacks nothing.
	lacks := func(l LimitUse) bool { return l.Owner != nil && l.Quality != inotify.Exact }
	if n := unreadable(u); n > 0 && !guilty.Reached && slices.ContainsFunc(d.Limits, lacks) {
		d.Summary += fmt.Sprintf("; %d of the processes could not be read, what they hold is missing", n)
	}
	if d.Reached || guilty.Percent >= adviceFromPercent || errno != 0 {
		d.Advice = advice(s, *guilty, u, errno)
	}
	return d
}

// unreadable is how many processes a walk could not read.
func unreadable(u inotify.Usage) int {
	n := 0
	for _, r := range u.Walk.Unreadable {
		n += r.Processes
	}
	return n
}

// culprit returns the first limit that is reached, or else the fullest.
func culprit(limits []LimitUse) *LimitUse {
	var fullest *LimitUse
	for i := range limits {
		l := &limits[i]
		if l.Exempt != "" || l.Limit < 0 || l.Quality == inotify.Unknown {
			continue
		}
		if l.Reached {
			return l
		}
		if fullest == nil || l.Percent > fullest.Percent {
			fullest = l
		}
	}
	return fullest
}

// accountLimits returns the limit of every account that s is charged to.
func accountLimits(s inotify.ProcessDetail, u inotify.Usage, r inotify.Resource) []LimitUse {
	var limits []LimitUse
	charged := s.Charged(&s.Process)
	for i, owner := range charged {
		a := account(owner, u)
		if s.Quality == inotify.Unknown && a.Instances == 0 && a.InstancesQuality != inotify.Exact {
			// Not even its own instances are known, so 0 is no figure, unless
			// the kernel has counted it.
			a.InstancesQuality, a.WatchesQuality = inotify.Unknown, inotify.Unknown
		}
		l := LimitUse{
			Resource: r, Setting: inotify.KeyInstances, Errno: 24, Error: "EMFILE",
			Owner: &owner, Of: fmt.Sprintf("uid %d", owner.UID),
			Used: a.Instances, Limit: a.InstancesLimit, Quality: a.InstancesQuality,
		}
		of := func(p *inotify.Process) int64 { return p.Instances }
		if r == inotify.Watches {
			l.Setting, l.Errno, l.Error = inotify.KeyWatches, 28, "ENOSPC"
			l.Used, l.Limit, l.Quality = a.Watches, a.WatchesLimit, a.WatchesQuality
			of = func(p *inotify.Process) int64 { return p.Watches }
		}
		if inner := i < len(charged)-1; inner {
			// The same limit, but of that namespace: namespaces(7).
			l.Setting = strings.Replace(l.Setting, "fs.inotify.max_user_", "user.max_inotify_", 1)
			l.Of += fmt.Sprintf(" in user namespace %d", owner.UserNS)
		} else if i > 0 {
			l.Of += ", the owner of the user namespace,"
		}
		l.Percent = l.Limit.Percent(l.Used)
		l.Reached = l.Limit >= 0 && l.Used >= int64(l.Limit) && l.Quality != inotify.Unknown
		if h := a.Headroom; h != nil && r == inotify.Instances {
			l.Headroom, l.Reached = h, h.Exact && h.Granted == 0
		}
		l.TopConsumers = topConsumers(u, of, func(p *inotify.Process) bool { return slices.Contains(s.Charged(p), owner) })
		limits = append(limits, l)
	}
	return limits
}

// account returns what is known of an account. One that is not listed holds
// nothing; its limit is that of the node, unless its namespace has one.
func account(o inotify.Owner, u inotify.Usage) inotify.Account {
	if i := slices.IndexFunc(u.Accounts, func(a inotify.Account) bool { return a.Owner == o }); i >= 0 {
		return u.Accounts[i]
	}
	a := inotify.Account{
		Owner: o, InstancesLimit: inotify.NoLimit, WatchesLimit: inotify.NoLimit,
		// A walk that met none of its instances may have missed some.
		InstancesQuality: u.InstancesQuality, WatchesQuality: u.WatchesQuality,
	}
	if slices.ContainsFunc(u.Accounts, func(a inotify.Account) bool {
		return a.UserNS == o.UserNS && a.InstancesLimit == u.Limits.Instances
	}) || o.UserNS == inotify.InitialUserNS {
		a.InstancesLimit, a.WatchesLimit = u.Limits.Instances, u.Limits.Watches
	}
	return a
}

func nofileLimit(s inotify.ProcessDetail, u inotify.Usage) LimitUse {
	l := LimitUse{
		Resource: inotify.NOFILE, Setting: "RLIMIT_NOFILE", Of: fmt.Sprintf("pid %d", s.PID), Errno: 24, Error: "EMFILE",
		Used: s.FDs, Limit: s.NOFILESoft, Quality: s.FDsQuality, Percent: s.NOFILESoft.Percent(s.FDs),
		TopConsumers: topConsumers(u, func(p *inotify.Process) int64 { return p.FDs }, func(p *inotify.Process) bool { return p.PID == s.PID }),
	}
	// The kernel refuses a number that is too high, not a count that is: with
	// gaps below the limit a process goes on, whatever it holds above.
	l.Reached = l.Limit >= 0 && s.FDs >= int64(l.Limit)
	if s.LowestFD >= 0 {
		l.Reached = l.Limit >= 0 && s.LowestFD >= int64(l.Limit)
	}
	return l
}

func fileMaxLimit(s inotify.ProcessDetail, u inotify.Usage) LimitUse {
	l := LimitUse{
		Resource: inotify.OpenFiles, Setting: string(sysctl.FileMax), Of: "the node", Errno: 23, Error: "ENFILE",
		Used: u.Limits.OpenFiles, Limit: u.Limits.FileMax, Quality: inotify.Exact, Percent: u.Limits.FileMax.Percent(u.Limits.OpenFiles),
		TopConsumers: topConsumers(u, func(p *inotify.Process) int64 { return p.FDs }, func(*inotify.Process) bool { return true }),
	}
	l.Reached = l.Limit >= 0 && l.Used >= int64(l.Limit)
	if s.SysAdmin {
		l.Exempt = "has CAP_SYS_ADMIN"
	}
	return l
}

func topConsumers(u inotify.Usage, of func(*inotify.Process) int64, counts func(*inotify.Process) bool) []TopConsumer {
	var all []*inotify.Process
	for i := range u.Processes {
		if p := &u.Processes[i]; of(p) > 0 && counts(p) {
			all = append(all, p)
		}
	}
	slices.SortStableFunc(all, func(a, b *inotify.Process) int { return cmp.Compare(of(b), of(a)) })
	top := []TopConsumer{}
	for _, p := range all[:min(len(all), maxTopConsumers)] {
		top = append(top, TopConsumer{p.PID, p.Comm, of(p), p.Namespace, p.Pod, p.Container, p.Unit})
	}
	return top
}

// plannedChange returns what apply would do about a key, or nil.
func plannedChange(key sysctl.Key, rules []sysctl.Status) *LimitChange {
	for _, s := range rules {
		if s.Key == key && s.Outcome == sysctl.Drifted && s.Value.Known() && s.Want.Known() {
			return &LimitChange{key, s.Value, s.Want}
		}
	}
	return nil
}

func summary(l LimitUse, errno int) string {
	about := ""
	switch l.Quality {
	case inotify.UpperBound:
		about = "at most "
	case inotify.Estimate:
		about = "about "
	}
	use := fmt.Sprintf("%s uses %s%d of %d", l.Of, about, l.Used, l.Limit)
	switch h := l.Headroom; {
	case h != nil && h.Exact:
		use += fmt.Sprintf(" (the kernel granted %d more to a probe)", h.Granted)
	case h != nil:
		use += fmt.Sprintf(" (the kernel granted %d more to a probe, and may grant others)", h.Granted)
	}
	switch {
	case l.Reached:
		return fmt.Sprintf("it is %s: %s, so the next one is refused with %s (%d)", l.Setting, use, l.Error, l.Errno)
	case errno != 0:
		return fmt.Sprintf("no limit behind errno %d is reached now; %s is nearest: %s", errno, l.Setting, use)
	}
	return fmt.Sprintf("no limit is reached; the next would be %s: %s", l.Setting, use)
}
