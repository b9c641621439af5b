package cli

import (
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/nodetune/nodetune/cmd/nodetune/internal/agent"
	"github.com/nodetune/nodetune/cmd/nodetune/internal/version"
	nodepage "github.com/nodetune/nodetune/reporter/page"
)

func newPage(o *options) *cobra.Command {
	from := ""
	cmd := &cobra.Command{
		Use:   "page",
		Short: "Print the node's page as HTML, of now or of a saved status",
		Long: `Prints the page that the agent serves at / as one HTML file without links: what
is wrong, since when, who causes it and what to do next, and the limits, disks,
log collectors and producers of the node.

With --from it renders a status that was saved, for a post-mortem: /status.json
of an agent, or what 'nodetune page -o json' printed. Without --from it looks at
this host once, as check does, and changes nothing. One look has no rates, no
trends and no acts: an agent has them.`,
		Example: `  sudo nodetune page > node.html
  sudo nodetune page -o json > status.json
  curl -s localhost:9409/status.json > status.json
  nodetune page --from status.json > node.html`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := o.pageStatus(cmd, from)
			if err != nil {
				return err
			}
			return o.print(cmd.OutOrStdout(), s, func(w io.Writer) error { return nodepage.Render(w, s, nodepage.Options{}) })
		},
	}
	cmd.Flags().StringVar(&from, "from", "", "render this saved `file`; - reads standard input")
	_ = cmd.MarkFlagFilename("from", "json")
	return cmd
}

// pageStatus is the status that was saved in from, or one look at this host.
func (o *options) pageStatus(cmd *cobra.Command, from string) (nodepage.Status, error) {
	if from != "" {
		return readStatus(cmd.InOrStdin(), from)
	}
	cfg, err := o.loadConfig(cmd.ErrOrStderr())
	if err != nil {
		return nodepage.Status{}, err
	}
	p := newProgress(cmd.ErrOrStderr(), terminal(cmd.ErrOrStderr()))
	defer p.stop()
	return nodepage.NewStatus(nodepage.Input{
		Snapshot: o.look(cmd.Context(), cfg, p), Policy: cfg.Inotify, StaleAfter: cfg.Reporter.Conditions.StaleAfter.D(), Now: time.Now(),
		Node: agent.NodeName(os.Getenv("NODE_NAME"), o.Rootfs), Version: version.Read().Version, Command: agent.PodCommand(), Once: true, DiskMode: cfg.Disk.Mode,
	}), nil
}

func readStatus(stdin io.Reader, from string) (nodepage.Status, error) {
	in, name := stdin, "standard input"
	if from != "-" {
		f, err := os.Open(from) //nolint:gosec // the user names it
		if err != nil {
			return nodepage.Status{}, errInput(err)
		}
		defer func() { _ = f.Close() }()
		in, name = f, from
	}
	s, err := nodepage.Read(in)
	if err != nil {
		return nodepage.Status{}, errInput(fmt.Errorf("cannot render %s: %w", name, err))
	}
	return s, nil
}
