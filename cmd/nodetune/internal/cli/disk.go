package cli

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"time"

	"github.com/spf13/cobra"

	"github.com/nodetune/nodetune/cmd/nodetune/internal/host"
	"github.com/nodetune/nodetune/disk"
	"github.com/nodetune/nodetune/reporter"
	"github.com/nodetune/nodetune/reporter/text"
)

// diskFlags are the flags of `nodetune disk`.
type diskFlags struct {
	window time.Duration
	watch  bool
	rows   int
}

func newDisk(o *options) *cobra.Command {
	f := &diskFlags{}
	cmd := &cobra.Command{
		Use:   "disk",
		Short: "Show which logs fill the disk, which processes read them, and when it is full",
		Long: `Shows the filesystems that hold logs, images or the kubelet's files; the
containers, log files and systemd units that fill them; the readers of each log
and how far they are behind; container logs without a reader; deleted files that
still take space; and settings of this host that will fill a disk or lose lines.
Without a subcommand it changes nothing.

Bytes per second and growth need two measurements, --window apart. A running agent
has them from its passes: see its /report.`,
		Example: `  sudo nodetune disk
  sudo nodetune disk --watch --window 10s
  sudo nodetune disk -o json | jq '.disk.producers[:10]'`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return f.run(cmd, o)
		},
	}
	cmd.Flags().DurationVar(&f.window, "window", time.Second, "time between the two measurements; 0 measures once and shows no rates")
	cmd.Flags().BoolVarP(&f.watch, "watch", "w", false, "measure again every --window until interrupted")
	cmd.Flags().IntVar(&f.rows, "rows", 15, "how many rows of each table; 0 shows all")
	cmd.AddCommand(newDiskRotate(o), newDiskReclaim(o))
	return cmd
}

func (f *diskFlags) run(cmd *cobra.Command, o *options) error {
	switch {
	case f.window < 0 || f.rows < 0:
		return errors.New("--window and --rows cannot be negative")
	case f.watch && f.window == 0:
		return errors.New("--watch needs a --window to wait for, for example 5s")
	}
	cfg, err := o.loadConfig(cmd.ErrOrStderr())
	if err != nil {
		return err
	}
	observer, err := disk.New(o.Procfs, o.Sysfs, o.Rootfs, cfg.Disk)
	if err != nil {
		return errInput(err)
	}
	defer func() { _ = observer.Close() }()
	ctx := cmd.Context()
	u, err := observer.Observe(ctx, time.Now())
	if err == nil && f.window > 0 && sleep(ctx, f.window) {
		u, err = observer.Observe(ctx, time.Now())
	}
	if err != nil {
		return errInput(err)
	}
	out := cmd.OutOrStdout()
	for {
		if err := f.show(o, out, u); err != nil {
			return err
		}
		if !f.watch || !sleep(ctx, f.window) {
			return nil
		}
		if u, err = observer.Observe(ctx, time.Now()); err != nil {
			if ctx.Err() != nil {
				return nil // interrupted, which is how --watch ends
			}
			return errInput(err)
		}
	}
}

// clearScreen moves to the top and clears what is below, ECMA-48 CUP and ED.
const clearScreen = "\x1b[H\x1b[J"

func (f *diskFlags) show(o *options, out io.Writer, u disk.Usage) error {
	s := reporter.Snapshot{Disk: reporter.Result[disk.Usage]{Value: u, At: time.Now()}}
	return o.print(out, reporter.NewDocument(s), func(w io.Writer) error {
		if f.watch && terminal(w) {
			if _, err := io.WriteString(w, clearScreen); err != nil {
				return err
			}
		}
		return text.DiskTable(w, u, f.rows, colour(w))
	})
}

// sleep waits for d and reports whether ctx still runs.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// diskPass looks once. A procfs that shows no mounts, as where a container was
// given /proc/sys alone, shows nothing about disks: the section is left out.
func diskPass(ctx context.Context, roots host.Roots, p disk.Policy) reporter.Result[disk.Usage] {
	observer, err := disk.New(roots.Procfs, roots.Sysfs, roots.Rootfs, p)
	if err != nil {
		return reporter.Result[disk.Usage]{At: time.Now(), Err: err}
	}
	defer func() { _ = observer.Close() }()
	u, err := observer.Observe(ctx, time.Now())
	if errors.Is(err, fs.ErrNotExist) {
		return reporter.Result[disk.Usage]{}
	}
	return reporter.Result[disk.Usage]{Value: u, At: time.Now(), Err: err}
}
