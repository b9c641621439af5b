package kube

import (
	"context"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"
)

// listWatch lists and watches the objects of one field selector: one Node, or
// the pods of one node. Both lists are short, and a plain list from the API
// server's cache is understood by every version of it; a streamed one is not.
type listWatch struct{ *cache.ListWatch }

// IsWatchListSemanticsUnSupported makes the reflector list and then watch.
func (listWatch) IsWatchListSemanticsUnSupported() bool { return true }

// newListWatch calls reached, if it is not nil, when the API server stops to
// answer, with the error, and when it answers again, with nil.
//
// Only a list that succeeded shows that it answers again. A watch does not:
// client-go returns an empty one without an error where the connection was closed
// (rest.Request.Watch, IsProbableEOF). So while the API server is away a watch is
// answered with "expired", which makes the reflector list.
func newListWatch[L runtime.Object](
	list func(context.Context, metav1.ListOptions) (L, error),
	watcher func(context.Context, metav1.ListOptions) (watch.Interface, error),
	fieldSelector string,
	reached func(error),
) listWatch {
	away := false // the reflector calls one after the other
	note := func(ctx context.Context, err error) {
		if ctx.Err() == nil && (err != nil) != away {
			away = err != nil
			if reached != nil {
				reached(err)
			}
		}
	}
	return listWatch{&cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
			o.FieldSelector = fieldSelector
			l, err := list(ctx, o)
			note(ctx, err)
			return l, err
		},
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			if away {
				return nil, apierrors.NewResourceExpired("the API server was away")
			}
			o.FieldSelector = fieldSelector
			w, err := watcher(ctx, o)
			if err != nil {
				note(ctx, err)
			}
			return w, err
		},
	}}
}

// awayRetry is how often an API server that is away is asked: soon, and then
// every five to ten seconds. client-go's reflector waits 30 to 60, so that the
// conditions of an outage would be published a minute after it. A node's kubelet asks
// about as often whether it may renew its lease.
var awayRetry = wait.Backoff{Duration: 800 * time.Millisecond, Factor: 2, Jitter: 1, Steps: 10, Cap: 5 * time.Second}

// follow keeps in store what l lists and watches, objects such as example, until
// ctx is done.
func follow(ctx context.Context, l listWatch, example runtime.Object, store cache.ReflectorStore) {
	r := cache.NewReflectorWithOptions(l, example, store, cache.ReflectorOptions{Name: "nodetune", Backoff: &awayRetry})
	r.RunWithContext(klog.NewContext(ctx, klog.Logger{})) // it would log every try
}
