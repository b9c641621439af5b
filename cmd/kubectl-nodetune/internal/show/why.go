package show

import (
	"fmt"
	"io"
	"slices"
	"strconv"

	"github.com/nodetune/nodetune/internal/safetext"
	"github.com/nodetune/nodetune/reporter/view"
)

// Diagnosis is the limits of the processes of one pod, from a report.
type Diagnosis struct {
	APIVersion string         `json:"apiVersion"`
	Kind       string         `json:"kind"`
	Namespace  string         `json:"namespace"`
	Pod        string         `json:"pod"`
	Node       string         `json:"node"`
	Processes  []ProcessLimit `json:"processes"`
	Reached    bool           `json:"reached"`
}

// ProcessLimit is a process and the limits that it meets.
type ProcessLimit struct {
	PID       int     `json:"pid"`
	Comm      string  `json:"comm"`
	Container string  `json:"container"`
	Limits    []Limit `json:"limits"` // in the order in which the kernel asks
	// Unknown are limits that the report does not hold.
	Unknown []string `json:"unknown"`
}

// Limit is one of them.
type Limit struct {
	Setting string     `json:"setting"`
	Of      string     `json:"of"`
	Error   string     `json:"error"` // what a system call fails with
	Used    int64      `json:"used"`
	Limit   view.Limit `json:"limit"`
	Percent float64    `json:"percent"`
	Quality string     `json:"quality"`
	Reached bool       `json:"reached"`
	// Ceiling is that of the rule, up to which the agent raises the limit; "" where there
	// is none.
	Ceiling string `json:"ceiling,omitempty"`
}

// Why returns the limits of the processes of a pod. The kernel asks in this order:
// instances, RLIMIT_NOFILE, file-max, and watches in a later call.
func Why(r *view.Report, node, namespace, pod, container string) Diagnosis {
	u := r.Inotify
	d := Diagnosis{APIVersion: "nodetune.io/v1alpha1", Kind: "PodDiagnosis", Namespace: namespace, Pod: pod, Node: node, Processes: []ProcessLimit{}}
	for _, p := range u.Processes {
		if p.Namespace != namespace || p.Pod != pod || container != "" && p.Container != container {
			continue
		}
		x := ProcessLimit{PID: p.PID, Comm: p.Comm, Container: p.Container, Unknown: []string{}}
		i := slices.IndexFunc(u.Accounts, func(a view.Account) bool { return a.UserNS == p.UserNS && a.UID == p.UID })
		var a view.Account
		if i < 0 {
			x.Unknown = append(x.Unknown, fmt.Sprintf("the account of uid %d in user namespace %d", p.UID, p.UserNS))
		} else {
			a = u.Accounts[i]
			if a.Level > 0 {
				x.Unknown = append(x.Unknown, "the accounts of the owners of its user namespace, which the kernel charges too: see top")
			}
			x.add(Limit{Setting: "fs.inotify.max_user_instances", Of: fmt.Sprintf("uid %d", p.UID), Error: "EMFILE", Used: a.Instances, Limit: a.InstancesLimit, Quality: a.InstancesQuality})
		}
		x.add(Limit{Setting: "RLIMIT_NOFILE", Of: fmt.Sprintf("pid %d", p.PID), Error: "EMFILE", Used: p.FDs, Limit: p.NOFILESoft})
		x.add(Limit{Setting: "fs.file-max", Of: "the node", Error: "ENFILE", Used: u.Limits.OpenFiles, Limit: u.Limits.FileMax, Quality: "exact"})
		if i >= 0 {
			x.add(Limit{Setting: "fs.inotify.max_user_watches", Of: fmt.Sprintf("uid %d", p.UID), Error: "ENOSPC", Used: a.Watches, Limit: a.WatchesLimit, Quality: a.WatchesQuality})
		}
		for i := range x.Limits {
			l := &x.Limits[i]
			l.Ceiling = ceiling(r.Sysctl, l.Setting)
			d.Reached = d.Reached || l.Reached
		}
		d.Processes = append(d.Processes, x)
	}
	return d
}

// ceiling is that of the rule of key.
func ceiling(s *view.Sysctl, key string) string {
	if s != nil {
		for _, r := range s.Rules {
			if r.Key == key {
				return r.Ceiling
			}
		}
	}
	return ""
}

// atCeiling reports whether the agent does not raise l any further.
func (l *Limit) atCeiling() bool {
	n, err := strconv.ParseInt(l.Ceiling, 10, 64)
	return err == nil && l.Limit >= 0 && int64(l.Limit) >= n
}

func (x *ProcessLimit) add(l Limit) {
	l.Percent = l.Limit.Percent(l.Used)
	l.Reached = l.Limit >= 0 && l.Used >= int64(l.Limit) && l.Quality != "unknown"
	x.Limits = append(x.Limits, l)
}

// Table writes d for people.
func (d Diagnosis) Table(w io.Writer) error {
	for i, p := range d.Processes {
		if i > 0 {
			fmt.Fprintln(w)
		}
		fmt.Fprintf(w, "%d %s, %s on %s\n", p.PID, safetext.String(p.Comm), safetext.String(view.Workload{Namespace: d.Namespace, Pod: d.Pod, Container: p.Container}.String()), safetext.String(d.Node))
		t := newTable(w, "LIMIT\tOF\tUSED\tLIMIT\t%\tFAILS WITH\tSTATE")
		for _, l := range p.Limits {
			state := "ok"
			switch {
			case l.Reached && l.atCeiling():
				state = fmt.Sprintf("reached, at its ceiling (%s)", l.Ceiling)
			case l.Reached:
				state = "reached"
			}
			t.row(l.Setting, l.Of, count(l.Used, l.Quality), limit(l.Limit), percent(l.Used, l.Limit, l.Quality), l.Error, state)
		}
		if err := t.Flush(); err != nil {
			return err
		}
		for _, u := range p.Unknown {
			fmt.Fprintf(w, "not known: %s\n", safetext.String(u))
		}
	}
	return nil
}
