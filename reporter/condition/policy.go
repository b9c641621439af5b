package condition

import (
	"errors"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/nodetune/nodetune/internal/field"
)

// Policy is which conditions the Node gets, and how many passes and how much time
// a change takes.
type Policy struct {
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

// DefaultPolicy applies without a configuration.
func DefaultPolicy() Policy {
	return Policy{
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
	var wrong []error
	for i, t := range p.Types {
		if !Known(t) {
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
