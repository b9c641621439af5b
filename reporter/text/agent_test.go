package text

import (
	"strings"
	"testing"

	"github.com/nodetune/nodetune/disk"
	"github.com/nodetune/nodetune/reporter"
	"github.com/nodetune/nodetune/reporter/internal/reportertest"
	"github.com/nodetune/nodetune/sysctl"
)

// One look sees no collector that stands still: the agent does, and check does not end
// with "in force" while it says so.
func TestCheckHasTheAgentsWord(t *testing.T) {
	stalled := reporter.AgentTrouble{Kind: "collector_stalled", Critical: true, Summary: "logging/fluent-bit has stopped reading\x1b[2J", Cause: "fluent-bit[7]"}
	storm := reporter.AgentTrouble{Kind: "log_storm", Summary: "shop/cart writes 9 MiB of logs a second"}
	other := reporter.AgentTrouble{Kind: "limit_not_held", Summary: "was so a minute ago"}
	short := func(s *reporter.Snapshot) { s.Sysctl.Value.Rules = reportertest.Drifted }
	for name, tt := range map[string]struct {
		agent       []reporter.AgentTrouble
		change      func(*reporter.Snapshot)
		note, ended string
	}{
		"nothing":          {nil, nil, "", "All 2 limits are in force."},
		"what check sees":  {[]reporter.AgentTrouble{other, {Kind: "of a later version"}}, nil, "", "All 2 limits are in force."},
		"a collector":      {[]reporter.AgentTrouble{stalled}, nil, "\nagent: logging/fluent-bit has stopped reading\\x1b[2J\n    fluent-bit[7]\n", "A log collector is stalled. Next: sudo nodetune disk"},
		"before a limit":   {[]reporter.AgentTrouble{stalled}, short, "\nagent: ", "A log collector is stalled. 2 of 3 limits are below their floor. Next: sudo nodetune disk"},
		"a storm after it": {[]reporter.AgentTrouble{storm}, short, "\nagent: shop/cart", "2 of 3 limits are below their floor. A program writes far more logs than the others. Next: sudo nodetune apply"},
		"both see it": {[]reporter.AgentTrouble{stalled}, func(s *reporter.Snapshot) {
			s.Disk.Value.Reading = disk.Assessment{Severity: disk.Bad, Message: "m"}
		}, "", "A log collector is stalled. Next: sudo nodetune disk"},
	} {
		s := reporter.Snapshot{Agent: tt.agent}
		s.Sysctl.Value.Rules = []sysctl.Status{
			reportertest.Floor(sysctl.MaxUserInstances, 8192, 8192, sysctl.InForce, ""), reportertest.Floor(sysctl.MaxUserWatches, 9, 9, sysctl.InForce, ""),
		}
		if tt.change != nil {
			tt.change(&s)
		}
		var b strings.Builder
		if err := CheckReport(&b, s, CheckOptions{}); err != nil {
			t.Fatal(err)
		}
		if got := b.String(); !strings.HasSuffix(got, "\n"+tt.ended+"\n") || !strings.Contains(got, tt.note) || strings.Contains(got, "agent:") != (tt.note != "") {
			t.Errorf("%s: %s", name, got)
		}
	}
}
