package cli

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"github.com/nodetune/nodetune/cmd/nodetune/internal/agent"
	"github.com/nodetune/nodetune/reporter"
	"github.com/nodetune/nodetune/sysctl"
	"github.com/nodetune/nodetune/sysctl/sysctld"
)

func newApply(o *options) *cobra.Command {
	var dryRun, persist bool
	cmd := &cobra.Command{
		Use:   "apply",
		Short: "Raise sysctls below their floor and verify the result",
		Long: `Compares each sysctl with the policy, raises each one that is below its floor, and
reads it back. It lowers a value only for a rule with exactly and allowLower. A second run
writes nothing. The value found before the first change is kept in
/run/nodetune for restore.

--persist also writes /etc/sysctl.d/90-nodetune.conf for the next boot, with the
keys that neither the kernel nor another file sets high enough. If another file
would still override it, the command names that file and exits with 1.

Needs uid 0 and a writable /proc/sys, but no capability.`,
		Example: `  sudo nodetune apply
  sudo nodetune apply --persist
  nodetune apply --dry-run`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if persist {
				return o.applyAndPersist(cmd, !dryRun)
			}
			return o.apply(cmd, !dryRun)
		},
	}
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "show what would change, write nothing")
	cmd.Flags().BoolVar(&persist, "persist", false, "also write "+sysctld.PersistFile+" for the next boot")
	return cmd
}

// apply runs one pass over the settings, prints the report, and returns the exit
// code that it earns.
func (o *options) apply(cmd *cobra.Command, act bool) error {
	cfg, err := o.loadConfig(cmd.ErrOrStderr())
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(cmd.Context(), agent.LockWait)
	defer cancel()
	p, err := newSysctlPass(o.Roots, cfg, nil)
	if err != nil {
		return o.reportChanges(cmd.OutOrStdout(), reporter.Snapshot{
			Sysctl: reporter.Result[sysctl.PassResult]{At: time.Now(), Err: err},
		})
	}
	defer p.Tree.Close()
	defer p.Store.Close()
	p.Rules = withFloorsFromUsage(ctx, o.Roots, p.Rules, cfg.Inotify)
	p.Act = act
	return o.reportChanges(cmd.OutOrStdout(), reporter.Snapshot{
		Sysctl: reporter.Result[sysctl.PassResult]{Value: p.Run(ctx), At: time.Now()},
		DryRun: !act,
	})
}
