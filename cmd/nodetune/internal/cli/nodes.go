package cli

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/nodetune/nodetune/internal/safetext"
	"github.com/nodetune/nodetune/reporter/fleet"
	"github.com/nodetune/nodetune/reporter/kube"
)

// nodesDoc is what `nodes -o json` prints.
type nodesDoc struct {
	APIVersion string       `json:"apiVersion"`
	Kind       string       `json:"kind"`
	Nodes      []fleet.Node `json:"nodes"`
}

// nodesFlags say which nodes, in which order, and with what.
type nodesFlags struct {
	kube     kubeconfigFlags
	selector string
	states   []string
	sort     string
	live     bool
	agents   fleet.Agents
}

func newNodes(o *options) *cobra.Command {
	f := &nodesFlags{}
	cmd := &cobra.Command{
		Use:   "nodes [NAME...]",
		Short: "Show nodetune's conditions of every node of the cluster",
		Long: `Shows nodetune's conditions of every Node, from the API alone. It needs the right
to list nodes. STATE is

  ok       every condition is False
  problem  at least one is True
  unknown  one is Unknown or of an owner that the Node does not record, or the
           node is not Ready: its conditions are stale
  silent   no condition: nodetune does not run there, may not write, or has only
           just begun

--live also asks the agent on each node for use and limits, through the API
server's pod proxy and with your own rights (get pods/proxy), over TLS where the
probes of its pod say so. USE is the share of the fullest account's limit.

From another machine use the plugin, 'kubectl nodetune nodes'.`,
		Example: `  nodetune nodes
  nodetune nodes --state problem,unknown -o json
  nodetune nodes --live --sort use -l node-role.kubernetes.io/worker=`,
		RunE: func(cmd *cobra.Command, names []string) error {
			return f.run(cmd, o, names)
		},
	}
	flags := cmd.Flags()
	f.kube.register(flags)
	flags.StringVarP(&f.selector, "selector", "l", "", "only nodes with these `labels`")
	flags.StringSliceVar(&f.states, "state", nil, "only nodes in these `states`: ok, problem, unknown, silent")
	flags.StringVar(&f.sort, "sort", "state", "order: state, name, since, or use with --live")
	flags.BoolVar(&f.live, "live", false, "ask every agent for use and limits")
	flags.StringVar(&f.agents.Namespace, "agent-namespace", "", "`namespace` of the agents' pods (default: the only one that has any)")
	flags.StringVar(&f.agents.Selector, "agent-selector", "app.kubernetes.io/name=nodetune", "`labels` of the agents' pods")
	for flag, words := range map[string][]cobra.Completion{
		"state": {"ok", "problem", "unknown", "silent"},
		"sort":  {"state", "name", "since", "use"},
	} {
		_ = cmd.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(words, cobra.ShellCompDirectiveNoFileComp))
	}
	return cmd
}

func (f *nodesFlags) validate() error {
	for _, s := range f.states {
		switch fleet.State(s) {
		case fleet.OK, fleet.Problem, fleet.Unknown, fleet.Silent:
		default:
			return fmt.Errorf("--state %q: want ok, problem, unknown or silent", s)
		}
	}
	if !fleet.Sort(nil, f.sort) {
		return fmt.Errorf("--sort %q: want state, name, since or use", f.sort)
	}
	if f.sort == "use" && !f.live {
		return fmt.Errorf("--sort use: how much is used is only known with --live")
	}
	return nil
}

func (f *nodesFlags) run(cmd *cobra.Command, o *options, names []string) error {
	if err := f.validate(); err != nil {
		return err
	}
	cluster, err := f.kube.config()
	if err != nil {
		return err
	}
	client, err := kube.NewClient(cluster)
	if err != nil {
		return err
	}
	doc := nodesDoc{APIVersion: apiVersion, Kind: "NodeList"}
	doc.Nodes, err = f.list(cmd.Context(), client, names)
	if err != nil {
		return errInput(err)
	}
	if f.live {
		if err := fleet.QueryAgents(cmd.Context(), fleetAPI(client), f.agents, doc.Nodes); err != nil {
			return errInput(err)
		}
	}
	fleet.Sort(doc.Nodes, f.sort)
	if err := o.print(cmd.OutOrStdout(), doc, func(w io.Writer) error { return fleet.Table(w, doc.Nodes, f.live, time.Now()) }); err != nil {
		return err
	}
	return missing(doc.Nodes, names, f.states)
}

func fleetAPI(client *kube.Client) fleet.API {
	return fleet.API{
		ListPods: func(ctx context.Context, namespace string, o metav1.ListOptions) (*corev1.PodList, error) {
			return client.Pods(namespace).List(ctx, o)
		},
		Proxy: client.Proxy,
	}
}

// missing says which of the nodes asked for by name there are not.
func missing(nodes []fleet.Node, names, states []string) error {
	if len(states) > 0 {
		return nil // left out, perhaps
	}
	var none []string
	for _, name := range names {
		if !slices.ContainsFunc(nodes, func(n fleet.Node) bool { return n.Name == name }) {
			none = append(none, safetext.String(name))
		}
	}
	if none != nil {
		return errNotMet(fmt.Errorf("there is no node %s", strings.Join(none, ", ")))
	}
	return nil
}

// nodesPage is how many whole Nodes are held at a time.
const nodesPage = 500

func (f *nodesFlags) list(ctx context.Context, client *kube.Client, names []string) ([]fleet.Node, error) {
	all := []fleet.Node{}
	options := metav1.ListOptions{LabelSelector: f.selector, Limit: nodesPage}
	for {
		nodes, err := client.Nodes().List(ctx, options)
		if err != nil {
			return nil, fmt.Errorf("list nodes: %w", err)
		}
		for i := range nodes.Items {
			n := fleet.Summarize(&nodes.Items[i])
			if (len(names) == 0 || slices.Contains(names, n.Name)) &&
				(len(f.states) == 0 || slices.Contains(f.states, string(n.State))) {
				all = append(all, n)
			}
		}
		if options.Continue = nodes.Continue; options.Continue == "" {
			return all, nil
		}
	}
}

func joinTypes(types []corev1.NodeConditionType) string {
	var s []string
	for _, t := range types {
		s = append(s, string(t))
	}
	return strings.Join(s, ", ")
}
