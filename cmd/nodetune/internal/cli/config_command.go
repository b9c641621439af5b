package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/nodetune/nodetune/cmd/nodetune/internal/config"
)

func newConfig() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "config",
		Short: "Print, validate or describe the configuration",
		Args:  noArguments,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(
		&cobra.Command{
			Use:     "print-default",
			Short:   "Print the built-in configuration as commented YAML",
			Example: "  nodetune config print-default > nodetune.yaml",
			Args:    noArguments,
			RunE: func(cmd *cobra.Command, _ []string) error {
				_, err := io.WriteString(cmd.OutOrStdout(), config.DefaultYAML)
				return err
			},
		},
		&cobra.Command{
			Use:   "validate FILE|DIRECTORY",
			Short: "Check a configuration, and report file, line and field of each problem",
			Long: `Checks a configuration and prints one problem a line: file, line, field. A
directory is checked as --config reads it: all *.yaml, merged. - reads the standard
input. The exit code is 2 if something is wrong, 3 if the file cannot be read.`,
			Example: `  nodetune config validate nodetune.yaml
  nodetune config print-default | nodetune config validate -`,
			Args: requireArgs("config validate: which file or directory? Give its path, or - for the standard input", 1),
			RunE: func(cmd *cobra.Command, args []string) error {
				return validateConfig(cmd, args[0])
			},
		},
		&cobra.Command{
			Use:     "schema",
			Short:   "Print the JSON schema of the configuration",
			Example: "  nodetune config schema > nodetune.schema.json",
			Args:    noArguments,
			RunE: func(cmd *cobra.Command, _ []string) error {
				enc := json.NewEncoder(cmd.OutOrStdout())
				enc.SetIndent("", "  ")
				return enc.Encode(config.Schema())
			},
		},
	)
	return cmd
}

func validateConfig(cmd *cobra.Command, name string) error {
	var c config.Config
	var err error
	if name == "-" {
		c, err = config.Read(cmd.InOrStdin(), os.Stdin.Name())
	} else {
		c, err = config.Check(name)
	}
	printWarnings(cmd.ErrOrStderr(), c.Warnings)
	if err == nil {
		fmt.Fprintf(cmd.OutOrStdout(), "%s is valid\n", name)
	}
	return err
}
