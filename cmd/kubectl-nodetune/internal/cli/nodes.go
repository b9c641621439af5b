package cli

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/nodetune/nodetune/cmd/kubectl-nodetune/internal/bundle"
	"github.com/nodetune/nodetune/cmd/kubectl-nodetune/internal/cluster"
	"github.com/nodetune/nodetune/internal/safetext"
	"github.com/nodetune/nodetune/reporter/fleet"
)

type nodesFlags struct {
	selector, sort string
	states         []string
	live           bool
}

func newNodes(o *options) *cobra.Command {
	f := &nodesFlags{}
	cmd := &cobra.Command{
		Use:   "nodes [NAME...]",
		Short: "Show nodetune's conditions of every node of the cluster",
		Long: `Shows nodetune's conditions of every Node, from the API alone. It needs the right
to list nodes. --live also asks each agent for use and limits, through the pod
proxy.`,
		ValidArgsFunction: o.completeNodes,
		RunE: func(cmd *cobra.Command, names []string) error {
			return f.run(cmd, o, names)
		},
	}
	flags := cmd.Flags()
	flags.StringVarP(&f.selector, "selector", "l", "", "only nodes with these `labels`")
	flags.StringSliceVar(&f.states, "state", nil, "only nodes in these `states`: ok, problem, unknown, silent")
	flags.StringVar(&f.sort, "sort", "state", "order: state, name, since, or use with --live")
	flags.BoolVar(&f.live, "live", false, "ask every agent for use and limits")
	return cmd
}

func (f *nodesFlags) validate(o *options) error {
	for _, s := range f.states {
		switch fleet.State(s) {
		case fleet.OK, fleet.Problem, fleet.Unknown, fleet.Silent:
		default:
			return fmt.Errorf("--state %q: want ok, problem, unknown or silent", s)
		}
	}
	switch {
	case !fleet.Sort(nil, f.sort):
		return fmt.Errorf("--sort %q: want state, name, since or use", f.sort)
	case f.sort == "use" && !f.live:
		return fmt.Errorf("--sort use needs --live, which asks the agents for it")
	case o.from != "" && (f.live || f.selector != ""):
		return fmt.Errorf("--live and --selector ask the cluster: leave them out with --from")
	}
	return nil
}

func (f *nodesFlags) run(cmd *cobra.Command, o *options, names []string) error {
	if err := f.validate(o); err != nil {
		return err
	}
	all, client, err := f.list(cmd, o)
	if err != nil {
		return err
	}
	if len(all) == 0 && len(names) == 0 {
		return trouble(fmt.Errorf("there are no nodes that match"))
	}
	nodes := []fleet.Node{}
	for _, n := range all {
		if (len(names) == 0 || slices.Contains(names, n.Name)) && (len(f.states) == 0 || slices.Contains(f.states, string(n.State))) {
			nodes = append(nodes, n)
		}
	}
	if f.live {
		api := fleet.API{ListPods: client.ListPods, Proxy: client.Proxy}
		if err := fleet.QueryAgents(cmd.Context(), api, fleet.Agents{Namespace: o.agentNamespace(false), Selector: o.agentSelector}, nodes); err != nil {
			return unreadable(err)
		}
	}
	fleet.Sort(nodes, f.sort)
	doc := bundle.Nodes{APIVersion: "nodetune.io/v1alpha1", Kind: "NodeList", Nodes: nodes}
	if err := o.print(cmd.OutOrStdout(), doc, func(w io.Writer) error { return fleet.Table(w, nodes, f.live, time.Now()) }); err != nil {
		return unreadable(err)
	}
	var none []string
	for _, name := range names {
		if !slices.ContainsFunc(all, func(n fleet.Node) bool { return n.Name == name }) {
			none = append(none, safetext.String(name))
		}
	}
	if none != nil {
		return trouble(fmt.Errorf("there is no node %s", strings.Join(none, ", ")))
	}
	return nil
}

func (f *nodesFlags) list(cmd *cobra.Command, o *options) ([]fleet.Node, *cluster.Client, error) {
	if o.from != "" {
		b, err := bundle.Open(o.from)
		if err != nil {
			return nil, nil, unreadable(err)
		}
		d, err := b.Nodes()
		if err != nil {
			return nil, nil, unreadable(err)
		}
		return d.Nodes, nil, nil
	}
	c, err := o.client()
	if err != nil {
		return nil, nil, err
	}
	objects, err := c.Nodes(cmd.Context(), f.selector)
	if err != nil {
		return nil, nil, unreadable(err)
	}
	var all []fleet.Node
	for i := range objects {
		all = append(all, fleet.Summarize(&objects[i]))
	}
	return all, c, nil
}
