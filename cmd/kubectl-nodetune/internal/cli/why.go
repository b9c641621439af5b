package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/nodetune/nodetune/cmd/kubectl-nodetune/internal/bundle"
	"github.com/nodetune/nodetune/cmd/kubectl-nodetune/internal/show"
	"github.com/nodetune/nodetune/internal/safetext"
	"github.com/nodetune/nodetune/reporter/view"
)

func newWhy(o *options) *cobra.Command {
	return &cobra.Command{
		Use:   "why [NAMESPACE/]POD[:CONTAINER]",
		Short: "Show which limit the processes of a pod have hit or will hit next",
		Long: `Shows the limits of each process of a pod that uses inotify or many descriptors, in
the order in which the kernel asks. The exit code is 1 where a limit is reached.`,
		Args: oneArgument("why: which pod? Give [NAMESPACE/]POD[:CONTAINER]"),
		RunE: func(cmd *cobra.Command, args []string) error {
			w, err := parseWorkload(args[0])
			if err != nil {
				return err
			}
			d, err := o.why(cmd.Context(), w)
			if err != nil {
				return err
			}
			if err := o.print(cmd.OutOrStdout(), d, d.Table); err != nil {
				return unreadable(err)
			}
			if d.Reached {
				return trouble(nil)
			}
			return nil
		},
	}
}

// parseWorkload reads [NAMESPACE/]POD[:CONTAINER].
func parseWorkload(s string) (view.Workload, error) {
	var w view.Workload
	rest := s
	if namespace, pod, ok := strings.Cut(s, "/"); ok {
		if namespace == "" {
			return w, fmt.Errorf("%q has no namespace before the slash", s)
		}
		w.Namespace, rest = namespace, pod
	}
	pod, container, ok := strings.Cut(rest, ":")
	if pod == "" || strings.Contains(pod, "/") || ok && container == "" {
		return w, fmt.Errorf("%q is not [NAMESPACE/]POD[:CONTAINER]", s)
	}
	w.Pod, w.Container = pod, container
	return w, nil
}

func (o *options) why(ctx context.Context, w view.Workload) (show.Diagnosis, error) {
	if o.from != "" {
		return o.whyFromBundle(w)
	}
	if w.Namespace == "" {
		namespace, _, err := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(&o.rules, &o.overrides).Namespace()
		if err != nil {
			return show.Diagnosis{}, fmt.Errorf("find the namespace of the context: %w", err)
		}
		w.Namespace = namespace
	}
	c, err := o.client()
	if err != nil {
		return show.Diagnosis{}, err
	}
	p, err := c.Pod(ctx, w.Namespace, w.Pod)
	switch {
	case apierrors.IsNotFound(err):
		return show.Diagnosis{}, trouble(fmt.Errorf("there is no pod %s", safetext.String(w.String())))
	case err != nil:
		return show.Diagnosis{}, unreadable(fmt.Errorf("find the node of pod %s: %w", safetext.String(w.String()), err))
	case p.Spec.NodeName == "":
		return show.Diagnosis{}, trouble(fmt.Errorf("pod %s runs on no node yet", safetext.String(w.String())))
	}
	a, err := o.ask(ctx, c, p.Spec.NodeName, true)
	if err != nil {
		return show.Diagnosis{}, err
	}
	return diagnose(a.Report, p.Spec.NodeName, w)
}

func diagnose(r *view.Report, node string, w view.Workload) (show.Diagnosis, error) {
	if r.Inotify == nil {
		why := r.Errors["inotify"]
		if why == "" {
			why = "it has not counted yet"
		}
		return show.Diagnosis{}, unreadable(fmt.Errorf("the agent on %s does not know: %s", safetext.String(node), safetext.String(why)))
	}
	d := show.Why(r, node, w.Namespace, w.Pod, w.Container)
	if len(d.Processes) == 0 {
		return d, unreadable(fmt.Errorf("the agent on %s lists no process of %s: it lists those that use inotify or many descriptors, and those whose pod it can see", safetext.String(node), safetext.String(w.String())))
	}
	return d, nil
}

func (o *options) whyFromBundle(w view.Workload) (show.Diagnosis, error) {
	if w.Namespace == "" {
		if w.Namespace = o.namespace; w.Namespace == "" {
			return show.Diagnosis{}, errors.New("why --from: give NAMESPACE/POD, or --namespace")
		}
	}
	b, err := bundle.Open(o.from)
	if err != nil {
		return show.Diagnosis{}, unreadable(err)
	}
	var found show.Diagnosis
	err = b.EachReport(func(node string, raw []byte) bool {
		r, err := view.Parse(raw)
		if err != nil || r.Inotify == nil {
			return true
		}
		found = show.Why(r, node, w.Namespace, w.Pod, w.Container)
		return len(found.Processes) == 0
	})
	if err != nil {
		return found, unreadable(err)
	}
	if len(found.Processes) == 0 {
		return found, trouble(fmt.Errorf("no report in %s lists a process of %s", o.from, safetext.String(w.String())))
	}
	return found, nil
}
