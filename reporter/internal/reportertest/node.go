package reportertest

import (
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Noon is the time of tests that need a fixed one.
var Noon = time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)

// Node has nodetune's conditions as TYPE=STATUS, since an hour for each one.
func Node(name string, ready corev1.ConditionStatus, ours ...string) *corev1.Node {
	n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}}
	n.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeReady, Status: ready}}
	var fields []string
	for i, c := range ours {
		kind, status, _ := strings.Cut(c, "=")
		n.Status.Conditions = append(n.Status.Conditions, corev1.NodeCondition{
			Type: corev1.NodeConditionType(kind), Status: corev1.ConditionStatus(status), Reason: "R",
			LastTransitionTime: metav1.NewTime(Noon.Add(-time.Duration(i+1) * time.Hour)),
		})
		fields = append(fields, `"k:{\"type\":\"`+kind+`\"}":{".":{}}`)
	}
	n.ManagedFields = []metav1.ManagedFieldsEntry{{
		Manager: "nodetune", FieldsV1: metav1.NewFieldsV1(`{"f:status":{"f:conditions":{` + strings.Join(fields, ",") + `}}}`),
	}}
	return n
}
