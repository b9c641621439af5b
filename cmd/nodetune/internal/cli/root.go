package cli

import (
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/nodetune/nodetune/cmd/nodetune/internal/host"
	"github.com/nodetune/nodetune/cmd/nodetune/internal/version"
)

// options are the flags that every command takes.
type options struct {
	output string // table, json or yaml
	config string // the configuration file; empty: the built-in one
	host.Roots
}

func newRoot() *cobra.Command {
	o := &options{}
	root := &cobra.Command{
		Use:   "nodetune",
		Short: "Keep a Linux node from starving its log collectors",
		Long: `Log collectors die with errno=24 because all of a node's root processes share
128 inotify instances, and silently stop seeing new files when the watches run
out. nodetune keeps the inotify and file-descriptor sysctls at or above safe
floors: it raises values that are too low, never lowers one, and reads each value
back to verify it.`,
		Example: `  nodetune check            compare kernel limits with the policy
  sudo nodetune apply       raise sysctls below their floor
  sudo nodetune top         show usage by user and process
  sudo nodetune why PID     find the limit that a process has hit
  nodetune explain fs.inotify.max_user_instances
  nodetune demo             see errno 24, its diagnosis and its cure`,
		Version:       version.Read().String(),
		SilenceUsage:  true,
		SilenceErrors: true,
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error {
			if err := o.validate(); err != nil || !readsHost(cmd) {
				return err
			}
			if err := rootsFromEnvironment(&o.Roots, cmd.Flags(), os.Getenv); err != nil {
				return errInput(err)
			}
			return nil
		},
	}
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return fmt.Errorf("%w: see '%s --help'", err, cmd.CommandPath())
	})
	root.SetVersionTemplate("{{.Version}}\n")
	f := root.PersistentFlags()
	f.StringVarP(&o.output, "output", "o", "table", "output format: table, json or yaml")
	f.StringVar(&o.config, "config", "", "configuration `file`, or a directory whose *.yaml files are merged (default: the built-in one, see 'nodetune config print-default')")
	addRootFlags(&o.Roots, f)
	_ = root.RegisterFlagCompletionFunc("output", cobra.FixedCompletions(
		[]cobra.Completion{"table", "json", "yaml"}, cobra.ShellCompDirectiveNoFileComp))
	root.AddCommand(
		newCheck(o), newApply(o), newRestore(o), newExplain(o),
		newDemo(o), newTop(o), newWhy(o), newRecommend(o), newDisk(o), newPage(o),
		newRun(o), newNodes(o), newCleanup(o),
		newConfig(), newVersion(o),
	)
	return root
}

// readsHost reports whether cmd reads the kernel or the host: a wrong root does
// not matter to the other commands.
func readsHost(cmd *cobra.Command) bool {
	for ; cmd.HasParent(); cmd = cmd.Parent() {
		switch cmd.Name() {
		case "config", "version", "nodes", "cleanup", "completion", "demo", "help":
			return false
		}
	}
	return true
}

// noArguments refuses arguments, and names the help of the command.
func noArguments(cmd *cobra.Command, args []string) error {
	switch {
	case len(args) == 0:
		return nil
	case cmd.HasAvailableSubCommands():
		return fmt.Errorf("%s has no command %q: see '%s --help'", cmd.CommandPath(), args[0], cmd.CommandPath())
	}
	return fmt.Errorf("%s takes no arguments, got %q: see '%s --help'", cmd.CommandPath(), args[0], cmd.CommandPath())
}

func atMostOneKey(cmd *cobra.Command, args []string) error {
	if len(args) > 1 {
		return fmt.Errorf("%s takes one key at a time, got %d: give one, or none for all keys", cmd.CommandPath(), len(args))
	}
	return nil
}

// requireArgs wants arguments, most at most (0: as many as there are), and asks for
// them in words.
func requireArgs(ask string, most int) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		switch {
		case len(args) == 0:
			return errors.New(ask)
		case most > 0 && len(args) > most:
			return fmt.Errorf("%s; %d at a time, got %d", ask, most, len(args))
		}
		return nil
	}
}

func (o *options) validate() error {
	switch o.output {
	case "table", "json", "yaml":
		return nil
	}
	return fmt.Errorf("--output %q: want table, json or yaml", o.output)
}
