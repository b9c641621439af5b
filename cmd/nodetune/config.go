package main

import (
	"fmt"
	"io"
	"os"

	"sigs.k8s.io/yaml"

	"github.com/nodetune/nodetune/internal/field"
	"github.com/nodetune/nodetune/sysctl"
)

// Config is the configuration: one policy per package.
type Config struct {
	APIVersion string        `json:"apiVersion"`
	Kind       string        `json:"kind"`
	Profile    string        `json:"profile,omitempty"`
	Sysctl     sysctl.Policy `json:"sysctl,omitempty"`
}

// maxConfigBytes keeps a wrong path from being read into memory.
const maxConfigBytes = 1 << 20

// defaultConfig is the built-in configuration.
func defaultConfig() Config {
	return Config{
		APIVersion: apiVersion, Kind: "Configuration", Profile: "default",
		Sysctl: sysctl.DefaultPolicy(),
	}
}

// loadConfig reads the file of --config, or returns the built-in one.
func (o *options) loadConfig() (Config, error) {
	if o.config == "" {
		return defaultConfig(), nil
	}
	b, err := readConfig(o.config)
	if err != nil {
		return Config{}, unreadable(fmt.Errorf("read the configuration: %w", err))
	}
	return parseConfig(b)
}

func readConfig(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	return io.ReadAll(io.LimitReader(f, maxConfigBytes+1))
}

// parseConfig reads b over the built-in configuration.
func parseConfig(b []byte) (Config, error) {
	if len(b) > maxConfigBytes {
		return Config{}, fmt.Errorf("the configuration is larger than %d bytes", maxConfigBytes)
	}
	c := defaultConfig()
	c.Sysctl = sysctl.Policy{}
	if err := yaml.UnmarshalStrict(b, &c); err != nil {
		return Config{}, err
	}
	profile, err := sysctl.Profile(c.Profile)
	if err != nil {
		return Config{}, field.Errorf("profile", "%v", err)
	}
	c.Sysctl = c.Sysctl.Over(profile)
	return c, c.validate()
}

func (c Config) validate() error {
	return field.Under("sysctl", c.Sysctl.Validate())
}
