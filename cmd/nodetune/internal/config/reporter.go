package config

import (
	"errors"

	"github.com/nodetune/nodetune/internal/field"
	"github.com/nodetune/nodetune/reporter/condition"
	"github.com/nodetune/nodetune/reporter/kube"
)

// ReporterPolicy is the reporter block of the configuration.
type ReporterPolicy struct {
	Conditions condition.Policy  `json:"conditions"`
	Events     kube.EventsPolicy `json:"events"`
	// OpenGate removes the taint nodetune.io/not-ready:NoSchedule once the
	// floors hold. It needs the right to patch its Node, not just the status.
	OpenGate bool `json:"openGate"`
	// PodDemands says which pods may ask for floors.
	PodDemands kube.DemandPolicy `json:"podDemands"`
}

// DefaultReporterPolicy is what applies without a configuration.
func DefaultReporterPolicy() ReporterPolicy {
	return ReporterPolicy{PodDemands: kube.DefaultDemandPolicy(), Conditions: condition.DefaultPolicy()}
}

// Validate returns every field that is wrong, joined.
func (p ReporterPolicy) Validate() error {
	return errors.Join(
		field.Under("conditions", p.Conditions.Validate()),
		field.Under("podDemands", p.PodDemands.Validate()),
	)
}
