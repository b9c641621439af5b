// Package config reads, validates and watches the configuration of nodetune.
//
// The configuration is one YAML document with one policy for each package, or a
// directory of such documents that are merged. Fields that it leaves out keep their
// default. Unknown fields, duplicate fields, YAML aliases and two different values
// of one field are errors, each with file, line and field.
package config

import (
	_ "embed"
	"errors"
	"fmt"
	"io"

	"github.com/nodetune/nodetune/disk"
	"github.com/nodetune/nodetune/inotify"
	"github.com/nodetune/nodetune/internal/field"
	"github.com/nodetune/nodetune/internal/logerrors"
	"github.com/nodetune/nodetune/reporter"
	"github.com/nodetune/nodetune/reporter/web"
	"github.com/nodetune/nodetune/sysctl"
)

// Kind is the kind of each configuration file.
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
	// LogErrors are messages of programs that reached an inotify limit, beside those that
	// nodetune knows.
	LogErrors []logerrors.Rule `json:"logErrors"`
	// Warnings are what is valid and may be a mistake, or is no longer valid in the
	// next release.
	Warnings []string `json:"-"`
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

		LogErrors: []logerrors.Rule{},
	}
}

// ReadError is the error of a configuration that could not be read, which is
// not one that is wrong.
type ReadError struct{ Err error }

func (e *ReadError) Error() string { return fmt.Sprintf("read the configuration: %v", e.Err) }

func (e *ReadError) Unwrap() error { return e.Err }

// Load reads the named file or directory for a command that obeys it. A file
// that another user could change is refused.
func Load(name string) (Config, error) { return load(name, trustOwn()) }

// Check reads the named file or directory for a command that only reports what is
// wrong with it. It accepts a file that other users could change.
func Check(name string) (Config, error) { return load(name, trust{any: true}) }

func load(name string, trust trust) (Config, error) {
	parts, err := readParts(name, trust)
	if err != nil {
		return Config{}, err
	}
	return ParseParts(parts, name)
}

// Read reads a configuration; name stands before each problem.
func Read(r io.Reader, name string) (Config, error) {
	p, err := readPart(r, name)
	if err != nil {
		return Config{}, err
	}
	return ParseParts([]Part{p}, name)
}

// ParseParts reads the parts of the configuration called name, merged, over the
// built-in configuration: no part overrides another, so two values of one field are
// an error. The error has one line for each problem: file, line, field, what is wrong.
func ParseParts(parts []Part, name string) (Config, error) {
	c := Default()
	c.Sysctl = sysctl.Policy{} // a list replaces, and here a list means rules to add
	places, warnings, errs := decode(parts, &c)
	if places != nil {
		c.Warnings = append(warnings, keyWarnings(c.Sysctl, places, name)...)
		for _, e := range field.All(c.complete()) {
			errs = append(errs, places.locate(name, e))
		}
	}
	if len(errs) > 0 {
		return Config{}, errors.Join(errs...)
	}
	return c, nil
}

// complete checks c as it was written and fills in the rules of its profile.
func (c *Config) complete() error {
	var errs []error
	profile, err := sysctl.Profile(c.Profile)
	if err != nil {
		errs = append(errs, field.Errorf("profile", "%v", err))
	}
	written := suggestKeys(c.Sysctl.Rules, c.Sysctl.Validate())
	c.Sysctl = c.Sysctl.Over(profile)
	if written == nil {
		// The places of merged rules are not those of the file.
		for _, e := range field.All(c.Sysctl.Validate()) {
			errs = append(errs, field.Errorf("sysctl.rules", "with profile %s: %s", c.Profile, e.Problem))
		}
	}
	_, wrongForms := logerrors.Forms(c.LogErrors)
	return errors.Join(append(errs,
		field.Under("sysctl", written),
		field.Under("inotify", c.Inotify.Validate()),
		field.Under("disk", errors.Join(append(checkLogPaths(c.Disk), c.Disk.Validate())...)),
		field.Under("reporter", c.Reporter.Validate()),
		field.Under("web", c.Web.Validate()),
		field.Under("logErrors", errors.Join(wrongForms...)),
	)...)
}
