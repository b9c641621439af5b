package cli

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/nodetune/nodetune/cmd/nodetune/internal/accounting"
	"github.com/nodetune/nodetune/disk"
	"github.com/nodetune/nodetune/inotify"
	"github.com/nodetune/nodetune/reporter"
	"github.com/nodetune/nodetune/reporter/diagnosis"
	"github.com/nodetune/nodetune/reporter/text"
	"github.com/nodetune/nodetune/reporter/top"
)

func newTop(o *options) *cobra.Command {
	var once bool
	var every time.Duration
	var rows int
	var agent string
	cmd := &cobra.Command{
		Use:   "top",
		Short: "Show live inotify and descriptor usage by user and process",
		Long: `Shows the accounts that the kernel charges (user namespace and uid), and below
them the processes that hold inotify instances, watches and descriptors, with
their pod and container or systemd unit. The first sentence is that of the node's page:
what is wrong, who causes it and the line to paste, from the agent of this host or, where
none answers, of the limits alone. Tab shows all accounts, totals per pod or
unit, the disks and logs, and what the agent of this host did and why. Enter shows
what 'nodetune why' reports of the line. F1 or ? lists the keys; the mouse works.

Where the output is not a terminal, and with -o json or yaml, it prints once. The
document is the .inotify section of check.

As root it sees all processes; without CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH
only those of its own user, and says so.`,
		Example: `  sudo nodetune top
  sudo nodetune top --once --rows 0
  sudo nodetune top -o json | jq '.inotify.processes[] | select(.pod != null)'`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if every < top.MinEvery || every > top.MaxEvery {
				return fmt.Errorf("--interval %s: want %s to %s", every, top.MinEvery, top.MaxEvery)
			}
			if rows < 0 {
				return fmt.Errorf("--rows %d: want 0 or more", rows)
			}
			client, err := o.agentOf(cmd, agent)
			if err != nil {
				return err
			}
			if once || o.output != "table" || !terminal(cmd.OutOrStdout()) {
				return o.topOnce(cmd, rows, client)
			}
			return o.topLive(cmd, every, client)
		},
	}
	f := cmd.Flags()
	f.BoolVar(&once, "once", false, "print a table and exit")
	f.DurationVarP(&every, "interval", "i", 2*time.Second, "time between passes")
	f.StringVar(&agent, "agent", defaultAgent, "`URL` of the agent whose first sentence and acts are shown; default: the agent that runs on this host")
	f.IntVarP(&rows, "rows", "n", 20, "rows of the printed table (0: all)")
	return cmd
}

func (o *options) topOnce(cmd *cobra.Command, rows int, client *agentClient) error {
	cfg, err := o.loadConfig(cmd.ErrOrStderr())
	if err != nil {
		return err
	}
	h, err := accounting.Open(o.Roots, cfg.Inotify)
	if err != nil {
		return errInput(err)
	}
	defer h.Close()
	u, err := h.Usage(cmd.Context())
	if err != nil {
		return errInput(err)
	}
	var s reporter.Snapshot
	s.Inotify.Value, s.Inotify.At = u, time.Now()
	return o.print(cmd.OutOrStdout(), reporter.NewDocument(s), func(w io.Writer) error {
		if s := o.sentence(cmd.Context(), cfg, client, u); s.Heat > 0 { // something is wrong
			if err := text.Sentence(w, s.Text, s.Cause, s.Next, s.Heat, colour(w)); err != nil {
				return err
			}
		}
		return text.HoldersTable(w, u, rows, colour(w))
	})
}

func (o *options) topLive(cmd *cobra.Command, every time.Duration, client *agentClient) error {
	cfg, err := o.loadConfig(cmd.ErrOrStderr())
	if err != nil {
		return err
	}
	h, err := accounting.Open(o.Roots, cfg.Inotify)
	if err != nil {
		return errInput(err)
	}
	defer h.Close()
	if cfg.Inotify.Refusals != inotify.RefusalsOff {
		if err := h.TraceFailures(o.Roots); err != nil && cfg.Inotify.Refusals == inotify.RefusalsOn {
			return errInput(fmt.Errorf("trace what inotify refuses (inotify.refusals): %w", err))
		}
	}
	sources := top.Sources{
		Usage: h.Usage,
		Acts:  client.acts,
		Sentence: func(ctx context.Context, u inotify.Usage) top.Sentence {
			return o.sentence(ctx, cfg, client, u)
		},
		Why: func(ctx context.Context, pid int) (diagnosis.Diagnosis, error) {
			// A source of its own: that of the view may be in the middle of a pass.
			i, err := inspect(ctx, o.Roots, cfg, func(*accounting.Source) (int, error) { return pid, nil }, false)
			if err != nil {
				return diagnosis.Diagnosis{}, err
			}
			return diagnosis.Why(i.process, 0, i.usage, i.settings, i.ceilings), nil
		},
	}
	observer, err := disk.New(o.Procfs, o.Sysfs, o.Rootfs, cfg.Disk)
	if err == nil {
		defer func() { _ = observer.Close() }()
	}
	sources.Disk = func(ctx context.Context) (disk.Usage, error) {
		if err != nil {
			return disk.Usage{}, err // the tab shows it, the others need no disk
		}
		return observer.Observe(ctx, time.Now())
	}
	if err := top.Run(cmd.Context(), sources, every); err != nil {
		return errInput(fmt.Errorf("show the live view (try --once): %w", err))
	}
	return nil
}
