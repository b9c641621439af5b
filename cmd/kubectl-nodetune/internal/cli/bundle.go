package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/spf13/cobra"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/nodetune/nodetune/cmd/kubectl-nodetune/internal/bundle"
	"github.com/nodetune/nodetune/cmd/kubectl-nodetune/internal/cluster"
	"github.com/nodetune/nodetune/cmd/kubectl-nodetune/internal/status"
	"github.com/nodetune/nodetune/reporter/fleet"
)

type bundleFlags struct {
	file     string
	maxBytes int64
	lines    int64
}

func newBundle(o *options) *cobra.Command {
	f := &bundleFlags{}
	cmd := &cobra.Command{
		Use:   "bundle [NODE...]",
		Short: "Write reports, logs and objects into an archive for a post-mortem",
		Long: `Writes a tar.gz with the reports and logs of the agents, the DaemonSet, its
ConfigMaps and pods, the Nodes with their conditions, and Events. Without names it
takes all nodes. What looks like a secret is replaced by REDACTED. Names of pods,
processes and log files stay: they are what a post-mortem needs.

top, why, disk, check and nodes show it with --from. Its entry omitted.json lists
what is not in it.`,
		ValidArgsFunction: o.completeNodes,
		RunE: func(cmd *cobra.Command, names []string) error {
			return f.run(cmd, o, names)
		},
	}
	flags := cmd.Flags()
	flags.StringVarP(&f.file, "file", "f", "", "`file` to write, which must not exist (default nodetune-bundle-TIME.tar.gz)")
	flags.Int64Var(&f.maxBytes, "max-size", bundle.DefaultMaxBytes, "most `bytes` of all entries before compression")
	flags.Int64Var(&f.lines, "log-lines", 2000, "most lines of each log")
	return cmd
}

const (
	minBundleBytes = 1 << 20
	// maxLogBytes bounds one log, maxEvents the Events of a namespace.
	maxLogBytes = 4 << 20
	maxEvents   = 2000
)

func (f *bundleFlags) run(cmd *cobra.Command, o *options, names []string) error {
	switch {
	case f.maxBytes < minBundleBytes:
		return fmt.Errorf("--max-size %d: want %d or more", f.maxBytes, minBundleBytes)
	case f.lines < 1:
		return fmt.Errorf("--log-lines %d: want 1 or more", f.lines)
	}
	now := time.Now()
	if f.file == "" {
		f.file = "nodetune-bundle-" + now.UTC().Format("20060102-150405") + ".tar.gz"
	}
	c, err := o.client()
	if err != nil {
		return err
	}
	seen, err := o.look(cmd.Context(), c)
	if err != nil {
		return err
	}
	if err := choose(&seen, names); err != nil {
		return err
	}
	out, err := os.OpenFile(f.file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return unreadable(fmt.Errorf("write the bundle: %w", err))
	}
	omitted, err := f.write(cmd.Context(), o, c, out, seen, now)
	if err = errors.Join(err, out.Close()); err != nil {
		_ = os.Remove(f.file)
		return unreadable(fmt.Errorf("write the bundle: %w", err))
	}
	_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s: %d nodes, %d agents; %d parts are not in it, which omitted.json lists\n", f.file, len(seen.Nodes), len(seen.Agents), len(omitted))
	return err
}

// choose keeps the nodes and agents of names.
func choose(seen *status.Seen, names []string) error {
	if len(names) == 0 {
		return nil
	}
	for _, name := range names {
		if !slices.ContainsFunc(seen.Nodes, func(n corev1.Node) bool { return n.Name == name }) {
			return trouble(fmt.Errorf("there is no node %q", name))
		}
	}
	seen.Nodes = slices.DeleteFunc(seen.Nodes, func(n corev1.Node) bool { return !slices.Contains(names, n.Name) })
	seen.Agents = slices.DeleteFunc(seen.Agents, func(a cluster.Agent) bool { return !slices.Contains(names, a.Node) })
	return nil
}

func (f *bundleFlags) write(ctx context.Context, o *options, c *cluster.Client, w io.Writer, seen status.Seen, now time.Time) ([]string, error) {
	b, err := bundle.NewWriter(w, bundle.Manifest{Created: now, Version: o.version, Namespace: o.agentNamespace(false), Selector: o.agentSelector}, f.maxBytes)
	if err != nil {
		return nil, err
	}
	if err := objects(ctx, c, b, seen); err != nil {
		return nil, err
	}
	if err := f.agents(ctx, o, c, b, seen.Agents); err != nil {
		return nil, err
	}
	return b.Close()
}

// objects writes what the API server has.
func objects(ctx context.Context, c *cluster.Client, b *bundle.Writer, seen status.Seen) error {
	nodes := bundle.Nodes{APIVersion: "nodetune.io/v1alpha1", Kind: "NodeList", Nodes: []fleet.Node{}}
	trimmed := []corev1.Node{}
	for i := range seen.Nodes {
		nodes.Nodes = append(nodes.Nodes, fleet.Summarize(&seen.Nodes[i]))
		trimmed = append(trimmed, bundle.Node(seen.Nodes[i]))
	}
	sets, maps, events := []appsv1.DaemonSet{}, []corev1.ConfigMap{}, []corev1.Event{}
	namespaces := []string{"default"} // where Events of Nodes are
	for _, d := range seen.DaemonSets {
		sets = append(sets, bundle.DaemonSet(d))
		if !slices.Contains(namespaces, d.Namespace) {
			namespaces = append(namespaces, d.Namespace)
		}
		for _, name := range configMaps(d) {
			m, err := c.ConfigMap(ctx, d.Namespace, name)
			if err != nil {
				b.Omit(fmt.Sprintf("ConfigMap %s/%s: %v", d.Namespace, name, err))
				continue
			}
			maps = append(maps, bundle.ConfigMap(*m))
		}
	}
	for _, namespace := range namespaces {
		fields := ""
		if namespace == "default" {
			fields = "involvedObject.kind=Node"
		}
		some, err := c.Events(ctx, namespace, fields, maxEvents)
		if err != nil {
			b.Omit(fmt.Sprintf("Events of namespace %s: %v", namespace, err))
		}
		for _, e := range some {
			events = append(events, bundle.Event(e))
		}
	}
	pods := []corev1.Pod{}
	for _, a := range seen.Agents {
		pods = append(pods, bundle.Pod(a.Object))
	}
	return errors.Join(
		b.JSON("nodes.json", nodes), b.JSON("status.json", status.Judge(seen)),
		b.JSON("objects/daemonsets.json", sets), b.JSON("objects/configmaps.json", maps), b.JSON("objects/pods.json", pods),
		b.JSON("objects/nodes.json", trimmed), b.JSON("objects/events.json", events),
	)
}

// configMaps are those that d mounts.
func configMaps(d appsv1.DaemonSet) []string {
	var names []string
	for _, v := range d.Spec.Template.Spec.Volumes {
		if v.ConfigMap != nil {
			names = append(names, v.ConfigMap.Name)
		}
		if v.Projected != nil {
			for _, s := range v.Projected.Sources {
				if s.ConfigMap != nil {
					names = append(names, s.ConfigMap.Name)
				}
			}
		}
	}
	return names
}

// agents writes the report and the logs of each agent as it answers, so that few
// are held at a time.
func (f *bundleFlags) agents(ctx context.Context, o *options, c *cluster.Client, b *bundle.Writer, agents []cluster.Agent) error {
	list := make([]bundle.Agent, len(agents))
	var mu sync.Mutex
	var failed error
	step, end := progress(o.stderr)
	defer end()
	cluster.Each(ctx, agents, o.timeout, step, func(ctx context.Context, i int) {
		a := agents[i]
		list[i] = bundle.Agent{Node: a.Node, Pod: a.Pod.String()}
		var answer cluster.Answer
		err := errors.New("the pod does not run")
		page, pageErr := []byte(nil), err
		if a.Running() {
			if answer, err = c.Report(ctx, a); err == nil {
				page, pageErr = c.Page(ctx, a)
			}
		}
		current, currentErr := c.Logs(ctx, a.Pod, a.Container, false, f.lines, maxLogBytes)
		previous, previousErr := []byte(nil), error(nil)
		if a.Restarted() {
			previous, previousErr = c.Logs(ctx, a.Pod, a.Container, true, f.lines, maxLogBytes)
		}
		mu.Lock()
		defer mu.Unlock()
		list[i].Way = string(answer.Way)
		if err != nil {
			list[i].Error = err.Error()
			b.Omit(fmt.Sprintf("report of node %s: %v", a.Node, err))
		} else {
			failed = errors.Join(failed, b.Report(a.Node, answer.Raw))
			if pageErr != nil {
				b.Omit(fmt.Sprintf("page of node %s: %v", a.Node, pageErr))
			} else {
				failed = errors.Join(failed, b.Page(a.Node, page))
			}
		}
		for _, log := range []struct {
			suffix string
			text   []byte
			err    error
		}{{".log", current, currentErr}, {".previous.log", previous, previousErr}} {
			name := "logs/" + a.Node + "/" + a.Pod.Name + log.suffix
			switch {
			case log.err != nil:
				b.Omit(name + ": " + log.err.Error())
			case log.text != nil:
				failed = errors.Join(failed, b.Text(name, log.text))
			}
		}
	})
	return errors.Join(failed, ctx.Err(), b.JSON("agents.json", list))
}
