package cli

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/nodetune/nodetune/cmd/nodetune/internal/accounting"
	"github.com/nodetune/nodetune/cmd/nodetune/internal/demo"
	"github.com/nodetune/nodetune/cmd/nodetune/internal/host"
	"github.com/nodetune/nodetune/inotify"
	"github.com/nodetune/nodetune/reporter/diagnosis"
	"github.com/nodetune/nodetune/reporter/text"
)

func newDemo(o *options) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Show errno 24 and 28, their diagnosis and their cure, without touching the host",
		Long: `Starts a process in a user namespace of its own, with low limits of that
namespace, and lets it run into errno 24 (EMFILE, inotify instances) and errno 28
(ENOSPC, inotify watches). Shows what 'nodetune why' reports of the process,
raises the limit of the namespace, and repeats the call.

No limit and no file of the host changes, and no root is needed. The process
takes 5 instances and 17 watches, which also count for your user, and gives them
back when it ends.

The exit code is 2 where this machine refuses user namespaces: the message names
the setting. It is 1 where a call still fails under the higher limit, since then a
limit of the host is reached.`,
		Example: `  nodetune demo
  nodetune demo | less -R`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if o.output != "table" {
				return fmt.Errorf("--output %s: demo has no document, only text; 'nodetune why PID -o %s' has one for any process", o.output, o.output)
			}
			return o.demo(cmd)
		},
	}
	cmd.AddCommand(&cobra.Command{
		Use:    demoChild,
		Short:  "The process of the demo",
		Hidden: true,
		Args:   noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return demo.Collect(cmd.InOrStdin(), cmd.OutOrStdout())
		},
	})
	return cmd
}

// demoChild is the command that the demo runs in its namespace.
const demoChild = "collector"

func (o *options) demo(cmd *cobra.Command) error {
	cfg, err := o.loadConfig(cmd.ErrOrStderr())
	if err != nil {
		return err
	}
	if os.Geteuid() != 0 {
		// The user can read its own processes only, and the kernel does not show it
		// how many watches there are at most: read them, however many.
		cfg.Inotify.MaxReadWatches, cfg.Inotify.CountPercent = math.MaxInt32, 100
	}
	out := cmd.OutOrStdout()
	paint := colour(out)
	// The process is in this PID namespace, whatever --path.procfs shows.
	roots := host.Roots{Procfs: "/proc", Sysfs: "/sys", Rootfs: o.Rootfs}
	err = demo.Run(cmd.Context(), demo.Stage{
		Out:     out,
		Heading: func(s string) string { return text.Bold(s, paint) },
		Failure: func(s string) string { return text.Failed(s, paint) },
		Success: func(s string) string { return text.OK(s, paint) },
		Child:   []string{"demo", demoChild},
		Diagnose: func(ctx context.Context, pid, errno int, key string, limit int64) error {
			i, err := inspect(ctx, roots, cfg, func(*accounting.Source) (int, error) { return pid, nil }, false)
			if err != nil {
				return err
			}
			knowLimit(&i, key, inotify.Limit(limit))
			d := diagnosis.Why(i.process, errno, i.usage, i.settings, nil)
			d.Unknown = nil // is about the other processes of this host
			return text.DiagnosisTable(out, d, paint)
		},
	})
	if errors.Is(err, demo.ErrNotCured) {
		return errNotMet(err)
	}
	if _, refused := errors.AsType[*demo.RefusedError](err); refused || err == nil {
		return err
	}
	return errInput(err)
}

// knowLimit adds the limit of the namespace of the process, where it is not known:
// without BPF it can be read inside of the namespace only.
func knowLimit(i *inspection, key string, limit inotify.Limit) {
	for n := range i.usage.Accounts {
		a := &i.usage.Accounts[n]
		switch {
		case a.UserNS != i.process.UserNS:
		case strings.HasSuffix(key, "_instances") && a.InstancesLimit < 0:
			a.InstancesLimit = limit
		case strings.HasSuffix(key, "_watches") && a.WatchesLimit < 0:
			a.WatchesLimit = limit
		}
	}
}
