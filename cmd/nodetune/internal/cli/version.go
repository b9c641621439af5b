package cli

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/nodetune/nodetune/cmd/nodetune/internal/version"
)

// versionDoc is what `version -o json` prints.
type versionDoc struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	version.Info
}

func newVersion(o *options) *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version of this binary",
		Args:  noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			info := version.Read()
			doc := versionDoc{APIVersion: apiVersion, Kind: "Version", Info: info}
			return o.print(cmd.OutOrStdout(), doc, func(w io.Writer) error {
				_, err := fmt.Fprintln(w, info)
				return err
			})
		},
	}
}
