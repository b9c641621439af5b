package page

import (
	"fmt"
	"html/template"
	"strconv"
	"strings"
	"time"

	"github.com/nodetune/nodetune/inotify"
	"github.com/nodetune/nodetune/internal/field"
	"github.com/nodetune/nodetune/reporter"
	"github.com/nodetune/nodetune/reporter/text"
	"github.com/nodetune/nodetune/sysctl"
)

// words are how the template writes figures.
var words = template.FuncMap{
	"act": actOf, "ago": ago, "bar": bar, "clock": clock, "count": text.FormatCount, "limit": limitText, "of": containersText, "optional": optional,
	"percent": percent, "rate": rateText, "seconds": secondsText, "share": share, "size": field.Size, "stamp": stamp,
	"trend": trend, "value": valueText, "want": wantText,
	"words": func(s string) string { return strings.ReplaceAll(s, "_", " ") },
}

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") }

// clock is the time of day, with the date on another day than at.
func clock(at, t time.Time) string {
	at, t = at.UTC(), t.UTC()
	if at.YearDay() == t.YearDay() && at.Year() == t.Year() {
		return t.Format("15:04:05")
	}
	return t.Format("01-02 15:04")
}

func ago(at, t time.Time) string {
	if d := at.Sub(t); d >= 2*time.Second {
		return text.HumanDuration(d) + " ago"
	}
	return "now"
}

// bar is a share as a picture. Its figure stands beside it, so it is hidden from
// screen readers. Widths are attributes: the page allows no style attribute.
func bar(s State, percent float64) template.HTML {
	if _, ok := rank[s]; !ok {
		s = Unknown
	}
	width := int(min(max(percent, 0), 100))
	return template.HTML(fmt.Sprintf(`<svg class="%s" viewBox="0 0 100 1" preserveAspectRatio="none" aria-hidden="true"><rect width="%d" height="1"/></svg>`, s, width)) //nolint:gosec // one of six words, and a number
}

func share(percent float64) string { return fmt.Sprintf("%.0f %%", floor(percent)) }

func percent(l Limit) string {
	if l.Quality == inotify.Unknown || l.Limit < 0 {
		return "?"
	}
	return share(l.Percent)
}

func optional(percent *float64) string {
	if percent == nil {
		return "-"
	}
	return share(*percent)
}

// limitText is a limit. Beyond 100 million the digits do not matter.
func limitText(l inotify.Limit) string {
	switch {
	case l < 0:
		return "-"
	case l < 100_000_000:
		return strconv.FormatInt(int64(l), 10)
	}
	return strconv.FormatFloat(float64(l), 'e', 0, 64)
}

func valueText(v sysctl.Value) string {
	if !v.Known() {
		return "-"
	}
	return limitText(inotify.Limit(v))
}

func wantText(s Setting) string {
	switch {
	case s.Op == sysctl.Report || !s.Want.Known():
		return "-"
	case s.Op == sysctl.AtLeast:
		return "≥ " + valueText(s.Want)
	}
	return valueText(s.Want)
}

// trend is the growth per hour; "-" where it is not known.
func trend(perHour *float64) string {
	switch {
	case perHour == nil:
		return "-"
	case *perHour > -1 && *perHour < 1:
		return "steady"
	}
	return fmt.Sprintf("%+.0f/h", *perHour)
}

func rateText(v *float64) string {
	switch {
	case v == nil:
		return "-"
	case *v < 0:
		return "-" + field.Size(uint64(min(-*v, 1e18))) + "/s"
	}
	return field.Size(uint64(min(*v, 1e18))) + "/s"
}

func secondsText(s *float64) string {
	switch {
	case s == nil || *s < 0:
		return "-"
	case *s < 1:
		return "now"
	}
	return text.HumanDuration(time.Duration(min(*s, 1e9)) * time.Second)
}

func containersText(n, of *int) string {
	if n == nil || of == nil {
		return "-"
	}
	return fmt.Sprintf("%d of %d", *n, *of)
}

// actText is what was done. The verb stands before a path, of which it is the verb.
func actText(a reporter.Act) string {
	s := string(a.Kind) + " " + a.What
	switch a.Kind {
	case reporter.ActCondition, reporter.ActPause, reporter.ActResume, reporter.ActReload:
		s = a.What
	case reporter.ActUndoDrift:
		s = "raise again " + a.What
	case reporter.ActRaiseNOFILE:
		s = "raise " + a.What
	}
	switch {
	case a.Failed && (a.Kind == reporter.ActRaise || a.Kind == reporter.ActRaiseNOFILE || a.Kind == reporter.ActReload):
		return a.What // a sentence of its own
	case a.Failed:
		return "failed: " + s
	}
	return s
}

// actOf takes an act, or a pointer to one.
func actOf(a any) string {
	if p, ok := a.(*reporter.Act); ok {
		return actText(*p)
	}
	return actText(a.(reporter.Act))
}
