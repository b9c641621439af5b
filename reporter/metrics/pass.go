package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/nodetune/nodetune/reporter/health"
)

var (
	passDuration = desc("nodetune_pass_duration_seconds",
		"How long the last pass of the task took.", "task")
	passRunning = desc("nodetune_pass_running_seconds",
		"How long the pass in progress has been going on; 0 between passes. Large: the task is stuck, and what it last saw is stale.", "task")
	passEnded = desc("nodetune_pass_last_end_timestamp_seconds",
		"When the last pass of the task ended, in seconds since the epoch.", "task")
	passInterval = desc("nodetune_pass_interval_seconds",
		"How often the task makes a pass at present. One that ends none for more than three intervals is late.", "task")
	passTotal = desc("nodetune_passes_total",
		"Passes that ended, by task and result.", "task", "result")

	passDescs = []*prometheus.Desc{passDuration, passRunning, passEnded, passInterval, passTotal}
)

func collectPasses(ch chan<- prometheus.Metric, passes []health.Pass, now time.Time) {
	for _, p := range passes {
		gauge(ch, passRunning, p.Running(now).Seconds(), p.Task)
		gauge(ch, passInterval, p.Every.Seconds(), p.Task)
		counter(ch, passTotal, float64(p.Done), p.Task, "success")
		counter(ch, passTotal, float64(p.Failed), p.Task, "error")
		if !p.Ended.IsZero() {
			gauge(ch, passDuration, p.Took.Seconds(), p.Task)
			gauge(ch, passEnded, float64(p.Ended.UnixMilli())/1000, p.Task)
		}
	}
}
