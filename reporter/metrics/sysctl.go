package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/nodetune/nodetune/reporter"
	"github.com/nodetune/nodetune/sysctl"
)

var (
	sysctlValue = desc("nodetune_sysctl_value",
		"What the key holds, as read in the last pass.", "key")
	sysctlFloor = desc("nodetune_sysctl_floor",
		"The least value that the configuration, the machine's size and the node's use ask for.", "key")
	sysctlCeiling = desc("nodetune_sysctl_ceiling",
		"The ceiling of the key's rule, beyond which nodetune does not raise it; inotify.maxInstances and inotify.watchMemoryPercent can end raises below it.", "key")
	sysctlDrifted = desc("nodetune_sysctl_drifted",
		"1 if the key does not hold what its rule asks for after the last pass.", "key")
	sysctlContested = desc("nodetune_sysctl_contested",
		"1 if another writer keeps undoing what nodetune writes.", "key")
	sysctlPaused = desc("nodetune_paused",
		"1 if /run/nodetune/pause keeps every nodetune on this host from writing.")

	sysctlDescs = []*prometheus.Desc{sysctlValue, sysctlFloor, sysctlCeiling, sysctlDrifted, sysctlContested, sysctlPaused}
)

func collectSysctl(ch chan<- prometheus.Metric, r reporter.Result[sysctl.PassResult], now time.Time) {
	if r.At.IsZero() || r.Err != nil {
		return // unknown, which no number expresses
	}
	gauge(ch, sysctlPaused, boolToFloat(r.Value.Paused != ""))
	collectLoweredBy(ch, r.Value.ObservedWrites, now)
	for _, s := range r.Value.Rules {
		if s.Outcome == sysctl.Absent {
			continue
		}
		key := string(s.Key)
		if s.Value.Known() {
			gauge(ch, sysctlValue, float64(s.Value), key)
		}
		if s.Op == sysctl.Report {
			continue
		}
		gauge(ch, sysctlFloor, float64(s.Want), key)
		if s.Ceiling.Known() {
			gauge(ch, sysctlCeiling, float64(s.Ceiling), key)
		}
		if s.Value.Known() {
			gauge(ch, sysctlDrifted, boolToFloat(!s.SatisfiedBy(s.Value)), key)
		}
		gauge(ch, sysctlContested, boolToFloat(s.Outcome == sysctl.Contested), key)
	}
}
