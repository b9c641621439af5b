package agent

import (
	"fmt"
	"strings"
	"time"

	"github.com/nodetune/nodetune/internal/safetext"
	"github.com/nodetune/nodetune/sysctl"
	"github.com/nodetune/nodetune/sysctl/sysctld"
)

// conflictEvidence finds what on this host asks for another value of a contested key:
// lines of sysctl.d, which package scripts apply again by restarting
// systemd-sysctl, and the active TuneD profile.
type conflictEvidence struct {
	rootfs string
	cached map[sysctl.Key]limitSetter
}

type limitSetter struct {
	text string
	at   time.Time
}

// evidenceMaxAge is how long a finding is used. Reading sysctl.d and a TuneD
// profile takes some milliseconds, which is nothing once in ten minutes.
const evidenceMaxAge = 10 * time.Minute

// about returns what was found about rule, in words. writers are those that the
// guard saw, or "": they did it, and a file only may have.
func (e *conflictEvidence) about(rule sysctl.Rule, writers string, now time.Time) string {
	asks := e.ofFiles(rule, now)
	switch {
	case writers == "" && asks == "":
		return "no sysctl.d file or TuneD profile of this host asks for that: look for an init container or a script"
	case writers == "":
		return asks
	case asks == "":
		return writers
	}
	return writers + "; " + asks
}

func (e *conflictEvidence) ofFiles(rule sysctl.Rule, now time.Time) string {
	if f, ok := e.cached[rule.Key]; ok && now.Sub(f.at) < evidenceMaxAge {
		return f.text
	}
	text := settersOf(e.rootfs, rule)
	if e.cached == nil {
		e.cached = make(map[sysctl.Key]limitSetter)
	}
	e.cached[rule.Key] = limitSetter{text, now}
	return text
}

// settersOf names every line on the host below root that asks for a value which
// does not satisfy rule. It is "" where none does.
func settersOf(root string, rule sysctl.Rule) string {
	var asks []string
	add := func(s sysctld.Setting, by string) {
		if rule.SatisfiedBy(s.Number()) {
			return
		}
		line := fmt.Sprintf("%s sets it to %s", safetext.String(s.String()), safetext.String(s.Value))
		if by != "" {
			line += " (" + safetext.String(by) + ")"
		}
		for _, other := range asks {
			if strings.HasPrefix(line, other) || strings.HasPrefix(other, line) {
				return // both loaders read most files alike
			}
		}
		asks = append(asks, line)
	}
	path := rule.Key.Path()
	if tuned, err := sysctld.ReadTuned(root, path); err == nil && tuned != nil {
		for _, s := range tuned.Lines {
			// A line with ">" never lowers a value, one with "<" only to its own.
			if s.Disposition == sysctld.Wins && s.Modifier != ">" && s.Number().Known() {
				add(s, "TuneD profile "+tuned.Profile)
			}
		}
	}
	for _, loader := range sysctld.Loaders {
		boot, err := sysctld.Read(root, loader, path)
		if err != nil {
			continue // evidence, and no verdict
		}
		if w := boot.Resolve(path).Winner; w != nil {
			add(*w, "")
		}
	}
	return strings.Join(asks, ", ")
}
