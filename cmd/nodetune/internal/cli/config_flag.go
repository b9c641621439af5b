package cli

import (
	"fmt"
	"io"

	"github.com/nodetune/nodetune/cmd/nodetune/internal/config"
	"github.com/nodetune/nodetune/internal/safetext"
)

// loadConfig reads the file or directory of --config, or returns the built-in
// configuration. It prints warnings to w.
func (o *options) loadConfig(w io.Writer) (config.Config, error) {
	if o.config == "" {
		return config.Default(), nil
	}
	c, err := config.Load(o.config)
	printWarnings(w, c.Warnings)
	return c, err
}

func printWarnings(w io.Writer, warnings []string) {
	for _, text := range warnings {
		fmt.Fprintf(w, "nodetune: warning: %s\n", safetext.String(text))
	}
}
