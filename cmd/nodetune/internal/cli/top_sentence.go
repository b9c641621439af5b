package cli

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"github.com/nodetune/nodetune/cmd/nodetune/internal/agent"
	"github.com/nodetune/nodetune/cmd/nodetune/internal/config"
	"github.com/nodetune/nodetune/inotify"
	"github.com/nodetune/nodetune/reporter"
	nodepage "github.com/nodetune/nodetune/reporter/page"
	"github.com/nodetune/nodetune/reporter/text"
	"github.com/nodetune/nodetune/reporter/top"
)

// agentOf is the client of the agent at url, or of the one that runs on this host.
func (o *options) agentOf(cmd *cobra.Command, url string) (*agentClient, error) {
	if !cmd.Flags().Changed("agent") {
		if c := runningAgent(o.Rootfs); c != nil {
			c.trusted = true
			return c, nil
		}
	}
	c, err := newAgentClient(url)
	if err == nil {
		c.trusted = cmd.Flags().Changed("agent")
	}
	return c, err
}

// sentence is the first sentence of the node's page: of the agent, or of what u and the
// settings show.
func (o *options) sentence(ctx context.Context, cfg config.Config, client *agentClient, u inotify.Usage) top.Sentence {
	s, err := client.read(ctx)
	if err != nil || !client.trusted {
		now := time.Now()
		snapshot := reporter.Snapshot{
			Inotify: reporter.Result[inotify.Usage]{Value: u, At: now},
			Sysctl:  sysctlPass(ctx, o.Roots, cfg, floorsFromUsage(u, cfg.Inotify)),
		}
		s = nodepage.NewStatus(nodepage.Input{
			Snapshot: snapshot, Policy: cfg.Inotify, StaleAfter: cfg.Reporter.Conditions.StaleAfter.D(), Now: now,
			Command: agent.PodCommand(), Once: true, DiskMode: cfg.Disk.Mode,
		})
	}
	sentence := top.Sentence{Text: s.Summary}
	if len(s.Troubles.Rows) > 0 {
		sentence.Cause, sentence.Next = s.Troubles.Rows[0].Cause, s.Troubles.Rows[0].Next
	}
	switch s.State {
	case nodepage.Critical:
		sentence.Heat = text.HotPercent
	case nodepage.Warning, nodepage.Unknown:
		sentence.Heat = text.WarmPercent
	}
	return sentence
}
