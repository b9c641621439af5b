package agent

import (
	"log/slog"
	"slices"

	"github.com/nodetune/nodetune/sysctl"
)

// logSysctl logs what differs from the previous pass. A pass that changes
// nothing logs nothing.
func logSysctl(log *slog.Logger, prev, next sysctl.PassResult) {
	before := make(map[sysctl.Key]sysctl.Status, len(prev.Rules))
	for _, s := range prev.Rules {
		before[s.Key] = s
	}
	for _, d := range sysctl.Drifts(prev, next) {
		log.Info("another program changed a sysctl", "key", d.Key, "from", d.From.String(), "to", d.To.String())
	}
	for _, s := range next.Rules {
		was, known := before[s.Key]
		if s.Changed {
			log.Info("wrote a sysctl", "key", s.Key, "from", s.Before.String(), "to", s.Value.String(), "why", s.Why)
		}
		switch {
		case known && was.Outcome == s.Outcome:
		case !s.Satisfied():
			log.Warn("sysctl rule is not in force", "key", s.Key, "outcome", s.Outcome, "reason", s.Reason)
		case known:
			log.Info("sysctl rule is in force again", "key", s.Key, "value", s.Value.String())
		}
	}
	switch {
	case next.Paused != "" && prev.Paused == "":
		log.Warn("paused; remove the file to resume", "file", next.Paused)
	case next.Paused == "" && prev.Paused != "":
		log.Info("resumed")
	}
	for _, w := range next.Warnings {
		if !slices.Contains(prev.Warnings, w) {
			log.Warn("sysctl warning", "warning", w)
		}
	}
}
