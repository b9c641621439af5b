// Package config reads, validates and watches the configuration of nodetune.
//
// The configuration is one YAML document with one policy for each package.
// Fields that it leaves out keep their default. Unknown fields, duplicate fields
// and YAML aliases are errors, each with file, line and field.
package config

import (
	_ "embed"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"

	"github.com/nodetune/nodetune/disk"
	"github.com/nodetune/nodetune/inotify"
	"github.com/nodetune/nodetune/internal/field"
	"github.com/nodetune/nodetune/reporter"
	"github.com/nodetune/nodetune/reporter/web"
	"github.com/nodetune/nodetune/sysctl"
)

// Kind is the kind of a configuration file.
const Kind = "Configuration"

// Config is the configuration: one policy per package. What a file leaves out
// keeps its default.
type Config struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	// Profile names the built-in rules that sysctl.rules replaces or adds to.
	Profile  string         `json:"profile"`
	Sysctl   sysctl.Policy  `json:"sysctl"`
	Inotify  inotify.Policy `json:"inotify"`
	Disk     disk.Policy    `json:"disk"`
	Reporter ReporterPolicy `json:"reporter"`
	Web      web.Policy     `json:"web"`
}

// DefaultYAML is the built-in configuration with comments.
//
//go:embed default.yaml
var DefaultYAML string

// Default is the built-in configuration. default.yaml is the same with
// comments.
func Default() Config {
	return Config{
		APIVersion: reporter.APIVersion, Kind: Kind, Profile: sysctl.Profiles[0],
		Sysctl:   sysctl.DefaultPolicy(),
		Inotify:  inotify.DefaultPolicy(),
		Disk:     disk.DefaultPolicy(),
		Reporter: DefaultReporterPolicy(),
		Web:      web.DefaultPolicy(),
	}
}

// ReadError is the error of a configuration that could not be read, which is
// not one that is wrong.
type ReadError struct{ Err error }

func (e *ReadError) Error() string { return fmt.Sprintf("read the configuration: %v", e.Err) }

func (e *ReadError) Unwrap() error { return e.Err }

// Load reads the named file.
func Load(name string) (Config, error) {
	f, err := open(name)
	if err != nil {
		return Config{}, &ReadError{err}
	}
	defer func() { _ = f.Close() }()
	return Read(f, name)
}

// readFile returns at most one byte more of the named file than a
// configuration may have.
func readFile(name string) ([]byte, error) {
	f, err := open(name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	return io.ReadAll(io.LimitReader(f, maxBytes+1))
}

// open does not wait for the other end of a FIFO.
func open(name string) (*os.File, error) {
	return os.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
}

// maxBytes keeps a wrong path from being read into memory. The longest
// sensible configuration has some kilobytes.
const maxBytes = 1 << 20

// Read reads a configuration; name stands before each problem.
func Read(r io.Reader, name string) (Config, error) {
	b, err := io.ReadAll(io.LimitReader(r, maxBytes+1))
	if err != nil {
		return Config{}, &ReadError{err}
	}
	return Parse(b, name)
}

// Parse reads b over the built-in configuration. Its error has one line
// for each problem: file, line, field, what is wrong.
func Parse(b []byte, name string) (Config, error) {
	if len(b) > maxBytes {
		return Config{}, fmt.Errorf("%s: is larger than %d bytes, no configuration is", name, maxBytes)
	}
	c := Default()
	c.Sysctl = sysctl.Policy{} // a list replaces, and here a list means rules to add
	lines, err := decode(b, &c)
	if err == nil {
		err = c.complete()
	}
	var errs []error
	for _, e := range field.All(err) {
		errs = append(errs, lines.locate(name, e))
	}
	if len(errs) > 0 {
		return Config{}, errors.Join(errs...)
	}
	return c, nil
}

// complete checks c as it was written and fills in the rules of its profile.
func (c *Config) complete() error {
	var errs []error
	if c.APIVersion != reporter.APIVersion {
		errs = append(errs, field.Errorf("apiVersion", "is %q, this nodetune reads %s", c.APIVersion, reporter.APIVersion))
	}
	if c.Kind != Kind {
		errs = append(errs, field.Errorf("kind", "is %q, want %s", c.Kind, Kind))
	}
	profile, err := sysctl.Profile(c.Profile)
	if err != nil {
		errs = append(errs, field.Errorf("profile", "%v", err))
	}
	written := c.Sysctl.Validate()
	c.Sysctl = c.Sysctl.Over(profile)
	if written == nil {
		// The places of merged rules are not those of the file.
		for _, e := range field.All(c.Sysctl.Validate()) {
			errs = append(errs, field.Errorf("sysctl.rules", "with profile %s: %s", c.Profile, e.Problem))
		}
	}
	return errors.Join(append(errs,
		field.Under("sysctl", written),
		field.Under("inotify", c.Inotify.Validate()),
		field.Under("disk", c.Disk.Validate()),
		field.Under("reporter", c.Reporter.Validate()),
		field.Under("web", c.Web.Validate()),
	)...)
}
