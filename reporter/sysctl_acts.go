package reporter

import (
	"fmt"
	"time"

	"github.com/nodetune/nodetune/sysctl"
)

// SysctlActs returns what the pass next did, which follows prev. loweredBy names
// who lowered a key lately, or returns "". It is pure.
func SysctlActs(prev, next sysctl.PassResult, loweredBy func(sysctl.Key) string, now time.Time) []Act {
	before := make(map[sysctl.Key]sysctl.Status, len(prev.Rules))
	for _, s := range prev.Rules {
		before[s.Key] = s
	}
	var acts []Act
	for _, s := range next.Rules {
		was, known := before[s.Key]
		switch {
		case s.Changed:
			acts = append(acts, changeAct(was, known, s, loweredBy, now))
		case (s.Outcome == sysctl.Refused || s.Outcome == sysctl.Failed) && s.Op != sysctl.Report && (!known || was.Outcome != s.Outcome):
			acts = append(acts, Act{
				At: now, Kind: ActRaise, On: string(s.Key), Failed: true,
				What: fmt.Sprintf("could not set %s to %s; it is %s", s.Key, s.Want, s.Value), Why: s.Reason,
			})
		}
	}
	switch {
	case next.Paused != "" && prev.Paused == "":
		acts = append(acts, Act{At: now, Kind: ActPause, On: next.Paused, What: "paused: nodetune writes nothing", Why: next.Paused + " exists"})
	case next.Paused == "" && prev.Paused != "":
		acts = append(acts, Act{At: now, Kind: ActResume, On: prev.Paused, What: "resumed", Why: prev.Paused + " was removed"})
	}
	return acts
}

// changeAct is a value that was written.
func changeAct(was sysctl.Status, known bool, s sysctl.Status, loweredBy func(sysctl.Key) string, now time.Time) Act {
	a := Act{At: now, Kind: ActRaise, On: string(s.Key), What: fmt.Sprintf("%s: %s → %s", s.Key, s.Before, s.Value), Why: s.Why}
	switch {
	case s.Value < s.Before:
		a.Kind = ActSet
	case known && was.Value.Known() && s.Before < was.Value:
		a.Kind, a.Why = ActUndoDrift, fmt.Sprintf("another program had lowered it from %s", was.Value)
		if by := loweredBy(s.Key); by != "" {
			a.Why = by
		}
	}
	return a
}
