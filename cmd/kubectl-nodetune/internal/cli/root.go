// Package cli is the command line of kubectl-nodetune: one file for each command.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/nodetune/nodetune/cmd/kubectl-nodetune/internal/cluster"
	"github.com/nodetune/nodetune/internal/document"
	"github.com/nodetune/nodetune/internal/safetext"
)

// Exit codes, as nodetune's own.
const (
	exitOK         = 0
	exitTrouble    = 1 // something is not as wanted, and it was named
	exitUsage      = 2 // the command line or the kubeconfig is wrong
	exitUnreadable = 3 // the API server, an agent or the bundle could not be read
)

// exitError carries an exit code. With a nil err nothing is printed: the table has
// the reason.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit code %d", e.code)
	}
	return e.err.Error()
}

func (e *exitError) Unwrap() error { return e.err }

func trouble(err error) error    { return &exitError{exitTrouble, err} }
func unreadable(err error) error { return &exitError{exitUnreadable, err} }

// options are the flags that every command takes.
type options struct {
	output        string
	from          string
	namespace     string // of --namespace, only where it was given
	agentSpace    string
	agentSelector string
	timeout       time.Duration
	rules         clientcmd.ClientConfigLoadingRules
	overrides     clientcmd.ConfigOverrides
	stderr        io.Writer
	version       string
}

// Run runs the command line and returns the exit code.
func Run(args []string, stdout, stderr io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	context.AfterFunc(ctx, stop) // a second ^C ends the program
	root := newRoot(stderr)
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitOK
	}
	code := exitUsage
	if e, ok := errors.AsType[*exitError](err); ok {
		code = e.code
		if e.err == nil {
			return code
		}
	}
	lines := strings.Split(err.Error(), "\n")
	for i := range lines {
		lines[i] = safetext.String(lines[i]) // it may have what a pod answered
	}
	fmt.Fprintf(stderr, "kubectl-nodetune: %s\n", strings.Join(lines, "\n"))
	return code
}

func newRoot(stderr io.Writer) *cobra.Command {
	o := &options{stderr: stderr, version: version()}
	root := &cobra.Command{
		Use:   "kubectl-nodetune",
		Short: "Show nodetune's agents and their nodes from your machine",
		Long: `Shows nodetune's agents and their nodes from your machine, with the rights of your
kubeconfig.

A report comes through the API server's pod proxy (get pods/proxy, and web.report:
open in the configuration of nodetune). Where that is closed, 'nodetune check' runs
in the agent's container (create and get pods/exec). The command reports which way
it went, and which right or value is missing.`,
		Example: `  kubectl nodetune status
  kubectl nodetune nodes --state problem,unknown
  kubectl nodetune top worker-1
  kubectl nodetune why logging/fluent-bit-x7k2p
  kubectl nodetune recommend --pool cloud.google.com/gke-nodepool
  kubectl nodetune bundle
  kubectl nodetune top worker-1 --from nodetune-bundle.tar.gz`,
		Annotations:   map[string]string{cobra.CommandDisplayNameAnnotation: "kubectl nodetune"},
		Version:       o.version,
		SilenceUsage:  true,
		SilenceErrors: true,
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error {
			return o.validate(cmd)
		},
	}
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return fmt.Errorf("%w: see '%s --help'", err, cmd.CommandPath())
	})
	root.SetVersionTemplate("{{.Version}}\n")
	f := root.PersistentFlags()
	f.StringVarP(&o.output, "output", "o", "table", "output format: table, json or yaml")
	f.StringVar(&o.from, "from", "", "show from this bundle `file` instead of the cluster")
	f.StringVar(&o.agentSpace, "agent-namespace", "", "`namespace` of the agents (default: all; except for why also --namespace)")
	f.StringVar(&o.agentSelector, "agent-selector", "app.kubernetes.io/name=nodetune", "`labels` of the agents' DaemonSet and pods")
	f.DurationVar(&o.timeout, "node-timeout", 30*time.Second, "how long to wait for one agent")
	o.rules = *clientcmd.NewDefaultClientConfigLoadingRules()
	f.StringVar(&o.rules.ExplicitPath, "kubeconfig", "", "kubeconfig `file` (default $KUBECONFIG or ~/.kube/config)")
	names := clientcmd.RecommendedConfigOverrideFlags("")
	names.ContextOverrideFlags.Namespace.ShortName = "n"
	clientcmd.BindOverrideFlags(&o.overrides, f, names)
	_ = root.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]cobra.Completion{"table", "json", "yaml"}, cobra.ShellCompDirectiveNoFileComp))
	root.AddCommand(newStatus(o), newNodes(o), newTop(o), newCheck(o), newDisk(o), newWhy(o), newRecommend(o), newBundle(o), newVersion(o))
	return root
}

func (o *options) validate(cmd *cobra.Command) error {
	switch o.output {
	case "table", "json", "yaml":
	default:
		return fmt.Errorf("--output %q: want table, json or yaml", o.output)
	}
	if o.timeout <= 0 {
		return fmt.Errorf("--node-timeout %s: want more than 0", o.timeout)
	}
	if f := cmd.Flags().Lookup("namespace"); f != nil && f.Changed {
		o.namespace = f.Value.String()
	}
	if o.from != "" {
		switch cmd.Name() {
		case "top", "why", "disk", "check", "nodes":
		default:
			return fmt.Errorf("%s does not read a bundle: leave --from out", cmd.CommandPath())
		}
	}
	return nil
}

// client returns a client for the API server of the kubeconfig.
func (o *options) client() (*cluster.Client, error) {
	c, err := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(&o.rules, &o.overrides).ClientConfig()
	if clientcmd.IsEmptyConfig(err) {
		return nil, errors.New("find the API server: there is no kubeconfig; give --kubeconfig, or set KUBECONFIG")
	}
	if err != nil {
		return nil, fmt.Errorf("find the API server: %w", err)
	}
	c.UserAgent = "kubectl-nodetune/" + o.version
	c.QPS, c.Burst = 50, 300
	return cluster.New(c)
}

// agentNamespace is where the agents are; "" is all namespaces.
func (o *options) agentNamespace(why bool) string {
	if o.agentSpace == "" && !why {
		return o.namespace
	}
	return o.agentSpace
}

// print writes doc as JSON or YAML, or calls table.
func (o *options) print(w io.Writer, doc any, table func(io.Writer) error) error {
	var b []byte
	var err error
	switch o.output {
	case "json":
		b, err = document.JSON(doc)
	case "yaml":
		b, err = document.YAML(doc)
	default:
		return table(w)
	}
	if err != nil {
		return err
	}
	_, err = w.Write(b)
	return err
}

// oneArgument asks in words for exactly one argument.
func oneArgument(ask string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) != 1 || args[0] == "" {
			return fmt.Errorf("%s, got %d arguments: see '%s --help'", ask, len(args), cmd.CommandPath())
		}
		return nil
	}
}

func noArguments(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return fmt.Errorf("%s takes no arguments, got %q: see '%s --help'", cmd.CommandPath(), args[0], cmd.CommandPath())
	}
	return nil
}
