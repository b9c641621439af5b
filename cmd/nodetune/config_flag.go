package main

// loadConfig reads the file of --config, or returns the built-in configuration.
func (o *options) loadConfig() (Config, error) {
	if o.config == "" {
		return defaultConfig(), nil
	}
	return loadConfigFile(o.config)
}
