package kube

import (
	"errors"
	"fmt"
	"slices"

	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/nodetune/nodetune/internal/field"
	"github.com/nodetune/nodetune/sysctl"
)

// DemandPolicy says which pods may ask for floors, and of what. What they get is
// bounded by the ceiling of each key's rule.
type DemandPolicy struct {
	// Enabled watches the pods of this node, which needs the right to list pods.
	Enabled bool `json:"enabled"`
	// Namespaces whose pods may ask; * is all.
	Namespaces []string `json:"namespaces"`
	// Keys that may be asked for.
	Keys []sysctl.Key `json:"keys"`
}

func (p DemandPolicy) allowsNamespace(namespace string) bool {
	return slices.Contains(p.Namespaces, namespace) || slices.Contains(p.Namespaces, "*")
}

// Validate returns every field that is wrong, joined.
func (p DemandPolicy) Validate() error {
	var wrong []error
	for i, n := range p.Namespaces {
		if n != "*" && len(validation.IsDNS1123Label(n)) > 0 {
			wrong = append(wrong, field.Errorf(fmt.Sprintf("namespaces[%d]", i), "%q is not the name of a namespace, nor *", n))
		}
	}
	for i, k := range p.Keys {
		at := fmt.Sprintf("keys[%d]", i)
		if parsed, err := sysctl.ParseKey(string(k)); err != nil {
			wrong = append(wrong, field.Errorf(at, "%v", err))
		} else if parsed != k {
			wrong = append(wrong, field.Errorf(at, "write %s", parsed))
		}
	}
	return errors.Join(wrong...)
}

// EventsPolicy says which Events are written.
type EventsPolicy struct {
	Disabled []string `json:"disabled"` // reasons of Events that are not written
}

// DefaultDemandPolicy applies without a configuration: no pod may ask.
func DefaultDemandPolicy() DemandPolicy {
	return DemandPolicy{Keys: []sysctl.Key{sysctl.MaxUserInstances, sysctl.MaxUserWatches, sysctl.MaxQueuedEvents}}
}
