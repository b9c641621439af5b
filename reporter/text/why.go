package text

import (
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/nodetune/nodetune/inotify"
	"github.com/nodetune/nodetune/internal/safetext"
	"github.com/nodetune/nodetune/internal/workload"
	"github.com/nodetune/nodetune/reporter/diagnosis"
)

// DiagnosisTable writes d for people.
func DiagnosisTable(w io.Writer, d diagnosis.Diagnosis, colour bool) error {
	var b strings.Builder
	pausedLine(&b, d.Paused, colour)
	p := d.Process
	fmt.Fprintf(&b, "%d %s, uid %d", p.PID, safetext.String(p.Comm), p.UID)
	if who := workload.Name(p.Namespace, p.Pod, p.Container, p.Unit); who != "" {
		fmt.Fprintf(&b, ", %s", who)
	}
	sgr := ""
	if d.Reached {
		sgr = red
	}
	fmt.Fprintf(&b, "\n%s\n\n", paint(colour, sgr, d.Summary))
	rows := [][]cell{{{text: "LIMIT"}, {text: "OF"}, {text: "USED"}, {text: "LIMIT"}, {text: "%"}, {text: "ERRNO"}, {text: "MOST HELD BY"}}}
	for _, l := range d.Limits {
		of, _, _ := strings.Cut(l.Of, ",")
		held := consumersText(l.TopConsumers)
		if l.Exempt != "" {
			held = "does not apply to it: " + l.Exempt
		}
		rows = append(rows, []cell{
			{text: l.Setting},
			{text: of},
			{text: FormatCount(l.Used, l.Quality), paint: severityColor(l.Percent)},
			{text: limitText(l.Limit)},
			{text: shareText(l.Used, l.Quality, l.Limit)},
			{text: strconv.Itoa(l.Errno) + " " + l.Error},
			{text: held},
		})
	}
	writeRows(&b, rows, colour)
	if len(d.Advice) > 0 {
		fmt.Fprintf(&b, "\n%s\n", paint(colour, green, "What helps"))
		for _, a := range d.Advice {
			fmt.Fprintf(&b, "  %s\n", a)
		}
	}
	gaps(&b, d.Unknown)
	_, err := io.WriteString(w, b.String())
	return err
}

func consumersText(holders []diagnosis.TopConsumer) string {
	var all []string
	for _, h := range holders {
		all = append(all, fmt.Sprintf("%s[%d] %d", safetext.String(h.Comm), h.PID, h.Used))
	}
	return strings.Join(all, ", ")
}

func limitText(l inotify.Limit) string {
	if l < 0 {
		return "?"
	}
	return strconv.FormatInt(int64(l), 10)
}

// percentText rounds down: 100% means that the limit is reached.
func percentText(used int64, l inotify.Limit) string {
	if l < 0 {
		return ""
	}
	return strconv.FormatInt(int64(l.Percent(used)), 10) + "%"
}

// shareText is percentText of a figure that may be unknown, of which there is
// no share.
func shareText(used int64, q inotify.Quality, l inotify.Limit) string {
	if q == inotify.Unknown {
		return ""
	}
	return percentText(used, l)
}

// gaps lists what could not be known, with the reason.
func gaps(b *strings.Builder, all []inotify.Gap) {
	for i, g := range all {
		if i == 0 {
			b.WriteString("\nNot known\n")
		}
		fmt.Fprintf(b, "  %s\n", GapText(g))
	}
}
