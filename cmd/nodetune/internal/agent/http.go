package agent

import (
	"github.com/nodetune/nodetune/reporter"
	"github.com/nodetune/nodetune/reporter/authn"
	"github.com/nodetune/nodetune/reporter/health"
	"github.com/nodetune/nodetune/reporter/kube"
	"github.com/nodetune/nodetune/reporter/web"
)

// handlers serve what the agent knows. client is nil without Kubernetes.
func (a *Agent) handlers(client *kube.Client) web.Handlers {
	var others []string
	for _, t := range a.tasks {
		if t.name != a.sysctlTask.name {
			others = append(others, t.name)
		}
	}
	h := web.Handlers{
		Metrics: a.metrics.Handler(),
		Live:    health.Probe(&a.progress, health.Live(a.sysctlTask.name)),
		Ready:   health.Probe(&a.progress, health.Ready(a.sysctlTask.name, others)),
		Report: &web.Report{
			Snapshot: a.snapshot,
			LogPaths: func() []string { return a.config.Load().Disk.LogPaths },
		},
		Page:   &web.Page{Status: a.status},
		Policy: func() web.Policy { return a.config.Load().Web },
	}
	if client != nil {
		h.Authorize = authn.NewReviewer(client.WithoutRetries()).Authorize
	}
	return h
}

// snapshot is the latest one, with what the HTTP server refused.
func (a *Agent) snapshot() reporter.Snapshot {
	s := a.latest.Snapshot()
	connections, requests := a.server.Refused.Counts()
	s.RefusedClients = &reporter.RefusedClients{Connections: connections, Requests: requests}
	return s
}
