package kube

import (
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
)

// One call of the agent is one request: its schedule decides when the next one is.
func TestWithoutRetriesAsksOnce(t *testing.T) {
	var requests atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		requests.Add(1)
		w.Header().Set("Retry-After", "1")
		w.WriteHeader(http.StatusTooManyRequests)
	}))
	defer server.Close()
	client, err := NewClient(&rest.Config{Host: server.URL, QPS: 1000, Burst: 1000})
	if err != nil {
		t.Fatal(err)
	}
	client = client.WithoutRetries()
	for name, call := range map[string]func() error{
		"patch": func() error {
			_, err := client.Nodes().Patch(t.Context(), "n1", types.StrategicMergePatchType, []byte("{}"), metav1.PatchOptions{}, "status")
			return err
		},
		"list": func() error { _, err := client.Nodes().List(t.Context(), metav1.ListOptions{}); return err },
		"watch": func() error {
			_, err := client.Nodes().Watch(t.Context(), metav1.ListOptions{})
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			requests.Store(0)
			err := call()
			if got := requests.Load(); got != 1 {
				t.Errorf("%d requests, want 1", got)
			}
			if seconds, ok := apierrors.SuggestsClientDelay(err); !ok || seconds != 1 {
				t.Errorf("Retry-After is lost: %v", err)
			}
		})
	}
}
