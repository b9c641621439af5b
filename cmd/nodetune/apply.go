package main

import "github.com/spf13/cobra"

func newApply(o *options) *cobra.Command {
	var dryRun bool
	cmd := &cobra.Command{
		Use:   "apply",
		Short: "Raise what is too low, and prove it by reading back",
		Long: `Does what check does, then writes what is too low and reads it back. It never
lowers, unless the configuration says exactly and allowLower. A second run
writes nothing. The value found before the first change is kept in
/run/nodetune for restore.

Needs uid 0 and a writable /proc/sys, but no capability.`,
		Example: `  sudo nodetune apply
  nodetune apply --dry-run`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return o.pass(cmd, !dryRun)
		},
	}
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "show what would change, write nothing")
	return cmd
}
