package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/nodetune/nodetune/cmd/nodetune/internal/accounting"
	"github.com/nodetune/nodetune/reporter"
	"github.com/nodetune/nodetune/reporter/recommend"
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

--from names reports: what 'nodetune check -o json' prints on a node, or /report of
an agent. Reports of one node at several times give its peak, reports of the nodes
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
	reports := 0
	for _, name := range from {
		n, err := readReports(name, cmd.InOrStdin(), func(d reporter.Document) {
			samples = append(samples, recommend.Observe(name, d, cfg.Inotify)...)
		})
		if err != nil {
			return errInput(err)
		}
		reports += n
	}
	if len(from) == 0 {
		var s reporter.Snapshot
		s.Inotify = accounting.Once(cmd.Context(), o.Roots, cfg.Inotify)
		s.Sysctl = sysctlPass(cmd.Context(), o.Roots, cfg, nil)
		if err := errors.Join(s.Inotify.Err, s.Sysctl.Err); err != nil {
			return errInput(err)
		}
		samples, reports = recommend.Observe("this host", reporter.NewDocument(s), cfg.Inotify), 1
	}
	r := recommend.From(reports, samples)
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

// maxReportBytes bounds one file: the report of a node with 10,000 processes has
// some 10 MiB.
const maxReportBytes = 256 << 20

// readReports calls each for the reports of a file, and returns how many there are.
func readReports(name string, stdin io.Reader, each func(reporter.Document)) (int, error) {
	in := stdin
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return 0, err
		}
		defer func() { _ = f.Close() }()
		in = f
	}
	limited := &io.LimitedReader{R: in, N: maxReportBytes}
	decoder := json.NewDecoder(limited)
	for n := 0; ; n++ {
		var d reportDocument
		err := decoder.Decode(&d)
		switch {
		case limited.N == 0:
			return n, fmt.Errorf("%s: more than %d MiB: give each report a file of its own", name, maxReportBytes>>20)
		case errors.Is(err, io.EOF) && n == 0:
			return 0, fmt.Errorf("%s is empty: want a report, as 'nodetune check -o json' prints it", name)
		case errors.Is(err, io.EOF):
			return n, nil
		case err != nil:
			return n, fmt.Errorf("%s: report %d is no JSON of a report: %w", name, n+1, err)
		case d.Kind != "Report" || d.APIVersion != apiVersion:
			return n, fmt.Errorf("%s: document %d has kind %q of %q: want kind Report of %s, as 'nodetune check -o json' prints it", name, n+1, d.Kind, d.APIVersion, apiVersion)
		case d.Inotify == nil:
			return n, fmt.Errorf("%s: report %d has no section inotify: run 'sudo nodetune check -o json' on the node", name, n+1)
		}
		each(d.Document)
	}
}

// reportDocument is a report without its section of disks, which is large and not needed.
type reportDocument struct {
	reporter.Document
	Disk json.RawMessage `json:"disk"`
}
