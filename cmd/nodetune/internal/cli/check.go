package cli

import (
	"context"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/nodetune/nodetune/cmd/nodetune/internal/accounting"
	"github.com/nodetune/nodetune/cmd/nodetune/internal/agent"
	"github.com/nodetune/nodetune/cmd/nodetune/internal/config"
	"github.com/nodetune/nodetune/cmd/nodetune/internal/host"
	"github.com/nodetune/nodetune/disk"
	"github.com/nodetune/nodetune/reporter"
	"github.com/nodetune/nodetune/reporter/kube"
	"github.com/nodetune/nodetune/reporter/text"
	"github.com/nodetune/nodetune/sysctl"
)

func newCheck(o *options) *cobra.Command {
	verbose := false
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Compare kernel limits with the policy (read-only)",
		Long: `Compares each kernel limit with the policy and explains the impact of each
mismatch; then lists the users and processes with the most inotify instances, the
filesystems and the largest logs. Findings follow in order of urgency, and the
last line names the next command. Where the agent runs on this host, what it reports
beyond one look is among them, such as a log collector that stands still.

The exit code is 1 if a limit is not as wanted, or if a user or a process uses so
much of one that it counts as pressure (80 %, see inotify.pressurePercent in the
configuration). It is 3 if nothing is wrong as far as was seen, but not all
processes or limits could be read.`,
		Example: `  nodetune check
  sudo nodetune check --verbose
  nodetune check -o json | jq '.sysctl.rules[] | select(.outcome != "InForce")'`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return o.check(cmd, verbose)
		},
	}
	cmd.Flags().BoolVarP(&verbose, "verbose", "v", false, "also show findings that need nothing")
	return cmd
}

// check runs one pass over every subsystem that changes nothing, prints the
// report, and returns its exit code.
func (o *options) check(cmd *cobra.Command, verbose bool) error {
	cfg, err := o.loadConfig(cmd.ErrOrStderr())
	if err != nil {
		return err
	}
	p := newProgress(cmd.ErrOrStderr(), terminal(cmd.ErrOrStderr()))
	defer p.stop()
	s := o.look(cmd.Context(), cfg, p)
	p.stop()
	return o.report(cmd.OutOrStdout(), s, func(w io.Writer) error {
		return text.CheckReport(w, s, text.CheckOptions{Policy: cfg.Inotify, Command: agent.PodCommand(), Verbose: verbose, Colour: colour(w)})
	})
}

// look makes one pass over every subsystem that changes nothing.
func (o *options) look(ctx context.Context, cfg config.Config, p *progress) reporter.Snapshot {
	var s reporter.Snapshot
	p.step("counting inotify instances and watches")
	s.Inotify = accounting.Once(ctx, o.Roots, cfg.Inotify)
	s.Sysctl = sysctlPass(ctx, o.Roots, cfg, floorsFromUsage(s.Inotify.Value, cfg.Inotify))
	p.step("reading filesystems and logs")
	s.Disk = diskPass(ctx, o.Roots, cfg.Disk)
	s.WorstCase = worstCase(o.Roots)
	s.NodePolicy = nodePolicy(ctx)
	addGuard(&s.Sysctl.Value, o.Roots)
	addAgent(ctx, &s, o.Rootfs)
	return s
}

// worstCase returns what the limits in force let users pin, or nil where one of
// them cannot be read.
func worstCase(roots host.Roots) *sysctl.WorstCase {
	m, err := sysctl.ReadMachine(roots.Procfs)
	if err != nil {
		return nil
	}
	tree, err := sysctl.OpenTree(roots.Procfs)
	if err != nil {
		return nil
	}
	defer tree.Close()
	w, known := sysctl.WorstCaseOf([]sysctl.Reading{
		tree.Read(sysctl.MaxUserWatches), tree.Read(sysctl.MaxUserInstances), tree.Read(sysctl.MaxQueuedEvents),
	}, m)
	if !known {
		return nil
	}
	return &w
}

// nodePolicy proves the policy about Nodes with the token of the pod that check runs
// in, or returns nil where it runs in none of the agent's.
func nodePolicy(ctx context.Context) *reporter.NodePolicy {
	flags := kubeFlags{}
	client, err := flags.client()
	if client == nil && err == nil {
		return nil
	}
	p := reporter.NodePolicy{State: reporter.NodePolicyUnknown}
	if err != nil {
		p.Reason = err.Error()
	} else {
		ctx, cancel := context.WithTimeout(ctx, nodePolicyTimeout)
		defer cancel()
		p = kube.ProveNodePolicy(ctx, client.Nodes(), flags.nodeName)
	}
	return &p
}

// nodePolicyTimeout bounds how long check waits for an API server.
const nodePolicyTimeout = 5 * time.Second

// sysctlPass runs one pass over the settings that changes nothing.
func sysctlPass(ctx context.Context, roots host.Roots, cfg config.Config, needs []sysctl.Need) reporter.Result[sysctl.PassResult] {
	p, err := newSysctlPass(roots, cfg, needs)
	if err != nil {
		return reporter.Result[sysctl.PassResult]{At: time.Now(), Err: err}
	}
	defer p.Tree.Close()
	defer p.Store.Close()
	return reporter.Result[sysctl.PassResult]{Value: p.Run(ctx), At: time.Now()}
}

// newSysctlPass opens what a pass over the settings needs.
func newSysctlPass(roots host.Roots, cfg config.Config, needs []sysctl.Need) (sysctl.Pass, error) {
	m, err := sysctl.ReadMachine(roots.Procfs)
	if err != nil {
		return sysctl.Pass{}, err
	}
	tree, err := sysctl.OpenTree(roots.Procfs)
	if err != nil {
		return sysctl.Pass{}, err
	}
	return sysctl.Pass{
		Procfs: roots.Procfs, Tree: tree, Store: sysctl.NewStore(roots.Rootfs),
		Rules: sysctl.WithNeeds(cfg.Sysctl.For(m), needs),
	}, nil
}

// reportChanges prints what apply or restore did and returns its exit code as an
// error.
func (o *options) reportChanges(w io.Writer, s reporter.Snapshot) error {
	return o.report(w, s, func(w io.Writer) error { return text.Table(w, s, colour(w)) })
}

// report prints s, as a table with table, and returns its exit code as an error.
func (o *options) report(w io.Writer, s reporter.Snapshot, table func(io.Writer) error) error {
	err := o.print(w, reporter.NewDocument(s), table)
	switch {
	case err != nil:
		return errInput(err)
	case s.Sysctl.Err != nil:
		return errInput(s.Sysctl.Err)
	case s.Inotify.Err != nil:
		return errInput(s.Inotify.Err)
	case s.Disk.Err != nil:
		return errInput(s.Disk.Err)
	case len(s.Sysctl.Value.Unsatisfied()) > 0, !s.Persist.Met(), s.Inotify.Value.Pressed(), s.Disk.Value.Pressure.Severity == disk.Bad:
		return errNotMet(nil)
	case s.Inotify.Value.Unseen != "":
		return errInput(nil) // the report has the reason
	}
	return nil
}

// colour reports whether w is a terminal that wants it (no-color.org).
func colour(w io.Writer) bool {
	return os.Getenv("NO_COLOR") == "" && terminal(w)
}

// terminal reports whether w is one that can do more than print lines.
func terminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok || os.Getenv("TERM") == "dumb" {
		return false
	}
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}
