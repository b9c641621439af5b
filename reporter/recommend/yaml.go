package recommend

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/nodetune/nodetune/internal/safetext"
)

// Pool is a recommendation for nodes with a label.
type Pool struct {
	Name         string            `json:"name"`
	NodeSelector map[string]string `json:"nodeSelector"`
	Recommendation
}

// WriteConfiguration writes r as a configuration file. Each rule has its evidence
// as comments.
func WriteConfiguration(w io.Writer, r Recommendation) error {
	return write(w, r, "apiVersion: "+APIVersion+"\nkind: Configuration\n", "")
}

// WriteValues writes r as a values file of the chart.
func WriteValues(w io.Writer, r Recommendation) error { return write(w, r, "config:\n", "  ") }

// WritePools writes a values file of the chart with a DaemonSet for each pool.
func WritePools(w io.Writer, pools []Pool) error {
	var b strings.Builder
	b.WriteString("pools:\n")
	for _, p := range pools {
		summary(&b, p.Recommendation, "  ")
		fmt.Fprintf(&b, "  - name: %s\n    nodeSelector:\n", quote(p.Name))
		for _, key := range slices.Sorted(maps.Keys(p.NodeSelector)) {
			fmt.Fprintf(&b, "      %s: %s\n", quote(key), quote(p.NodeSelector[key]))
		}
		b.WriteString("    config:\n")
		rules(&b, p.Recommendation, "      ")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// quote writes s between double quotes, which YAML reads as Go does, but for bytes that
// are no UTF-8.
func quote(s string) string { return strconv.Quote(strings.ToValidUTF8(s, "\uFFFD")) }

func write(w io.Writer, r Recommendation, head, indent string) error {
	var b strings.Builder
	summary(&b, r, "")
	b.WriteString(head)
	rules(&b, r, indent)
	_, err := io.WriteString(w, b.String())
	return err
}

// summary are comments: how many reports there are, and which keys have no rule.
func summary(b *strings.Builder, r Recommendation, indent string) {
	fmt.Fprintf(b, "%s# nodetune recommend; reports: %d\n", indent, r.Reports)
	for _, key := range Keys {
		if why, ok := r.Omitted[key]; ok {
			fmt.Fprintf(b, "%s# no rule for %s: %s\n", indent, key, safetext.String(why))
		}
	}
}

// rules is the section of settings, each rule with its evidence as comments.
func rules(b *strings.Builder, r Recommendation, indent string) {
	if len(r.Rules) == 0 {
		b.WriteString(indent + "sysctl: {}\n")
		return
	}
	b.WriteString(indent + "sysctl:\n" + indent + "  rules:\n")
	for _, rule := range r.Rules {
		for _, e := range rule.Evidence {
			fmt.Fprintf(b, "%s    # %s\n", indent, safetext.String(e))
		}
		fmt.Fprintf(b, "%[1]s    - key: %[2]s\n%[1]s      atLeast: %[3]d\n%[1]s      ceiling: %[4]d\n", indent, rule.Key, rule.AtLeast, rule.Ceiling)
	}
}
