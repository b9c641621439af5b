package text

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/nodetune/nodetune/disk"
	"github.com/nodetune/nodetune/inotify"
	"github.com/nodetune/nodetune/internal/field"
	"github.com/nodetune/nodetune/reporter"
	"github.com/nodetune/nodetune/sysctl"
)

// wrong is a sentence of the verdict, with the command to run next.
type wrong struct {
	urgency        urgency
	sentence, next string
}

// verdict sums s up in a line or two, with the command to run next for the most
// urgent of what is wrong, run by command. The order is that of the node's page.
func verdict(s reporter.Snapshot, command string) string {
	var all []wrong
	add := func(u urgency, sentence, next string) {
		if sentence != "" && !slices.ContainsFunc(all, func(w wrong) bool { return w.sentence == sentence }) {
			all = append(all, wrong{u, sentence, next})
		}
	}
	add(failing, failedSections(s), "nodetune check --verbose")
	if s.Disk.Err == nil {
		u := s.Disk.Value
		if u.Pressure.Severity == disk.Bad {
			add(failing, "A filesystem with logs is short of space.", "sudo nodetune disk reclaim --until 80% --dry-run")
		}
		if u.Reading.Severity == disk.Bad {
			add(failing, "A log collector is stalled.", "sudo nodetune disk")
		}
	}
	sentence, next := limitsVerdict(s.Sysctl.Value)
	add(unmet, sentence, next)
	if s.Inotify.Err == nil {
		sentence, next := pressureVerdict(s.Inotify.Value)
		add(unmet, sentence, next)
	}
	for _, t := range agentTroubles(s) {
		u := unmet
		if t.Critical {
			u = failing
		}
		add(u, agentFindings[t.Kind].sentence, agentFindings[t.Kind].next)
	}
	if s.Inotify.Err == nil && s.Inotify.Value.Unseen != "" {
		add(unknown, "Not everything could be seen.", "sudo nodetune check")
	}
	slices.SortStableFunc(all, func(a, b wrong) int { return cmp.Compare(a.urgency, b.urgency) })
	if len(all) > 0 {
		var sentences []string
		for _, w := range all {
			sentences = append(sentences, w.sentence)
		}
		return strings.Join(sentences, " ") + " Next: " + runBy(command, all[0].next)
	}
	if enforced(s.Sysctl.Value) == 0 {
		return "None of the limits exists below /proc/sys as nodetune sees it."
	}
	if enforced(s.Sysctl.Value) == 1 {
		return "The limit is in force."
	}
	return fmt.Sprintf("All %d limits are in force.", enforced(s.Sysctl.Value))
}

// runBy is the line next where nodetune is run by command: a pod has no sudo, and its node
// no nodetune.
func runBy(command, next string) string {
	if command == "" {
		return next
	}
	if args, ok := strings.CutPrefix(next, "nodetune "); ok {
		return command + " " + args
	}
	return strings.ReplaceAll(next, "sudo nodetune", command)
}

func failedSections(s reporter.Snapshot) string {
	var names []string
	for _, section := range []struct {
		name string
		err  error
	}{{"sysctl", s.Sysctl.Err}, {"inotify", s.Inotify.Err}, {"disk", s.Disk.Err}} {
		if section.err != nil {
			names = append(names, section.name)
		}
	}
	if len(names) == 0 {
		return ""
	}
	return "Could not be read: " + strings.Join(names, ", ") + "."
}

// enforced counts the rules that nodetune enforces and the kernel has.
func enforced(r sysctl.PassResult) int {
	n := 0
	for _, s := range r.Rules {
		if s.Op != sysctl.Report && s.Outcome != sysctl.Absent {
			n++
		}
	}
	return n
}

func limitsVerdict(r sysctl.PassResult) (sentence, next string) {
	short := r.Unsatisfied()
	if len(short) == 0 {
		return "", ""
	}
	what := "below their floor"
	next = "sudo nodetune apply"
	if r.Paused != "" {
		next = "sudo rm " + r.Paused + ", then sudo nodetune apply"
	}
	for _, s := range short {
		if s.Op != sysctl.AtLeast {
			what = "not as wanted"
		}
		if s.Outcome != sysctl.Drifted { // another apply would not help
			what, next = "not as wanted", "nodetune explain "+string(s.Key)
		}
	}
	verb := "are"
	if len(short) == 1 {
		verb, what = "is", strings.Replace(what, "their", "its", 1)
	}
	return fmt.Sprintf("%d of %s %s %s.", len(short), field.Count(enforced(r), "limit", "limits"), verb, what), next
}

// pressureVerdict counts the limits of the node first: those that a process set
// for itself or its user namespace concern that process.
func pressureVerdict(u inotify.Usage) (sentence, next string) {
	node, own, pid := 0, 0, 0
	for _, f := range u.Findings {
		switch {
		case !f.Pressure:
		case f.Resource != inotify.NOFILE && f.OfNode():
			node++
		default:
			own++
			if pid == 0 && f.Top != nil {
				pid = f.Top.PID
			}
		}
	}
	next = "sudo nodetune top"
	if node == 0 && pid > 0 {
		next = fmt.Sprintf("sudo nodetune why %d", pid)
	}
	switch {
	case node > 0:
		return field.Count(node, "limit of the node is", "limits of the node are") + " nearly used up.", next
	case own > 0:
		return field.Count(own, "limit of a process or its user namespace is", "limits of processes or their user namespaces are") + " nearly used up.", next
	}
	return "", ""
}
