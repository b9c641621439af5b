package text

import (
	"fmt"
	"io"
	"strings"

	"github.com/nodetune/nodetune/internal/safetext"
	"github.com/nodetune/nodetune/reporter/diagnosis"
	"github.com/nodetune/nodetune/sysctl"
	"github.com/nodetune/nodetune/sysctl/sysctld"
)

// ExplainTable writes e for people: one key in full, several in a line each.
func ExplainTable(w io.Writer, e diagnosis.Explanation, colour bool) error {
	var b strings.Builder
	pausedLine(&b, e.Paused, colour)
	if len(e.Keys) == 1 {
		explainKey(&b, e.Keys[0], colour)
	} else {
		explainKeys(&b, e.Keys, colour)
	}
	for _, p := range e.Problems {
		fmt.Fprintf(&b, "%s %s\n", paint(colour, yellow, "warning:"), safetext.String(p.String()))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func explainKeys(b *strings.Builder, keys []diagnosis.KeyExplanation, colour bool) {
	rows := [][]cell{{{text: "KEY"}, {text: "VALUE"}, {text: "WANT"}, {text: "KERNEL DEFAULT"}, {text: "NEXT BOOT: SYSTEMD-SYSCTL"}, {text: "PROCPS"}}}
	for _, k := range keys {
		row := []cell{{text: string(k.Key)}, {text: runningText(k)}, {text: wantText(k.Rule)}, {text: defaultText(k)}}
		for _, v := range k.Boot {
			row = append(row, bootCell(v))
		}
		rows = append(rows, row)
	}
	writeRows(b, rows, colour)
	fmt.Fprint(b, "\nnodetune explain KEY shows the reason, and what else would set it.\n")
}

func bootCell(v diagnosis.BootValue) cell {
	by := "not set"
	if v.Winner != nil {
		by = safetext.String(v.By)
	}
	c := cell{text: by}
	if v.Value.Known() {
		c.text = v.Value.String() + " (" + by + ")"
	}
	if !v.Satisfied {
		c.paint = yellow
	}
	return c
}

func runningText(k diagnosis.KeyExplanation) string {
	if !k.Value.Known() {
		return "-"
	}
	return k.Value.String()
}

func defaultText(k diagnosis.KeyExplanation) string {
	switch {
	case !k.KernelDefault.Known():
		return "-"
	case k.Computed:
		return "about " + k.KernelDefault.String()
	}
	return k.KernelDefault.String()
}

func explainKey(b *strings.Builder, k diagnosis.KeyExplanation, colour bool) {
	fmt.Fprintf(b, "%s\n", k.Key)
	rows := [][]cell{}
	row := func(name, format string, args ...any) {
		rows = append(rows, []cell{{text: "  " + name}, {text: fmt.Sprintf(format, args...)}})
	}
	if k.Error != "" {
		row("running value", "%s", safetext.String(k.Error))
	} else {
		row("running value", "%s", k.Value)
	}
	switch k.Op {
	case sysctl.AtLeast:
		row("floor", "%s: %s", k.Want, k.Why)
	case sysctl.Report:
		row("rule", "%s", k.Why)
	default:
		row("rule", "%s: %s", wantText(k.Rule), k.Why)
	}
	if k.KernelDefault.Known() {
		how := "on every machine"
		if k.Computed {
			how = "computed from this machine's memory, right to some percent"
		}
		row("kernel default", "%s, %s", k.KernelDefault, how)
	}
	for _, v := range k.Boot {
		explainBoot(row, v)
	}
	explainSources(row, k)
	for i, c := range k.Memory {
		if i == 0 {
			row("kernel memory", "if a user used all of %s:", c.Units)
		}
		row("", "%s", c)
	}
	if k.Breaks != "" {
		row("what breaks", "%s", k.Breaks)
	}
	writeRows(b, rows, colour)
}

func explainBoot(row func(name, format string, args ...any), v diagnosis.BootValue) {
	short := ""
	if !v.Satisfied {
		short = "; short of the rule"
	}
	name := "next boot, " + string(v.Loader)
	switch {
	case v.Winner != nil:
		row(name, "%s, set by %s%s", v.Value, safetext.String(v.By), short)
	case v.Value.Known():
		row(name, "%s, no file sets it: %s%s", v.Value, v.By, short)
	default:
		row(name, "no file sets it")
	}
	for _, s := range v.Others {
		row("", "%s", dispositionText(s))
	}
}

// explainSources lists what sets the key beside the files of sysctl.d.
func explainSources(row func(name, format string, args ...any), k diagnosis.KeyExplanation) {
	for _, s := range k.Cmdline {
		row("command line", "%s", dispositionText(s))
	}
	if k.Tuned != nil {
		last := k.Tuned.Lines[len(k.Tuned.Lines)-1]
		row("TuneD", "the active profile %s %s: %s", safetext.String(k.Tuned.Profile), tunedText(last), safetext.String(last.String()))
		for _, s := range k.Tuned.Lines[:len(k.Tuned.Lines)-1] {
			row("", "%s", dispositionText(s))
		}
		for _, p := range k.Tuned.Problems {
			row("", "not known: %s", safetext.String(p))
		}
	}
	for i, s := range k.Commands {
		name := ""
		if i == 0 {
			name = "commands"
		}
		row(name, "%s: %s (%s)", safetext.String(s.String()), safetext.String(s.Key), safetext.String(s.Reason))
	}
	if k.Guard != "" {
		row("guard", "%s", guardText(k.Guard, k.GuardReason))
	}
	if k.LoweredBy != "" {
		row("writers", "%s", safetext.String(k.LoweredBy))
	}
	if k.SourceUnknown {
		row("source", "no known source gives the running value: an initramfs, a unit, a container or a program may set it")
	}
}

func tunedText(s sysctld.Setting) string {
	value := safetext.String(s.Value)
	switch {
	case s.Disposition == sysctld.Refused:
		return "sets " + value + ", which the kernel refuses"
	case s.Disposition != sysctld.Wins:
		return "does not set it"
	case s.Reason != "":
		return "sets " + value + ", " + s.Reason
	case s.Modifier == ">":
		return "raises it to " + value + " and never lowers it"
	case s.Modifier == "<":
		return "lowers it to " + value + " and never raises it"
	}
	return "sets " + value
}

// dispositionText is what happens to a line that does not win.
func dispositionText(s sysctld.Setting) string {
	line := fmt.Sprintf("%s: %s", s.Place, s.Key)
	if s.Value != "" {
		line += " = " + s.Value
	}
	line += " (" + string(s.Disposition)
	switch {
	case s.Disposition == sysctld.Refused:
		line += " by the kernel"
	case s.By != "" && s.Disposition == sysctld.Spared:
		line += ": the key is named by " + s.By
	case s.By != "" && s.Disposition == sysctld.Repeats:
		line += " " + s.By
	case s.By != "":
		line += " by " + s.By
	}
	if s.Reason != "" {
		line += ": " + s.Reason
	}
	return safetext.String(line + ")")
}
