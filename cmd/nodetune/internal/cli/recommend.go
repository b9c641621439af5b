package cli

import (
	"errors"
	"io"

	"github.com/spf13/cobra"

	"github.com/nodetune/nodetune/cmd/nodetune/internal/accounting"
	"github.com/nodetune/nodetune/reporter"
	"github.com/nodetune/nodetune/reporter/recommend"
	"github.com/nodetune/nodetune/reporter/recommend/reports"
)

func newRecommend(o *options) *cobra.Command {
	var from []string
	var configuration bool
	cmd := &cobra.Command{
		Use:   "recommend",
		Short: "Derive floors and ceilings from use, as a values file or a configuration",
		Long: `Compares what nodes use with what is in force, and prints floors and ceilings for
fs.inotify.max_user_instances, fs.inotify.max_user_watches and fs.file-max, each
with its evidence as a comment. No floor is below a value in force on any node.

--from names reports: what 'nodetune check -o json' prints on a node, or /report or
/status.json of an agent. Reports of one node at several times give its peak, reports of the nodes
of a pool give what suits all of them. Without --from it measures this host.

The output is a values file of the chart; --configuration prints a configuration
file instead. -o json and -o yaml print the document with the evidence.`,
		Example: `  sudo nodetune recommend
  nodetune recommend --from node-a.json,node-b.json > values-pool.yaml
  sudo nodetune recommend --configuration > /etc/nodetune/config.yaml`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return o.recommend(cmd, from, configuration)
		},
	}
	f := cmd.Flags()
	f.StringSliceVar(&from, "from", nil, "`files` with reports in JSON, one or more each; - is standard input")
	f.BoolVar(&configuration, "configuration", false, "print a configuration file instead of values of the chart")
	_ = cmd.MarkFlagFilename("from", "json")
	return cmd
}

func (o *options) recommend(cmd *cobra.Command, from []string, configuration bool) error {
	cfg, err := o.loadConfig(cmd.ErrOrStderr())
	if err != nil {
		return err
	}
	var samples []recommend.Sample
	count := 0
	for _, name := range from {
		n, err := reports.Read(name, cmd.InOrStdin(), cfg.Inotify, func(s []recommend.Sample) {
			samples = append(samples, s...)
		})
		if err != nil {
			return errInput(err)
		}
		count += n
	}
	if len(from) == 0 {
		var s reporter.Snapshot
		s.Inotify = accounting.Once(cmd.Context(), o.Roots, cfg.Inotify)
		s.Sysctl = sysctlPass(cmd.Context(), o.Roots, cfg, nil)
		if err := errors.Join(s.Inotify.Err, s.Sysctl.Err); err != nil {
			return errInput(err)
		}
		samples, count = reports.Observe("this host", reporter.NewDocument(s), cfg.Inotify), 1
	}
	r := recommend.From(count, samples)
	if err := o.print(cmd.OutOrStdout(), r, func(w io.Writer) error {
		if configuration {
			return recommend.WriteConfiguration(w, r)
		}
		return recommend.WriteValues(w, r)
	}); err != nil {
		return errInput(err)
	}
	return nil
}
