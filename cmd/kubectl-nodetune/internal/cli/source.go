package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/nodetune/nodetune/cmd/kubectl-nodetune/internal/bundle"
	"github.com/nodetune/nodetune/cmd/kubectl-nodetune/internal/cluster"
	"github.com/nodetune/nodetune/internal/safetext"
	"github.com/nodetune/nodetune/reporter/view"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// report returns the report of a node: from the bundle, or from its agent.
func (o *options) report(ctx context.Context, node string) (cluster.Answer, error) {
	if o.from != "" {
		b, err := bundle.Open(o.from)
		if err != nil {
			return cluster.Answer{}, unreadable(err)
		}
		raw, err := b.Report(node)
		if errors.Is(err, bundle.ErrNoEntry) {
			return cluster.Answer{}, o.notInBundle(b, node)
		}
		return parsed(raw, err)
	}
	c, err := o.client()
	if err != nil {
		return cluster.Answer{}, err
	}
	return o.ask(ctx, c, node, false)
}

func parsed(raw []byte, err error) (cluster.Answer, error) {
	if err != nil {
		return cluster.Answer{}, unreadable(err)
	}
	r, err := view.Parse(raw)
	if err != nil {
		return cluster.Answer{}, unreadable(err)
	}
	return cluster.Answer{Raw: raw, Report: r, Way: "bundle"}, nil
}

func (o *options) notInBundle(b *bundle.Bundle, node string) error {
	names, err := b.Reports()
	if err != nil {
		return unreadable(err)
	}
	return trouble(fmt.Errorf("%s has no report of node %s; it has reports of %d nodes: see 'nodes --from' and its entries agents.json and omitted.json", o.from, safetext.String(node), len(names)))
}

// agents lists the agents' pods, and explains where there is none.
func (o *options) agents(ctx context.Context, c *cluster.Client, why bool) ([]cluster.Agent, error) {
	namespace := o.agentNamespace(why)
	all, err := c.Agents(ctx, namespace, o.agentSelector)
	if apierrors.IsForbidden(err) && namespace == "" {
		return nil, unreadable(fmt.Errorf("%w; you have no right to list pods in all namespaces: give --agent-namespace", err))
	}
	if err != nil {
		return nil, unreadable(err)
	}
	if len(all) == 0 {
		return nil, trouble(o.noAgent(namespace))
	}
	return all, o.oneNamespace(namespace, all)
}

// oneNamespace refuses agents of several namespaces: a tenant can give a DaemonSet
// any labels.
func (o *options) oneNamespace(namespace string, all []cluster.Agent) error {
	var spaces []string
	for _, a := range all {
		if !slices.Contains(spaces, a.Pod.Namespace) {
			spaces = append(spaces, a.Pod.Namespace)
		}
	}
	if namespace != "" || len(spaces) < 2 {
		return nil
	}
	slices.Sort(spaces)
	return trouble(fmt.Errorf("pods with the labels %s run in the namespaces %s, and not all need be nodetune's: give --agent-namespace",
		safetext.String(o.agentSelector), strings.Join(spaces, ", ")))
}

func (o *options) noAgent(namespace string) error {
	where := "any namespace"
	if namespace != "" {
		where = "namespace " + safetext.String(namespace)
	}
	return fmt.Errorf("no pod of a DaemonSet with the labels %s in %s: install nodetune, or give --agent-namespace and --agent-selector", safetext.String(o.agentSelector), where)
}

// ask reads the report of the agent on node.
func (o *options) ask(ctx context.Context, c *cluster.Client, node string, why bool) (cluster.Answer, error) {
	agents, err := o.agents(ctx, c, why)
	if err != nil {
		return cluster.Answer{}, err
	}
	a, ok := cluster.On(agents, node)
	if !ok {
		return cluster.Answer{}, trouble(fmt.Errorf("no agent runs on a node %s: see 'kubectl nodetune nodes' for the nodes, and whether the DaemonSet selects this one", safetext.String(node)))
	}
	ctx, cancel := context.WithTimeout(ctx, o.timeout)
	defer cancel()
	answer, err := c.Report(ctx, a)
	if err != nil {
		return answer, unreadable(err)
	}
	o.notice(node, answer)
	return answer, nil
}

// notice reports a way that the user may not expect.
func (o *options) notice(node string, a cluster.Answer) {
	if a.Way == cluster.ByExec {
		fmt.Fprintf(o.stderr, "kubectl-nodetune: %s: read by exec, since through the pod proxy %s\n", safetext.String(node), safetext.String(a.Closed))
	}
}

// printReport writes the report as the agent wrote it, or a table of it.
func (o *options) printReport(w io.Writer, a cluster.Answer, table func(io.Writer) error) error {
	doc, err := rawDocument(a.Raw)
	if err != nil {
		return unreadable(err)
	}
	if err := o.print(w, doc, table); err != nil {
		return unreadable(err)
	}
	return nil
}
