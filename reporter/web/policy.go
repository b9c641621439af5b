package web

import (
	"context"
	"slices"
	"strings"

	"github.com/nodetune/nodetune/internal/field"
)

// ReportAccess says which clients of other machines get the report.
type ReportAccess string

// The values of [Policy.Report].
const (
	Closed     ReportAccess = "closed"     // none
	Authorised ReportAccess = "authorised" // those that the API server authorises
	Open       ReportAccess = "open"       // all
)

var reportAccess = []ReportAccess{Closed, Authorised, Open}

// JSONSchema describes the values in the schema of the configuration.
func (ReportAccess) JSONSchema() string { return `{"enum":["closed","authorised","open"]}` }

// Policy is the web block of the configuration.
type Policy struct {
	Report ReportAccess `json:"report"`
}

// DefaultPolicy is what applies without a configuration.
func DefaultPolicy() Policy { return Policy{Report: Closed} }

// Validate returns every field that is wrong, joined.
func (p Policy) Validate() error {
	if slices.Contains(reportAccess, p.Report) {
		return nil
	}
	var names []string
	for _, a := range reportAccess {
		names = append(names, string(a))
	}
	return field.Errorf("report", "is %q, want %s", p.Report, strings.Join(names, ", "))
}

// Authorizer reports whether the holder of token may get path: 200, or another
// status with the reason.
type Authorizer func(ctx context.Context, token, path string) (status int, text string)
