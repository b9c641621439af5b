package text

import (
	"fmt"

	"github.com/nodetune/nodetune/reporter"
)

// StatusLine is the state of the node in one line, for systemctl status.
func StatusLine(s reporter.Snapshot) string {
	switch {
	case s.Sysctl.Err != nil:
		return "cannot read the kernel's settings: " + s.Sysctl.Err.Error()
	case s.Sysctl.At.IsZero():
		return "starting"
	}
	o := s.Sysctl.Value
	unmet := o.Unsatisfied()
	line := fmt.Sprintf("%d of %d rules in force", len(o.Rules)-len(unmet), len(o.Rules))
	if len(unmet) > 0 {
		line += fmt.Sprintf(", %s is %s", unmet[0].Key, unmet[0].Outcome)
	}
	if o.Paused != "" {
		line = "paused by " + o.Paused + ": " + line
	}
	if u := s.Inotify.Value; s.Inotify.Err == nil && len(u.Accounts) > 0 {
		a := u.Accounts[0]
		line += fmt.Sprintf(", uid %d uses %d of %d inotify instances", a.UID, a.Instances, a.InstancesLimit)
	}
	return line
}
