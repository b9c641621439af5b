package condition

import (
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// States is each condition after hysteresis.
type States map[corev1.NodeConditionType]debounced

type debounced struct {
	condition corev1.NodeCondition // Status "" until something is known
	// The status beneath an Unknown. known: decided, by passes or by adoption.
	problem, known  bool
	reason, message string

	at         time.Time // the last pass counted
	bad, clear int       // passes in a row
}

// Transition is a condition whose status changed. From is "" for the first one.
type Transition struct {
	From corev1.ConditionStatus
	To   corev1.NodeCondition
}

// Adopt starts from the conditions that the Node already carries, so that a
// restart neither resets LastTransitionTime (Karpenter counts from it) nor
// publishes False before the first pass.
func Adopt(ours []corev1.NodeCondition) States {
	s := make(States, len(ours))
	for _, c := range ours {
		s[c.Type] = debounced{
			condition: c,
			problem:   c.Status == corev1.ConditionTrue,
			known:     c.Status == corev1.ConditionTrue || c.Status == corev1.ConditionFalse,
			reason:    c.Reason,
			message:   c.Message,
		}
	}
	return s
}

// Update adds the evaluations of one pass to prev. A condition becomes True after
// p.EnterPasses bad passes in a row and False after p.LeavePasses clear ones; a
// pass in between ends either row. Unknown takes effect at once and the status
// before it returns with the next pass. Update does not change prev.
func Update(prev States, seen []Evaluation, now time.Time, p Policy) (States, []Transition) {
	next := make(States, len(seen))
	var changes []Transition
	for _, v := range seen {
		h := prev[v.Type]
		if v.Severity == Unevaluated {
			if _, ok := prev[v.Type]; ok {
				next[v.Type] = h
			}
			continue
		}
		from := h.condition.Status
		h.count(v, p)
		status := h.status(v)
		if status == "" { // the first passes are bad ones: not yet decided
			next[v.Type] = h
			continue
		}
		if v.Severity == Unknown {
			h.condition.Reason, h.condition.Message = v.Reason, truncate(v.Message)
		} else if h.known {
			h.condition.Reason, h.condition.Message = h.reason, h.message
		}
		h.condition.Type, h.condition.Status = v.Type, status
		if status != from {
			h.condition.LastTransitionTime = metav1.NewTime(now)
			changes = append(changes, Transition{From: from, To: h.condition})
		}
		next[v.Type] = h
	}
	return next, changes
}

func (h *debounced) count(v Evaluation, p Policy) {
	if v.Severity == Unknown { // not known: passes before it do not count
		h.bad, h.clear = 0, 0
		return
	}
	if !v.At.After(h.at) {
		return // not a new pass
	}
	h.at = v.At
	switch v.Severity {
	case Bad:
		h.bad, h.clear = h.bad+1, 0
	case Clear:
		h.bad, h.clear = 0, h.clear+1
	default:
		h.bad, h.clear = 0, 0
	}
	switch {
	case h.bad >= p.EnterPasses:
		h.problem, h.known = true, true
	case h.clear >= p.LeavePasses:
		h.problem, h.known = false, true
	case !h.known && h.bad == 0: // never seen before, and not at the limit
		h.problem, h.known = false, true
	}
	// While a condition is about to change, an evaluation does not fit its
	// status, and the last message stays.
	if h.known && h.problem == (v.Severity == Bad) {
		h.reason, h.message = v.Reason, truncate(v.Message)
	}
}

func (h *debounced) status(v Evaluation) corev1.ConditionStatus {
	switch {
	case v.Severity == Unknown:
		return corev1.ConditionUnknown
	case !h.known:
		return h.condition.Status
	case h.problem:
		return corev1.ConditionTrue
	}
	return corev1.ConditionFalse
}

// Conditions returns what is settled, sorted by type.
func (s States) Conditions() []corev1.NodeCondition {
	var all []corev1.NodeCondition
	for _, h := range s {
		if h.condition.Status != "" {
			all = append(all, h.condition)
		}
	}
	slices.SortFunc(all, func(a, b corev1.NodeCondition) int {
		return strings.Compare(string(a.Type), string(b.Type))
	})
	return all
}
