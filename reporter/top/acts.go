package top

import (
	"context"
	"strconv"
	"strings"
	"time"

	"github.com/nodetune/nodetune/internal/safetext"
	"github.com/nodetune/nodetune/reporter"
	"github.com/nodetune/nodetune/reporter/text"
)

// ReadActs returns the last acts of the agent that runs on this host, the latest
// first.
type ReadActs func(context.Context) ([]reporter.Act, error)

// acts are what the agent did, as it answered last.
type acts struct {
	all  []reporter.Act
	err  error
	read bool
}

// maxActs is what an agent remembers.
const maxActs = 200

// actItems are the lines of the tab of acts.
func (m *model) actItems() (all []item) {
	switch {
	case m.sources.Acts == nil:
		return []item{{line: "not read here"}}
	case !m.acts.read:
		return []item{{line: "reading …"}}
	case m.acts.err != nil:
		return []item{{line: safetext.String(m.acts.err.Error())}}
	case len(m.acts.all) == 0:
		return []item{{line: "the agent has done nothing since it started"}}
	}
	for _, a := range m.acts.all[:min(len(m.acts.all), maxActs)] {
		i := item{line: m.actLine(actTime(a.At, m.now), safetext.String(a.On), actText(a, m.width >= 60)), page: actPage(a)}
		if a.Failed {
			i.heat = text.HotPercent
		}
		all = append(all, i)
	}
	return all
}

// actLine gives up the column of what was acted upon below 60 columns.
func (m *model) actLine(at, on, what string) string {
	if m.width < 60 {
		return left(at, 8) + " " + what
	}
	return left(at, 11) + " " + left(on, min(40, m.width/3)) + " " + what
}

// actTime is the time of day, with the date where that is another day.
func actTime(at, now time.Time) string {
	at = at.Local()
	if now.Sub(at) < 24*time.Hour && at.Day() == now.Local().Day() {
		return at.Format(time.TimeOnly)
	}
	return at.Format("01-02 15:04")
}

// actText does not repeat what was acted upon, which has a column of its own.
func actText(a reporter.Act, onShown bool) string {
	s := safetext.String(a.What)
	if on := safetext.String(a.On); onShown && on != "" {
		s = strings.TrimLeft(strings.TrimPrefix(s, on), ": ")
	}
	if a.Failed {
		s = "failed: " + s
	}
	if a.Count > 1 {
		s += ", " + strconv.Itoa(a.Count) + " times"
	}
	if a.Why != "" {
		s += ": " + safetext.String(a.Why)
	}
	return s
}

// actPage is all of an act.
func actPage(a reporter.Act) string {
	var b strings.Builder
	line := func(name, value string) {
		if value != "" {
			b.WriteString(left(name, 8) + safetext.String(value) + "\n")
		}
	}
	result := "done"
	if a.Failed {
		result = "failed"
	}
	line("act", string(a.Kind)+", "+result)
	line("on", a.On)
	line("what", a.What)
	line("why", a.Why)
	line("at", a.At.Local().Format(time.DateTime))
	if a.Count > 1 {
		line("times", strconv.Itoa(a.Count)+" since "+a.First.Local().Format(time.DateTime))
	}
	return strings.TrimSuffix(b.String(), "\n")
}
