package dashboards

func node() Dashboard {
	const names = "namespace, pod, container, comm"
	return Dashboard{
		UID: "nodetune-node", Title: "nodetune / Node",
		Description: "What is wrong on a node, who causes it, and what nodetune did.",
		Variables:   []string{"cluster", "node"},
		Rows: append(causes(onNode, onNode, stepsNode), []Row{
			{"Verdict", []Panel{
				{
					Kind: Stat, Title: "Conditions", Description: "As the Node shows them. One that is Unknown is missing here and counted beside.", Warn: 1, Critical: 1, Words: troubled, Width: 12,
					Queries: []Query{{Expr: `max by (type) (nodetune_condition{` + onNode + `})`, Legend: "{{type}}"}},
				},
				{
					Kind: Stat, Title: "Unknown conditions", Description: "nodetune cannot see what these evaluate.", Unit: "short", Warn: 1, Critical: 1, Width: 4, Runbook: "NodetuneConditionUnknown",
					Queries: []Query{{Expr: `sum(max by (node, type) (nodetune_condition_unknown{` + onNode + `}))`, Legend: "unknown"}},
				},
				{
					Kind: Stat, Title: "Paused", Description: "1 if /run/nodetune/pause exists.", Warn: 1, Critical: 1, Words: troubled, Width: 4, Runbook: "NodetunePauseForgotten",
					Queries: []Query{{Expr: `max(nodetune_paused{` + onNode + `})`, Legend: "paused"}},
				},
				{
					Kind: Stat, Title: "Configuration", Description: "refused: the one before it is in force.", Warn: 1, Critical: 0.5, Words: map[string]string{"0": "refused", "1": "in force"}, Width: 4, Runbook: "NodetuneConfigurationRefused",
					Queries: []Query{{Expr: `min(nodetune_config_last_reload_successful{` + onNode + `})`, Legend: "configuration"}},
				},
			}},
			{"Limits and headroom", []Panel{
				{
					Kind: Gauge, Title: "Use of each limit", Description: "The fullest account of each limit, and open files of the node.", Unit: "percentunit", Warn: 0.8, Critical: 0.95, Max: 1, Runbook: "NodetuneInotifyPressure",
					Queries: []Query{
						{Expr: `max(node:nodetune_inotify_instances:ratio{` + onNode + `})`, Legend: "inotify instances"},
						{Expr: `max(node:nodetune_inotify_watches:ratio{` + onNode + `})`, Legend: "inotify watches"},
						{Expr: `max(node:nodetune_open_files:ratio{` + onNode + `})`, Legend: "open files"},
						{Expr: `max(process:nodetune_open_fds:ratio{` + onNode + `})`, Legend: "fullest process, RLIMIT_NOFILE"},
					},
				},
				{
					Kind: Series, Title: "inotify instances", Description: "In use by each account, and the limit.", Unit: "short", Runbook: "NodetuneInotifyPressure",
					Queries: []Query{
						{Expr: `max by (node, uid, userns) (nodetune_inotify_instances{` + onNode + `})`, Legend: "{{node}} uid {{uid}}"},
						{Expr: `max by (node) (nodetune_inotify_instances_limit{` + onNode + `})`, Legend: "{{node}} limit"},
					},
				},
				{
					Kind: Series, Title: "inotify watches", Description: "In use by each account, and the limit.", Unit: "short", Runbook: "NodetuneInotifyPressure",
					Queries: []Query{
						{Expr: `max by (node, uid, userns) (nodetune_inotify_watches{` + onNode + `})`, Legend: "{{node}} uid {{uid}}"},
						{Expr: `max by (node) (nodetune_inotify_watches_limit{` + onNode + `})`, Legend: "{{node}} limit"},
					},
				},
				{
					Kind: Series, Title: "Open files", Description: "Of the node, fs.file-nr.", Unit: "short", Runbook: "NodetuneFileDescriptorPressure",
					Queries: []Query{{Expr: `max by (node) (nodetune_open_files{` + onNode + `})`, Legend: "{{node}}"}},
				},
				{
					Kind: Series, Title: "inotify calls that fail", Description: "By the limit that is used up. Only with inotify.refusals.", Unit: "ops", Runbook: "NodetuneInotifyCallsFailing",
					Queries: []Query{{Expr: `sum by (node, call, resource) (rate(nodetune_inotify_refusals_total{` + onNode + `}[$__rate_interval]))`, Legend: "{{node}} {{call}} {{resource}}"}},
				},
				{
					Kind: Table, Title: "Settings", Description: "Value, floor and ceiling of each managed setting. Contested 1: another program keeps undoing what nodetune writes.", Runbook: "NodetuneSysctlDrift",
					Queries: []Query{
						{Expr: `max by (node, key) (nodetune_sysctl_value{` + onNode + `})`, Legend: "value"},
						{Expr: `max by (node, key) (nodetune_sysctl_floor{` + onNode + `})`, Legend: "floor"},
						{Expr: `max by (node, key) (nodetune_sysctl_ceiling{` + onNode + `})`, Legend: "ceiling"},
						{Expr: `max by (node, key) (nodetune_sysctl_drifted{` + onNode + `})`, Legend: "drifted"},
						{Expr: `max by (node, key) (nodetune_sysctl_contested{` + onNode + `})`, Legend: "contested"},
					},
				},
			}},
			{"Top consumers", []Panel{
				{
					Kind: Table, Title: "inotify instances", Description: "By program and pod. One that several processes share counts for each.", Unit: "short", Runbook: "NodetuneInotifyPressure",
					Queries: []Query{{Expr: `topk(20, sum by (node, ` + names + `) (nodetune_inotify_consumer_instances{` + onNode + `}))`, Legend: "instances"}},
				},
				{
					Kind: Table, Title: "inotify watches", Description: "By program and pod.", Unit: "short", Runbook: "NodetuneInotifyPressure",
					Queries: []Query{{Expr: `topk(20, sum by (node, ` + names + `) (nodetune_inotify_consumer_watches{` + onNode + `}))`, Legend: "watches"}},
				},
				{
					Kind: Table, Title: "Nearest to their RLIMIT_NOFILE", Description: "At 100 % the process gets errno 24.", Unit: "percentunit", Warn: 0.85, Critical: 0.98, Runbook: "NodetuneProcessNearFileLimit",
					Queries: []Query{{Expr: `topk(20, max by (node, ` + names + `) (process:nodetune_open_fds:ratio{` + onNode + `}))`, Legend: "of its limit"}},
				},
				{
					Kind: Table, Title: "Fullest event queues", Description: "A collector that leaves its events unread misses changes when the queue is full.", Unit: "percentunit", Warn: 0.5, Critical: 0.9, Width: 12, Runbook: "NodetuneLogCollectorStalled",
					Queries: []Query{{Expr: `topk(20, max by (node, ` + names + `) (nodetune_inotify_consumer_queued_events{` + onNode + `} / nodetune_inotify_consumer_queued_events_limit{` + onNode + `}))`, Legend: "of the queue"}},
				},
				{
					Kind: Table, Title: "Programs whose inotify calls fail", Description: "Since the agent started. Only with inotify.refusals.", Unit: "short", Width: 12, Runbook: "NodetuneInotifyCallsFailing",
					Queries: []Query{{Expr: `topk(20, sum by (node, ` + names + `, resource) (nodetune_inotify_consumer_refusals_total{` + onNode + `}))`, Legend: "failed calls"}},
				},
			}},
			{"Disks", []Panel{
				{
					Kind: Series, Title: "Available", Description: "And the threshold below which the kubelet evicts.", Unit: "bytes", Runbook: "NodetuneLogDiskPressure",
					Queries: []Query{
						{Expr: `max by (node, path) (nodetune_disk_avail_bytes{` + onNode + `})`, Legend: "{{node}} {{path}}"},
						{Expr: `max by (node, path) (nodetune_disk_eviction_avail_bytes{` + onNode + `})`, Legend: "{{node}} {{path}} eviction"},
					},
				},
				{
					Kind: Series, Title: "Time to eviction and to full", Description: "At the present growth. No line: it does not grow.", Unit: "s", Warn: 3600, Critical: 900, Runbook: "NodetuneEvictionForecast",
					Queries: []Query{
						{Expr: `min by (node, path) (nodetune_disk_time_to_eviction_seconds{` + onNode + `})`, Legend: "{{node}} {{path}} eviction"},
						{Expr: `min by (node, path) (nodetune_disk_time_to_full_seconds{` + onNode + `})`, Legend: "{{node}} {{path}} full"},
					},
				},
				{
					Kind: Series, Title: "Growth", Description: "Median speed at which available bytes shrink.", Unit: "Bps",
					Queries: []Query{{Expr: `max by (node, path) (nodetune_disk_growth_bytes_per_second{` + onNode + `})`, Legend: "{{node}} {{path}}"}},
				},
				{
					Kind: Table, Title: "Filesystems", Description: "Used and free inodes as shares. Usable 0: it hangs or failed.", Width: 16, Runbook: "NodetuneFilesystemHung",
					Queries: []Query{
						{Expr: `max by (node, path) (filesystem:nodetune_disk_used:ratio{` + onNode + `})`, Legend: "used", Unit: "percentunit"},
						{Expr: `min by (node, path) (nodetune_disk_inodes_free{` + onNode + `} / nodetune_disk_inodes{` + onNode + `})`, Legend: "inodes free", Unit: "percentunit"},
						{Expr: `min by (node, path) (nodetune_disk_usable{` + onNode + `})`, Legend: "usable"},
						{Expr: `max by (node, path) (nodetune_disk_read_only{` + onNode + `})`, Legend: "read-only"},
					},
				},
				{
					Kind: Series, Title: "Left behind", Description: "Deleted files that a process keeps open, and logs of pods that are gone.", Unit: "bytes",
					Queries: []Query{
						{Expr: `max by (node) (nodetune_log_deleted_open_bytes{` + onNode + `})`, Legend: "{{node}} deleted, open"},
						{Expr: `max by (node) (nodetune_log_orphans_bytes{` + onNode + `})`, Legend: "{{node}} of gone pods"},
					},
				},
			}},
			{"Producers", []Panel{
				{
					Kind: Table, Title: "Largest logs", Description: "With their archives.", Unit: "bytes", Width: 12, Runbook: "NodetuneLogDiskPressure",
					Queries: []Query{{Expr: `topk(20, sum by (node, kind, namespace, pod, container, path) (nodetune_log_bytes{` + onNode + `}))`, Legend: "bytes"}},
				},
				{
					Kind: Series, Title: "Written", Description: "By container, or by file of the host.", Unit: "Bps", Width: 12, Runbook: "NodetuneLogStorm",
					Queries: []Query{{Expr: `topk(10, sum by (node, namespace, pod, container, path) (rate(nodetune_log_written_bytes_total{` + onNode + `}[$__rate_interval])))`, Legend: "{{namespace}}/{{pod}}:{{container}} {{path}}"}},
				},
			}},
			{"Readers", []Panel{
				{
					Kind: Table, Title: "Furthest behind", Description: "Bytes of a log that a reader has not read.", Unit: "bytes", Width: 12, Runbook: "NodetuneLogCollectorStalled",
					Queries: []Query{{Expr: `topk(20, max by (node, reader, namespace, pod, container, path) (nodetune_log_reader_lag_bytes{` + onNode + `}))`, Legend: "lag"}},
				},
				{
					Kind: Series, Title: "Predicted loss", Description: "What the readers would lose if every log were rotated now.", Unit: "bytes", Width: 6, Warn: 1048576, Critical: 104857600, Runbook: "NodetuneReaderPredictedLoss",
					Queries: []Query{{Expr: `max by (node) (nodetune_log_predicted_loss_bytes{` + onNode + `})`, Legend: "{{node}}"}},
				},
				{
					Kind: Series, Title: "Trouble", Description: "Stalled readers, logs without reader, archives that cannot be read.", Unit: "short", Width: 6, Warn: 1, Critical: 10, Runbook: "NodetuneLogCollectorStalled",
					Queries: []Query{
						{Expr: `max by (node) (nodetune_log_readers_stalled{` + onNode + `})`, Legend: "{{node}} stalled"},
						{Expr: `max by (node) (nodetune_log_unfollowed{` + onNode + `})`, Legend: "{{node}} without reader"},
						{Expr: `max by (node) (nodetune_log_corrupt_archives{` + onNode + `})`, Legend: "{{node}} corrupt"},
					},
				},
			}},
			{"What nodetune did", []Panel{
				{
					Kind: Series, Title: "Acts on logs", Description: "By act and result.", Unit: "ops", Runbook: "NodetuneActsFailing",
					Queries: []Query{{Expr: `sum by (node, act, result) (rate(nodetune_disk_acts_total{` + onNode + `}[$__rate_interval]))`, Legend: "{{node}} {{act}} {{result}}"}},
				},
				{
					Kind: Series, Title: "Space given back, and bytes rotated", Description: "By act.", Unit: "Bps",
					Queries: []Query{{Expr: `sum by (node, act) (rate(nodetune_disk_act_bytes_total{` + onNode + `}[$__rate_interval]))`, Legend: "{{node}} {{act}}"}},
				},
				{
					Kind: Table, Title: "Unread logs lost", Description: "In the last hour, by the workload that wrote them.", Unit: "bytes", Warn: 1, Critical: 1e8, Runbook: "NodetuneUnreadLinesLost",
					Queries: []Query{{Expr: `sum by (node, namespace, pod, container) (workload:nodetune_disk_unread_lost_bytes:increase1h{` + onNode + `})`, Legend: "lost"}},
				},
				{
					Kind: Series, Title: "Settings that nodetune wrote", Description: "In the last hour.", Unit: "short",
					Queries: []Query{{Expr: `sum by (node, key, result) (increase(nodetune_sysctl_writes_total{` + onNode + `}[1h]))`, Legend: "{{node}} {{key}} {{result}}"}},
				},
				{
					Kind: Series, Title: "Settings that other programs changed", Description: "In the last hour: seen between two passes, and by the sysctl guard.", Unit: "short", Runbook: "NodetuneSysctlLoweredByOther",
					Queries: []Query{
						{Expr: `sum by (node, key, direction) (increase(nodetune_sysctl_drift_total{` + onNode + `}[1h]))`, Legend: "{{node}} {{key}} {{direction}}"},
						{Expr: `sum by (node, key, direction) (increase(nodetune_sysctl_writes_observed_total{` + onNode + `}[1h]))`, Legend: "{{node}} {{key}} {{direction}}, guard"},
						{Expr: `sum by (node, key) (increase(nodetune_sysctl_writes_held_total{` + onNode + `}[1h]))`, Legend: "{{node}} {{key}} held"},
					},
				},
				{
					Kind: Series, Title: "What pods ask for", Description: "Floors from the annotations of pods, with reporter.podDemands.", Unit: "short",
					Queries: []Query{
						{Expr: `max by (node, key) (nodetune_pod_floor{` + onNode + `})`, Legend: "{{node}} {{key}}"},
						{Expr: `max by (node, result) (nodetune_pod_demands{` + onNode + `})`, Legend: "{{node}} pods {{result}}"},
					},
				},
			}},
			{"The agent", []Panel{
				{
					Kind: Series, Title: "CPU", Description: "In cores.", Unit: "short", Width: 6,
					Queries: []Query{{Expr: `max by (node) (rate(process_cpu_seconds_total{` + onNode + `}[$__rate_interval])` + agents + `)`, Legend: "{{node}}"}},
				},
				{
					Kind: Series, Title: "Memory", Description: "The limit of the container is 64 MiB by default.", Unit: "bytes", Width: 6, Warn: 5e7, Critical: 6.4e7,
					Queries: []Query{{Expr: `max by (node) (process_resident_memory_bytes{` + onNode + `}` + agents + `)`, Legend: "{{node}}"}},
				},
				{
					Kind: Series, Title: "Passes", Description: "How long the last pass of each task took.", Unit: "s", Width: 6,
					Queries: []Query{{Expr: `max by (node, task) (nodetune_pass_duration_seconds{` + onNode + `})`, Legend: "{{node}} {{task}}"}},
				},
				{
					Kind: Series, Title: "Late passes", Description: "Time since the last pass of a task ended, in its intervals. More than three is late.", Unit: "short", Width: 6, Warn: 3, Critical: 10, Runbook: "NodetunePassStuck",
					Queries: []Query{{Expr: `max by (node, task) ((time() - nodetune_pass_last_end_timestamp_seconds{` + onNode + `}) / nodetune_pass_interval_seconds{` + onNode + `})`, Legend: "{{node}} {{task}}"}},
				},
				{
					Kind: Series, Title: "Writes to the API server", Description: "Of conditions and Events, by result.", Unit: "ops", Runbook: "NodetuneAPIWritesFailing",
					Queries: []Query{
						{Expr: `sum by (node, result) (rate(nodetune_condition_writes_total{` + onNode + `}[$__rate_interval]))`, Legend: "{{node}} conditions {{result}}"},
						{Expr: `sum by (node, result) (rate(nodetune_events_total{` + onNode + `}[$__rate_interval]))`, Legend: "{{node}} Events {{result}}"},
					},
				},
				{
					Kind: Series, Title: "What it cannot see", Description: "Processes that it could not read, and what it left out.", Unit: "short", Runbook: "NodetuneConditionUnknown",
					Queries: []Query{
						{Expr: `max by (node) (nodetune_scan_unreadable_processes{` + onNode + `})`, Legend: "{{node}} unreadable processes"},
						{Expr: `max by (node, source, kind) (nodetune_scan_omitted{` + onNode + `})`, Legend: "{{node}} {{source}} {{kind}}"},
					},
				},
				{
					Kind: Stat, Title: "Sources and guards", Description: "Where figures are from, and what protects the settings and other Nodes.", Words: map[string]string{"0": "no", "1": "yes"}, Runbook: "NodetuneKernelCountersLost",
					Queries: []Query{
						{Expr: `min(nodetune_inotify_kernel_counters{` + onNode + `})`, Legend: "kernel's counters"},
						{Expr: `min(nodetune_inotify_kernel_holders{` + onNode + `})`, Legend: "kernel's tables"},
						{Expr: `min(nodetune_node_policy_enforced{` + onNode + `})`, Legend: "node policy"},
						{Expr: `max by (mode) (nodetune_sysctl_guard{` + onNode + `} == 1)`, Legend: "guard: {{mode}}"},
					},
				},
			}},
		}...),
	}
}
