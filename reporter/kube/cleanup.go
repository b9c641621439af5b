package kube

import (
	"context"
	"errors"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// Cleaned is what was cleaned up on one Node.
type Cleaned struct {
	Node    string                     `json:"node"`
	Removed []corev1.NodeConditionType `json:"removed"` // with dryRun: would be
	// StartupTaint: the Node has the startup taint, which only a running agent
	// removes. Without one, an administrator has to remove it.
	StartupTaint bool   `json:"gate,omitempty"`
	Error        string `json:"error,omitempty"`
}

// cleanupPage is how many Nodes are listed at a time: at 30 kB each, 15 MB.
const cleanupPage = 500

// Cleanup removes the conditions that field manager nodetune owns from the Node
// called name.
func Cleanup(ctx context.Context, client NodeClient, name string, dryRun bool) (Cleaned, error) {
	n, err := client.Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return Cleaned{Node: name}, fmt.Errorf("get node %s: %w", name, err)
	}
	return cleanNode(ctx, client, n, dryRun)
}

// CleanupAll does so on every Node, and goes on where one fails. It returns
// those that carry something of ours.
func CleanupAll(ctx context.Context, client NodeClient, dryRun bool) ([]Cleaned, error) {
	all := []Cleaned{}
	var failed []error
	options := metav1.ListOptions{Limit: cleanupPage}
	for {
		nodes, err := client.List(ctx, options)
		if err != nil {
			return all, errors.Join(append(failed, fmt.Errorf("list nodes: %w", err))...)
		}
		for i := range nodes.Items {
			c, err := cleanNode(ctx, client, &nodes.Items[i], dryRun)
			failed = append(failed, err)
			if len(c.Removed) > 0 || c.StartupTaint {
				all = append(all, c)
			}
		}
		if options.Continue = nodes.Continue; options.Continue == "" {
			return all, errors.Join(failed...)
		}
	}
}

// cleanNode asks the API server to refuse what is based on an old Node: another program
// may have taken one of the conditions over since it was read.
func cleanNode(ctx context.Context, client NodeClient, n *corev1.Node, dryRun bool) (Cleaned, error) {
	for tries := 0; ; tries++ {
		c, err := cleanVersion(ctx, client, n, dryRun)
		if !apierrors.IsConflict(err) || tries == maxConflicts {
			return c, err
		}
		now, errRead := readNode(ctx, client, n.Name)
		if errRead != nil {
			return c, errors.Join(err, errRead)
		}
		if now == nil {
			return Cleaned{Node: n.Name, Removed: []corev1.NodeConditionType{}}, nil
		}
		n = now
	}
}

func cleanVersion(ctx context.Context, client NodeClient, n *corev1.Node, dryRun bool) (Cleaned, error) {
	v := viewNode(n)
	c := Cleaned{Node: n.Name, StartupTaint: v.startupTaint >= 0, Removed: []corev1.NodeConditionType{}}
	for _, cond := range v.written() {
		c.Removed = append(c.Removed, cond.Type)
	}
	slices.Sort(c.Removed)
	if len(c.Removed) == 0 || dryRun {
		return c, nil
	}
	body, err := difference{remove: c.Removed}.patch(metav1.Now().Time, n.ResourceVersion)
	if err != nil {
		return c, err
	}
	_, err = client.Patch(ctx, n.Name, types.StrategicMergePatchType, body, metav1.PatchOptions{FieldManager: FieldManager}, "status")
	if apierrors.IsNotFound(err) {
		err = nil // it went away, and its conditions with it
	}
	if err != nil {
		c.Error = err.Error()
		err = fmt.Errorf("patch node %s: %w", n.Name, err)
	}
	return c, err
}
