package dashboards

// causes are the rows that each dashboard begins with: who causes the trouble, and what to
// do about it. in are matchers of the variables, and steps are Markdown.
func causes(in, alerts, steps string) []Row {
	const program = "namespace, pod, container, unit, comm"
	return []Row{
		{"Who causes it", []Panel{
			{
				Kind: Table, Title: "Holds most of a limit", Description: "Who holds the most of each limit, and which share of it.", Unit: "percentunit", Warn: 0.5, Critical: 0.8, Runbook: "NodetuneInotifyPressure",
				Queries: []Query{{Expr: `topk(10, max by (cluster, node, resource, ` + program + `) (nodetune_limit_top_consumer_ratio{` + in + `}))`, Legend: "of the limit", Unit: "percentunit"}},
			},
			{
				Kind: Table, Title: "Writes most logs", Description: "Over ten minutes. A log storm is one that writes far more than the others.", Unit: "Bps", Warn: 1048576, Critical: 10485760, Runbook: "NodetuneLogStorm",
				Queries: []Query{{Expr: `topk(10, sum by (cluster, node, namespace, pod, container, path) (producer:nodetune_log_written_bytes:rate10m{` + in + `}))`, Legend: "written", Unit: "Bps"}},
			},
			{
				Kind: Table, Title: "Does not read its logs", Description: "Collectors: in how many logs they have stopped, and what they would lose if every log were rotated now.", Runbook: "NodetuneLogCollectorStalled",
				Queries: []Query{
					{Expr: `topk(10, max by (cluster, node, ` + program + `) (nodetune_log_collector_stalled_logs{` + in + `}))`, Legend: "stalled logs"},
					{Expr: `topk(10, max by (cluster, node, ` + program + `) (nodetune_log_collector_predicted_loss_bytes{` + in + `}))`, Legend: "predicted loss", Unit: "bytes"},
				},
			},
		}},
		{"What to do", []Panel{
			{
				Kind: Table, Title: "What is wrong: alerts that fire", Description: "The name of an alert is a link to its runbook.", Width: 14,
				Queries: []Query{{Expr: `max by (cluster, severity, alertname, node, namespace, pod, container, key, path) (ALERTS{alertname=~"Nodetune.*",alertstate="firing",` + alerts + `})`, Legend: "fires"}},
			},
			{Kind: Text, Title: "Next steps", Description: "The commands work from a laptop with the kubectl plugin.", Width: 10, Content: steps},
		}},
	}
}

const (
	stepsFleet = `1. Open the runbook of the alert: its name is a link.
2. All nodes with their trouble: ` + "`kubectl nodetune status`" + `
3. One node: click on its name, or ` + "`kubectl nodetune check NODE`" + `
`
	stepsNode = `1. Open the runbook of the alert: its name is a link.
2. What is wrong, and the next command: ` + "`kubectl nodetune check $node`" + `
3. Who holds the limits: ` + "`kubectl nodetune top $node`" + `; who writes and reads logs: ` + "`kubectl nodetune disk $node`" + `
4. A pod that is named above: ` + "`kubectl nodetune why NAMESPACE/POD`" + `
`
	stepsWorkload = `1. Open the runbook of the alert: its name is a link.
2. Which limit a pod meets: ` + "`kubectl nodetune why NAMESPACE/POD`" + `
3. What it writes: ` + "`kubectl --namespace NAMESPACE logs POD --tail 20`" + `
4. Restart a collector that has stopped: ` + "`kubectl --namespace NAMESPACE delete pod POD`" + `
`
)
