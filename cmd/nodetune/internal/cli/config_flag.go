package cli

import (
	"github.com/nodetune/nodetune/cmd/nodetune/internal/config"
)

// loadConfig reads the file of --config, or returns the built-in configuration.
func (o *options) loadConfig() (config.Config, error) {
	if o.config == "" {
		return config.Default(), nil
	}
	return config.Load(o.config)
}
