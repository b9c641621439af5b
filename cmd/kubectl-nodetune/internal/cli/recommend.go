package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"

	"github.com/nodetune/nodetune/cmd/kubectl-nodetune/internal/cluster"
	"github.com/nodetune/nodetune/internal/safetext"
	"github.com/nodetune/nodetune/reporter/recommend"
)

func newRecommend(o *options) *cobra.Command {
	pool := ""
	cmd := &cobra.Command{
		Use:   "recommend",
		Short: "Derive floors and ceilings from the use of nodes, as values of the chart",
		Long: `Compares what the nodes use with what is in force, and prints floors and ceilings
for fs.inotify.max_user_instances, fs.inotify.max_user_watches and fs.file-max as
values of the chart, each with its evidence as a comment. No floor is below a value
in force on any node of the pool.

It asks each agent for its /status.json, as the other commands ask for a report. An
agent keeps no history: run it while the nodes are busy. The exit code is 3 where
a node could not be asked; a comment names it.`,
		Example: `  kubectl nodetune recommend > values-floors.yaml
  kubectl nodetune recommend --pool cloud.google.com/gke-nodepool > values-pools.yaml
  kubectl nodetune recommend --pool node.kubernetes.io/instance-type=m5.large`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return o.recommend(cmd, pool)
		},
	}
	cmd.Flags().StringVar(&pool, "pool", "", "`LABEL[=VALUE]`: a pool for each value of the label of nodes, or for this value alone")
	return cmd
}

// recommendations is the document of `recommend`.
type recommendations struct {
	APIVersion string           `json:"apiVersion"`
	Kind       string           `json:"kind"`
	Items      []recommend.Pool `json:"items"`
	// Unread has, for each node that could not be asked, why.
	Unread map[string]string `json:"unread,omitempty"`
	// Unlabelled are nodes without the label of the pools.
	Unlabelled []string `json:"unlabelled,omitempty"`
}

func (o *options) recommend(cmd *cobra.Command, pool string) error {
	label, _, exact := strings.Cut(pool, "=")
	if pool != "" && label == "" {
		return fmt.Errorf("--pool %q: want LABEL or LABEL=VALUE", pool)
	}
	c, err := o.client()
	if err != nil {
		return err
	}
	selector := ""
	if exact {
		selector = pool
	}
	nodes, err := c.Nodes(cmd.Context(), selector)
	switch {
	case err != nil:
		return unreadable(err)
	case len(nodes) == 0 && exact:
		return trouble(fmt.Errorf("no node has the label %s", safetext.String(pool)))
	case len(nodes) == 0:
		return trouble(errors.New("the cluster has no node"))
	}
	agents, err := o.agents(cmd.Context(), c, false)
	if err != nil {
		return err
	}
	samples, unread := o.samples(cmd.Context(), c, nodes, agents)
	d := byPool(nodes, label, samples)
	d.Unread = unread
	if err := o.print(cmd.OutOrStdout(), d, func(w io.Writer) error { return d.write(w, label) }); err != nil {
		return unreadable(err)
	}
	if len(unread) > 0 {
		return unreadable(fmt.Errorf("%d of %d nodes could not be asked, and are not in the figures", len(unread), len(nodes)))
	}
	return nil
}

// samples asks the agent of each node.
func (o *options) samples(ctx context.Context, c *cluster.Client, nodes []corev1.Node, agents []cluster.Agent) (samples map[string][]recommend.Sample, unread map[string]string) {
	samples, unread = map[string][]recommend.Sample{}, map[string]string{}
	var asked []cluster.Agent
	for i := range nodes {
		if a, ok := cluster.On(agents, nodes[i].Name); ok {
			asked = append(asked, a)
		} else {
			unread[nodes[i].Name] = "no agent runs there"
		}
	}
	all, errs := make([][]recommend.Sample, len(asked)), make([]error, len(asked))
	step, end := progress(o.stderr)
	cluster.Each(ctx, asked, o.timeout, step, func(ctx context.Context, i int) {
		raw, err := c.Page(ctx, asked[i])
		if err == nil {
			all[i], err = recommend.FromStatus(asked[i].Node, raw)
		}
		errs[i] = err
	})
	end()
	for i, a := range asked {
		if errs[i] != nil {
			unread[a.Node] = errs[i].Error()
			continue
		}
		samples[a.Node] = all[i]
	}
	return samples, unread
}

// byPool compares the samples of the nodes of each pool: those with the same value
// of the label, or all nodes without a label.
func byPool(nodes []corev1.Node, label string, samples map[string][]recommend.Sample) recommendations {
	d := recommendations{APIVersion: recommend.APIVersion, Kind: "RecommendationList", Items: []recommend.Pool{}}
	reports, of := map[string]int{}, map[string][]recommend.Sample{}
	for i := range nodes {
		name := nodes[i].Name
		value, ok := nodes[i].Labels[label]
		if label != "" && !ok {
			d.Unlabelled = append(d.Unlabelled, name)
			continue
		}
		if s, ok := samples[name]; ok {
			reports[value]++
			of[value] = append(of[value], s...)
		}
	}
	names := map[string]bool{}
	for _, value := range slices.Sorted(maps.Keys(of)) {
		p := recommend.Pool{Recommendation: recommend.From(reports[value], of[value])}
		if label != "" {
			p.Name, p.NodeSelector = poolName(value, names), map[string]string{label: value}
		}
		d.Items = append(d.Items, p)
	}
	return d
}

// maxPoolName is what the chart takes.
const maxPoolName = 40

// poolName is a name that the chart takes, after the value of a label. No two are equal.
func poolName(value string, taken map[string]bool) string {
	base := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			return r
		}
		return '-'
	}, strings.ToLower(value))
	base = strings.Trim(base[:min(len(base), maxPoolName-4)], "-")
	if base == "" {
		base = "pool"
	}
	name := base
	for n := 2; taken[name]; n++ {
		name = fmt.Sprintf("%s-%d", base, n)
	}
	taken[name] = true
	return name
}

func (d *recommendations) write(w io.Writer, label string) error {
	var b strings.Builder
	for _, node := range slices.Sorted(maps.Keys(d.Unread)) {
		fmt.Fprintf(&b, "# not asked: %s: %s\n", safetext.String(node), safetext.String(d.Unread[node]))
	}
	for _, node := range d.Unlabelled {
		fmt.Fprintf(&b, "# in no pool: %s has no label %s\n", safetext.String(node), safetext.String(label))
	}
	if _, err := io.WriteString(w, b.String()); err != nil {
		return err
	}
	switch {
	case len(d.Items) == 0:
		_, err := io.WriteString(w, "# no node is known: nothing to recommend\n{}\n")
		return err
	case label == "":
		return recommend.WriteValues(w, d.Items[0].Recommendation)
	}
	return recommend.WritePools(w, d.Items)
}
