package top

import (
	"fmt"
	"strings"

	"github.com/nodetune/nodetune/internal/safetext"
	"github.com/nodetune/nodetune/internal/workload"
	"github.com/nodetune/nodetune/reporter/diagnosis"
	"github.com/nodetune/nodetune/reporter/text"
)

// diagnosisPage is the diagnosis of `nodetune why`, with two lines for each limit
// instead of a table, so that it fits a narrow screen.
func diagnosisPage(d diagnosis.Diagnosis) string {
	var b strings.Builder
	p := d.Process
	fmt.Fprintf(&b, "$ nodetune why %d\n%s, uid %d", p.PID, safetext.String(p.Comm), p.UID)
	if who := workload.Name(p.Namespace, p.Pod, p.Container, p.Unit); who != "" {
		fmt.Fprintf(&b, ", %s", who)
	}
	fmt.Fprintf(&b, "\n%s\n", d.Summary)
	if d.Paused != "" {
		fmt.Fprintf(&b, "paused: %s exists, so nodetune writes nothing\n", safetext.String(d.Paused))
	}
	for _, l := range d.Limits {
		limitLines(&b, l)
	}
	if len(d.Advice) > 0 {
		b.WriteString("\nWhat helps\n")
		for _, a := range d.Advice {
			fmt.Fprintf(&b, "- %s\n", a)
		}
	}
	if len(d.Unknown) > 0 {
		b.WriteString("\nNot known\n")
		for _, g := range d.Unknown {
			fmt.Fprintf(&b, "- %s\n", text.GapText(g))
		}
	}
	return strings.TrimRight(b.String(), "\n")
}

func limitLines(b *strings.Builder, l diagnosis.LimitUse) {
	use := strings.TrimSpace(limitBar(l.Limit, l.Used) + " " + of(l.Used, l.Limit, l.Quality) + " " + percent(l.Limit, l.Used))
	fmt.Fprintf(b, "\n%s %s of %s\n  %s  %d %s", mark(l.Percent), l.Setting, l.Of, use, l.Errno, l.Error)
	var held []string
	for _, c := range l.TopConsumers {
		held = append(held, fmt.Sprintf("%s[%d] %d", safetext.String(c.Comm), c.PID, c.Used))
	}
	switch {
	case l.Exempt != "":
		fmt.Fprintf(b, "  does not apply to it: %s", l.Exempt)
	case len(held) > 0:
		fmt.Fprintf(b, "  most: %s", strings.Join(held, ", "))
	}
	b.WriteString("\n")
}
