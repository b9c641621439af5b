package cli

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/nodetune/nodetune/cmd/kubectl-nodetune/internal/show"
	"github.com/nodetune/nodetune/reporter/view"
)

func newTop(o *options) *cobra.Command {
	return o.nodeCommand("top", "Show inotify and descriptor usage of a node by user and process", func(w io.Writer, r *view.Report, rows int) error {
		return show.Top(w, r, rows)
	}, nil)
}

func newDisk(o *options) *cobra.Command {
	return o.nodeCommand("disk", "Show which logs fill the disks of a node, and which processes read them", func(w io.Writer, r *view.Report, rows int) error {
		return show.Disk(w, r, rows)
	}, nil)
}

func newCheck(o *options) *cobra.Command {
	return o.nodeCommand("check", "Compare the limits of a node with its policy", func(w io.Writer, r *view.Report, _ int) error {
		return show.Check(w, r)
	}, func(r *view.Report) error {
		switch show.Judge(r) {
		case show.Unmet:
			return trouble(nil)
		case show.Unseen:
			return unreadable(nil)
		}
		return nil
	})
}

// nodeCommand is a command that shows a section of one node's report.
func (o *options) nodeCommand(name, short string, table func(w io.Writer, r *view.Report, rows int) error, judge func(*view.Report) error) *cobra.Command {
	rows := 0
	cmd := &cobra.Command{
		Use: name + " NODE", Short: short,
		Args:              oneArgument(name + ": which node? Give one name"),
		ValidArgsFunction: o.completeNodes,
		RunE: func(cmd *cobra.Command, args []string) error {
			if rows < 0 {
				return fmt.Errorf("--rows %d: want 0 or more", rows)
			}
			a, err := o.report(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			if err := o.printReport(cmd.OutOrStdout(), a, func(w io.Writer) error { return table(w, a.Report, rows) }); err != nil {
				return err
			}
			if judge == nil {
				return nil
			}
			return judge(a.Report)
		},
	}
	if judge == nil {
		cmd.Flags().IntVar(&rows, "rows", 15, "rows of each table (0: all)")
	}
	return cmd
}

// completeNodes completes the name of a node.
func (o *options) completeNodes(cmd *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	c, err := o.client()
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	nodes, err := c.Nodes(cmd.Context(), "")
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var names []cobra.Completion
	for _, n := range nodes {
		names = append(names, n.Name)
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}
