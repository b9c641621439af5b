package text

import (
	"fmt"

	"github.com/nodetune/nodetune/inotify"
	"github.com/nodetune/nodetune/reporter"
	"github.com/nodetune/nodetune/sysctl"
)

// ResourceKey is the setting that limits r on the node.
func ResourceKey(r inotify.Resource) string {
	switch r {
	case inotify.Instances:
		return string(sysctl.MaxUserInstances)
	case inotify.Watches:
		return string(sysctl.MaxUserWatches)
	case inotify.OpenFiles:
		return string(sysctl.FileMax)
	}
	return "RLIMIT_NOFILE"
}

// PodRoomText is how many pods were seen, and how many more pods fit before the limit that is met first: one
// line. It is "" where that is not known.
func PodRoomText(p *reporter.PodRoom) string {
	if p == nil || len(p.Limits) == 0 {
		return ""
	}
	r := p.Limits[0]
	about := "about"
	if r.AtLeast {
		about = "at least"
	}
	more := fmt.Sprintf("%s %d more like %s fit", about, r.More, itOrThem(p.Pods))
	if r.More == 0 {
		more = fmt.Sprintf("no more like %s fits", itOrThem(p.Pods))
	}
	line := fmt.Sprintf("%d seen; %s before %s (%s)", p.Pods, more, ResourceKey(r.Resource), limitText(r.Limit))
	if r.Owner != nil {
		line += fmt.Sprintf(" of uid %d", r.Owner.UID)
	}
	if r.MoreBelowCeiling != nil && r.Ceiling > r.Limit {
		line += fmt.Sprintf(", and %d before its ceiling (%s)", *r.MoreBelowCeiling, limitText(r.Ceiling))
	}
	return line
}

func itOrThem(n int) string {
	if n == 1 {
		return "it"
	}
	return "them"
}
