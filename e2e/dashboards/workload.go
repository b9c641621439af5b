package dashboards

func workload() Dashboard {
	const names = "namespace, pod, container"
	return Dashboard{
		UID: "nodetune-workload", Title: "nodetune / Workload",
		Description: "What the pods of a namespace use of the limits of their nodes, what they log, and whether it is read.",
		Variables:   []string{"cluster", "namespace", "node"},
		Rows: append(causes(inNamespace, onNode, stepsWorkload), []Row{
			{"Verdict", []Panel{
				{
					Kind: Stat, Title: "Logs on disk", Description: "Of the largest producers of each node.", Unit: "bytes", Width: 6,
					Queries: []Query{{Expr: `sum(nodetune_log_bytes{` + inNamespace + `})`, Legend: "bytes"}},
				},
				{
					Kind: Stat, Title: "Logs written", Description: "A second.", Unit: "Bps", Warn: 1048576, Critical: 10485760, Width: 6, Runbook: "NodetuneLogStorm",
					Queries: []Query{{Expr: `sum(producer:nodetune_log_written_bytes:rate10m{` + inNamespace + `})`, Legend: "written"}},
				},
				{
					Kind: Stat, Title: "Furthest reader behind", Description: "Bytes that a reader has not read.", Unit: "bytes", Warn: 1048576, Critical: 104857600, Width: 6, Runbook: "NodetuneLogCollectorStalled",
					Queries: []Query{{Expr: `max(nodetune_log_reader_lag_bytes{` + inNamespace + `})`, Legend: "lag"}},
				},
				{
					Kind: Stat, Title: "Lost unread", Description: "In the last hour.", Unit: "bytes", Warn: 1, Critical: 1e8, Width: 6, Runbook: "NodetuneUnreadLinesLost",
					Queries: []Query{{Expr: `sum(workload:nodetune_disk_unread_lost_bytes:increase1h{` + inNamespace + `}) or vector(0)`, Legend: "lost"}},
				},
			}},
			{"Pods", []Panel{
				{
					Kind: Table, Title: "Limits", Description: "Use of the node's inotify limits, and of the process's own RLIMIT_NOFILE, by program.", Width: 12, Runbook: "NodetuneProcessNearFileLimit",
					Queries: []Query{
						{Expr: `sum by (node, ` + names + `, comm) (nodetune_inotify_consumer_instances{` + inNamespace + `})`, Legend: "instances"},
						{Expr: `sum by (node, ` + names + `, comm) (nodetune_inotify_consumer_watches{` + inNamespace + `})`, Legend: "watches"},
						{Expr: `max by (node, ` + names + `, comm) (process:nodetune_open_fds:ratio{` + inNamespace + `})`, Legend: "of RLIMIT_NOFILE", Unit: "percentunit"},
					},
				},
				{
					Kind: Table, Title: "Logs", Description: "Size, rate and the reader that is furthest behind, by container.", Width: 12, Runbook: "NodetuneLogDiskPressure",
					Queries: []Query{
						{Expr: `sum by (node, ` + names + `) (producer:nodetune_log_written_bytes:rate10m{` + inNamespace + `})`, Legend: "written", Unit: "Bps"},
						{Expr: `sum by (node, ` + names + `) (nodetune_log_bytes{` + inNamespace + `})`, Legend: "bytes", Unit: "bytes"},
						{Expr: `max by (node, ` + names + `) (nodetune_log_reader_lag_bytes{` + inNamespace + `})`, Legend: "unread", Unit: "bytes"},
					},
				},
			}},
			{"Over time", []Panel{
				{
					Kind: Series, Title: "Logs written", Description: "By container.", Unit: "Bps", Warn: 1048576, Critical: 10485760, Runbook: "NodetuneLogStorm",
					Queries: []Query{{Expr: `topk(10, sum by (` + names + `) (rate(nodetune_log_written_bytes_total{` + inNamespace + `}[$__rate_interval])))`, Legend: "{{pod}}:{{container}}"}},
				},
				{
					Kind: Series, Title: "Unread by each reader", Description: "It grows: the reader is too slow, or has stopped.", Unit: "bytes", Runbook: "NodetuneReaderPredictedLoss",
					Queries: []Query{{Expr: `topk(10, max by (` + names + `, reader) (nodetune_log_reader_lag_bytes{` + inNamespace + `}))`, Legend: "{{reader}} of {{pod}}:{{container}}"}},
				},
				{
					Kind: Series, Title: "Of RLIMIT_NOFILE", Description: "The processes nearest to their own limit.", Unit: "percentunit", Warn: 0.85, Critical: 0.98, Runbook: "NodetuneProcessNearFileLimit",
					Queries: []Query{{Expr: `topk(10, max by (` + names + `, comm) (process:nodetune_open_fds:ratio{` + inNamespace + `}))`, Legend: "{{comm}} of {{pod}}"}},
				},
				{
					Kind: Series, Title: "inotify instances", Description: "By program.", Unit: "short", Runbook: "NodetuneInotifyPressure",
					Queries: []Query{{Expr: `topk(10, sum by (` + names + `, comm) (nodetune_inotify_consumer_instances{` + inNamespace + `}))`, Legend: "{{comm}} of {{pod}}"}},
				},
				{
					Kind: Series, Title: "inotify watches", Description: "By program.", Unit: "short", Runbook: "NodetuneInotifyPressure",
					Queries: []Query{{Expr: `topk(10, sum by (` + names + `, comm) (nodetune_inotify_consumer_watches{` + inNamespace + `}))`, Legend: "{{comm}} of {{pod}}"}},
				},
				{
					Kind: Series, Title: "Events that wait", Description: "In the fullest inotify queue of a program, as a share of the queue.", Unit: "percentunit", Warn: 0.5, Critical: 0.9, Runbook: "NodetuneLogCollectorStalled",
					Queries: []Query{{Expr: `topk(10, max by (` + names + `, comm) (nodetune_inotify_consumer_queued_events{` + inNamespace + `} / nodetune_inotify_consumer_queued_events_limit{` + inNamespace + `}))`, Legend: "{{comm}} of {{pod}}"}},
				},
				{
					Kind: Series, Title: "inotify calls that failed", Description: "Since the agent started. Only with inotify.refusals.", Unit: "short", Width: 12, Runbook: "NodetuneInotifyCallsFailing",
					Queries: []Query{{Expr: `topk(10, sum by (` + names + `, comm, resource) (nodetune_inotify_consumer_refusals_total{` + inNamespace + `}))`, Legend: "{{comm}} of {{pod}}: {{resource}}"}},
				},
				{
					Kind: Series, Title: "Unread logs lost", Description: "In the last hour, by container.", Unit: "bytes", Warn: 1, Critical: 1e8, Width: 12, Runbook: "NodetuneUnreadLinesLost",
					Queries: []Query{{Expr: `sum by (` + names + `) (workload:nodetune_disk_unread_lost_bytes:increase1h{` + inNamespace + `})`, Legend: "{{pod}}:{{container}}"}},
				},
			}},
		}...),
	}
}
