package cli

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/prometheus/procfs"
	"github.com/spf13/cobra"

	"github.com/nodetune/nodetune/cmd/nodetune/internal/accounting"
	"github.com/nodetune/nodetune/cmd/nodetune/internal/agent"
	"github.com/nodetune/nodetune/cmd/nodetune/internal/host"
	"github.com/nodetune/nodetune/inotify"
	"github.com/nodetune/nodetune/reporter"
	"github.com/nodetune/nodetune/sysctl"
	"github.com/nodetune/nodetune/sysctl/sysctld"
)

func newRestore(o *options) *cobra.Command {
	var dryRun, persist bool
	cmd := &cobra.Command{
		Use:   "restore",
		Short: "Restore the original sysctl values",
		Long: `Writes back the values found before nodetune's first change since the boot,
where the current value is still the one nodetune wrote and no more is in use
than the old value allows. It refuses while an agent runs. No other command puts
a value back, and neither does the end or the removal of the agent.

--persist also removes /etc/sysctl.d/90-nodetune.conf, where nodetune wrote it.`,
		Example: `  nodetune restore --dry-run
  sudo nodetune restore
  sudo nodetune restore --persist`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return o.restore(cmd, !dryRun, persist)
		},
	}
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "show what would be restored, write nothing")
	cmd.Flags().BoolVar(&persist, "persist", false, "also remove "+sysctld.PersistFile)
	return cmd
}

func (o *options) restore(cmd *cobra.Command, act, persist bool) error {
	cfg, err := o.loadConfig(cmd.ErrOrStderr())
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(cmd.Context(), agent.LockWait)
	defer cancel()
	tree, err := sysctl.OpenTree(o.Procfs)
	if err != nil {
		return errInput(err)
	}
	defer tree.Close()
	p := sysctl.Pass{Procfs: o.Procfs, Tree: tree, Store: sysctl.NewStore(o.Rootfs), Act: act}
	defer p.Store.Close()
	observed, err := p.Restore(ctx, inUse(ctx, o.Roots, cfg.Inotify))
	if observed.Paused != "" {
		return errNotMet(err)
	}
	var s reporter.Snapshot
	if persist {
		s.Persist = o.unpersist(ctx, p.Store, act)
	}
	switch _, held := errors.AsType[*sysctl.LockedError](err); {
	case held:
		err = errNotMet(err)
	case err != nil:
		err = errInput(err)
	default:
		s.Sysctl = reporter.Result[sysctl.PassResult]{Value: observed, At: time.Now()}
	}
	if err != nil && !persist {
		return err
	}
	if err == nil && len(observed.Rules) == 0 && o.output == "table" {
		fmt.Fprintln(cmd.OutOrStdout(), "nothing to restore: no value is on record that nodetune changed since the boot")
		s.Sysctl = reporter.Result[sysctl.PassResult]{}
	}
	// What became of the file is reported even where no value could be put back.
	reported := o.reportChanges(cmd.OutOrStdout(), s)
	if err == nil {
		err = reported
	}
	return err
}

// inUse returns a count of what a lower limit would have to hold. Who holds
// instances and watches takes a walk over /proc, made where a key asks for it.
func inUse(ctx context.Context, roots host.Roots, policy inotify.Policy) sysctl.InUse {
	walk := sync.OnceValue(func() reporter.Result[inotify.Usage] {
		return accounting.Once(ctx, roots, policy)
	})
	fullest := func(count func(inotify.Account) int64) (sysctl.Value, error) {
		u := walk()
		if u.Err != nil || u.At.IsZero() {
			return sysctl.Unknown, u.Err
		}
		if err := uncounted(u.Value); err != nil {
			return sysctl.Unknown, err
		}
		most := int64(0)
		for _, a := range u.Value.Accounts {
			most = max(most, count(a))
		}
		return sysctl.Value(most), nil
	}
	return func(k sysctl.Key) (sysctl.Value, error) {
		switch k {
		case sysctl.MaxUserInstances, sysctl.UserMaxInstances:
			return fullest(func(a inotify.Account) int64 { return a.Instances })
		case sysctl.MaxUserWatches, sysctl.UserMaxWatches:
			return fullest(func(a inotify.Account) int64 { return a.Watches })
		case sysctl.FileMax:
			return openFileCount(roots.Procfs)
		}
		return sysctl.Unknown, nil
	}
}

// uncounted returns which processes the count of u lacks, nil where it lacks
// none. The kernel's own counters hold the charges of every process.
func uncounted(u inotify.Usage) error {
	if u.Source == inotify.SourceKernel {
		return nil
	}
	n, reason := 0, ""
	for _, r := range u.Walk.Unreadable {
		if n += r.Processes; reason == "" {
			reason = r.Reason
		}
	}
	if n == 0 {
		return nil
	}
	return fmt.Errorf("the descriptors of %d processes could not be read (%s): run restore as root with CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH", n, reason)
}

// openFileCount reads the first number of fs.file-nr (proc_sys_fs(5)) with
// prometheus/procfs. The file has three numbers, so that the 128 bytes which the
// library reads suffice, and it is read once in a restore.
func openFileCount(mount string) (sysctl.Value, error) {
	tree, err := procfs.NewFS(mount)
	if err != nil {
		return sysctl.Unknown, err
	}
	numbers, err := tree.SysctlInts("fs.file-nr")
	if err != nil {
		return sysctl.Unknown, err
	}
	if len(numbers) != 3 || numbers[0] < 0 {
		return sysctl.Unknown, fmt.Errorf("read fs.file-nr: got %v, want three numbers", numbers)
	}
	return sysctl.Value(numbers[0]), nil
}
