package kube

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// difference is what separates the Node from what is wanted of it.
type difference struct {
	set    []corev1.NodeCondition
	remove []corev1.NodeConditionType
	// prompt: a status or a reason changed or something has to go. Without it
	// only messages differ, which can wait.
	prompt    bool
	heartbeat time.Time // the next heartbeat; zero: none is due by time alone
}

func (d difference) empty() bool { return len(d.set) == 0 && len(d.remove) == 0 }

// differ compares the Node with what is wanted. It leaves the condition of another
// manager alone, and removes one of ours that is no longer configured. One that is
// configured and not yet evaluated stays as it is. With a heartbeat, one whose
// LastHeartbeatTime is older is due again.
func differ(v *nodeView, want []corev1.NodeCondition, configured []corev1.NodeConditionType, now time.Time, heartbeat time.Duration) difference {
	var d difference
	for _, c := range want {
		if !slices.Contains(configured, c.Type) {
			continue
		}
		if _, foreign := v.foreign(c.Type); foreign {
			continue
		}
		is, ok := v.conditions[c.Type]
		switch {
		case !ok || is.Status != c.Status || is.Reason != c.Reason:
			d.prompt = true
		case is.Message != c.Message:
		case heartbeat > 0 && now.Sub(is.LastHeartbeatTime.Time) >= heartbeat:
		case heartbeat > 0:
			if at := is.LastHeartbeatTime.Add(heartbeat); d.heartbeat.IsZero() || at.Before(d.heartbeat) {
				d.heartbeat = at
			}
			continue
		default:
			continue
		}
		d.set = append(d.set, c)
	}
	for t := range v.conditions {
		if v.ours(t) && !slices.Contains(configured, t) {
			d.remove = append(d.remove, t)
			d.prompt = true
		}
	}
	slices.Sort(d.remove)
	return d
}

// key identifies what d would write, apart from messages and times.
func (d difference) key() string {
	var b strings.Builder
	for _, c := range d.set {
		fmt.Fprintf(&b, "%s=%s,%s ", c.Type, c.Status, c.Reason)
	}
	for _, t := range d.remove {
		fmt.Fprintf(&b, "-%s ", t)
	}
	return b.String()
}

// patch returns the strategic merge patch of d: conditions are a list merged by
// type, so what it does not name is not touched. A JSON merge patch would put
// back the kubelet's conditions as they were when we read them. With a version the
// API server refuses it with a conflict where the Node has another one by then.
func (d difference) patch(now time.Time, version string) ([]byte, error) {
	type removal struct {
		Patch string                   `json:"$patch"`
		Type  corev1.NodeConditionType `json:"type"`
	}
	var conditions []any
	for _, c := range d.set {
		c.LastHeartbeatTime = metav1.NewTime(now)
		conditions = append(conditions, c)
	}
	for _, t := range d.remove {
		conditions = append(conditions, removal{Patch: "delete", Type: t})
	}
	body := map[string]any{"status": map[string]any{"conditions": conditions}}
	if version != "" {
		body["metadata"] = map[string]any{"resourceVersion": version}
	}
	return json.Marshal(body)
}

// first reports whether d has a condition that this process has not written yet. What
// is known of it may then be an old list, from before another program wrote it.
func (d difference) first(wrote map[corev1.NodeConditionType]bool) bool {
	return slices.ContainsFunc(d.set, func(c corev1.NodeCondition) bool { return !wrote[c.Type] }) ||
		slices.ContainsFunc(d.remove, func(t corev1.NodeConditionType) bool { return !wrote[t] })
}
