package cli

import (
	"context"
	"fmt"
	"sync"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/nodetune/nodetune/cmd/kubectl-nodetune/internal/cluster"
	"github.com/nodetune/nodetune/cmd/kubectl-nodetune/internal/status"
)

func newStatus(o *options) *cobra.Command {
	return &cobra.Command{
		Use:   "status",
		Short: "Show whether the agents run everywhere, alike, and find their nodes well",
		Long: `Shows in one line whether the DaemonSet has its pods, whether they run one version
and one template, and whether nodetune's conditions are well. Below it are the
problems, what differs between nodes, and what could not be asked.

The exit code is 1 on a problem or a difference. It is 3 if nothing is wrong as far
as was seen, but something could not be asked.`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := o.client()
			if err != nil {
				return err
			}
			seen, err := o.look(cmd.Context(), c)
			if err != nil {
				return err
			}
			s := status.Judge(seen)
			if err := o.print(cmd.OutOrStdout(), s, s.Table); err != nil {
				return unreadable(err)
			}
			switch {
			case !s.Healthy:
				return trouble(nil)
			case len(s.Unknown) > 0:
				return unreadable(nil)
			}
			return nil
		},
	}
}

// look asks the API server and the agents for what status judges.
func (o *options) look(ctx context.Context, c *cluster.Client) (status.Seen, error) {
	var seen status.Seen
	var err error
	namespace := o.agentNamespace(false)
	if seen.DaemonSets, err = c.DaemonSets(ctx, namespace, o.agentSelector); err != nil {
		if apierrors.IsForbidden(err) && namespace == "" {
			err = fmt.Errorf("%w; you have no right to list daemonsets in all namespaces: give --agent-namespace", err)
		}
		return seen, unreadable(fmt.Errorf("list the DaemonSets: %w", err))
	}
	if len(seen.DaemonSets) == 0 {
		return seen, trouble(o.noAgent(namespace))
	}
	if seen.Agents, err = c.Agents(ctx, namespace, o.agentSelector); err != nil {
		return seen, unreadable(err)
	}
	if err := o.oneNamespace(namespace, seen.Agents); err != nil {
		return seen, err
	}
	if seen.Nodes, err = c.Nodes(ctx, ""); err != nil {
		return seen, unreadable(err)
	}
	if len(seen.Nodes) == 0 {
		return seen, trouble(fmt.Errorf("there are no nodes"))
	}
	seen.Builds = make(map[string]cluster.Build)
	var mu sync.Mutex
	step, end := progress(o.stderr)
	defer end()
	cluster.Each(ctx, seen.Agents, o.timeout, step, func(ctx context.Context, i int) {
		a := seen.Agents[i]
		if !a.Running() {
			return // counted as not ready
		}
		b := c.Build(ctx, a)
		mu.Lock()
		defer mu.Unlock()
		seen.Builds[a.Node] = b
	})
	return seen, ctx.Err()
}
