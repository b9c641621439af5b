package text

import (
	"github.com/nodetune/nodetune/disk"
	"github.com/nodetune/nodetune/internal/safetext"
	"github.com/nodetune/nodetune/reporter"
)

// agentFindings are the troubles of the agent that one look cannot see, by kind: what the
// verdict says, and the command that shows more. The command is not the agent's own:
// whoever answers in its place must not choose what is pasted into a shell.
var agentFindings = map[string]struct{ sentence, next string }{
	"failing_calls":     {"Calls of inotify fail.", "sudo nodetune top"},
	"disk":              {"A filesystem with logs is short of space.", "sudo nodetune disk reclaim --until 80% --dry-run"},
	"log_storm":         {"A program writes far more logs than the others.", "sudo nodetune disk"},
	"collector_stalled": {"A log collector is stalled.", "sudo nodetune disk"},
	"pass_failed":       {"A pass of the agent fails.", "sudo nodetune check --verbose"},
	"pass_stale":        {"A pass of the agent does not end.", "sudo nodetune check --verbose"},
}

// agentTroubles are those of the agent that s itself does not show.
func agentTroubles(s reporter.Snapshot) (all []reporter.AgentTrouble) {
	for _, t := range s.Agent {
		u := s.Disk.Value
		_, known := agentFindings[t.Kind]
		switch {
		case !known:
		case t.Kind == "disk" && u.Pressure.Severity == disk.Bad, t.Kind == "collector_stalled" && u.Reading.Severity == disk.Bad:
		default:
			all = append(all, t)
		}
	}
	return all
}

func agentNotes(s reporter.Snapshot) (all []note) {
	for _, t := range agentTroubles(s) {
		n := note{unmet, "agent:", safetext.String(t.Summary)}
		if t.Critical {
			n.urgency = failing
		}
		if t.Cause != "" {
			n.text += "\n    " + safetext.String(t.Cause)
		}
		all = append(all, n)
	}
	return all
}
