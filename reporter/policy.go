package reporter

import (
	"errors"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/nodetune/nodetune/internal/field"
	"github.com/nodetune/nodetune/sysctl"
)

// Policy is the reporter block of the configuration.
type Policy struct {
	Conditions ConditionsPolicy `json:"conditions"`
	Events     EventsPolicy     `json:"events"`
	// OpenGate removes the taint nodetune.io/not-ready:NoSchedule once the
	// floors hold. It needs the right to patch its Node, not just the status.
	OpenGate bool `json:"openGate"`
	// PodDemands says which pods may ask for floors.
	PodDemands DemandPolicy `json:"podDemands"`
}

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
	Disabled []string `json:"disabled"` // reasons that are not told
}

// ConditionsPolicy says which conditions the Node gets, and how calmly.
type ConditionsPolicy struct {
	// Types to publish. One that nothing on this node evaluates is not published.
	Types []corev1.NodeConditionType `json:"types"`
	// EnterPasses in a row at or above the limit's share make a condition True,
	// LeavePasses at or below the lower one make it False. Some programs act on
	// a condition at once (draino drains after 0 s), so nodetune has to wait.
	EnterPasses int `json:"enterPasses"`
	LeavePasses int `json:"leavePasses"`
	// StaleAfter is how old a pass may be before the condition is Unknown.
	StaleAfter field.Duration `json:"staleAfter"`
	// Debounce and up to Jitter pass before a new status or reason is written,
	// for one cause may flip thousands of nodes together.
	Debounce field.Duration `json:"debounce"`
	Jitter   field.Duration `json:"jitter"`
	// MessageEvery is the least time between writes that change words alone.
	MessageEvery field.Duration `json:"messageEvery"`
	// Heartbeat renews lastHeartbeatTime; 0 writes nothing without a change.
	// 5,000 nodes at 5m are 17 writes a second to etcd.
	Heartbeat field.Duration `json:"heartbeat"`
}

// DefaultPolicy is what applies without a configuration.
func DefaultPolicy() Policy {
	return Policy{PodDemands: DefaultDemandPolicy(), Conditions: DefaultConditionsPolicy()}
}

// DefaultDemandPolicy applies without a configuration: no pod may ask.
func DefaultDemandPolicy() DemandPolicy {
	return DemandPolicy{Keys: []sysctl.Key{sysctl.MaxUserInstances, sysctl.MaxUserWatches, sysctl.MaxQueuedEvents}}
}

// DefaultConditionsPolicy applies without a configuration.
func DefaultConditionsPolicy() ConditionsPolicy {
	return ConditionsPolicy{
		Types:        slices.Clone(allTypes),
		EnterPasses:  2,
		LeavePasses:  5,
		StaleAfter:   field.Duration(5 * time.Minute),
		Debounce:     field.Duration(2 * time.Second),
		Jitter:       field.Duration(5 * time.Second),
		MessageEvery: field.Duration(5 * time.Minute),
	}
}

// Validate returns every field that is wrong, joined.
func (p Policy) Validate() error {
	return errors.Join(
		field.Under("conditions", p.Conditions.Validate()),
		field.Under("podDemands", p.PodDemands.Validate()),
	)
}

// Validate returns every field that is wrong, joined.
func (p ConditionsPolicy) Validate() error {
	var wrong []error
	for i, t := range p.Types {
		if !isConditionType(t) {
			wrong = append(wrong, field.Errorf(fmt.Sprintf("types[%d]", i), "%q is not a condition of nodetune: want one of %q", t, allTypes))
		}
	}
	for _, f := range []struct {
		name       string
		value, min int
	}{{"enterPasses", p.EnterPasses, 1}, {"leavePasses", p.LeavePasses, 1}} {
		if f.value < f.min {
			wrong = append(wrong, field.Errorf(f.name, "is %d, want %d or more", f.value, f.min))
		}
	}
	for _, f := range []struct {
		name       string
		value, min field.Duration
	}{
		{"staleAfter", p.StaleAfter, field.Duration(time.Second)},
		{"debounce", p.Debounce, 0},
		{"jitter", p.Jitter, 0},
		{"messageEvery", p.MessageEvery, 0},
		{"heartbeat", p.Heartbeat, 0},
	} {
		if f.value < f.min {
			wrong = append(wrong, field.Errorf(f.name, "is %s, want %s or more", f.value, f.min))
		}
	}
	return errors.Join(wrong...)
}
