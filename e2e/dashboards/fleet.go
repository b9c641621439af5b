package dashboards

// agents selects series of the Go runtime and of the process that are of an agent.
const agents = ` and on (job, instance) nodetune_build_info`

// troubled has a word for both values of a condition.
var troubled = map[string]string{"0": "no", "1": "YES"}

func fleet() Dashboard {
	return Dashboard{
		UID: "nodetune", Title: "nodetune / Fleet",
		Description: "Which nodes are in trouble, and which will be.",
		Variables:   []string{"cluster"},
		Rows: append(causes(inCluster, inCluster, stepsFleet), []Row{
			{"Verdict", []Panel{
				{
					Kind: Stat, Title: "Nodes with an agent", Description: "Nodes whose agent is scraped.", Unit: "short", Width: 4, Runbook: "NodetuneAbsent",
					Queries: []Query{{Expr: `count(count by (cluster, node) (nodetune_build_info{` + inCluster + `}))`, Legend: "nodes"}},
				},
				{
					Kind: Stat, Title: "Nodes in trouble", Description: "Nodes with a condition that is True.", Unit: "short", Warn: 1, Critical: 10, Width: 4,
					Queries: []Query{{Expr: `count(max by (cluster, node) (nodetune_condition{` + inCluster + `}) == 1) or vector(0)`, Legend: "nodes"}},
				},
				{
					Kind: Stat, Title: "Nodes that cannot see", Description: "Nodes with a condition that is Unknown. Unknown is not healthy.", Unit: "short", Warn: 1, Critical: 10, Width: 4, Runbook: "NodetuneConditionUnknown",
					Queries: []Query{{Expr: `count(max by (cluster, node) (nodetune_condition_unknown{` + inCluster + `}) == 1) or vector(0)`, Legend: "nodes"}},
				},
				{
					Kind: Stat, Title: "Alerts that fire", Description: "Alerts of nodetune, of every severity.", Unit: "short", Warn: 1, Critical: 10, Width: 4,
					Queries: []Query{{Expr: `count(ALERTS{alertname=~"Nodetune.*",alertstate="firing",` + inCluster + `}) or vector(0)`, Legend: "alerts"}},
				},
				{
					Kind: Stat, Title: "Unread logs lost", Description: "Bytes that were removed in the last hour before a collector had read them.", Unit: "bytes", Warn: 1, Critical: 1e8, Width: 4, Runbook: "NodetuneUnreadLinesLost",
					Queries: []Query{{Expr: `sum(workload:nodetune_disk_unread_lost_bytes:increase1h{` + inCluster + `})`, Legend: "last hour"}},
				},
				{
					Kind: Stat, Title: "Paused nodes", Description: "Nodes on which /run/nodetune/pause exists.", Unit: "short", Warn: 1, Critical: 10, Width: 4, Runbook: "NodetunePauseForgotten",
					Queries: []Query{{Expr: `sum(max by (cluster, node) (nodetune_paused{` + inCluster + `}))`, Legend: "nodes"}},
				},
				{
					Kind: Series, Title: "Conditions that are True", Description: "One line for each kind of trouble, counted over nodes.", Unit: "short", Width: 12,
					Queries: []Query{{Expr: `sum by (type) (max by (cluster, node, type) (nodetune_condition{` + inCluster + `}))`, Legend: "{{type}}"}},
				},
				{
					Kind: Table, Title: "Conditions by node", Description: "Each condition that is True. The node is a link to its dashboard.", Width: 12, Words: troubled,
					Queries: []Query{{Expr: `max by (cluster, node, type) (nodetune_condition{` + inCluster + `}) == 1`, Legend: "True"}},
				},
			}},
			{"Limits", []Panel{
				{
					Kind: Series, Title: "Fullest: inotify instances", Description: "The ten nodes with the fullest account. At 100 % the next collector of that user fails with errno 24.", Unit: "percentunit", Warn: 0.8, Critical: 0.95, Runbook: "NodetuneInotifyPressure",
					Queries: []Query{{Expr: `topk(10, node:nodetune_inotify_instances:ratio{` + inCluster + `})`, Legend: "{{node}}"}},
				},
				{
					Kind: Series, Title: "Fullest: inotify watches", Description: "The ten nodes with the fullest account. At 100 % collectors miss new files, errno 28.", Unit: "percentunit", Warn: 0.8, Critical: 0.95, Runbook: "NodetuneInotifyPressure",
					Queries: []Query{{Expr: `topk(10, node:nodetune_inotify_watches:ratio{` + inCluster + `})`, Legend: "{{node}}"}},
				},
				{
					Kind: Series, Title: "Fullest: open files", Description: "The ten nodes nearest to fs.file-max. At 100 % every open(2) fails with errno 23.", Unit: "percentunit", Warn: 0.7, Critical: 0.8, Runbook: "NodetuneFileDescriptorPressure",
					Queries: []Query{{Expr: `topk(10, node:nodetune_open_files:ratio{` + inCluster + `})`, Legend: "{{node}}"}},
				},
				{
					Kind: Table, Title: "Processes nearest to their RLIMIT_NOFILE", Description: "At 100 % the process gets errno 24, which no sysctl cures.", Unit: "percentunit", Warn: 0.85, Critical: 0.98, Width: 12, Runbook: "NodetuneProcessNearFileLimit",
					Queries: []Query{{Expr: `topk(20, process:nodetune_open_fds:ratio{` + inCluster + `})`, Legend: "of its limit"}},
				},
				{
					Kind: Table, Title: "Settings that are not as wanted", Description: "1: drifted or contested. Empty on a healthy fleet, but for zeros.", Width: 12, Runbook: "NodetuneSysctlDrift",
					Queries: []Query{
						{Expr: `topk(20, max by (cluster, node, key) (nodetune_sysctl_drifted{` + inCluster + `}))`, Legend: "drifted"},
						{Expr: `topk(20, max by (cluster, node, key) (nodetune_sysctl_contested{` + inCluster + `}))`, Legend: "contested"},
					},
				},
			}},
			{"Disks and logs", []Panel{
				{
					Kind: Series, Title: "Fullest filesystems", Description: "Used, as the kubelet counts it: blocks reserved for root are used.", Unit: "percentunit", Warn: 0.8, Critical: 0.9, Runbook: "NodetuneLogDiskPressure",
					Queries: []Query{{Expr: `topk(10, filesystem:nodetune_disk_used:ratio{` + inCluster + `})`, Legend: "{{node}} {{path}}"}},
				},
				{
					Kind: Series, Title: "Nearest to eviction", Description: "Time until the kubelet evicts pods, at the present growth. Empty where no filesystem grows.", Unit: "s", Warn: 3600, Critical: 900, Runbook: "NodetuneEvictionForecast",
					Queries: []Query{{Expr: `bottomk(10, min by (cluster, node, path) (nodetune_disk_time_to_eviction_seconds{` + inCluster + `}))`, Legend: "{{node}} {{path}}"}},
				},
				{
					Kind: Series, Title: "Most logs written", Description: "The ten nodes whose containers and programs write most.", Unit: "Bps", Runbook: "NodetuneLogStorm",
					Queries: []Query{{Expr: `topk(10, node:nodetune_log_written_bytes:rate10m{` + inCluster + `})`, Legend: "{{node}}"}},
				},
				{
					Kind: Table, Title: "Largest producers", Description: "The containers that write most, of the whole fleet.", Unit: "Bps", Width: 12, Runbook: "NodetuneLogStorm",
					Queries: []Query{{Expr: `topk(20, sum by (cluster, node, namespace, pod, container) (producer:nodetune_log_written_bytes:rate10m{kind="container",` + inCluster + `}))`, Legend: "written"}},
				},
				{
					Kind: Table, Title: "Filesystems that are read-only or do not answer", Description: "1: read-only. Usable 0: it hangs or failed.", Width: 12, Runbook: "NodetuneFilesystemHung",
					Queries: []Query{
						{Expr: `topk(20, max by (cluster, node, path) (nodetune_disk_read_only{` + inCluster + `}))`, Legend: "read-only"},
						{Expr: `bottomk(20, min by (cluster, node, path) (nodetune_disk_usable{` + inCluster + `}))`, Legend: "usable"},
					},
				},
			}},
			{"Readers and loss", []Panel{
				{
					Kind: Series, Title: "Predicted loss", Description: "What the collectors of a node would lose if every log were rotated now.", Unit: "bytes", Warn: 1048576, Critical: 104857600, Runbook: "NodetuneReaderPredictedLoss",
					Queries: []Query{{Expr: `topk(10, max by (cluster, node) (nodetune_log_predicted_loss_bytes{` + inCluster + `}))`, Legend: "{{node}}"}},
				},
				{
					Kind: Series, Title: "Stalled readers and logs without reader", Description: "Counted over all nodes.", Unit: "short", Warn: 1, Critical: 10, Runbook: "NodetuneLogCollectorStalled",
					Queries: []Query{
						{Expr: `sum(max by (cluster, node) (nodetune_log_readers_stalled{` + inCluster + `}))`, Legend: "stalled"},
						{Expr: `sum(max by (cluster, node) (nodetune_log_unfollowed{` + inCluster + `}))`, Legend: "without reader"},
					},
				},
				{
					Kind: Series, Title: "Share of the log bytes that is lost", Description: "Against the objective of 0.1 %.", Unit: "percentunit", Warn: 0.001, Critical: 0.006, Runbook: "NodetuneLogLossBudgetBurn",
					Queries: []Query{
						{Expr: `cluster:nodetune_log_loss:ratio_rate1h{` + inCluster + `}`, Legend: "{{cluster}} 1h"},
						{Expr: `cluster:nodetune_log_loss:ratio_rate1d{` + inCluster + `}`, Legend: "{{cluster}} 1d"},
					},
				},
			}},
			{"What nodetune does", []Panel{
				{
					Kind: Series, Title: "Acts on logs", Description: "Rotated, compressed, removed, repaired and punched files a second; result error is a failed act.", Unit: "ops", Runbook: "NodetuneActsFailing",
					Queries: []Query{{Expr: `sum by (act, result) (rate(nodetune_disk_acts_total{` + inCluster + `}[$__rate_interval]))`, Legend: "{{act}} {{result}}"}},
				},
				{
					Kind: Series, Title: "Settings that nodetune wrote", Description: "In the last hour.", Unit: "short",
					Queries: []Query{{Expr: `sum by (key, result) (increase(nodetune_sysctl_writes_total{` + inCluster + `}[1h]))`, Legend: "{{key}} {{result}}"}},
				},
				{
					Kind: Series, Title: "Settings that other programs changed", Description: "In the last hour.", Unit: "short", Runbook: "NodetuneSysctlLoweredByOther",
					Queries: []Query{{Expr: `sum by (key, direction) (increase(nodetune_sysctl_drift_total{` + inCluster + `}[1h]))`, Legend: "{{key}} {{direction}}"}},
				},
			}},
			{"The agents", []Panel{
				{
					Kind: Series, Title: "Versions", Description: "Agents by version.", Unit: "short",
					Queries: []Query{{Expr: `count by (version) (nodetune_build_info{` + inCluster + `})`, Legend: "{{version}}"}},
				},
				{
					Kind: Series, Title: "CPU", Description: "The ten agents that use most, in cores.", Unit: "short",
					Queries: []Query{{Expr: `topk(10, max by (cluster, node) (rate(process_cpu_seconds_total{` + inCluster + `}[$__rate_interval])` + agents + `))`, Legend: "{{node}}"}},
				},
				{
					Kind: Series, Title: "Memory", Description: "The ten agents that use most. The limit of the container is 64 MiB by default.", Unit: "bytes", Warn: 5e7, Critical: 6.4e7,
					Queries: []Query{{Expr: `topk(10, max by (cluster, node) (process_resident_memory_bytes{` + inCluster + `}` + agents + `))`, Legend: "{{node}}"}},
				},
				{
					Kind: Table, Title: "Passes that fail or are late", Description: "Failed passes in the last hour, and how long ago the last pass ended.", Width: 24, Runbook: "NodetunePassStuck",
					Queries: []Query{
						{Expr: `topk(20, sum by (cluster, node, task) (increase(nodetune_passes_total{result="error",` + inCluster + `}[1h])))`, Legend: "failed"},
						{Expr: `topk(20, max by (cluster, node, task) (time() - nodetune_pass_last_end_timestamp_seconds{` + inCluster + `}))`, Legend: "ended before", Unit: "s"},
					},
				},
			}},
		}...),
	}
}
