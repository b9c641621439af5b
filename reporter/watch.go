package reporter

import (
	"context"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"
)

// listWatch lists and watches the objects of one field selector: one Node, or
// the pods of one node. Both lists are short, and a plain list from the API
// server's cache is understood by every version of it; a streamed one is not.
type listWatch struct{ *cache.ListWatch }

// IsWatchListSemanticsUnSupported makes the reflector list and then watch.
func (listWatch) IsWatchListSemanticsUnSupported() bool { return true }

func newListWatch[L runtime.Object](
	list func(context.Context, metav1.ListOptions) (L, error),
	watcher func(context.Context, metav1.ListOptions) (watch.Interface, error),
	fieldSelector string,
) listWatch {
	return listWatch{&cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
			o.FieldSelector = fieldSelector
			return list(ctx, o)
		},
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			o.FieldSelector = fieldSelector
			return watcher(ctx, o)
		},
	}}
}
