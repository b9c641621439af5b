package recommend

import (
	"fmt"
	"io"
	"strings"

	"github.com/nodetune/nodetune/internal/safetext"
	"github.com/nodetune/nodetune/reporter"
)

// WriteConfiguration writes r as a configuration file. Each rule has its evidence
// as comments.
func WriteConfiguration(w io.Writer, r Recommendation) error {
	return write(w, r, "apiVersion: "+reporter.APIVersion+"\nkind: Configuration\n", "")
}

// WriteValues writes r as a values file of the chart.
func WriteValues(w io.Writer, r Recommendation) error {
	return write(w, r, "config:\n", "  ")
}

func write(w io.Writer, r Recommendation, head, indent string) error {
	var b strings.Builder
	fmt.Fprintf(&b, "# nodetune recommend; reports: %d\n", r.Reports)
	for _, key := range keys {
		if why, ok := r.Omitted[key]; ok {
			fmt.Fprintf(&b, "# no rule for %s: %s\n", key, safetext.String(why))
		}
	}
	b.WriteString(head)
	if len(r.Rules) == 0 {
		b.WriteString(indent + "sysctl: {}\n")
	} else {
		b.WriteString(indent + "sysctl:\n" + indent + "  rules:\n")
	}
	for _, rule := range r.Rules {
		for _, e := range rule.Evidence {
			fmt.Fprintf(&b, "%s    # %s\n", indent, safetext.String(e))
		}
		fmt.Fprintf(&b, "%[1]s    - key: %[2]s\n%[1]s      atLeast: %[3]d\n%[1]s      ceiling: %[4]d\n", indent, rule.Key, rule.AtLeast, rule.Ceiling)
	}
	_, err := io.WriteString(w, b.String())
	return err
}
