package page

import (
	"slices"
	"time"
	"unicode/utf8"

	corev1 "k8s.io/api/core/v1"

	"github.com/nodetune/nodetune/disk"
	"github.com/nodetune/nodetune/inotify"
	"github.com/nodetune/nodetune/internal/safetext"
	"github.com/nodetune/nodetune/reporter"
	"github.com/nodetune/nodetune/reporter/text"
	"github.com/nodetune/nodetune/sysctl"
)

// Input is what a Status is computed from.
type Input struct {
	Snapshot reporter.Snapshot
	Acts     []reporter.Act // the latest first
	// Conditions are the settled ones: they have the time since when.
	Conditions []corev1.NodeCondition
	// Policy has the shares of a limit that count as pressure.
	Policy     inotify.Policy
	StaleAfter time.Duration // older passes are stale
	Now        time.Time
	Node       string
	Version    string
	// Command runs nodetune on this node, such as "sudo nodetune": the lines to
	// paste begin with it.
	Command string
	// DryRun: nodetune may write nothing. Once: it is one run of a command, which
	// has no acts and no time since when.
	DryRun, Once bool
	DiskMode     disk.Mode
}

// The most rows of each list. With maxText a document has less than 1 MB.
const (
	maxTroubles    = 20
	maxNotices     = 20
	maxLimits      = 20
	maxConsumers   = 20
	maxFailures    = 20
	maxSettings    = 40
	maxWriters     = 20
	maxFilesystems = 20
	maxProducers   = 20
	maxCollectors  = 20
	maxUnread      = 20
	maxActs        = 200
	maxPodLimits   = 10
)

// NewStatus computes the Status. It is pure: it reads nothing but in, and changes
// none of it.
func NewStatus(in Input) Status {
	s := Status{
		APIVersion: reporter.APIVersion, Kind: Kind, Nodetune: shorten(in.Version), Node: shorten(in.Node), At: in.Now,
		Passes:     passes(in.Snapshot),
		Limits:     limits(in),
		Consumers:  bounded(consumers(in), maxConsumers),
		Failures:   bounded(failures(in), maxFailures),
		Settings:   bounded(settings(in), maxSettings),
		Writers:    bounded(writers(in), maxWriters),
		Filesystem: bounded(filesystems(in), maxFilesystems),
		Producers:  bounded(producers(in), maxProducers),
		Collectors: bounded(collectors(in), maxCollectors),
		Unread:     bounded(unreadLogs(in), maxUnread),
		Acts:       bounded(acts(in), maxActs),
		Acting:     acting(in),
		Notices:    bounded(notices(in), maxNotices),
	}
	if u, ok := diskUsage(in); ok { // a pass has bounds of its own
		s.Producers.More += u.Scan.Omitted["producers"]
		s.Collectors.More += u.Scan.Omitted["readers"]
		s.Unread.More += u.Scan.Omitted["unfollowed"]
	}
	if p := in.Snapshot.PodRoom(in.Policy); p != nil {
		s.PodsText = text.PodRoomText(p)
		p.Limits = p.Limits[:min(len(p.Limits), maxPodLimits)]
		s.Pods = p
	}
	if r := in.Snapshot.RefusedClients; !r.None() {
		s.RefusedClients = r
	}
	s.Troubles = troubles(in)
	s.State, s.Summary = summary(in, s)
	return size{maxActs, maxSettings, maxText}.of(s) // whatever was missed above
}

// bounded returns the first n rows, never null in JSON.
func bounded[T any](all []T, n int) List[T] {
	if all == nil {
		all = []T{}
	}
	return List[T]{Rows: all[:min(len(all), n)], More: max(0, len(all)-n)}
}

// maxText is how many bytes a text of a Status may have.
const maxText = 400

// shorten makes a text that others choose fit for a Status: printable, and bounded.
func shorten(s string) string {
	const dots = "…"
	if len(s) <= maxText {
		s = safetext.String(s)
	} else {
		s = safetext.String(s[:maxText+1]) // longer than maxText
	}
	if len(s) <= maxText {
		return s
	}
	end := maxText - len(dots)
	for !utf8.RuneStart(s[end]) {
		end--
	}
	return s[:end] + dots
}

// acts are those of in, the latest first.
func acts(in Input) []reporter.Act {
	all := slices.Clone(in.Acts)
	for i := range all {
		a := &all[i]
		a.On, a.What, a.Why = shorten(a.On), shorten(a.What), shorten(a.Why)
	}
	return all
}

func passes(s reporter.Snapshot) []Pass {
	return []Pass{pass("sysctl", s.Sysctl), pass("inotify", s.Inotify), pass("disk", s.Disk)}
}

func pass[T any](name string, r reporter.Result[T]) Pass {
	p := Pass{Name: name}
	if !r.At.IsZero() {
		p.At = &r.At
	}
	if r.Err != nil {
		p.Error = shorten(r.Err.Error())
	}
	return p
}

// inotifyUsage, diskUsage and sysctlResult are the last results, if there are any.
func inotifyUsage(in Input) (inotify.Usage, bool) {
	r := in.Snapshot.Inotify
	return r.Value, r.Err == nil && !r.At.IsZero()
}

func diskUsage(in Input) (disk.Usage, bool) {
	r := in.Snapshot.Disk
	return r.Value, r.Err == nil && !r.At.IsZero()
}

func sysctlResult(in Input) (sysctl.PassResult, bool) {
	r := in.Snapshot.Sysctl
	return r.Value, r.Err == nil && !r.At.IsZero()
}

func acting(in Input) Acting {
	a := Acting{Sysctls: "write", DiskMode: string(in.DiskMode), Guard: in.Snapshot.Sysctl.Value.Guard, Tracing: in.Snapshot.Inotify.Value.RefusalSource}
	switch {
	case in.Once:
		a.Sysctls = "read"
	case in.DryRun:
		a.Sysctls = "dry-run"
	case in.Snapshot.Sysctl.Value.Paused != "":
		a.Sysctls = "paused"
	}
	return a
}
