package text

import (
	"fmt"
	"strings"

	"github.com/nodetune/nodetune/internal/safetext"
	"github.com/nodetune/nodetune/reporter"
)

// largerMachine is what a file of sysctl.d can do wrong.
const largerMachine = "sysctl.d sets a value and cannot raise one: a larger machine that boots this disk could be lowered by this file. " +
	"'nodetune apply' at boot only raises; it is the true floor."

func persistedTable(b *strings.Builder, p *reporter.Persisted, colour bool) {
	fmt.Fprintf(b, "\nnext boot: %s %s", p.File, strings.ToLower(string(p.Outcome)))
	if p.Reason != "" {
		fmt.Fprintf(b, ": %s", safetext.String(p.Reason))
	}
	b.WriteByte('\n')
	for _, k := range p.Keys {
		if k.Write.Known() {
			fmt.Fprintf(b, "  %s = %s", k.Key, k.Write)
		} else {
			fmt.Fprintf(b, "  %s is left out", k.Key)
		}
		if k.Reason != "" {
			fmt.Fprintf(b, ": %s", safetext.String(k.Reason))
		}
		b.WriteByte('\n')
	}
	warn := func(format string, args ...any) {
		fmt.Fprintf(b, "%s %s\n", paint(colour, yellow, "warning:"), safetext.String(fmt.Sprintf(format, args...)))
	}
	for _, k := range p.Keys {
		for _, d := range k.Overrides {
			warn("%s: %s; change that line, or run 'nodetune apply' at boot", k.Key, d)
		}
	}
	for _, problem := range p.Problems {
		warn("%s", problem)
	}
	if p.Content != nil && p.Outcome != reporter.FileFailed {
		warn("%s", largerMachine)
	}
}
