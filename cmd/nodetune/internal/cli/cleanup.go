package cli

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/nodetune/nodetune/reporter/kube"
)

// cleanupDoc is what `cleanup -o json` prints.
type cleanupDoc struct {
	APIVersion string         `json:"apiVersion"`
	Kind       string         `json:"kind"`
	DryRun     bool           `json:"dry_run"`
	Nodes      []kube.Cleaned `json:"nodes"` // that carry something of ours, or were named
}

func newCleanup(o *options) *cobra.Command {
	var all, dryRun bool
	var node string
	k := &kubeconfigFlags{}
	cmd := &cobra.Command{
		Use:   "cleanup",
		Short: "Remove nodetune's conditions from the Node, or from all",
		Long: `Removes the conditions that nodetune has written, according to the managedFields
of the Node, and nothing else: a condition of the same type that another program
publishes stays. Run it when nodetune is uninstalled, after its pods have ended: a
running agent writes them again. Limits stay as they are; see 'nodetune restore'.

--all removes them from every Node, including those of dead machines. It needs
the right to list nodes and to patch nodes/status.`,
		Example: `  nodetune cleanup --all --dry-run
  nodetune cleanup --node-name worker-7`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if node == "" && !all {
				node = os.Getenv("NODE_NAME")
			}
			if (node == "") != all {
				return errors.New("cleanup: from which Node? give either --node-name (or NODE_NAME) or --all")
			}
			cluster, err := k.config()
			if err != nil {
				return err
			}
			client, err := kube.NewClient(cluster)
			if err != nil {
				return err
			}
			doc := cleanupDoc{APIVersion: apiVersion, Kind: "Cleanup", DryRun: dryRun}
			var failed error
			if all {
				doc.Nodes, failed = kube.CleanupAll(cmd.Context(), client.Nodes(), dryRun)
			} else {
				var c kube.Cleaned
				if c, failed = kube.Cleanup(cmd.Context(), client.Nodes(), node, dryRun); failed == nil || c.Error != "" {
					doc.Nodes = append(doc.Nodes, c)
				}
			}
			if err := o.print(cmd.OutOrStdout(), doc, doc.table); err != nil {
				return err
			}
			if failed != nil {
				return errNotMet(fmt.Errorf("cleanup: %w", failed))
			}
			return nil
		},
	}
	k.register(cmd.Flags())
	cmd.Flags().StringVar(&node, "node-name", "", "`name` of the Node (default $NODE_NAME)")
	cmd.Flags().BoolVar(&all, "all", false, "from every Node")
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "show what would be removed, remove nothing")
	return cmd
}

func (d cleanupDoc) table(w io.Writer) error {
	verb := "removed"
	if d.DryRun {
		verb = "would remove"
	}
	printed := false
	for _, n := range d.Nodes {
		printed = printed || len(n.Removed) > 0 || n.StartupTaint
		if n.Error != "" {
			fmt.Fprintf(w, "%s: failed: %s\n", n.Node, n.Error)
		} else if len(n.Removed) > 0 {
			fmt.Fprintf(w, "%s: %s %s\n", n.Node, verb, joinTypes(n.Removed))
		}
		if n.StartupTaint {
			fmt.Fprintf(w, "%s: has the taint %s; if nodetune no longer runs there, remove the taint: kubectl taint node %s %s-\n",
				n.Node, kube.StartupTaint, n.Node, kube.StartupTaint)
		}
	}
	if !printed {
		fmt.Fprintln(w, "nothing to remove: no condition of nodetune is there")
	}
	return nil
}
