package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/nodetune/nodetune/reporter"
	"github.com/nodetune/nodetune/sysctl"
)

func newRestore(o *options) *cobra.Command {
	var dryRun bool
	cmd := &cobra.Command{
		Use:   "restore",
		Short: "Put back what was there before nodetune's first change",
		Long: `Writes back the values found before nodetune's first change since the boot,
where the current value is still the one nodetune wrote and no more is in use
than the old value allows. It refuses while an agent runs. Nothing else ever
puts a value back: not an exit, not a removal.`,
		Example: `  nodetune restore --dry-run
  sudo nodetune restore`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return o.restore(cmd, !dryRun)
		},
	}
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "show what would be put back, write nothing")
	return cmd
}

func (o *options) restore(cmd *cobra.Command, act bool) error {
	ctx, cancel := context.WithTimeout(cmd.Context(), lockWait)
	defer cancel()
	tree, err := sysctl.OpenTree(o.procfs)
	if err != nil {
		return unreadable(err)
	}
	defer tree.Close()
	p := sysctl.Pass{Procfs: o.procfs, Tree: tree, Store: sysctl.NewStore(o.rootfs), Act: act}
	defer p.Store.Close()
	observed, err := p.Restore(ctx, o.inUse)
	if _, held := errors.AsType[*sysctl.Held](err); held || observed.Paused != "" {
		return unmet(err)
	}
	if err != nil {
		return unreadable(err)
	}
	return o.report(cmd.OutOrStdout(), reporter.Snapshot{
		Sysctl: reporter.Result[sysctl.Observed]{Value: observed, At: time.Now()},
	})
}

// inUse counts what a lower limit would have to hold.
func (o *options) inUse(k sysctl.Key) (sysctl.Value, bool) {
	if k != sysctl.FileMax {
		return sysctl.Unknown, false
	}
	// The first number of fs.file-nr is the files in use (proc_sys_fs(5)).
	b, err := os.ReadFile(filepath.Join(o.procfs, "sys/fs/file-nr"))
	fields := bytes.Fields(b)
	if err != nil || len(fields) == 0 {
		return sysctl.Unknown, false
	}
	n, err := strconv.ParseInt(string(fields[0]), 10, 64)
	return sysctl.Value(n), err == nil
}
